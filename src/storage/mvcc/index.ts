/**
 * Revisions of keys: the index in memory, records in the backend's `key` bucket.
 *
 * Thread: apply. Pure: no clock, chance or timer; long work is cut by a passed `yield`.
 * Invariants: the current revision grows by one with every write transaction that changed something
 * and by nothing else; the records of a revision are (revision, 0), (revision, 1), … without a gap;
 * a record, once written, never changes.
 *
 * Writing (per entry):  store.begin(); store.put(…) / store.deleteRange(…) / reads; store.end();
 *                       then backend.endEntry(index, term), exactly once an entry.
 * Reading one key:      store.readKey(bytes, from, to, revision, view) → a marshalled mvccpb.KeyValue in place.
 * Reading a range:      scan.start(query) → status; scan.next(sink, limits) in slices until it returns true;
 *                       one that is suspended when a compaction above its revision is scheduled must not go on.
 * Compacting:           store.compact(revision) in an entry; beginCompaction → its steps → endCompaction between entries.
 */
export { Compaction, CompactionStep, type ScheduledCompaction } from "./compaction.js";
export { CompactionHashes } from "./compaction-hashes.js";
export {
  RevisionStatus,
  type HashResult,
  type KeyLeases,
  type KeyValueHash,
  type MvccStoreOptions,
  type RangeQuery,
  type RangeSink,
  type SliceLimits,
  type TxnChanges,
} from "./contract.js";
export { KeyHasher } from "./key-hasher.js";
export { cursorItem, KeyIndex, KeyIndexCursor } from "./key-index.js";
export { KeyValueReader } from "./key-value.js";
export { RangeScan } from "./range-scan.js";
export { MvccStore } from "./store.js";
