/**
 * Applies a transaction: the compares of the whole tree on the state before, which gives the path of branches;
 * then the checks of all ops on that path; then their execution, where reads see the transaction's own writes.
 * Nothing is written unless every check has passed, so execution cannot fail.
 *
 *   prepare (path and checks) → execute, within the write transaction that the caller has begun
 */
import { assert } from "../base/index.js";
import { ErrCompacted, ErrFutureRevision, type EtcdErrorClass } from "../errors/index.js";
import type { ReplyBatchWriter } from "../native/index.js";
import { RevisionStatus, type MvccStore } from "../storage/mvcc/index.js";
import { CompareEvaluator } from "./compare.js";
import { unsliced, type KvWriter } from "./kv-writer.js";
import { RangeReader } from "./range-reader.js";
import { DeleteRangeFields, PutFields, RangeFields } from "./requests.js";
import { closeDelimited, nestedHeaderBytesMax, openDelimited, writeNestedHeader } from "./response.js";
import { CursorStack, mergeVariants, OpKind, OpReader, TxnTag } from "./txn-walk.js";

const responsesTag = 0x1a;
const succeededTag = 0x10;

/** The bound check of a Range within a transaction: unlike a Range of its own, a negative revision is below all. */
export function refuseTxnRange(revision: number, store: MvccStore): EtcdErrorClass | null {
  if (revision === 0) return null;
  if (revision > store.currentRevision) return ErrFutureRevision;
  return revision < store.compactRevision ? ErrCompacted : null;
}

export class TxnWriter {
  readonly #store: MvccStore;
  readonly #kv: KvWriter;
  readonly #writer: ReplyBatchWriter;
  readonly #compare: CompareEvaluator;
  readonly #range: RangeReader;
  readonly #cursors = new CursorStack();
  readonly #op = new OpReader();
  readonly #put = new PutFields();
  readonly #delete = new DeleteRangeFields();
  readonly #rangeFields = new RangeFields();
  /** Which branch each transaction of the tree takes, in the order in which they are met. */
  readonly #path: boolean[] = [];
  #pathAt = 0;
  #merge = false;
  #bytes: Uint8Array = new Uint8Array(0);
  #start = 0;
  #end = 0;
  #endMax = 0;
  #overflowed = false;

  constructor(store: MvccStore, kv: KvWriter, writer: ReplyBatchWriter) {
    this.#store = store;
    this.#kv = kv;
    this.#writer = writer;
    this.#compare = new CompareEvaluator(store);
    this.#range = new RangeReader(store, writer);
  }

  /** The response was longer than may be sent. */
  get overflowed(): boolean {
    return this.#overflowed;
  }

  /** Evaluates and checks the TxnRequest at `bytes[start, end)`; the error, or null when it may be executed. */
  prepare(bytes: Uint8Array, start: number, end: number): EtcdErrorClass | null {
    this.#set(bytes, start, end);
    this.#evaluate(start, end, 0);
    if (this.#merge) {
      const merged = mergeVariants(bytes, start, end);
      this.#set(merged, 0, merged.length);
      this.#evaluate(0, merged.length, 0);
    }
    this.#pathAt = 0;
    return this.#refuse(this.#start, this.#end, 0);
  }

