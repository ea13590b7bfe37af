/**
 * `npm run mutants`: breaks the server in each way of mutations.ts, in a copy of what was compiled, and runs seeds
 * until one fails. Prints a table; fails if a mutation is not found within the seeds.
 *
 *   npm run mutants                       all of them, up to 500 seeds each
 *   npm run mutants -- --seeds 2000 vote  those whose names hold "vote"
 */
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { packageRoot } from "../../src/base/index.js";
import { compiledPath, type Mutation } from "./mutation.js";
import { mutations } from "./mutations.js";
import { processEnded, runSeeds, type SeedSummary } from "./seed-runner.js";

const compiled = fileURLToPath(new URL("../../", import.meta.url));
/** Of this run alone, so that several may go on at a time. */
const work = join(packageRoot(), ".build", `mutants-${process.pid}`);
process.on("exit", () => rmSync(work, { recursive: true, force: true }));

const print = (line: string): void => void process.stdout.write(`${line}\n`);

/** A copy of the compiled server and simulation. */
function copyTree(): string {
  mkdirSync(work, { recursive: true });
  const filter = (path: string): boolean => !path.endsWith(".map") && !path.endsWith(".test.js");
  for (const part of ["src", "test/simulation"]) {
    cpSync(join(compiled, part), join(work, part), { recursive: true, filter });
  }
  for (const part of ["package.json", "node_modules", "native"]) {
    if (existsSync(join(packageRoot(), part))) symlinkSync(join(packageRoot(), part), join(work, part));
  }
  return join(work, "test", "simulation", "seed-worker.js");
}

/** Applies the edits; returns what takes them back. */
function apply({ name, edits }: Mutation): () => void {
  const originals = new Map<string, string>();
  for (const each of edits) {
    const { file, find, replace } = each;
    const path = join(work, compiledPath(each));
    const text = readFileSync(path, "utf8");
    if (!originals.has(path)) originals.set(path, text);
    if (text.split(find).length !== 2) throw new Error(`${name}: ${file} does not hold exactly once: ${find}`);
    writeFileSync(
      path,
      text.replace(find, () => replace),
    );
  }
  return () => {
    for (const [path, text] of originals) writeFileSync(path, text);
  };
}

function row({ name, rule, unseen }: Mutation, { done, failures, simulatedMs }: SeedSummary): string {
  const [first] = failures;
  const found = first?.kind.slice(0, 60) ?? (unseen === undefined ? "**not found**" : `cannot be: ${unseen}`);
  return `| ${name} | ${rule} | ${found} | ${done} | ${(simulatedMs / 60_000).toFixed(1)} |`;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: "string", default: "500" },
    first: { type: "string", default: "1" },
    workers: { type: "string" },
  },
});

const workerFile = copyTree();
const chosen = mutations.filter(
  ({ name }) => positionals.length === 0 || positionals.some((part) => name.includes(part)),
);
print("| mutation | rule | found as | seeds | simulated minutes |");
print("| --- | --- | --- | --- | --- |");
let missed = 0;
let foundCount = 0;
for (const mutation of chosen) {
  const undo = apply(mutation);
  const run = {
    firstSeed: Number(values.first),
    count: Number(values.seeds),
    isLong: false,
    workerFile,
    untilFailure: true,
    ...(values.workers === undefined ? {} : { workers: Number(values.workers) }),
  };
  const summary = await runSeeds(run);
  undo();
  if (summary.failures.some(({ kind }) => kind === processEnded)) throw new Error(`${mutation.name}: does not run`);
  if (summary.failures.length > 0) foundCount++;
  else if (mutation.unseen === undefined) missed++;
  print(row(mutation, summary));
}
print(`${foundCount} of ${chosen.length} mutations found, ${missed} missed`);
process.exitCode = missed === 0 ? 0 : 1;
