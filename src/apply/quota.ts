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

/** What one transaction of a walk has cost so far. */
class TxnCost {
  readonly #cursor = new FieldCursor();
  #success = 0;
  #failure = 0;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#cursor.reset(bytes, start, end);
  }

  /** Reads the next op of either branch; false: there is none. */
  next(bytes: Uint8Array, op: OpReader): boolean {
    const cursor = this.#cursor;
    while (cursor.next()) {
      if (cursor.tag !== TxnTag.Success && cursor.tag !== TxnTag.Failure) continue;
      op.read(bytes, cursor.start, cursor.end);
      return true;
    }
    return false;
  }

  /** Counts for the branch of the op read last. */
  add(cost: number): void {
    if (this.#cursor.tag === TxnTag.Success) this.#success += cost;
    else this.#failure += cost;
  }

  /** The dearer branch counts, whichever is taken. */
  get total(): number {
    return Math.max(this.#success, this.#failure);
  }
}

/** Without recursion: clients nest transactions as deep as a parser lets them, deeper than a stack may be. */
export function txnCost(bytes: Uint8Array, start: number, end: number): number {
  const op = new OpReader();
  const put = new PutFields();
  const outer: TxnCost[] = [];
  let txn = new TxnCost(bytes, start, end);
  for (;;) {
    if (txn.next(bytes, op)) {
      if (op.kind === OpKind.Put) {
        put.read(bytes, op.start, op.end);
        txn.add(putCost(put));
      } else if (op.kind === OpKind.Txn) {
        outer.push(txn);
        txn = new TxnCost(bytes, op.start, op.end);
      }
      continue;
    }
    const around = outer.pop();
    if (around === undefined) return txn.total;
    around.add(txn.total);
    txn = around;
  }
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
