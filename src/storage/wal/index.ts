/**
 * The write-ahead log: segments, checksums, group commit, replay. The files are native/core/src/wal's
 * business; here entries become records and durable tokens become calls.
 *
 * Thread: main calls; writing, syncing and preparing segments happen on threads of Rust's.
 * Invariants: what `onDurable` tells is on disk; damage that is not a torn last batch is refused with its
 * place, and nothing is deleted; an I/O error is final.
 */
export {
  Wal,
  walPendingBytesMax,
  type ConfState,
  type ReplayVisitor,
  type SnapshotMark,
  type WalAppend,
  type WalCut,
  type WalDoors,
  type WalOptions,
} from "./wal.js";
export { type HardState } from "./record.js";
export { type WalStats } from "./stats.js";
export {
  walBuckets,
  WalAbsentError,
  WalCorruptError,
  WalError,
  WalExistsError,
  WalInvalidError,
  WalIoError,
  WalLockedError,
} from "../../native/index.js";
