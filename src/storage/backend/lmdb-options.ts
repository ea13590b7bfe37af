/** What the LMDB backend is opened with. */
import type { StartRebuild } from "./rebuild.js";

/** One commit, as told to `onCommit` once it is flushed. */
export interface CommitReport {
  readonly changes: number;
  readonly bytes: number;
  /** From the start of the write transaction until its flush was confirmed: etcd's backend commit duration. */
  readonly seconds: number;
  /** Of these, until its pages were handed to the system; the rest is the flush. */
  readonly writeSeconds: number;
  readonly flushedIndex: number;
}

export interface LmdbBackendOptions {
  /** The folder of the environment (`<data-dir>/member/db`); made, with its parents, when absent. */
  readonly directory: string;
  /** --backend-batch-interval: a change waits at most so long for its write transaction to start. */
  readonly batchIntervalMs: number;
  /** --backend-batch-limit: so many changes start a write transaction at once. */
  readonly batchChangesMax: number;
  /** A write transaction ends with the entry that brings it to so many changes, and starts then. */
  readonly transactionChangesMax: number;
  /** Likewise with so many bytes held in memory. */
  readonly transactionBytesMax: number;
  /** Bound of what may wait in memory; at it `isFull` is true. */
  readonly overlayBytesMax: number;
  /** --quota-backend-bytes; the map is made far larger, so that LMDB itself is never full. */
  readonly quotaBytes: number;
  /** Sizes are counted anew at most so often: that walks all databases' headers, and transactions are many. */
  readonly sizesAgeMsMax: number;
  /**
   * The commit or flush failed: the member must stop, without exit handlers (SIGKILL), since lmdb's would
   * flush again and confirm what is lost. Called once.
   */
  readonly onFatal: (error: Error) => void;
  /** A commit is flushed. For the histogram etcd_disk_backend_commit_duration_seconds and PROGRESS. */
  readonly onCommit?: (report: CommitReport) => void;
  /** Builds another environment on a thread of its own; without it there is no `defragment`. */
  readonly startRebuild?: StartRebuild | undefined;
}

/** etcd's defaults for the batch, ours for the rest. */
export const lmdbBackendDefaults = {
  batchIntervalMs: 100,
  batchChangesMax: 10_000,
  transactionChangesMax: 1_000,
  transactionBytesMax: 8 << 20,
  overlayBytesMax: 64 << 20,
  quotaBytes: 2 * 1024 ** 3,
  sizesAgeMsMax: 100,
} as const;
