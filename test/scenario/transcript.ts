/**
 * Reads transcripts: commands with arguments and input, and the output that is expected of each
 * (the "datadriven" format, README beside the data).
 */

/** One command of a transcript. */
export interface Directive {
  readonly file: string;
  readonly line: number;
  readonly command: string;
  /** In order; a bare word has no values. */
  readonly args: readonly Argument[];
  readonly input: string;
  readonly expected: string;
}

export interface Argument {
  readonly key: string;
  readonly values: readonly string[];
}

const separator = "----";

/** All directives of a transcript. */
export function parseTranscript(file: string, text: string): Directive[] {
  const lines = text.split("\n");
  const directives: Directive[] = [];
  let at = 0;
  while (at < lines.length) {
    const head = lines[at]!.trim();
    if (head === "" || head.startsWith("#")) {
      at += 1;
      continue;
    }
    const line = at + 1;
    const inputStart = ++at;
    while (lines[at] !== separator) {
      if (at >= lines.length) throw new Error(`${file}:${line}: no ${separator} follows`);
      at += 1;
    }
    const input = lines.slice(inputStart, at).join("\n");
    const output = takeOutput(lines, at + 1);
    at = output.next;
    directives.push({ file, line, ...parseHead(head), input, expected: output.text });
  }
  return directives;
}

/** Output ends at an empty line, or at a doubled separator when it starts with one. */
function takeOutput(lines: readonly string[], start: number): { text: string; next: number } {
  let at = start;
  if (lines[at] !== separator) {
    while (at < lines.length && lines[at] !== "") at += 1;
    return { text: lines.slice(start, at).join("\n"), next: at };
  }
  at += 1;
  while (!(lines[at] === separator && lines[at + 1] === separator)) {
    if (at >= lines.length) throw new Error(`output from line ${start} on has no end`);
    at += 1;
  }
  return { text: lines.slice(start + 1, at).join("\n"), next: at + 2 };
}

/** `command word key=value key=(a, b)`. */
function parseHead(head: string): { command: string; args: Argument[] } {
  const words = head.match(/[^\s=]+=\([^)]*\)|\S+/g) ?? [];
  const args = words.slice(1).map((word): Argument => {
    const equals = word.indexOf("=");
    if (equals < 0) return { key: word, values: [] };
    const value = word.slice(equals + 1);
    const list = value.startsWith("(") ? value.slice(1, -1).split(",") : [value];
    return { key: word.slice(0, equals), values: list.map((item) => item.trim()).filter((item) => item !== "") };
  });
  return { command: words[0]!, args };
}

/** The values of argument `key`, empty when it is not there. */
export function valuesOf(directive: Directive, key: string): readonly string[] {
  return directive.args.find((arg) => arg.key === key)?.values ?? [];
}

/** The bare words, as numbers. */
export function numbersOf(directive: Directive): number[] {
  return directive.args.filter((arg) => arg.values.length === 0).map((arg) => Number(arg.key));
}
