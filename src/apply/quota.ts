/**
 * What a write costs of --quota-backend-bytes, and whether it fits. As in etcd the file's size counts, so that an
 * answer may differ from member to member; the effects never do.
 */
import { OpKind, OpReader, TxnTag } from "./txn-walk.js";
import { FieldCursor } from "./field-cursor.js";
import { PutFields } from "./requests.js";

const kvOverheadBytes = 256;
/** What a lease costs. */
export const leaseCost = 64;
/** The dearest op for its length, a put without anything in 4 bytes. */
const txnCostPerByteMax = kvOverheadBytes / 4;
export const defaultQuotaBytes = 2 * 1024 ** 3;

export function putCost(fields: PutFields): number {
  return kvOverheadBytes + fields.keyEnd - fields.keyStart + fields.valueEnd - fields.valueStart;
}

/** The dearer branch counts, whichever is taken. */
export function txnCost(bytes: Uint8Array, start: number, end: number): number {
  const cursor = new FieldCursor();
  const op = new OpReader();
  const put = new PutFields();
  let success = 0;
  let failure = 0;
  cursor.reset(bytes, start, end);
  while (cursor.next()) {
    if (cursor.tag !== TxnTag.Success && cursor.tag !== TxnTag.Failure) continue;
    op.read(bytes, cursor.start, cursor.end);
    let cost = 0;
    if (op.kind === OpKind.Txn) cost = txnCost(bytes, op.start, op.end);
    if (op.kind === OpKind.Put) {
      put.read(bytes, op.start, op.end);
      cost = putCost(put);
    }
    if (cursor.tag === TxnTag.Success) success += cost;
    else failure += cost;
  }
  return Math.max(success, failure);
}

/** Fields of InternalRaftRequest. */
const costly = { put: 4, txn: 6, leaseGrant: 8 } as const;

/** What a request costs, of InternalRaftRequest's `field`; only puts, transactions and grants cost anything. */
export function requestCost(field: number, bytes: Uint8Array, start: number, end: number): number {
  if (field === costly.txn) return txnCost(bytes, start, end);
  if (field === costly.leaseGrant) return leaseCost;
  if (field !== costly.put) return 0;
  const put = new PutFields();
  put.read(bytes, start, end);
  return putCost(put);
}

/** --quota-backend-bytes: 0 = the default, negative = none. */
export class Quota {
  readonly #bytesMax: number;
  readonly #used: () => number;

  constructor(quotaBackendBytes: number, used: () => number) {
    this.#bytesMax = quotaBackendBytes < 0 ? Infinity : quotaBackendBytes || defaultQuotaBytes;
    this.#used = used;
  }

  /**
   * Whether a request of so many bytes fits whatever it holds: its cost need not be counted then. The overhead is of a
   * put outside a transaction, which may have no bytes at all.
   */
  allowsAny(messageBytes: number): boolean {
    return this.#used() + kvOverheadBytes + messageBytes * txnCostPerByteMax < this.#bytesMax;
  }

  /** Whether a write of this cost fits; one of no cost always does. */
  allows(cost: number): boolean {
    return cost === 0 || this.#used() + cost < this.#bytesMax;
  }
}
