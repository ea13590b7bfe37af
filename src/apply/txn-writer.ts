/**
 * Applies a transaction: the compares of the whole tree on the state before, which gives the path of branches;
 * then the checks of all ops on that path; then their execution, where reads see the transaction's own writes.
 * Nothing is written unless every check has passed, so execution cannot fail.
 *
 * All but the checks goes in slices, since a small request may name any number of keys. Between them the store may be
 * read at its current revision, which does not grow before the write transaction ends; it must not be written.
 *
 *   begin → stepPath until true → refuse → beginExecute → stepExecute until true
 *
 * the last two within the write transaction that the caller has begun.
 */
import { assert } from "../base/index.js";
import { ErrCompacted, ErrFutureRevision, ErrLeaseNotFound, type EtcdErrorClass } from "../errors/index.js";
import type { ReplyBatchWriter } from "../native/index.js";
import { RevisionStatus, type MvccStore } from "../storage/mvcc/index.js";
import type { KvWriter } from "./kv-writer.js";
import { RangeDeleter } from "./range-deleter.js";
import { RangeReader } from "./range-reader.js";
import { DeleteRangeFields, PutFields, RangeFields } from "./requests.js";
import { closeDelimited, nestedHeaderBytesMax, openDelimited, writeNestedHeader } from "./response.js";
import type { Slice } from "./slice.js";
import { TxnPath } from "./txn-path.js";
import { CursorStack, nextField, OpKind, OpReader, TxnTag } from "./txn-walk.js";

