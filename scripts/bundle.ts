/**
 * Puts each command and each worker thread with all that it imports into one file below dist/bundle/, so that a start
 * reads, resolves and compiles five files and not four hundred: `node dist/scripts/bundle.js`.
 *
 *   dist/src/bin/etcd.js           → dist/bundle/bin/etcd.js
 *   dist/src/apply/apply.worker.js → dist/bundle/apply/apply.worker.js, …
 *
 * A file's place below its folder is kept, since threads are found by it (src/base/thread-file.ts). Beside each file
 * lies a source map, for profilers, and a table of lines, for log lines and stacks (src/base/source-lines.ts).
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { builtinModules, SourceMap } from "node:module";
import { dirname, join, relative, resolve } from "node:path";
import { build, type Plugin } from "esbuild";
import { lineTable, packageRoot, type LinePlace } from "../src/base/index.js";

/** Packages that go into the bundle. Others are rarely needed, or have native parts that they look for beside them. */
const inlined = ["pino", "prom-client"];
/** Modules of these that nothing here uses, while merely loading them costs 1.4 MiB (Node's HTTPS client with them). */
const unused = /\/prom-client\/(lib\/)?(cluster|pushgateway|summary)$/;

const root = packageRoot();
const compiled = join(root, "dist", "src");
const target = join(root, "dist", "bundle");
const builtins = new Set(builtinModules);
const resolving = Symbol("resolving");

/**
 * Which imports are followed. A module of ours that is imported but not used by name is left out, whatever it would do
 * when loaded: the apply thread needs no process metrics because an index.ts offers them.
 */
const follow: Plugin = {
  name: "follow",
  setup: (build) => {
    build.onResolve({ filter: /^[^./]/ }, ({ path, importer }) => {
      const name = path.replace(/^node:/, "");
      if (builtins.has(name)) return { path: `node:${name}`, external: true, sideEffects: false };
      if (importer.includes("/node_modules/") || inlined.includes(path)) return undefined;
      return { path, external: true };
    });
    build.onResolve({ filter: /^\.\// }, ({ path, resolveDir }) =>
      unused.test(resolve(resolveDir, path)) ? { path, namespace: "unused" } : undefined,
    );
    build.onLoad({ filter: /^/, namespace: "unused" }, () => ({ contents: "" }));
    build.onResolve({ filter: /^\.{1,2}\// }, async ({ path, importer, resolveDir, kind, pluginData }) => {
      if (pluginData === resolving || !importer.startsWith(compiled)) return undefined;
      const found = await build.resolve(path, { importer, resolveDir, kind, pluginData: resolving });
      return { ...found, sideEffects: false };
    });
  },
};

/** What begins a file: CommonJS packages inside ask for Node's modules by `require`. */
const banner = `import { createRequire as bundleRequire } from "node:module";
const require = bundleRequire(import.meta.url);`;

/** Commands, as package.json names them, and threads. */
function entries(): string[] {
  const { bin } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { bin: Record<string, string> };
  const commands = Object.keys(bin).map((name) => join(compiled, "bin", `${name}.js`));
  const files = readdirSync(compiled, { recursive: true, encoding: "utf8" });
  return [...commands, ...files.filter((name) => name.endsWith(".worker.js")).map((name) => join(compiled, name))];
}

/** The place in the sources of each line of a bundle, from its source map. */
function placesOf(text: string, map: string, file: string): (LinePlace | null)[] {
  const found = new SourceMap(JSON.parse(map) as ConstructorParameters<typeof SourceMap>[0]);
  return text.split("\n").map((line, i) => {
    const entry = found.findEntry(i, line.length - line.trimStart().length);
    if (!("originalSource" in entry) || entry.generatedLine !== i) return null;
    const source = relative(root, resolve(dirname(file), entry.originalSource));
    return { file: source, line: entry.originalLine + 1 };
  });
}

/**
 * A text with one character beyond Latin-1 is held in two bytes a character by each thread that runs it; esbuild leaves
 * such characters in regular expressions and comments.
 */
function toAscii(text: string): string {
  return text.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

async function main(): Promise<void> {
  const { outputFiles } = await build({
    entryPoints: entries(),
    outbase: compiled,
    outdir: target,
    bundle: true,
    write: false,
    platform: "node",
    format: "esm",
    target: "node20",
    sourcemap: "linked",
    sourcesContent: false,
    legalComments: "none",
    logLevel: "warning",
    banner: { js: banner },
    plugins: [follow],
  });
  const made = `${target}.${process.pid}`;
  const texts = new Map(outputFiles.map(({ path, text }) => [path, text]));
  const put = (path: string, text: string): void => {
    const file = join(made, relative(target, path));
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  };
  for (const [path, text] of texts) {
    put(path, path.endsWith(".js") ? toAscii(text) : text);
    const map = texts.get(`${path}.map`);
    if (map !== undefined) put(`${path}.lines`, JSON.stringify(lineTable(placesOf(text, map, path))));
  }
  // A server that starts meanwhile finds the old files or the new ones.
  rmSync(target, { recursive: true, force: true });
  renameSync(made, target);
}

await main();
