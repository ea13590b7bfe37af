/**
 * The log alone: append → durable of one record at a time, seen in Rust and in JavaScript, against the same disk's
 * floor: a 4 KiB O_DIRECT write and an fdatasync on a zero-filled file. The floor is measured twice, by fio (whose
 * percentiles are those of its writes plus those of its syncs) and by wal_bench's own loop (both calls timed as one).
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { BenchOptions } from "./options.js";
import { output, toolVersion } from "./programs.js";
import { median } from "./statistics.js";

/** Microseconds. */
export interface DiskLatency {
  readonly p50: number;
  readonly p99: number;
}

export interface WalTurn {
  /** Null: fio is not installed. */
  readonly fio: DiskLatency | null;
  readonly loop: DiskLatency;
  readonly rust: DiskLatency;
  readonly js: DiskLatency;
}

const floorFileBytes = 64 << 20;
const graceMs = 20_000;

/** One turn: fio, Rust and JavaScript right after one another. */
export async function measureWal(walBench: string, options: BenchOptions): Promise<WalTurn> {
  const folder = mkdtempSync(join(options.folder, "etcd-ts-bench-wal-"));
  const seconds = Math.max(1, Math.round(options.measureMs / 2000));
  try {
    const fio = toolVersion("fio") === null ? null : await runFio(folder, seconds);
    const { log, floor } = JSON.parse(
      await output(walBench, [folder, String(2 * seconds)], 2000 * seconds + graceMs),
    ) as { log: RustLatency; floor: RustLatency };
    const child = fileURLToPath(new URL("wal-append.js", import.meta.url));
    const args = [child, join(folder, "js"), String(1000 * seconds)];
    const js = JSON.parse(await output(process.execPath, args, 1000 * seconds + graceMs)) as DiskLatency;
    return { fio, loop: ofRust(floor), rust: ofRust(log), js };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface RustLatency {
  readonly p50Us: number;
  readonly p99Us: number;
}

const ofRust = ({ p50Us, p99Us }: RustLatency): DiskLatency => ({ p50: p50Us, p99: p99Us });

type FioPercentiles = { readonly percentile: Readonly<Record<string, number>> };

async function runFio(folder: string, seconds: number): Promise<DiskLatency> {
  const file = join(folder, "floor");
  writeFileSync(file, new Uint8Array(floorFileBytes), { flush: true });
  const shape = ["--name=floor", `--filename=${file}`, `--size=${floorFileBytes}`, "--overwrite=1", "--bs=4k"];
  const calls = ["--rw=write", "--ioengine=sync", "--direct=1", "--fdatasync=1"];
  const how = ["--time_based", `--runtime=${seconds}`, "--output-format=json"];
  const text = await output("fio", [...shape, ...calls, ...how], 1000 * seconds + graceMs);
  rmSync(file);
  const { jobs } = JSON.parse(text.slice(text.indexOf("{"))) as {
    jobs: [{ write: { clat_ns: FioPercentiles }; sync: { lat_ns: FioPercentiles } }];
  };
  const [{ write, sync }] = jobs;
  const sum = (name: string): number =>
    ((write.clat_ns.percentile[name] ?? Number.NaN) + (sync.lat_ns.percentile[name] ?? Number.NaN)) / 1000;
  return { p50: sum("50.000000"), p99: sum("99.000000") };
}

/** How a turn's latency stands to the floor, as medians of the turns' ratios. */
export interface WalRatios {
  readonly p50: number;
  readonly p99: number;
}

export function walRatios(turns: readonly WalTurn[], of: "rust" | "js", floor: "fio" | "loop"): WalRatios | null {
  if (turns.some((turn) => turn[floor] === null)) return null;
  const ratio = (name: keyof DiskLatency): number => median(turns.map((turn) => turn[of][name] / turn[floor]![name]));
  return { p50: ratio("p50"), p99: ratio("p99") };
}

/** Medians over the turns. */
export function medianWal(turns: readonly WalTurn[], of: keyof WalTurn): DiskLatency | null {
  const values = turns.map((turn) => turn[of]).filter((value) => value !== null);
  if (values.length === 0) return null;
  return { p50: median(values.map(({ p50 }) => p50)), p99: median(values.map(({ p99 }) => p99)) };
}
