/**
 * What a store of buckets must do, whichever keeps them: LMDB (`LmdbBackend`) or memory
 * (`MemoryBackend`, for simulation and pure tests).
 *
 * One thread writes, the apply thread. Changes gather in memory (the overlay), are visible to this
 * interface's reads at once, and reach the disk in write transactions of whole entries: everything
 * between two calls of `endEntry` is in one transaction, together with the consistent index and term
 * that `endEntry` gives. A crash therefore leaves the state as it was after some entry.
 */
import type { SmallBucket } from "./bucket.js";

/** Where a read left a record; valid until the next call of the backend. Reused, never kept. */
export interface RecordView {
  bytes: Uint8Array;
  /** The record's value, one marshalled mvccpb.KeyValue, is `bytes[start, end)`. */
  start: number;
  end: number;
}

/** A record view that points nowhere yet. */
export function emptyRecordView(): RecordView {
  return { bytes: new Uint8Array(0), start: 0, end: 0 };
}

/** One entry of a small bucket; both arrays are the caller's. */
export interface BackendEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** Receives the records of a scan in order of revision; `bytes` is valid only within the call. */
export interface RecordVisitor {
  visit(main: number, sub: number, tombstone: boolean, bytes: Uint8Array, start: number, end: number): void;
}

/** A place in the `key` bucket: the first revision that a scan has not yet seen. */
export interface ScanPosition {
  main: number;
  sub: number;
}

/** How much one slice of a scan may take. */
export interface ScanLimits {
  readonly records: number;
  readonly bytes: number;
}

/** Sizes as etcd reports them. */
export interface BackendSizes {
  /** Bytes of the file's pages, those aside that the store keeps for itself (dbSize). */
  readonly total: number;
  /** Bytes of the pages that hold something (dbSizeInUse). */
  readonly inUse: number;
}

export interface Backend {
  /** Index and term of the last entry ended by `endEntry`; 0 in a fresh store. */
  readonly consistentIndex: number;
  readonly term: number;
  /** The consistent index that is known to survive a power cut. A WAL segment may go when it lies below. */
  readonly flushedIndex: number;
  /** Bytes that wait in memory for the disk. */
  readonly overlayBytes: number;
  /** True when the overlay has reached its bound: apply no further entry before `room()` resolves. */
  readonly isFull: boolean;

  /** Stores a value in a small bucket; key and value are copied. */
  put(bucket: SmallBucket, key: Uint8Array, value: Uint8Array): void;
  /** Removes a key of a small bucket; nothing happens when it is not there. */
  delete(bucket: SmallBucket, key: Uint8Array): void;
  /** A copy of the value, or undefined. */
  get(bucket: SmallBucket, key: Uint8Array): Uint8Array | undefined;
  /** All entries of a small bucket in order of key, copied. */
  entries(bucket: SmallBucket): BackendEntry[];

  /**
   * Begins a record of the `key` bucket and returns where in `recordBlock` its value goes; at most
   * `valueBytesMax` bytes may be written there before `endRecord`. Revisions must ascend.
   */
  beginRecord(main: number, sub: number, tombstone: boolean, valueBytesMax: number): number;
  /** The block that `beginRecord`'s offset refers to; another one after each `beginRecord`, maybe. */
  readonly recordBlock: Uint8Array;
  /** Ends the record begun last; its value ends at `end` of `recordBlock`. */
  endRecord(end: number): void;
  /** Points `into` at the record of a revision, a put's or a tombstone's; false when there is none of that kind. */
  readRecord(main: number, sub: number, tombstone: boolean, into: RecordView): boolean;
  /**
   * Removes a record that is on the disk, and `putApart` stores a value of a small bucket, on a compaction's behalf:
   * neither is an entry's effect, both are called between entries only, and reach the disk, in order, with the next
   * commit. A scan may still visit a removed record until `flush` resolves.
   */
  deleteRecord(main: number, sub: number, tombstone: boolean): void;
  putApart(bucket: SmallBucket, key: Uint8Array, value: Uint8Array): void;
  /**
   * Visits records in order of revision from `position` on, tombstones included, until a limit is
   * reached, and moves `position` behind them. False when there was nothing more to visit.
   */
  scanRecords(position: ScanPosition, limits: ScanLimits, visitor: RecordVisitor): boolean;

  /**
   * Ends an entry: all changes since the last call are its effects and reach the disk together with
   * `index`, `term` and, when given, the ConfState as etcd's JSON. Called once for every entry applied,
   * also for one without effects. May start a commit; never waits for one.
   */
  endEntry(index: number, term: number, confState?: Uint8Array): void;
  /** Starts writing everything up to the last ended entry now, without waiting for the batch interval. */
  commit(): void;
  /** Resolves when all entries ended, and all that was done between them, before the call are flushed. Rejects when the backend has failed. */
  flush(): Promise<void>;
  /** Resolves when the overlay is below its bound again (at once when it is). Rejects when the backend has failed. */
  room(): Promise<void>;
  /** Read transactions that are open, on any thread. */
  readonly openReads: number;
  /** Sizes as of the last commit. */
  sizes(): BackendSizes;
  /**
   * Gives free pages back to the file system; everything else goes on meanwhile, but no record may be removed until it
   * resolves. Rejects, with nothing changed, when there is no room for the copy or it fails. One at a time.
   */
  defragment(): Promise<void>;
  /**
   * Builds what a snapshot file holds beside this backend, which goes on; the answer is only to be read, and to be
   * given to `finishInstall`. Rejects, with nothing changed, when the file is not there or damaged.
   */
  beginInstall(file: string): Promise<Backend>;
  /**
   * Becomes what `fresh` is, on the disk as well; what was ended and is not flushed is dropped. No entry may be open or
   * be ended until it resolves. `adopt` is called at the very moment, before anybody else sees it.
   */
  finishInstall(fresh: Backend, adopt: () => void): Promise<void>;
  /** Flushes what has been ended, drops what has not, and closes. No call may follow. */
  close(): Promise<void>;
}
