/**
 * Puts and deletes within an open write transaction, and their responses' bodies.
 * Whoever calls has begun the transaction, writes what stands around the body, and ends the transaction.
 */
import { ErrKeyNotFound, ErrLeaseNotFound, type EtcdErrorClass } from "../errors/index.js";
import type { ReplyBatchWriter } from "../native/index.js";
import { writeVarint } from "../proto/index.js";
import { emptyRecordView } from "../storage/backend/index.js";
import {
  KeyValueReader,
  type MvccStore,
  type RangeQuery,
  type RangeScan,
  type RangeSink,
  type SliceLimits,
} from "../storage/mvcc/index.js";
import type { LeaseLookup } from "./leases.js";
import type { DeleteRangeFields, PutFields } from "./requests.js";
import { copyBytes, writeDelimited } from "./response.js";

const putPreviousTag = 0x12;
const deletePreviousTag = 0x1a;
/** Room for what `deleteRange` writes before the previous records: a header and the count. */
const deleteGapBytes = 64;

/** A write transaction is one step of the log: nothing runs between its slices. */
export const unsliced: SliceLimits = { keys: Infinity, bytes: Infinity };

/** Counts for etcd_mvcc_*_total, kept as plain numbers. */
export interface KvCounts {
  puts: number;
  deletes: number;
  ranges: number;
  txns: number;
  putBytes: number;
}

export function newKvCounts(): KvCounts {
  return { puts: 0, deletes: 0, ranges: 0, txns: 0, putBytes: 0 };
}

export class KvWriter implements RangeSink {
  readonly #store: MvccStore;
  readonly #leases: LeaseLookup;
  readonly #writer: ReplyBatchWriter;
  readonly #scan: RangeScan;
  readonly #view = emptyRecordView();
  readonly #kv = new KeyValueReader();
  readonly #query: RangeQuery = {
    bytes: new Uint8Array(0),
    keyStart: 0,
    keyEnd: 0,
    endStart: 0,
    endEnd: 0,
    revision: 0,
    limit: 0,
    count: false,
    countOnly: false,
    keysOnly: false,
  };
  readonly counts: KvCounts = newKvCounts();
  #at = 0;
  #endMax = 0;
  #overflowed = false;

  constructor(store: MvccStore, leases: LeaseLookup, writer: ReplyBatchWriter) {
    this.#store = store;
    this.#leases = leases;
    this.#writer = writer;
    this.#scan = store.newRangeScan();
  }

  /** The last deleteRange's response was longer than may be sent. */
  get overflowed(): boolean {
    return this.#overflowed;
  }

  /** Why the put must be refused, judged on what the store holds now. */
  refusePut(fields: PutFields): EtcdErrorClass | null {
    if (fields.hasLease && !this.#leases.has(fields.leaseLow, fields.leaseHigh)) return ErrLeaseNotFound;
    if (!fields.ignoreValue && !fields.ignoreLease) return null;
    return this.#store.findKey(fields.bytes, fields.keyStart, fields.keyEnd, 0) ? null : ErrKeyNotFound;
  }

  /** Stores the key. With `at` ≥ 0 the response's `prev_kv` is written there; returns the new `at`. */
  put(fields: PutFields, at: number): number {
    const { bytes, keyStart, keyEnd } = fields;
    let { valueStart, valueEnd, leaseLow, leaseHigh } = fields;
    let valueBytes = bytes;
    const view = this.#view;
    if (fields.needsPrevious && this.#store.readKey(bytes, keyStart, keyEnd, 0, view)) {
      if (at >= 0 && fields.previousKv) {
        at = writeDelimited(this.#writer, at, putPreviousTag, view.bytes, view.start, view.end);
      }
      const kv = this.#kv;
      kv.readView(view);
      if (fields.ignoreValue) {
        valueBytes = view.bytes;
        valueStart = kv.valueStart;
        valueEnd = kv.valueEnd;
      }
      if (fields.ignoreLease) {
        leaseLow = kv.leaseLow;
        leaseHigh = kv.leaseHigh;
      }
    }
    this.#store.put(bytes, keyStart, keyEnd, valueBytes, valueStart, valueEnd, leaseLow, leaseHigh);
    this.counts.puts++;
    this.counts.putBytes += keyEnd - keyStart + valueEnd - valueStart;
    return at;
  }

  /**
   * Deletes the range. With `at` ≥ 0 the response is written there, `header(revision)` first, not beyond `endMax`;
   * returns the new `at`.
   */
  deleteRange(
    fields: DeleteRangeFields,
    at: number,
    endMax: number,
    header: (revision: number, bytes: Uint8Array, at: number) => number,
  ): number {
    const { bytes, keyStart, keyEnd, endStart, endEnd } = fields;
    this.#overflowed = false;
    const previousStart = at + deleteGapBytes;
    this.#at = previousStart;
    this.#endMax = endMax;
    if (at >= 0 && fields.previousKv) this.#readPrevious(fields);
    const deleted = this.#store.deleteRange(bytes, keyStart, keyEnd, endStart, endEnd);
    this.counts.deletes++;
    if (at < 0) return at;
    this.#writer.ensure(this.#at);
    const target = this.#writer.bytes;
    at = header(this.#store.visibleRevision, target, at);
    if (deleted > 0) {
      target[at++] = 0x10;
      at = writeVarint(deleted, target, at);
    }
    return copyBytesDown(target, previousStart, this.#at, at);
  }

  /** Takes one record that is about to be deleted. */
  record(bytes: Uint8Array, start: number, end: number): void {
    this.#overflowed ||= this.#at + 11 + end - start > this.#endMax;
    if (this.#overflowed) return;
    this.#at = writeDelimited(this.#writer, this.#at, deletePreviousTag, bytes, start, end);
  }

  #readPrevious(fields: DeleteRangeFields): void {
    const query = this.#query;
    query.bytes = fields.bytes;
    query.keyStart = fields.keyStart;
    query.keyEnd = fields.keyEnd;
    query.endStart = fields.endStart;
    query.endEnd = fields.endEnd;
    this.#scan.start(query);
    while (!this.#scan.next(this, unsliced));
  }
}

function copyBytesDown(bytes: Uint8Array, start: number, end: number, at: number): number {
  if (end - start <= 64) return copyBytes(bytes, start, end, bytes, at);
  bytes.copyWithin(at, start, end);
  return at + end - start;
}
