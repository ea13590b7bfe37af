/** The import table held against a tree, and cycles between folders and between files. */
import { importsOf, packageOf, targetOf } from "./code.js";
import { allowedInside, type FolderRule } from "./import-table.js";
import type { Tree } from "./tree.js";

type Table = Readonly<Record<string, FolderRule>>;

const isTest = (path: string): boolean => /\.test(-support)?\.ts$/.test(path);

const isCode = (path: string): boolean => /^(src|test|bench|scripts)\/.*\.ts$/.test(path);

/** The folder of the table that a file of src/ belongs to: the longest that fits. */
function folderOf(path: string, table: Table): string | undefined {
  const folders = Object.keys(table).filter((folder) => path.startsWith(`src/${folder}/`));
  return folders.sort((a, b) => b.length - a.length)[0];
}

/** Every import that the table does not allow. */
export function importFindings(tree: Tree, table: Table): string[] {
  const findings: string[] = [];
  for (const [path, text] of tree) {
    if (!isCode(path)) continue;
    for (const { specifier } of importsOf(text)) {
      const target = targetOf(path, specifier);
      const why = target === undefined ? packageFinding(path, specifier, table) : fileFinding(path, target, table);
      if (why !== undefined) findings.push(`${path}: ${specifier}: ${why}`);
    }
    if (path.startsWith("src/") && folderOf(path, table) === undefined)
      findings.push(`${path}: its folder is not in the import table`);
  }
  return findings;
}

function packageFinding(path: string, specifier: string, table: Table): string | undefined {
  const folder = path.startsWith("src/") ? folderOf(path, table) : undefined;
  if (folder === undefined) return undefined;
  const { packages = [], pure = false } = table[folder]!;
  if (specifier.startsWith("node:")) return pure && !isTest(path) ? `${folder} does no I/O` : undefined;
  return packages.includes(packageOf(specifier)) ? undefined : `not a package of ${folder}`;
}

function fileFinding(path: string, target: string, table: Table): string | undefined {
  const from = path.startsWith("src/") ? folderOf(path, table) : undefined;
  const top = target.slice(0, target.indexOf("/"));
  if (top !== "src") {
    if (path.startsWith("src/") || (top !== path.slice(0, path.indexOf("/")) && top !== "test")) return "not from here";
    return top === "test" && path.startsWith("scripts/") ? "not from here" : undefined;
  }
  const to = folderOf(target, table);
  if (to === undefined) return "its folder is not in the import table";
  if (from === to || allowedInside.has(`${path} → ${target}`)) return undefined;
  // From outside src/, the index.ts of a part such as api/http/ will do.
  if (from === undefined) return target.endsWith("/index.ts") ? undefined : "only an index.js is for others";
  if (target !== `src/${to}/index.ts`) return `only src/${to}/index.js is for others`;
  if (to === "base" || table[from]!.folders.includes(to)) return undefined;
  return `${from} may not import ${to}`;
}

type Graph = Map<string, Set<string>>;

function addEdge(graph: Graph, from: string, to: string): void {
  graph.set(from, (graph.get(from) ?? new Set()).add(to));
}

/** One cycle as text, or none. */
function cycleIn(graph: Graph): string | undefined {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (node: string): string | undefined => {
    const at = path.indexOf(node);
    if (at >= 0) return [...path.slice(at), node].join(" → ");
    if (done.has(node)) return undefined;
    path.push(node);
    for (const next of graph.get(node) ?? []) {
      const found = visit(next);
      if (found !== undefined) return found;
    }
    path.pop();
    done.add(node);
    return undefined;
  };
  for (const node of graph.keys()) {
    const found = visit(node);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** A cycle between folders of src/, and one between files whose imports are more than types. */
export function cycleFindings(tree: Tree, table: Table): string[] {
  const folders: Graph = new Map();
  const files: Graph = new Map();
  for (const [path, text] of tree) {
    if (!isCode(path)) continue;
    for (const { specifier, isType } of importsOf(text)) {
      const target = targetOf(path, specifier);
      if (target === undefined) continue;
      if (!isType) addEdge(files, path, target);
      const [from, to] = [folderOf(path, table), folderOf(target, table)];
      if (from !== undefined && to !== undefined && from !== to) addEdge(folders, from, to);
    }
  }
  const between = (what: string, cycle: string | undefined): string[] =>
    cycle === undefined ? [] : [`cycle between ${what}: ${cycle}`];
  return [...between("folders", cycleIn(folders)), ...between("files", cycleIn(files))];
}
