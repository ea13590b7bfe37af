/**
 * Puts within an open write transaction, and their responses' bodies.
 * Whoever calls has begun the transaction, writes what stands around the body, and ends the transaction.
 */
import { ErrKeyNotFound, ErrLeaseNotFound, type EtcdErrorClass } from "../errors/index.js";
import type { ReplyBatchWriter } from "../native/index.js";
import { emptyRecordView } from "../storage/backend/index.js";
import { KeyValueReader, type MvccStore } from "../storage/mvcc/index.js";
import type { LeaseLookup } from "./leases.js";
import type { PutFields } from "./requests.js";
import { writeDelimited } from "./response.js";

const putPreviousTag = 0x12;

/**
 * Counts for etcd_mvcc_*_total, kept as plain numbers. What etcd reads on the way counts as a range, too: a compare, the
 * key before a put or a delete, also when it is not there; and what does more than one thing counts as a transaction.
 */
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

export class KvWriter {
  readonly #store: MvccStore;
  readonly #leases: LeaseLookup;
  readonly #writer: ReplyBatchWriter;
  readonly #view = emptyRecordView();
  readonly #kv = new KeyValueReader();
  readonly counts: KvCounts;

  /** What several writers do may be counted together. */
  constructor(store: MvccStore, leases: LeaseLookup, writer: ReplyBatchWriter, counts: KvCounts = newKvCounts()) {
    this.#store = store;
    this.#leases = leases;
    this.#writer = writer;
    this.counts = counts;
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
    if (fields.needsPrevious) this.counts.ranges++;
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
}
