/** What goes into the store and comes out of it. */
import type { Backend, RecordView } from "../backend/index.js";

/** Whether a revision can be read. */
export const RevisionStatus = { Ok: 0, Future: 1, Compacted: 2 } as const;
export type RevisionStatus = (typeof RevisionStatus)[keyof typeof RevisionStatus];

/** Hears of each key that is put or deleted, in the order of the records, also while the store is built from them. */
export interface KeyLeases {
  /** The lease's int64 comes in two unsigned halves; 0, 0: none. */
  keyPut(bytes: Uint8Array, start: number, end: number, leaseLow: number, leaseHigh: number): void;
  keyDeleted(bytes: Uint8Array, start: number, end: number): void;
  /** Key and value of each entry of the `lease` bucket as of this call, in order, in pieces; an empty one is a pause. */
  bucketBytes?(): Iterable<Uint8Array>;
}

export interface MvccStoreOptions {
  readonly backend: Backend;
  /** Awaited between the slices of long work (restore, hash). */
  readonly yield: () => Promise<void>;
  /** Which key is attached to which lease is kept there. */
  readonly keyLeases?: KeyLeases;
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

/** What ranges and hashes need to know of the store. */
export interface Revisions {
  readonly currentRevision: number;
  readonly compactRevision: number;
  readonly visibleRevision: number;
  /** How often the store has become another: what was begun before must begin anew. */
  readonly epoch: number;
  checkRevision(revision: number): RevisionStatus;
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

/** A HashKV answer as it is kept: the hash of all up to `revision`, made when the store was compacted at `compactRevision`. */
export interface KeyValueHash {
  readonly hash: number;
  readonly compactRevision: number;
  readonly revision: number;
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
