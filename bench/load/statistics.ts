/** Medians of turns, and histograms of latencies. */
import { readFileSync } from "node:fs";
import { build, type Histogram } from "hdr-histogram-js";

/** Latencies are recorded in units of 100 ns, as the load generator writes them. */
const unitsPerMs = 10_000;

/** Percentiles and mean in milliseconds. */
export interface Latency {
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

export function newHistogram(): Histogram {
  return build({ numberOfSignificantValueDigits: 3, bitBucketSize: 64 });
}

/** Records a file of u32 in 100 ns. */
export function recordFile(histogram: Histogram, path: string): void {
  const bytes = readFileSync(path);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + 4 <= bytes.length; at += 4) histogram.recordValue(Math.max(1, view.getUint32(at, true)));
}

export function recordMs(histogram: Histogram, milliseconds: number): void {
  histogram.recordValue(Math.max(1, Math.round(milliseconds * unitsPerMs)));
}

/** The value below which that share of all lies; `percentile` from 0 to 100. */
export function percentileMs(histogram: Histogram, percentile: number): number {
  return histogram.getValueAtPercentile(percentile) / unitsPerMs;
}

export function latencyOf(histogram: Histogram): Latency {
  const at = (percentile: number): number => percentileMs(histogram, percentile);
  return {
    mean: histogram.mean / unitsPerMs,
    p50: at(50),
    p90: at(90),
    p99: at(99),
    p999: at(99.9),
    max: at(100),
  };
}

/** The middle one; of an even number the mean of the two. NaN when there is none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Each percentile's median over turns. */
export function medianLatency(turns: readonly Latency[]): Latency {
  const of = (name: keyof Latency): number => median(turns.map((turn) => turn[name]));
  return { mean: of("mean"), p50: of("p50"), p90: of("p90"), p99: of("p99"), p999: of("p999"), max: of("max") };
}
