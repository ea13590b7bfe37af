/**
 * etcd's checks of a Txn request before it is proposed, in etcd's order (reference/errors.md §5, semantics.md).
 * Pure. The first wrong thing found decides the error, so the order of these loops is part of the contract.
 */
import {
  ErrDuplicateKey,
  ErrEmptyKey,
  ErrInvalidSortOption,
  ErrKeyNotFound,
  ErrLeaseProvided,
  type EtcdError,
  ErrTooManyOps,
  ErrValueProvided,
} from "../../errors/index.js";
import {
  type DeleteRangeRequest,
  type PutRequest,
  type RangeRequest,
  type RequestOp,
  SortOrder,
  SortTarget,
  type TxnRequest,
} from "../../proto/index.js";

/** Of a RangeRequest, decoded or scanned. */
export function isSortOptionKnown(range: { sortOrder: number; sortTarget: number }): boolean {
  const { sortOrder, sortTarget } = range;
  return sortOrder >= 0 && sortOrder <= SortOrder.DESCEND && sortTarget >= 0 && sortTarget <= SortTarget.VALUE;
}

function checkRange(range: RangeRequest): EtcdError | undefined {
  if (range.key.length === 0) return new ErrEmptyKey();
  return isSortOptionKnown(range) ? undefined : new ErrInvalidSortOption();
}

function checkPut(put: PutRequest): EtcdError | undefined {
  if (put.key.length === 0) return new ErrEmptyKey();
  if (put.ignoreValue && put.value.length > 0) return new ErrValueProvided();
  return put.ignoreLease && put.lease !== 0n ? new ErrLeaseProvided() : undefined;
}

function checkOp({ request }: RequestOp, budget: number): EtcdError | undefined {
  switch (request?.case) {
    case "requestRange":
      return checkRange(request.value);
    case "requestPut":
      return checkPut(request.value);
    case "requestDeleteRange":
      return request.value.key.length === 0 ? new ErrEmptyKey() : undefined;
    case "requestTxn":
      return checkShape(request.value, budget);
    case undefined:
      return new ErrKeyNotFound();
  }
}

/** Op counts and each op by itself; `budget` is what is left of max-txn-ops at this depth. */
function checkShape(txn: TxnRequest, budget: number): EtcdError | undefined {
  const ops = Math.max(txn.compare.length, txn.success.length, txn.failure.length);
  if (ops > budget) return new ErrTooManyOps();
  for (const compare of txn.compare) if (compare.key.length === 0) return new ErrEmptyKey();
  for (const list of [txn.success, txn.failure]) {
    for (const op of list) {
      const error = checkOp(op, budget - ops);
      if (error) return error;
    }
  }
  return undefined;
}

/** All checks of a Txn request; undefined when it may go on. */
export function checkTxn(txn: TxnRequest, opsMax: number): EtcdError | undefined {
  const error = checkShape(txn, opsMax);
  if (error) return error;
  const isSound = touchedBy(txn.success) !== undefined && touchedBy(txn.failure) !== undefined;
  if (!isSound) return new ErrDuplicateKey();
  for (const ops of [txn.success, txn.failure]) {
    if (openDeletionAfter(ops, noKeyReaches) === undefined) return new ErrDuplicateKey();
  }
  return undefined;
}

/** Above every key. */
const noKeyReaches = "\u{10ffff}";

/**
 * Walks `ops` as they will run: from which key on everything has been deleted after them, given from where before;
 * undefined when a put would then look for a value or lease of a key that is deleted. etcd's check of duplicate keys
 * does not see that, as open-ended deletions are empty to it, and the entry ends every etcd that applies it in a panic.
 */
function openDeletionAfter(ops: readonly RequestOp[], before: string): string | undefined {
  let from = before;
  for (const { request } of ops) {
    if (request?.case === "requestDeleteRange" && isOpenEnd(request.value.rangeEnd)) {
      const begin = binary(request.value.key);
      if (begin < from) from = begin;
    } else if (request?.case === "requestPut") {
      const { key, ignoreValue, ignoreLease } = request.value;
      if ((ignoreValue || ignoreLease) && binary(key) >= from) return undefined;
    } else if (request?.case === "requestTxn") {
      const success = openDeletionAfter(request.value.success, from);
      const failure = openDeletionAfter(request.value.failure, from);
      if (success === undefined || failure === undefined) return undefined;
      from = success < failure ? success : failure;
    }
  }
  return from;
}

function isOpenEnd(rangeEnd: Uint8Array): boolean {
  return rangeEnd.length === 1 && rangeEnd[0] === 0;
}

/**
 * A deleted range, keys as binary strings: JavaScript orders these as bytes.
 * `since` is the sibling (by order in its list; 0 the list's own deletes) from which on puts must keep out of it.
 */
interface Deletion {
  readonly begin: string;
  readonly end: string;
  readonly since: number;
}

/** A put to be held against deletions that hold before sibling `order`. */
interface Placed {
  readonly key: string;
  readonly order: number;
}

