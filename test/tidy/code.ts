/** TypeScript text taken apart as far as the tidy rules need it: code without comments and strings, and imports. */

/** Tokens that hide code-like text: comments, strings, templates, and regular expressions after an operator. */
const hidden =
  /\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`|(?<=(?:[=(,:;!&|?{}[+]|return|=>)\s*)\/(?![*/])(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\//g;

/** The text with comments, strings and regular expressions blanked out; line numbers stay. */
export function codeOnly(text: string): string {
  return text.replace(hidden, (token) => token.replace(/[^\n]/g, " "));
}

export interface Import {
  /** As written. */
  readonly specifier: string;
  /** Erased when compiled: `import type` and `export type`. */
  readonly isType: boolean;
}

const importForms =
  /^(?:import|export)\s+(type\s+)?(?:[\w$*{][^;"]*?\sfrom\s+)?"([^"\n]+)"|\bimport\(\s*"([^"\n]+)"\s*\)/gm;

/** Everything that the file imports or re-exports; what only looks like it, inside a string, is left out. */
export function importsOf(text: string): Import[] {
  const code = codeOnly(text);
  return [...text.matchAll(importForms)]
    .filter(({ index }) => code[index] !== " ")
    .map(([, type, fixed, dynamic]) => ({ specifier: fixed ?? dynamic!, isType: type !== undefined }));
}

/** "a/b/../c" → "a/c". */
function normalize(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== ".") parts.push(part);
  }
  return parts.join("/");
}

/** The source file that a relative specifier means; undefined for packages. */
export function targetOf(from: string, specifier: string): string | undefined {
  if (!specifier.startsWith(".")) return undefined;
  return normalize(`${from.slice(0, from.lastIndexOf("/"))}/${specifier}`).replace(/\.js$/, ".ts");
}

/** "@a/b/c" → "@a/b", "yaml/x" → "yaml". */
export function packageOf(specifier: string): string {
  const parts = specifier.split("/");
  return specifier.startsWith("@") ? parts.slice(0, 2).join("/") : parts[0]!;
}
