/**
 * `npm run mutants`: breaks the server in each way of mutations.ts, in a copy of what was compiled, and runs seeds
 * until one fails. Prints a table; fails if a mutation is not found within the seeds.
 *
 *   npm run mutants                       all of them, up to 500 seeds each
 *   npm run mutants -- --seeds 2000 vote  those whose names hold "vote"
 */
import { parseArgs } from "node:util";
import { MutatedTree } from "./mutated-tree.js";
import type { Mutation } from "./mutation.js";
import { mutations } from "./mutations.js";
import { processEnded, runSeeds, type SeedSummary } from "./seed-runner.js";

const print = (line: string): void => void process.stdout.write(`${line}\n`);

function row({ name, rule, unseen }: Mutation, { done, failures, simulatedMs }: SeedSummary): string {
  const [first] = failures;
  const found =
    first?.kind.split("\n")[0]!.slice(0, 60) ?? (unseen === undefined ? "**not found**" : `cannot be: ${unseen}`);
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

// On a signal, too, what is mutated ends with this process, and the copy goes.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));
const tree = new MutatedTree("mutants");
const chosen = mutations.filter(
  ({ name }) => positionals.length === 0 || positionals.some((part) => name.includes(part)),
);
print("| mutation | rule | found as | seeds | simulated minutes |");
print("| --- | --- | --- | --- | --- |");
let missed = 0;
let foundCount = 0;
for (const mutation of chosen) {
  const undo = tree.apply(mutation);
  const run = {
    firstSeed: Number(values.first),
    count: Number(values.seeds),
    isLong: false,
    workerFile: tree.simulationModule("seed-worker"),
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
