/**
 * Answers a transaction that only reads, in slices, at the revision that is current when it starts.
 * Such a one has no nested transactions: its ops, in both branches, are ranges.
 *
 *   start → step until true; then `refusal`, or a response that ends at `at`
 */
import type { EtcdErrorClass } from "../errors/index.js";
import type { ReplyBatchWriter } from "../native/index.js";
import type { MvccStore, SliceLimits } from "../storage/mvcc/index.js";
import { CompareEvaluator } from "./compare.js";
import { FieldCursor } from "./field-cursor.js";
import { refusalOf } from "./range-status.js";
import { RangeReader } from "./range-reader.js";
import { RangeFields } from "./requests.js";
import { Slice } from "./slice.js";
import {
  closeDelimited,
  nestedHeaderBytesMax,
  openDelimited,
  writeNestedHeader,
  type HeaderWriter,
} from "./response.js";
import { mergeVariants, OpKind, OpReader, TxnTag } from "./txn-walk.js";
import { refuseTxnRange } from "./txn-writer.js";

const Phase = { Compares: 0, Ops: 1, Done: 2 } as const;
type Phase = (typeof Phase)[keyof typeof Phase];

export class TxnReader {
  readonly #store: MvccStore;
  readonly #writer: ReplyBatchWriter;
  readonly #header: HeaderWriter;
  readonly #compare: CompareEvaluator;
  readonly #range: RangeReader;
  readonly #cursor = new FieldCursor();
  readonly #op = new OpReader();
  readonly #fields = new RangeFields();
  /** What the step may still do, of all compares and ops together. */
  readonly #slice = new Slice();
  #bytes: Uint8Array = new Uint8Array(0);
  #start = 0;
  #end = 0;
  #revision = 0;
  #phase: Phase = Phase.Done;
  #succeeded = true;
  /** A compare, or an op's range, is under way. */
  #busy = false;
  #opStart = 0;
  #variantStart = 0;
  #at = 0;
  #endMax = 0;
  #refusal: EtcdErrorClass | null = null;
  /** Ranges read, compares among them. */
  ranges = 0;

  constructor(store: MvccStore, writer: ReplyBatchWriter, header: HeaderWriter) {
    this.#store = store;
    this.#writer = writer;
    this.#header = header;
    this.#compare = new CompareEvaluator(store);
    this.#range = new RangeReader(store, writer);
  }

  get at(): number {
    return this.#at;
  }
  get refusal(): EtcdErrorClass | null {
    return this.#refusal;
  }
  /** The response was longer than may be sent. */
  get overflowed(): boolean {
    return this.#range.overflowed;
  }

  /** `bytes` must stay until the transaction is done. The response goes to `at` of the writer's bytes. */
  start(bytes: Uint8Array, start: number, end: number, at: number, endMax: number): void {
    if (this.#needsMerge(bytes, start, end)) {
      bytes = mergeVariants(bytes, start, end);
      start = 0;
      end = bytes.length;
    }
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
    this.#at = at;
    this.#endMax = endMax;
    this.#revision = this.#store.currentRevision;
    this.#phase = Phase.Compares;
    this.#succeeded = true;
    this.#busy = false;
    this.#refusal = null;
    this.ranges = 0;
    this.#cursor.reset(bytes, start, end);
  }

