/**
 * The log's counters, for etcd_disk_wal_*; they are counted in Rust and read when metrics are asked for.
 */
import { walBuckets, walStatsNumbers, type WalDoor } from "../../native/index.js";

/** Observations by bucket of `walBuckets`, one more for those above; sums in seconds. */
export interface WalStats {
  readonly fsyncCounts: Float64Array;
  readonly fsyncSeconds: number;
  readonly writeCounts: Float64Array;
  readonly writeSeconds: number;
  readonly writtenBytes: number;
}

export function readStats(door: Pick<WalDoor, "stats">): WalStats {
  const numbers = new Float64Array(walStatsNumbers);
  door.stats(numbers);
  const counts = walBuckets.length + 1;
  return {
    fsyncCounts: numbers.subarray(0, counts),
    fsyncSeconds: numbers[counts]!,
    writeCounts: numbers.subarray(counts + 1, counts * 2 + 1),
    writeSeconds: numbers[counts * 2 + 1]!,
    writtenBytes: numbers[counts * 2 + 2]!,
  };
}