  #set(bytes: Uint8Array, start: number, end: number): void {
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
    this.#path.length = 0;
    this.#merge = false;
  }

  /**
   * Executes what was prepared. With `at` ≥ 0 the response but for its header is written there, not much beyond
   * `endMax`; without, only what changes the store is done. Returns the new `at`.
   */
  execute(at: number, endMax: number): number {
    this.#pathAt = 0;
    this.#endMax = endMax;
    this.#overflowed = false;
    return this.#executeTxn(this.#start, this.#end, 0, at);
  }

  /** Fills in the path, nested transactions of the chosen branch included. */
  #evaluate(start: number, end: number, depth: number): void {
    const cursor = this.#cursors.at(depth);
    const bytes = this.#bytes;
    let succeeded = true;
    for (cursor.reset(bytes, start, end); succeeded && cursor.next();) {
      if (cursor.tag !== TxnTag.Compare) continue;
      this.#compare.start(bytes, cursor.start, cursor.end, 0);
      while (!this.#compare.step(unsliced));
      succeeded = this.#compare.result;
    }
    this.#path.push(succeeded);
    const branch = succeeded ? TxnTag.Success : TxnTag.Failure;
    for (cursor.reset(bytes, start, end); cursor.next();) {
      if (cursor.tag !== branch) continue;
      if (!this.#op.read(bytes, cursor.start, cursor.end)) this.#merge = true;
      if (this.#op.kind === OpKind.Txn) this.#evaluate(this.#op.start, this.#op.end, depth + 1);
    }
  }

  #refuse(start: number, end: number, depth: number): EtcdErrorClass | null {
    const cursor = this.#cursors.at(depth);
    const branch = this.#path[this.#pathAt++] ? TxnTag.Success : TxnTag.Failure;
    for (cursor.reset(this.#bytes, start, end); cursor.next();) {
      if (cursor.tag !== branch) continue;
      this.#op.read(this.#bytes, cursor.start, cursor.end);
      const refusal = this.#refuseOp(depth);
      if (refusal !== null) return refusal;
    }
    return null;
  }

  #refuseOp(depth: number): EtcdErrorClass | null {
    const { kind, start, end } = this.#op;
    switch (kind) {
      case OpKind.Range:
        this.#rangeFields.read(this.#bytes, start, end);
        return refuseTxnRange(this.#rangeFields.revision, this.#store);
      case OpKind.Put:
        this.#put.read(this.#bytes, start, end);
        return this.#kv.refusePut(this.#put);
      case OpKind.Txn:
        return this.#refuse(start, end, depth + 1);
      default:
        return null;
    }
  }

  #executeTxn(start: number, end: number, depth: number, at: number): number {
    const cursor = this.#cursors.at(depth);
    const succeeded = this.#path[this.#pathAt++] === true;
    const branch = succeeded ? TxnTag.Success : TxnTag.Failure;
    if (at >= 0 && succeeded) {
      this.#writer.ensure(at + 2);
      this.#writer.bytes[at++] = succeededTag;
      this.#writer.bytes[at++] = 1;
    }
    for (cursor.reset(this.#bytes, start, end); cursor.next();) {
      if (cursor.tag !== branch) continue;
      this.#op.read(this.#bytes, cursor.start, cursor.end);
      at = this.#executeOp(depth, at);
    }
    return at;
  }

  /** Executes the op just read; with `at` ≥ 0 its ResponseOp is written there. */
  #executeOp(depth: number, at: number): number {
    const { kind, start, end } = this.#op;
    if (at < 0) {
      this.#executeVariant(kind, start, end, depth, at);
      return at;
    }
    const opStart = openDelimited(this.#writer, at, responsesTag);
    // A response's variants have the tags of the request's. Without a variant it stays empty.
    if (kind === OpKind.None) return closeDelimited(this.#writer, opStart, opStart);
    const variantStart = openDelimited(this.#writer, opStart, kind);
    const variantEnd = this.#executeVariant(kind, start, end, depth, variantStart);
    return closeDelimited(this.#writer, opStart, closeDelimited(this.#writer, variantStart, variantEnd));
  }

  #executeVariant(kind: OpKind, start: number, end: number, depth: number, at: number): number {
    switch (kind) {
      case OpKind.Range:
        return at < 0 ? at : this.#executeRange(start, end, at);
      case OpKind.Put:
        this.#put.read(this.#bytes, start, end);
        return this.#executePut(at);
      case OpKind.DeleteRange: {
        this.#delete.read(this.#bytes, start, end);
        const next = this.#kv.deleteRange(this.#delete, at, this.#endMax, writeNestedHeader);
        this.#overflowed ||= this.#kv.overflowed;
        return next;
      }
      case OpKind.Txn:
        return this.#executeTxn(start, end, depth + 1, at < 0 ? at : this.#writeEmptyHeader(at));
      case OpKind.None:
        return at;
    }
  }

  #executeRange(start: number, end: number, at: number): number {
    this.#rangeFields.read(this.#bytes, start, end);
    this.#writer.ensure(at + nestedHeaderBytesMax);
    at = writeNestedHeader(this.#store.visibleRevision, this.#writer.bytes, at);
    this.#kv.counts.ranges++;
    const status = this.#range.start(this.#rangeFields, 0, at, this.#endMax);
    assert(status === RevisionStatus.Ok, "a range failed after the transaction's checks");
    while (!this.#range.step(unsliced));
    this.#overflowed ||= this.#range.overflowed;
    return this.#range.at;
  }

  #executePut(at: number): number {
    if (at < 0) return this.#kv.put(this.#put, at);
    // A put always changes something: the transaction's revision is the one after.
    const revision = this.#store.changeCount > 0 ? this.#store.visibleRevision : this.#store.visibleRevision + 1;
    this.#writer.ensure(at + nestedHeaderBytesMax);
    return this.#kv.put(this.#put, writeNestedHeader(revision, this.#writer.bytes, at));
  }

  #writeEmptyHeader(at: number): number {
    this.#writer.ensure(at + 2);
    this.#writer.bytes[at] = 0x0a;
    this.#writer.bytes[at + 1] = 0;
    return at + 2;
  }
}