  /** Does one slice; true when it is answered or refused. */
  step(limits: SliceLimits): boolean {
    const slice = this.#slice;
    slice.reset(limits);
    while (this.#phase === Phase.Compares) {
      if (slice.isUsedUp || !this.#stepCompare(slice)) return false;
    }
    while (this.#phase === Phase.Ops) {
      if (slice.isUsedUp || !this.#stepOp(slice)) return false;
    }
    return true;
  }

  #needsMerge(bytes: Uint8Array, start: number, end: number): boolean {
    this.#cursor.reset(bytes, start, end);
    while (this.#cursor.next()) {
      const { tag } = this.#cursor;
      if (tag !== TxnTag.Success && tag !== TxnTag.Failure) continue;
      if (!this.#op.read(bytes, this.#cursor.start, this.#cursor.end)) return true;
    }
    return false;
  }

  /** Goes on with the compares; false when the slice is used up. */
  #stepCompare(slice: Slice): boolean {
    if (!this.#busy) {
      if (!this.#succeeded || !this.#nextField(TxnTag.Compare)) {
        this.#beginOps();
        return true;
      }
      this.#compare.start(this.#bytes, this.#cursor.start, this.#cursor.end, this.#revision);
      this.ranges++;
      this.#busy = true;
    }
    const isKnown = this.#compare.step(slice);
    slice.keys -= this.#compare.worked;
    if (!isKnown) return false;
    this.#busy = false;
    this.#succeeded = this.#compare.result;
    return true;
  }

  #nextField(tag: number): boolean {
    while (this.#cursor.next()) if (this.#cursor.tag === tag) return true;
    return false;
  }

  get #branch(): number {
    return this.#succeeded ? TxnTag.Success : TxnTag.Failure;
  }

  /** All ranges of the branch are checked before the first is read. */
  #beginOps(): void {
    this.#phase = Phase.Ops;
    this.#cursor.reset(this.#bytes, this.#start, this.#end);
    while (this.#nextField(this.#branch)) {
      this.#readOp();
      if (this.#op.kind !== OpKind.Range) continue;
      const refusal = refuseTxnRange(this.#fields.revision, this.#store);
      if (refusal !== null) return this.#refuse(refusal);
    }
    this.#cursor.reset(this.#bytes, this.#start, this.#end);
    this.#writer.ensure(this.#at + this.#header.size(this.#revision) + 2);
    const { bytes } = this.#writer;
    this.#at = this.#header.write(this.#revision, bytes, this.#at);
    if (!this.#succeeded) return;
    bytes[this.#at++] = 0x10;
    bytes[this.#at++] = 1;
  }

  #readOp(): void {
    this.#op.read(this.#bytes, this.#cursor.start, this.#cursor.end);
    if (this.#op.kind === OpKind.Range) this.#fields.read(this.#bytes, this.#op.start, this.#op.end);
  }

  #refuse(refusal: EtcdErrorClass): void {
    this.#refusal = refusal;
    this.#phase = Phase.Done;
  }

  /** Goes on with the ops; false when the slice is used up. */
  #stepOp(slice: Slice): boolean {
    if (!this.#busy) {
      if (!this.#nextField(this.#branch)) {
        this.#phase = Phase.Done;
        return true;
      }
      this.#beginOp();
      if (!this.#busy) return true;
    }
    const done = this.#range.step(slice);
    slice.keys -= this.#range.worked;
    slice.bytes -= this.#range.at - this.#at;
    this.#at = this.#range.at;
    if (!done) return false;
    this.#at = closeDelimited(this.#writer, this.#variantStart, this.#at);
    this.#at = closeDelimited(this.#writer, this.#opStart, this.#at);
    this.#busy = false;
    if (this.#range.overflowed) this.#phase = Phase.Done;
    return true;
  }

  #beginOp(): void {
    this.#readOp();
    this.#opStart = openDelimited(this.#writer, this.#at, TxnTag.Failure);
    if (this.#op.kind !== OpKind.Range) {
      this.#at = closeDelimited(this.#writer, this.#opStart, this.#opStart);
      return;
    }
    this.#variantStart = openDelimited(this.#writer, this.#opStart, OpKind.Range);
    this.ranges++;
    this.#writer.ensure(this.#variantStart + nestedHeaderBytesMax);
    const at = writeNestedHeader(this.#revision, this.#writer.bytes, this.#variantStart);
    const refusal = refusalOf(this.#range.start(this.#fields, this.#revision, at, this.#endMax));
    if (refusal !== null) return this.#refuse(refusal);
    this.#busy = true;
  }
}
