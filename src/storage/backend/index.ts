/**
 * The buckets on disk: LMDB with etcd's own keys and values, one writer, batched commits.
 *
 * Thread: apply, which is the only writer. Reads of other threads open the environment themselves.
 * Invariants: a transaction holds whole entries and the consistent index of the last of them; what has
 * not reached LMDB is read from memory; `flushedIndex` moves only after the disk has confirmed; a
 * commit or flush that fails is reported once through `onFatal` and ends the member.
 *
 * Usage by apply:
 *
 *   const backend = LmdbBackend.open({ directory, ...lmdbBackendDefaults, onFatal, onCommit });
 *   const store = await MvccStore.open({ backend, yield });
 *   for each committed entry: apply it (store.begin … store.end, backend.put …), then
 *     backend.endEntry(index, term);              // exactly once an entry, in order
 *   after a batch of entries: if (backend.isFull) await backend.room();
 *   progress to main: backend.flushedIndex (onCommit tells when it has moved)
 */
export { Bucket, buckets, clusterVersionKey, metaKey, smallBuckets, type SmallBucket } from "./bucket.js";
export {
  emptyRecordView,
  type Backend,
  type BackendEntry,
  type BackendSizes,
  type RecordView,
  type RecordVisitor,
  type ScanLimits,
  type ScanPosition,
} from "./backend.js";
export { StoreDamagedError } from "./checks.js";
export { EnvironmentCopy } from "./environment-copy.js";
export { EnvironmentWriter } from "./environment-writer.js";
export { LmdbBackend } from "./lmdb-backend.js";
export { environmentExists, rebuildDirectory, removeRebuild, replaceEnvironment } from "./lmdb-file.js";
export { lmdbBackendDefaults, type CommitReport, type LmdbBackendOptions } from "./lmdb-options.js";
export { MemoryBackend } from "./memory-backend.js";
export { PinnedReader, type PinnedCursor, type PinnedRead } from "./pinned-reader.js";
export { RebuildError, type Rebuild, type StartRebuild } from "./rebuild.js";
export { revisionKey, RevisionKeyReader, writeRevisionKey } from "./revision-key.js";
export { decodeUint64, encodeUint64 } from "./uint64.js";
