/** The tidy rules beside imports. Each takes a tree and gives a line for every finding. */
import { codeOnly } from "./code.js";
import type { Tree } from "./tree.js";

const linesMax = 400;
const testLinesMax = 500;
const workerLinesMax = 50;

/** Tables may be long: one row a thing. */
const tables = /^src\/(config\/options|metrics\/definitions|errors\/errors)\.ts$|\/gen\//;

const topLevel = new Set([
  ...["src", "test", "bench", "scripts", "native"],
  ...["package.json", "package-lock.json", "tsconfig.json", "README.md", "CHANGELOG.md", "LICENSE"],
]);

const isSource = (path: string): boolean => /^src\/.*\.ts$/.test(path);
const isTest = (path: string): boolean => /\.test(-support)?\.ts$/.test(path);
const isCode = (path: string): boolean => /^(src|test|bench|scripts)\/.*\.ts$/.test(path);
const lineCount = (text: string): number => text.split("\n").length - 1;

function each(
  tree: Tree,
  isMeant: (path: string) => boolean,
  find: (path: string, text: string) => string[],
): string[] {
  return [...tree]
    .filter(([path]) => isMeant(path))
    .flatMap(([path, text]) => find(path, text).map((what) => `${path}: ${what}`));
}

/** Every source file opens with its contract: a doc comment in TypeScript, //! in Rust. */
export function openingFindings(tree: Tree): string[] {
  return [
    ...each(
      tree,
      (path) => isSource(path) && !isTest(path) && !tables.test(path),
      (_, text) => (text.startsWith("/**") ? [] : ["does not open with a doc comment"]),
    ),
    ...each(
      tree,
      (path) => /^native\/.*\/src\/.*\.rs$/.test(path),
      (_, text) => (text.startsWith("//!") ? [] : ["does not open with a //! comment"]),
    ),
  ];
}

/** Files stay near 300 lines, entries of threads below 50. */
export function lengthFindings(tree: Tree): string[] {
  return each(tree, isCode, (path, text) => {
    if (tables.test(path)) return [];
    const max = path.endsWith(".worker.ts")
      ? workerLinesMax
      : isTest(path) || path.startsWith("test/")
        ? testLinesMax
        : linesMax;
    return lineCount(text) > max ? [`${lineCount(text)} lines, more than ${max}`] : [];
  });
}

const banned: readonly (readonly [RegExp, string])[] = [
  [/(?<=^[ \t]*)@\w+/gm, "decorator"],
  [/^export\s+\*\s+from\b(?!\s+"\.\/gen\/)/gm, "re-export of everything"],
];

/**
 * Language that is not used here and that neither the compiler (erasableSyntaxOnly) nor lint refuses. What is
 * generated is re-exported as a whole.
 */
export function languageFindings(tree: Tree): string[] {
  return each(tree, isCode, (_, text) => {
    const code = codeOnly(text);
    return banned
      .filter(([pattern]) => [...text.matchAll(pattern)].some(({ index }) => code[index] !== " "))
      .map(([, name]) => name);
  });
}

/** raft/ is pure: it neither waits nor knows of promises. */
export function pureFindings(tree: Tree): string[] {
  return each(
    tree,
    (path) => path.startsWith("src/raft/") && isSource(path) && !isTest(path),
    (_, text) => (/(?<![#.\w])(?:async|await|Promise)\b(?!Storage)/.test(codeOnly(text)) ? ["async in raft/"] : []),
  );
}

/** The environment and the arguments are read in one place. */
export function environmentFindings(tree: Tree): string[] {
  return each(
    tree,
    (path) => isSource(path) && !isTest(path) && !path.startsWith("src/bin/"),
    (_, text) => (/\bprocess\.(?:env|argv)\b/.test(codeOnly(text)) ? ["reads process.env or process.argv"] : []),
  );
}

/** Paths of one machine; put together here so that this file is not itself a finding. */
const machinePaths = new RegExp(`(?<![\\w.])/(?:${["work", "root", "home/\\w+", "Users/\\w+"].join("|")})/`);

/** What only exists on the machine where it was written. */
export function machineFindings(tree: Tree): string[] {
  return each(
    tree,
    () => true,
    (path, text) => [
      ...(machinePaths.test(text) ? [`the path ${machinePaths.exec(text)![0]}… of one machine`] : []),
      ...(path === "package-lock.json" && /"resolved": "(?!https:\/\/registry\.npmjs\.org\/)/.test(text)
        ? ["an address other than the public registry's"]
        : []),
    ],
  );
}

/** A TODO names its issue. */
export function todoFindings(tree: Tree): string[] {
  return each(
    tree,
    (path) => isCode(path) || path.endsWith(".rs"),
    (path, text) =>
      !path.startsWith("test/tidy") && /\b(?:TODO|FIXME|XXX)\b(?![^\n]*#\d)/.test(text)
        ? ["a TODO without its issue"]
        : [],
  );
}

/** No other top-level folders but those of the layout and dot-folders. */
export function layoutFindings(tree: Tree): string[] {
  const tops = new Set([...tree.keys()].map((path) => path.split("/")[0]!));
  return [...tops]
    .filter((top) => !top.startsWith(".") && !topLevel.has(top))
    .map((top) => `${top}: not in the layout`);
}

/** Versions are pinned exactly; an upgrade is its own commit. */
export function pinFindings(tree: Tree): string[] {
  const manifest = JSON.parse(tree.get("package.json") ?? "{}") as Record<string, Record<string, string> | undefined>;
  const groups = ["dependencies", "devDependencies", "optionalDependencies"];
  return groups.flatMap((group) =>
    Object.entries(manifest[group] ?? {})
      .filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))
      .map(([name, version]) => `package.json: ${name} is ${version}, not one version`),
  );
}

/** What tidy needs to know of an option. */
export interface OptionStanding {
  readonly notYet?: boolean;
  readonly noEffect?: boolean;
}

/** An option that is taken in earnest is read by something; one that says it has no effect is read by nothing. */
export function optionFindings(tree: Tree, table: Readonly<Record<string, OptionStanding>>): string[] {
  const code = [...tree]
    .filter(([path]) => isSource(path) && !isTest(path) && !/^src\/config\/(options|config)\.ts$/.test(path))
    .map(([, text]) => codeOnly(text))
    .join("\n");
  return Object.entries(table).flatMap(([name, { notYet = false, noEffect = false }]) => {
    const property = name.replace(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
    const isRead = new RegExp(`\\b${property}\\b`).test(code);
    if (noEffect && isRead) return [`${name} says it has no effect, and is read`];
    return !isRead && !noEffect && !notYet ? [`${name} is read by nothing and does not say so`] : [];
  });
}
