/** Runs many seeds in several processes, and gathers what came of them. */
import { fork, type ChildProcess } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import type { SeedResult, SeedTask } from "./seed-worker.js";

export interface SeedRun {
  readonly firstSeed: number;
  readonly count: number;
  readonly isLong: boolean;
  readonly workers?: number;
  /** Compiled file of the worker; another one for a mutant. */
  readonly workerFile?: string;
  /** End at the first failure. */
  readonly untilFailure?: boolean;
  readonly onResult?: (summary: SeedSummary) => void;
}

export interface SeedFailure {
  readonly seed: number;
  readonly kind: string;
  readonly message: string;
}

export interface SeedSummary {
  done: number;
  simulatedMs: number;
  cpuMs: number;
  events: number;
  readonly counts: Record<string, number>;
  /** What the faults have done, by kind. */
  readonly happened: Record<string, number>;
  readonly failures: SeedFailure[];
}

/** A failure of the process rather than of a check. */
export const processEnded = "process ended";

/** Seeds that a worker gets at a time. */
const chunkSize = 10;

class Run {
  readonly #run: SeedRun;
  readonly #summary: SeedSummary = {
    done: 0,
    simulatedMs: 0,
    cpuMs: 0,
    events: 0,
    counts: {},
    happened: {},
    failures: [],
  };
  readonly #finished: (summary: SeedSummary) => void;
  readonly #workers = new Set<ChildProcess>();
  #next: number;
  #over = false;
  /** A seed that goes on forever would outlive this process. */
  readonly #killWorkers = (): void => {
    for (const worker of this.#workers) worker.kill();
  };

  constructor(run: SeedRun, finished: (summary: SeedSummary) => void) {
    this.#run = run;
    this.#finished = finished;
    this.#next = run.firstSeed;
    process.on("exit", this.#killWorkers);
    const chunks = Math.ceil(run.count / this.#chunk);
    const workers = Math.min(run.workers ?? availableParallelism(), chunks);
    for (let i = 0; i < workers; i++) this.#startWorker();
  }

  get #chunk(): number {
    return this.#run.isLong ? 1 : chunkSize;
  }

  #startWorker(): void {
    const file = this.#run.workerFile ?? fileURLToPath(new URL("seed-worker.js", import.meta.url));
    const worker = fork(file, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    this.#workers.add(worker);
    let expected: number[] = [];
    let results = 0;
    const give = (): void => {
      const end = this.#run.firstSeed + this.#run.count;
      if (this.#next >= end || this.#over) {
        worker.disconnect();
        return;
      }
      const task: SeedTask = {
        firstSeed: this.#next,
        count: Math.min(this.#chunk, end - this.#next),
        isLong: this.#run.isLong,
      };
      expected = Array.from({ length: task.count }, (_, i) => task.firstSeed + i);
      this.#next += task.count;
      worker.send(task);
    };
    worker.on("message", (result: SeedResult) => {
      expected.shift();
      results++;
      this.#take(result);
      if (expected.length === 0) give();
    });
    worker.on("exit", (code, signal) => {
      this.#workers.delete(worker);
      if (expected.length > 0 && !this.#over) {
        this.#lost(expected, `worker ended with ${code ?? signal}`);
        // One that cannot even begin would do no better the next time.
        if (results === 0) this.#end();
        else if (this.#next < this.#run.firstSeed + this.#run.count) this.#startWorker();
      }
      if (this.#workers.size > 0) return;
      process.off("exit", this.#killWorkers);
      this.#finished(this.#summary);
    });
    give();
  }

  /** The worker died in the first of these seeds. */
  #lost(seeds: readonly number[], message: string): void {
    this.#summary.failures.push({ seed: seeds[0]!, kind: processEnded, message });
    this.#summary.done += seeds.length;
  }

  #take({ seed, failure, simulatedMs, cpuMs, events, counts, happened }: SeedResult): void {
    const summary = this.#summary;
    summary.done++;
    summary.simulatedMs += simulatedMs;
    summary.cpuMs += cpuMs;
    summary.events += events;
    addTo(summary.counts, counts);
    addTo(summary.happened, happened);
    if (failure !== null) summary.failures.push({ seed, ...failure });
    this.#run.onResult?.(summary);
    if (failure !== null && this.#run.untilFailure === true) this.#end();
  }

  #end(): void {
    this.#over = true;
    this.#killWorkers();
  }
}

function addTo(sums: Record<string, number>, counts: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(counts)) sums[name] = (sums[name] ?? 0) + value;
}

/** Resolves when all seeds are done. */
export function runSeeds(run: SeedRun): Promise<SeedSummary> {
  return new Promise((resolve) => void new Run(run, resolve));
}