const responsesTag = 0x1a;
const succeededTag = 0x10;
/** Where the response stands when there is none: nobody waits for it, or it has become too long. */
const unanswered = -1;

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
  readonly #path: TxnPath;
  readonly #range: RangeReader;
  readonly #deleter: RangeDeleter;
  readonly #cursors = new CursorStack();
  readonly #op = new OpReader();
  readonly #put = new PutFields();
  readonly #delete = new DeleteRangeFields();
  readonly #rangeFields = new RangeFields();
  /** How much of the path has been walked. */
  #pathAt = 0;
  // Of the transaction at each depth: the branch taken, and where the response of the op in hand is open.
  readonly #branches: number[] = [];
  readonly #opStarts: number[] = [];
  readonly #variantStarts: number[] = [];
  #depth = -1;
  /** A Range or DeleteRange is under way. */
  #running: OpKind = OpKind.None;
  #at = unanswered;
  #endMax = 0;
  #overflowed = false;

  /** `kv` must write to `writer`, too. */
  constructor(store: MvccStore, kv: KvWriter, writer: ReplyBatchWriter) {
    this.#store = store;
    this.#kv = kv;
    this.#writer = writer;
    this.#path = new TxnPath(store);
    this.#range = new RangeReader(store, writer);
    this.#deleter = new RangeDeleter(store, writer);
  }

  /** The response was longer than may be sent. */
  get overflowed(): boolean {
    return this.#overflowed;
  }
  /** Where the response ends; below 0 when there is none. */
  get at(): number {
    return this.#at;
  }

  /** Begins on the TxnRequest at `bytes[start, end)`, which must stay until it is done. */
  begin(bytes: Uint8Array, start: number, end: number): void {
    this.#path.begin(bytes, start, end);
  }

  /** Does one slice of the compares; true when the path is known. */
  stepPath(slice: Slice): boolean {
    return this.#path.step(slice);
  }

  /** Checks all ops on the path; the error, or null when they may be executed. */
  refuse(): EtcdErrorClass | null {
    this.#pathAt = 0;
    const { counts } = this.#kv;
    const before = counts.ranges;
    counts.ranges += this.#path.compares;
    const refusal = this.#refuseTxn(this.#path.start, this.#path.end, 0);
    // To etcd this was a transaction of its own, which has only read.
    if (counts.ranges - before > 1) counts.txns++;
    return refusal;
  }

  /**
   * Begins the execution. With `at` ≥ 0 the response but for its header is written there, not much beyond
   * `endMax`; without, only what changes the store is done.
   */
  beginExecute(at: number, endMax: number): void {
    this.#pathAt = 0;
    this.#at = at;
    this.#endMax = endMax;
    this.#overflowed = false;
    this.#running = OpKind.None;
    this.#depth = -1;
    this.#enter(this.#path.start, this.#path.end);
  }

  /** Does one slice; true when everything is executed. */
  stepExecute(slice: Slice): boolean {
    while (this.#depth >= 0) {
      if (slice.isUsedUp) return false;
      const before = this.#at;
      const goesOn = this.#advance(slice);
      slice.bytes -= Math.max(0, this.#at - before);
      if (!goesOn) return false;
    }
    return true;
  }

  /** No response is wanted any more: what only reads is left out from here on. */
  dropResponse(): void {
    this.#at = unanswered;
    if (this.#running === OpKind.Range) this.#running = OpKind.None;
  }

  #refuseTxn(start: number, end: number, depth: number): EtcdErrorClass | null {
    const cursor = this.#cursors.at(depth);
    const { bytes } = this.#path;
    const branch = this.#path.taken[this.#pathAt++] ? TxnTag.Success : TxnTag.Failure;
    for (cursor.reset(bytes, start, end); nextField(cursor, branch);) {
      this.#op.read(bytes, cursor.start, cursor.end);
      const refusal = this.#refuseOp(bytes, depth);
      if (refusal !== null) return refusal;
    }
    return null;
  }

  #refuseOp(bytes: Uint8Array, depth: number): EtcdErrorClass | null {
    const { kind, start, end } = this.#op;
    switch (kind) {
      case OpKind.Range:
        this.#rangeFields.read(bytes, start, end);
        return refuseTxnRange(this.#rangeFields.revision, this.#store);
      case OpKind.Put:
        this.#put.read(bytes, start, end);
        return this.#refusePut();
      case OpKind.Txn:
        return this.#refuseTxn(start, end, depth + 1);
      default:
        return null;
    }
  }

  #refusePut(): EtcdErrorClass | null {
    const refusal = this.#kv.refusePut(this.#put);
    if (this.#put.needsPrevious && refusal !== ErrLeaseNotFound) this.#kv.counts.ranges++;
    return refusal;
  }

  #enter(start: number, end: number): void {
    const depth = ++this.#depth;
    const succeeded = this.#path.taken[this.#pathAt++] === true;
    this.#branches[depth] = succeeded ? TxnTag.Success : TxnTag.Failure;
    this.#cursors.at(depth).reset(this.#path.bytes, start, end);
    if (this.#at < 0 || !succeeded) return;
    this.#writer.ensure(this.#at + 2);
    this.#writer.bytes[this.#at++] = succeededTag;
    this.#writer.bytes[this.#at++] = 1;
  }

  /** One step of the op under way, or the next op; false: the slice is used up. */
  #advance(slice: Slice): boolean {
    if (this.#running === OpKind.Range) return this.#stepRange(slice);
    if (this.#running === OpKind.DeleteRange) this.#stepDelete(slice);
    else this.#nextOp(slice);
    return true;
  }

  #nextOp(slice: Slice): void {
    const cursor = this.#cursors.at(this.#depth);
    if (!nextField(cursor, this.#branches[this.#depth]!)) {
      this.#depth--;
      if (this.#depth >= 0) this.#closeOp();
      return;
    }
    slice.keys--;
    this.#op.read(this.#path.bytes, cursor.start, cursor.end);
    if (this.#at >= 0) this.#openOp(this.#op.kind);
    this.#beginOp();
  }

  /** Begins the op just read; one that is short is done with. */
  #beginOp(): void {
    const { kind, start, end } = this.#op;
    switch (kind) {
      case OpKind.Range:
        if (this.#at >= 0) this.#beginRange(start, end);
        return;
      case OpKind.DeleteRange:
        this.#beginDelete(start, end);
        return;
      case OpKind.Txn:
        if (this.#at >= 0) this.#writeEmptyHeader();
        this.#enter(start, end);
        return;
      case OpKind.Put:
        this.#put.read(this.#path.bytes, start, end);
        this.#executePut();
        break;
      case OpKind.None:
        break;
    }
    this.#closeOp();
  }

  /** Opens the op's ResponseOp. */
  #openOp(kind: OpKind): void {
    const depth = this.#depth;
    this.#at = this.#opStarts[depth] = openDelimited(this.#writer, this.#at, responsesTag);
    this.#variantStarts[depth] = unanswered;
    // A response's variants have the tags of the request's. Without a variant it stays empty.
    if (kind === OpKind.None) return;
    this.#at = this.#variantStarts[depth] = openDelimited(this.#writer, this.#at, kind);
  }

  /** The op in hand is done with. */
  #closeOp(): void {
    this.#running = OpKind.None;
    if (this.#at < 0) return;
    const variantStart = this.#variantStarts[this.#depth]!;
    if (variantStart >= 0) this.#at = closeDelimited(this.#writer, variantStart, this.#at);
    this.#at = closeDelimited(this.#writer, this.#opStarts[this.#depth]!, this.#at);
    if (this.#at > this.#endMax) this.#overflow();
  }

  /** What follows is executed without an answer. */
  #overflow(): void {
    this.#overflowed = true;
    this.dropResponse();
  }

  #beginRange(start: number, end: number): void {
    this.#rangeFields.read(this.#path.bytes, start, end);
    this.#writer.ensure(this.#at + nestedHeaderBytesMax);
    const at = writeNestedHeader(this.#store.visibleRevision, this.#writer.bytes, this.#at);
    this.#kv.counts.ranges++;
    const status = this.#range.start(this.#rangeFields, 0, at, this.#endMax);
    assert(status === RevisionStatus.Ok, "a range failed after the transaction's checks");
    this.#running = OpKind.Range;
  }

  #stepRange(slice: Slice): boolean {
    const isDone = this.#range.step(slice);
    slice.keys -= this.#range.worked;
    this.#at = this.#range.at;
    if (this.#range.overflowed) this.#overflow();
    else if (isDone) this.#closeOp();
    else return false;
    return true;
  }

  #beginDelete(start: number, end: number): void {
    this.#delete.read(this.#path.bytes, start, end);
    this.#kv.counts.deletes++;
    if (this.#delete.previousKv) this.#kv.counts.ranges++;
    this.#deleter.start(this.#delete, this.#at, this.#endMax, writeNestedHeader);
    this.#running = OpKind.DeleteRange;
  }

  #stepDelete(slice: Slice): void {
    const isDone = this.#deleter.step(slice);
    slice.keys -= this.#deleter.worked;
    // Its response may have been given up since it began.
    if (this.#at >= 0 && this.#deleter.overflowed) this.#overflow();
    if (this.#at >= 0) this.#at = this.#deleter.at;
    if (isDone) this.#closeOp();
  }

  #executePut(): void {
    if (this.#at < 0) {
      this.#kv.put(this.#put, unanswered);
      return;
    }
    // A put always changes something: the transaction's revision is the one after.
    const revision = this.#store.changeCount > 0 ? this.#store.visibleRevision : this.#store.visibleRevision + 1;
    this.#writer.ensure(this.#at + nestedHeaderBytesMax);
    this.#at = this.#kv.put(this.#put, writeNestedHeader(revision, this.#writer.bytes, this.#at));
  }

  #writeEmptyHeader(): void {
    this.#writer.ensure(this.#at + 2);
    this.#writer.bytes[this.#at++] = 0x0a;
    this.#writer.bytes[this.#at++] = 0;
  }
}