/** What a list of ops puts and deletes, nested ones included. */
interface Touched {
  readonly puts: Set<string>;
  readonly deletions: Deletion[];
}

function binary(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

/** A range end of "\0" makes an empty interval here, as in etcd: puts beside "delete from this key on" pass. */
function deletionOf({ key, rangeEnd }: DeleteRangeRequest, since: number): Deletion {
  const begin = binary(key);
  return { begin, end: rangeEnd.length === 0 ? `${begin}\0` : binary(rangeEnd), since };
}

/**
 * What `ops` put and delete; undefined when a key is put twice on one path, or put where it is deleted.
 * As in etcd, nested txns are looked at in order: a put in an earlier sibling below a later sibling's delete passes,
 * the reverse does not. The branches of one txn exclude each other, so they may put the same key.
 */
function touchedBy(ops: readonly RequestOp[]): Touched | undefined {
  const puts = new Set<string>();
  const deletions: Deletion[] = [];
  const placed: Placed[] = [];
  for (const { request } of ops)
    if (request?.case === "requestDeleteRange") deletions.push(deletionOf(request.value, 0));
  let sibling = 0;
  for (const { request } of ops) {
    if (request?.case !== "requestTxn") continue;
    sibling++;
    const success = touchedBy(request.value.success);
    const failure = success && touchedBy(request.value.failure);
    if (!failure || !addPuts(puts, success, failure)) return undefined;
    for (const { puts: keys, deletions: ranges } of [success, failure]) {
      for (const key of keys) placed.push({ key, order: sibling });
      for (const { begin, end } of ranges) deletions.push({ begin, end, since: sibling });
    }
  }
  for (const { request } of ops) {
    if (request?.case !== "requestPut") continue;
    const key = binary(request.value.key);
    if (puts.has(key)) return undefined;
    puts.add(key);
    placed.push({ key, order: sibling + 1 });
  }
  return isAnyDeleted(placed, deletions) ? undefined : { puts, deletions };
}

/** Adds a nested txn's puts; false when another op on the path puts one of them. */
function addPuts(puts: Set<string>, success: Touched, failure: Touched): boolean {
  for (const key of failure.puts) if (puts.has(key)) return false;
  for (const key of success.puts) {
    if (puts.has(key)) return false;
    puts.add(key);
  }
  for (const key of failure.puts) puts.add(key);
  return true;
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
/** Up to so many comparisons the plain loop is the faster one. */
const plainComparisonsMax = 4096;

/** Whether a deletion that holds before a put's order covers its key. */
function isAnyDeleted(placed: Placed[], deletions: Deletion[]): boolean {
  if (placed.length * deletions.length > plainComparisonsMax) return sweep(placed, deletions);
  return placed.some(({ key, order }) =>
    deletions.some(({ begin, end, since }) => since < order && begin <= key && key < end),
  );
}

/**
 * The same in n log n, since a request may hold 200,000 ops: keys and begins in ascending order, and of the deletions
 * begun so far a heap by `since`, from whose top those that have ended are dropped.
 */
function sweep(placed: Placed[], deletions: readonly Deletion[]): boolean {
  const begun = new DeletionHeap();
  const byBegin = deletions.filter(({ begin, end }) => begin < end).toSorted((a, b) => compareText(a.begin, b.begin));
  placed.sort((a, b) => compareText(a.key, b.key));
  let next = 0;
  for (const { key, order } of placed) {
    while (next < byBegin.length && byBegin[next]!.begin <= key) begun.push(byBegin[next++]!);
    while (begun.top !== undefined && begun.top.end <= key) begun.pop();
    if (begun.top !== undefined && begun.top.since < order) return true;
  }
  return false;
}

/** A binary heap with the smallest `since` on top. */
class DeletionHeap {
  readonly #items: Deletion[] = [];

  get top(): Deletion | undefined {
    return this.#items[0];
  }

  push(item: Deletion): void {
    const items = this.#items;
    let at = items.push(item) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (items[parent]!.since <= item.since) break;
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = item;
  }

  pop(): void {
    const items = this.#items;
    const last = items.pop()!;
    if (items.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && items[child + 1]!.since < items[child]!.since) child++;
      if (items[child]!.since >= last.since) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = last;
  }
}

/** Whether a txn changes nothing, so that it need not be proposed: only ranges, no nested txn either. */
export function isTxnReadonly(txn: TxnRequest): boolean {
  const isRange = ({ request }: RequestOp): boolean => request?.case === "requestRange";
  return txn.success.every(isRange) && txn.failure.every(isRange);
}

/** Whether a read-only txn may be answered from local state; a txn without ops may. */
export function isTxnSerializable(txn: TxnRequest): boolean {
  const isLocal = ({ request }: RequestOp): boolean => request?.case === "requestRange" && request.value.serializable;
  return txn.success.every(isLocal) && txn.failure.every(isLocal);
}
