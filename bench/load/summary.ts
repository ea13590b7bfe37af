/** Medians of all turns, and what they say about the goals. */
import type { Histogram } from "hdr-histogram-js";
import type { ContentTurn } from "./content.js";
import type { LoadResult } from "./generators.js";
import type { ResidentMiB } from "./machine.js";
import type { Scenario, ServerTurn } from "./scenarios.js";
import { latencyOf, median, medianLatency, newHistogram, type Latency } from "./statistics.js";
import { medianWal, walRatios, type DiskLatency, type WalTurn } from "./wal.js";

/** One server in one scenario; medians of turns. */
export interface Figures {
  readonly requestsPerSecond: number;
  readonly cpuUs: number;
  readonly generatorCpuUs: number;
  readonly failed: number;
  readonly foreignCpu: number;
  /** Milliseconds. */
  readonly latency: Latency | null;
}

export interface ScenarioSummary {
  readonly scenario: Scenario;
  readonly ours: Figures;
  readonly etcd: Figures;
}

/** A goal of the project and whether this run reached it. */
export interface Verdict {
  readonly goal: string;
  readonly value: number;
  readonly limit: number;
  /** What to be at best, where there is such an aim. */
  readonly aim: number | null;
  readonly met: boolean;
}

export type Side = "ours" | "etcd";
export type Turns = Readonly<Record<Side, readonly ServerTurn[]>>;

export function summarize(chosen: readonly Scenario[], turns: Turns): ScenarioSummary[] {
  return chosen.map((scenario) => ({
    scenario,
    ours: figuresOf(resultsOf(turns.ours, scenario)),
    etcd: figuresOf(resultsOf(turns.etcd, scenario)),
  }));
}

function resultsOf(turns: readonly ServerTurn[], { name }: Scenario): LoadResult[] {
  return turns.map(({ results }) => results.get(name)!);
}

function figuresOf(results: readonly LoadResult[]): Figures {
  const of = (pick: (result: LoadResult) => number): number => median(results.map(pick));
  return {
    requestsPerSecond: of((result) => result.requestsPerSecond),
    cpuUs: of((result) => result.cpuUs),
    generatorCpuUs: of((result) => result.ownCpuUs),
    failed: results.reduce((sum, { failed }) => sum + failed, 0),
    foreignCpu: of((result) => result.foreignCpu),
    latency: medianLatency(results.map(latencyOfResult)),
  };
}

function latencyOfResult({ latency, latencyMs }: LoadResult): Latency {
  if (latency !== null) return latencyOf(latency);
  const { mean, p50, p99 } = latencyMs ?? { mean: Number.NaN, p50: Number.NaN, p99: Number.NaN };
  return { mean, p50, p99, p90: Number.NaN, p999: Number.NaN, max: Number.NaN };
}

/** All turns' latencies of one scenario together. */
export function mergedLatency(turns: readonly ServerTurn[], scenario: Scenario): Histogram {
  const merged = newHistogram();
  for (const { latency } of resultsOf(turns, scenario)) if (latency !== null) merged.add(latency);
  return merged;
}

/** The goals that this run can tell of. */
export function verdicts(summaries: readonly ScenarioSummary[], turns: Turns, wal: readonly WalTurn[]): Verdict[] {
  const found: Verdict[] = [];
  const add = (goal: string, value: number, limit: { min?: number; max?: number; aim?: number }): void => {
    const met = limit.min === undefined ? value <= limit.max! : value >= limit.min;
    found.push({ goal, value, limit: limit.min ?? limit.max!, aim: limit.aim ?? null, met });
  };
  for (const { scenario, ours, etcd } of summaries) {
    const { name, title } = scenario;
    const rate = ours.requestsPerSecond / etcd.requestsPerSecond;
    if (name === "put-100x10") {
      add(`${title}: req/s, times etcd's (at least)`, rate, { min: 2.5, aim: 4 });
      add(`${title}: CPU a request, times etcd's (at most)`, ours.cpuUs / etcd.cpuUs, { max: 0.33, aim: 0.2 });
    } else if (name === "put-10x10" || name.startsWith("get-")) {
      add(`${title}: req/s, times etcd's (at least)`, rate, { min: 2.5 });
    } else if (name === "put-1x1") {
      const mean = ours.latency!.mean / etcd.latency!.mean;
      add(`${title}: mean latency, times etcd's (at most)`, mean, { max: 0.85, aim: 0.6 });
    } else if (name === "put-10k") {
      add(`${title}: put p99 in ms (NVMe budget, at most)`, ours.latency!.p99, { max: 5 });
      const share = median(turns.ours.map(({ fastFsyncShare }) => fastFsyncShare));
      add(`${title}: share of WAL fsyncs within 1 ms (NVMe budget, at least)`, share, { min: 0.99 });
    }
  }
  for (const { of, limit } of walLimits) {
    for (const floor of ["fio", "loop"] as const) {
      const ratios = wal.length === 0 ? null : walRatios(wal, of, floor);
      if (ratios === null) continue;
      add(`WAL seen in ${of}: p50, times the floor by ${floor} (at most)`, ratios.p50, { max: limit });
      add(`WAL seen in ${of}: p99, times the floor by ${floor} (at most)`, ratios.p99, { max: limit });
    }
  }
  return found;
}

const walLimits = [
  { of: "rust", limit: 1.25 },
  { of: "js", limit: 1.75 },
] as const;

/** Medians of what is measured once a turn. */
export interface ServerSummary {
  readonly fastFsyncShare: number;
}

export function summarizeServer(turns: readonly ServerTurn[]): ServerSummary {
  return { fastFsyncShare: median(turns.map(({ fastFsyncShare }) => fastFsyncShare)) };
}

/** Medians of start and memory. */
export function summarizeContent(turns: readonly ContentTurn[]): ContentTurn {
  const of = (pick: (turn: ContentTurn) => number): number => median(turns.map(pick));
  const memoryOf = (pick: (turn: ContentTurn) => ResidentMiB): ResidentMiB => ({
    total: of((turn) => pick(turn).total),
    anonymous: of((turn) => pick(turn).anonymous),
  });
  return {
    startMs: of((turn) => turn.startMs),
    fresh: memoryOf((turn) => turn.fresh),
    revision: of((turn) => turn.revision),
    loaded: memoryOf((turn) => turn.loaded),
    restartMs: of((turn) => turn.restartMs),
    restarted: memoryOf((turn) => turn.restarted),
  };
}

export type WalSummary = Readonly<Record<keyof WalTurn, DiskLatency | null>>;

export function summarizeWal(turns: readonly WalTurn[]): WalSummary {
  return {
    fio: medianWal(turns, "fio"),
    loop: medianWal(turns, "loop"),
    rust: medianWal(turns, "rust"),
    js: medianWal(turns, "js"),
  };
}
