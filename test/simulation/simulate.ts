/**
 * `npm run simulate`: many seeds in parallel, or one again; `usage` below says how.
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
const seedMax = 2 ** 32 - 1;

const usage = `usage: npm run simulate -- [options]

Runs whole clusters on a simulated network, disk and clock, and checks what they do.

  (no options)       1,000 short seeds, the first one drawn by chance
  --seeds N          so many seeds
  --first SEED       from this one on
  --long             an hour of simulated time each, in place of some seconds
  --workers N        so many processes, in place of one a core
  --scenario FILE    one scenario that was kept
  --no-shrink        failures are kept as they are
  --help             this text

SEED=81247 npm run simulate runs that seed alone, exactly as it was (with --long, the long one).
A failure is shrunk and drawn: .build/simulation/seed-N.json and .svg.`;

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

function summaryLines({ done, simulatedMs, cpuMs, events, counts, happened, failures }: SeedSummary): string[] {
  const hours = (simulatedMs / 3_600_000).toFixed(2);
  const perSeed = (cpuMs / Math.max(1, done)).toFixed(0);
  const counted = (each: Readonly<Record<string, number>>): string =>
    Object.entries(each)
      .map(([name, value]) => `${value} ${name}`)
      .join(", ");
  return [
    `${done} seeds, ${hours} simulated hours, ${perSeed} ms CPU a seed, ${events} events`,
    counted(counts),
    `faults: ${counted(happened)}`,
    failures.length === 0 ? "all hold" : `FAILED: ${failures.map(({ seed }) => seed).join(", ")}`,
  ];
}

/** A line now and then on how far the run is, and at once for each failure. */
function progress(total: number): (summary: SeedSummary) => void {
  const isTty = process.stdout.isTTY;
  let printed = Date.now();
  let told = 0;
  return ({ done, simulatedMs, failures }) => {
    for (; told < failures.length; told++) {
      const { seed, message } = failures[told]!;
      print(`${isTty ? "\r" : ""}FAILED seed ${seed}: ${message.split("\n")[0]}`);
    }
    const now = Date.now();
    if (now - printed < (isTty ? 200 : 10_000) && done < total) return;
    printed = now;
    const line = `${done}/${total} seeds, ${(simulatedMs / 3_600_000).toFixed(2)} simulated hours, ${failures.length} failed`;
    if (isTty) process.stdout.write(`\r${line}${done === total ? "\n" : ""}`);
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

function sizeOf({ members, durationMs, ...lists }: Scenario): string {
  const counted = (["faults", "operations", "leases", "watches", "compactions"] as const).flatMap((name) => {
    const count = lists[name]?.length ?? 0;
    return count === 0 ? [] : [`${count} ${name}`];
  });
  return [`${members} members`, ...counted, `${durationMs} ms`].join(", ");
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
        progress: (smaller, runs) => print(`  ${runs}: ${sizeOf(smaller)}`),
      },
    );
    await keep(small, `seed-${scenario.seed}`);
  } else await keep(scenario, `seed-${scenario.seed}`);
  return false;
}

interface Options {
  readonly count: number;
  readonly first: number | null;
  readonly isLong: boolean;
  readonly workers: number | null;
  readonly scenario: string | null;
  readonly mayShrink: boolean;
  /** The one seed to run; null: many. */
  readonly seed: number | null;
}

/** What was asked for makes no sense; told without a stack. */
class UsageError extends Error {}

function wholeNumber(name: string, text: string, lo: number, hi: number): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isInteger(value) || value < lo || value > hi)
    throw new UsageError(`${name} is a whole number from ${lo} to ${hi}, not "${text}"`);
  return value;
}

function optionsOf(args: readonly string[], env: NodeJS.ProcessEnv): Options | null {
  const { values } = parseOptions(args);
  if (values.help) return null;
  const isMissing = (text: string | undefined): text is undefined => text === undefined;
  const seed = env["SEED"];
  return {
    count: wholeNumber("--seeds", values.seeds, 1, 1e9),
    first: isMissing(values.first) ? null : wholeNumber("--first", values.first, 0, seedMax),
    isLong: values.long,
    workers: isMissing(values.workers) ? null : wholeNumber("--workers", values.workers, 1, 1024),
    scenario: values.scenario ?? null,
    mayShrink: !values["no-shrink"],
    seed: isMissing(seed) ? null : wholeNumber("SEED", seed, 0, seedMax),
  };
}

function parseOptions(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        help: { type: "boolean", short: "h", default: false },
        seeds: { type: "string", default: "1000" },
        first: { type: "string" },
        long: { type: "boolean", default: false },
        workers: { type: "string" },
        scenario: { type: "string" },
        "no-shrink": { type: "boolean", default: false },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function readScenario(path: string): Scenario {
  try {
    const scenario = JSON.parse(readFileSync(path, "utf8")) as Partial<Scenario>;
    for (const field of ["seed", "members", "durationMs", "faults", "operations", "weather", "limits"] as const) {
      if (scenario[field] === undefined) throw new Error(`it has no "${field}"`);
    }
    // The fields that a run begins with are there; it says itself what it cannot do.
    return scenario as Scenario;
  } catch (error) {
    throw new UsageError(`cannot use the scenario ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function runMany({ count, first, isLong, workers, mayShrink }: Options): Promise<boolean> {
  const firstSeed = first ?? Math.floor(Math.random() * 2 ** 31);
  print(`seeds ${firstSeed} to ${firstSeed + count - 1}, commit ${commit()}`);
  const summary = await runSeeds({
    firstSeed,
    count,
    isLong,
    ...(workers === null ? {} : { workers }),
    onResult: progress(count),
  });
  for (const line of summaryLines(summary)) print(line);
  // One of each kind, the first.
  const kinds = new Map(summary.failures.toReversed().map((failure) => [failure.kind, failure]));
  for (const { seed } of kinds.values())
    await runOne(drawScenario(seed, isLong ? longRun : shortRun), mayShrink && !isLong);
  return summary.failures.length === 0;
}

async function main(): Promise<boolean> {
  const options = optionsOf(process.argv.slice(2), process.env);
  if (options === null) {
    print(usage);
    return true;
  }
  const { scenario, seed, isLong, mayShrink } = options;
  if (scenario !== null) {
    const read = readScenario(scenario);
    print(`scenario ${scenario}, seed ${read.seed}, commit ${commit()}`);
    return runOne(read, mayShrink);
  }
  if (seed === null) return runMany(options);
  print(`seed ${seed}, commit ${commit()}`);
  return runOne(drawScenario(seed, isLong ? longRun : shortRun), mayShrink);
}

try {
  process.exitCode = (await main()) ? 0 : 1;
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`simulate: ${error.message}\n\n${usage}\n`);
  process.exitCode = 2;
}
