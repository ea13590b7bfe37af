/** The store's interface, against which apply is written. */
import type { Backend, RecordView } from "../backend/index.js";

/** Whether a revision can be read. */
export const RevisionStatus = { Ok: 0, Future: 1, Compacted: 2 } as const;
export type RevisionStatus = (typeof RevisionStatus)[keyof typeof RevisionStatus];

export interface MvccStoreOptions {
  readonly backend: Backend;
  /** Awaited between the slices of long work (restore, hash). */
  readonly yield: () => Promise<void>;
  /** CRC-32C continued over `bytes`, as `crc32c(0, …)` starts it. */
  readonly crc32c: (crc: number, bytes: Uint8Array) => number;
}

/** A range to read. Bytes are copied by `start`, so any buffer may be passed. */
export interface RangeQuery {
  bytes: Uint8Array;
  keyStart: number;
  keyEnd: number;
  /** RangeRequest.range_end: empty = one key; the single byte 0 = open end. */
  endStart: number;
  endEnd: number;
  /** 0 or negative: the latest (in a write transaction: its own changes included). */
  revision: number;
  /** So many records at most; 0: all. */
  limit: number;
  /** Whether `count` must be right beyond the limit (costs a walk of the index to the range's end). */
  count: boolean;
  /** Nothing but the count is wanted. */
  countOnly: boolean;
  /** Records come from the index: without value and, as in etcd, without lease. */
  keysOnly: boolean;
}

/** Takes the records of a range, in order of key. */
export interface RangeSink {
  /** `bytes[start, end)` is one marshalled mvccpb.KeyValue, to be copied within the call. */
  record(bytes: Uint8Array, start: number, end: number): void;
}

/** How much one slice of a range may take before others get their turn. */
export interface SliceLimits {
  /** Keys of the index looked at. */
  readonly keys: number;
  /** Bytes given to the sink; one record more than this may be given. */
  readonly bytes: number;
}

/** A range being read in slices; puts may go on between them without being seen. One object may be started again. */
export interface RangeScan {
  /** Pins the revision. Anything but Ok: nothing to read, and `next` must not be called. */
  start(query: RangeQuery): RevisionStatus;
  /** Reads one slice; true when the range is done. */
  next(sink: RangeSink, limits: SliceLimits): boolean;
  /** The revision that is read. */
  readonly revision: number;
  /** Keys in the range at that revision; right when done, and only if `count` or `countOnly` was asked or no limit was set. */
  readonly count: number;
  /** Records given to the sink so far. */
  readonly returned: number;
  /** True when records beyond the limit exist. */
  readonly more: boolean;
}

/** The changes of one write transaction, in order; valid only within the call that hands them over. */
export interface TxnChanges {
  readonly revision: number;
  readonly count: number;
  /** True when change `i` (its sub revision) is a delete; its record then holds only the key. */
  isDelete(i: number): boolean;
  /** Points `into` at change `i`'s record. */
  read(i: number, into: RecordView): void;
}

export interface HashResult {
  readonly status: RevisionStatus;
  readonly hash: number;
  readonly compactRevision: number;
  /** The revision hashed up to. */
  readonly revision: number;
  /** The store's revision when the hash began. */
  readonly currentRevision: number;
}

export interface MvccStore {
  /** The revision of the last ended write transaction that changed something; 1 in an empty store. */
  readonly currentRevision: number;
  /** The highest revision compacted away; −1 when there was no compaction. */
  readonly compactRevision: number;
  /** A scheduled compaction that a crash interrupted and that is to be resumed; 0 when none. */
  readonly pendingCompactRevision: number;

  /** Begins a write transaction; only one is open at a time. */
  begin(): void;
  /** Changes made so far in the open transaction. */
  readonly changeCount: number;
  /** What a read inside the open transaction sees: the current revision, +1 once something changed. */
  readonly visibleRevision: number;
  /**
   * Stores `key` = `bytes[keyStart, keyEnd)` with the value `valueBytes[valueStart, valueEnd)` and the lease
   * given as the two halves of its int64 (0, 0: none). `valueBytes` may be a view's bytes.
   */
  put(
    bytes: Uint8Array,
    keyStart: number,
    keyEnd: number,
    valueBytes: Uint8Array,
    valueStart: number,
    valueEnd: number,
    leaseLow: number,
    leaseHigh: number,
  ): void;
  /**
   * Deletes the keys of a range (range_end as in `RangeQuery`) as the transaction sees it, in order of key,
   * and returns their number. Previous records are to be read before (`RangeScan` at `visibleRevision`).
   */
  deleteRange(bytes: Uint8Array, keyStart: number, keyEnd: number, endStart: number, endEnd: number): number;
  /** Ends the transaction; returns the header's revision (grown by one if something changed). */
  end(): number;
  /** Called at each `end` of a transaction that changed something. Watches (and leases) hang here. */
  onChanges: ((changes: TxnChanges) => void) | undefined;

  /** Whether `revision` can be read; 0 or negative always can. */
  checkRevision(revision: number): RevisionStatus;
  /**
   * Looks a key up at `revision` (≤ 0: the latest visible), which must have passed `checkRevision`;
   * true when it lives there, and then `found*` tell about it. Costs the index only.
   */
  findKey(bytes: Uint8Array, keyStart: number, keyEnd: number, revision: number): boolean;
  readonly foundModRevision: number;
  readonly foundCreateRevision: number;
  readonly foundVersion: number;
  /** As `findKey`, and points `into` at the marshalled mvccpb.KeyValue, until the next call of store or backend. */
  readKey(bytes: Uint8Array, keyStart: number, keyEnd: number, revision: number, into: RecordView): boolean;
  /** A scan of ranges; keep it and start it again and again. */
  newRangeScan(): RangeScan;
  /** etcd's HashKV: 0 = the current revision; a negative revision hashes the bucket's name alone. */
  hashKv(revision: number): Promise<HashResult>;
}
