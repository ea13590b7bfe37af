/**
 * `npm run simulate`: many seeds in parallel, or one again.
 *
 *   npm run simulate                         1,000 short seeds from a first one drawn by chance
 *   npm run simulate -- --seeds 100000       more of them
 *   npm run simulate -- --long --seeds 100   each an hour of simulated time
 *   SEED=81247 npm run simulate              that seed alone, exactly as it was
 *   npm run simulate -- --scenario FILE      a scenario that was kept
 *
 * A failing seed is shrunk to a short history; its scenario and its drawing go to .build/simulation/.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { packageRoot } from "../../src/base/index.js";
import { drawScenario, longRun, shortRun } from "./draw-scenario.js";
import { drawSvg } from "./draw-svg.js";
import { runScenario } from "./run-scenario.js";
import type { Scenario } from "./scenario.js";
import { runSeeds, type SeedSummary } from "./seed-runner.js";
import { shrink } from "./shrink.js";

const outDir = join(packageRoot(), ".build", "simulation");
const runsToShrink = 400;

const print = (line: string): void => void process.stdout.write(`${line}\n`);

function commit(): string {
  try {
    const git = (...args: string[]): string =>
      execFileSync("git", args, { cwd: packageRoot(), encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
    const changed = git("status", "--porcelain", "src", "test/simulation") !== "";
    return `${git("rev-parse", "--short", "HEAD")}${changed ? " with changes" : ""}`;
  } catch {
    return "unknown";
  }
}

function summaryLines({ done, simulatedMs, cpuMs, events, counts, failures }: SeedSummary): string[] {
  const hours = (simulatedMs / 3_600_000).toFixed(2);
  const perSeed = (cpuMs / Math.max(1, done)).toFixed(0);
  const counted = Object.entries(counts).map(([name, value]) => `${value} ${name}`);
  return [
    `${done} seeds, ${hours} simulated hours, ${perSeed} ms CPU a seed, ${events} events`,
    counted.join(", "),
    ...failures.map(({ seed, message }) => `FAILED seed ${seed}: ${message.split("\n")[0]}`),
  ];
}

function progress(total: number): (summary: SeedSummary) => void {
  let printed = Date.now();
  return ({ done, simulatedMs, failures }) => {
    const now = Date.now();
    if (now - printed < (process.stdout.isTTY ? 200 : 10_000) && done < total) return;
    printed = now;
    const line = `${done}/${total} seeds, ${(simulatedMs / 3_600_000).toFixed(2)} simulated hours, ${failures.length} failed`;
    if (process.stdout.isTTY) process.stdout.write(`\r${line}${done === total ? "\n" : ""}`);
    else print(line);
  };
}

/** Keeps what shows a failure. */
async function keep(scenario: Scenario, name: string): Promise<void> {
  mkdirSync(outDir, { recursive: true });
  const { trace } = await runScenario(scenario, true);
  const path = join(outDir, name);
  writeFileSync(`${path}.json`, `${JSON.stringify(scenario, null, 2)}\n`);
  writeFileSync(`${path}.svg`, drawSvg(scenario, trace!));
  print(`kept ${path}.json and ${path}.svg`);
}

/** Runs one scenario; when it fails, shrinks and draws it. Returns whether it held. */
async function runOne(scenario: Scenario, mayShrink: boolean): Promise<boolean> {
  const { failure, simulatedMs, events, counts } = await runScenario(scenario);
  print(`${(simulatedMs / 1000).toFixed(1)} simulated seconds, ${events} events, ${JSON.stringify(counts)}`);
  if (failure === null) {
    print(`seed ${scenario.seed} holds`);
    return true;
  }
  print(`FAILED seed ${scenario.seed}: ${failure.message}`);
  if (mayShrink) {
    print("shrinking");
    const small = await shrink(
      scenario,
      async (candidate) => (await runScenario(candidate)).failure?.kind === failure.kind,
      {
        runsMax: runsToShrink,
        progress: ({ faults, operations, members, durationMs }, runs) =>
          print(
            `  ${runs}: ${members} members, ${faults.length} faults, ${operations.length} operations, ${durationMs} ms`,
          ),
      },
    );
    await keep(small, `seed-${scenario.seed}`);
  } else await keep(scenario, `seed-${scenario.seed}`);
  return false;
}

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    first: { type: "string" },
    long: { type: "boolean", default: false },
    workers: { type: "string" },
    scenario: { type: "string" },
    "no-shrink": { type: "boolean", default: false },
  },
});

async function main(): Promise<boolean> {
  const length = values.long ? longRun : shortRun;
  const mayShrink = !values["no-shrink"];
  if (values.scenario !== undefined) {
    print(`scenario ${values.scenario}, commit ${commit()}`);
    return runOne(JSON.parse(readFileSync(values.scenario, "utf8")) as Scenario, mayShrink);
  }
  const given = process.env["SEED"];
  if (given !== undefined) {
    print(`seed ${given}, commit ${commit()}`);
    return runOne(drawScenario(Number(given), length), mayShrink);
  }
  const count = Number(values.seeds);
  const firstSeed = values.first === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.first);
  print(`seeds ${firstSeed} to ${firstSeed + count - 1}, commit ${commit()}`);
  const workers = values.workers === undefined ? {} : { workers: Number(values.workers) };
  const summary = await runSeeds({ firstSeed, count, isLong: values.long, ...workers, onResult: progress(count) });
  for (const line of summaryLines(summary)) print(line);
  const kinds = new Map(summary.failures.map((failure) => [failure.kind, failure]));
  for (const { seed } of kinds.values()) await runOne(drawScenario(seed, length), mayShrink && !values.long);
  return summary.failures.length === 0;
}

process.exitCode = (await main()) ? 0 : 1;
