/** A process of the runner's: runs the seeds that it is sent, one after another, and tells what came of each. */
import { drawScenario, longRun, shortRun } from "./draw-scenario.js";
import { runScenario } from "./run-scenario.js";

/** Runner → worker. */
export interface SeedTask {
  readonly firstSeed: number;
  readonly count: number;
  readonly isLong: boolean;
}

/** Worker → runner, one a seed. */
export interface SeedResult {
  readonly seed: number;
  /** null: nothing failed. */
  readonly failure: { readonly kind: string; readonly message: string } | null;
  readonly simulatedMs: number;
  readonly cpuMs: number;
  readonly events: number;
  readonly counts: Readonly<Record<string, number>>;
  /** What the faults have done, by kind. */
  readonly happened: Readonly<Record<string, number>>;
}

async function runSeed(seed: number, isLong: boolean): Promise<SeedResult> {
  const began = process.cpuUsage();
  const { failure, simulatedMs, events, counts, happened } = await runScenario(
    drawScenario(seed, isLong ? longRun : shortRun),
  );
  const { user, system } = process.cpuUsage(began);
  const told = failure === null ? null : { kind: failure.kind, message: failure.message };
  return { seed, failure: told, simulatedMs, cpuMs: (user + system) / 1000, events, counts, happened };
}

async function runTask({ firstSeed, count, isLong }: SeedTask): Promise<void> {
  for (let seed = firstSeed; seed < firstSeed + count; seed++) process.send!(await runSeed(seed, isLong));
}

if (process.send !== undefined) process.on("message", (task: SeedTask) => void runTask(task));
