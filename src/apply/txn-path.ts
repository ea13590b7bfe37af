/**
 * Finds the path of branches that a transaction takes: the compares of its whole tree, on the state before it.
 * Compares of ranges may look at any number of keys, so it goes in slices; nothing may be written between them.
 *
 *   start → step until true; then `taken`, and the request at `bytes[start, end)`, every variant given once
 */
import type { MvccStore } from "../storage/mvcc/index.js";
import { CompareEvaluator } from "./compare.js";
import type { FieldCursor } from "./field-cursor.js";
import type { Slice } from "./slice.js";
import { CursorStack, mergeVariants, nextField, OpKind, OpReader, TxnTag } from "./txn-walk.js";

/** The branch of a transaction whose compares are under way. */
const undecided = 0;

export class TxnPath {
  readonly #compare: CompareEvaluator;
  readonly #cursors = new CursorStack();
  readonly #op = new OpReader();
  /** Which branch each transaction of the tree takes, in the order in which they are met. */
  readonly taken: boolean[] = [];
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  end = 0;
  // Of the transaction at each depth.
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  readonly #branches: number[] = [];
  #depth = -1;
  #comparing = false;
  /** All compares so far of the transaction in hand have held. */
  #succeeded = true;
  #merge = false;
  /** Compares that were looked at. */
  compares = 0;

  constructor(store: MvccStore) {
    this.#compare = new CompareEvaluator(store);
  }

  /** Begins on the TxnRequest at `bytes[start, end)`, which must stay. */
  begin(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.taken.length = 0;
    this.compares = 0;
    this.#merge = false;
    this.#comparing = false;
    this.#depth = -1;
    this.#enter(start, end);
  }

  /** Does one slice; true when the path is known. */
  step(slice: Slice): boolean {
    for (;;) {
      while (this.#depth >= 0) {
        if (slice.isUsedUp) return false;
        const cursor = this.#cursors.at(this.#depth);
        if (this.#branches[this.#depth] !== undecided) this.#nextOp(cursor, slice);
        else if (!this.#stepCompare(cursor, slice)) return false;
      }
      if (!this.#merge) return true;
      const merged = mergeVariants(this.bytes, this.start, this.end);
      this.begin(merged, 0, merged.length);
    }
  }

  #enter(start: number, end: number): void {
    const depth = ++this.#depth;
    this.#starts[depth] = start;
    this.#ends[depth] = end;
    this.#branches[depth] = undecided;
    this.#succeeded = true;
    this.#cursors.at(depth).reset(this.bytes, start, end);
  }

  /** Goes on with the compares; false when the slice is used up. */
  #stepCompare(cursor: FieldCursor, slice: Slice): boolean {
    if (!this.#comparing) {
      if (!this.#succeeded || !nextField(cursor, TxnTag.Compare)) {
        this.#choose(cursor);
        return true;
      }
      this.#compare.start(this.bytes, cursor.start, cursor.end, 0);
      this.#comparing = true;
      this.compares++;
    }
    const isKnown = this.#compare.step(slice);
    slice.keys -= this.#compare.worked;
    if (!isKnown) return false;
    this.#comparing = false;
    this.#succeeded = this.#compare.result;
    return true;
  }

  #choose(cursor: FieldCursor): void {
    const depth = this.#depth;
    this.taken.push(this.#succeeded);
    this.#branches[depth] = this.#succeeded ? TxnTag.Success : TxnTag.Failure;
    cursor.reset(this.bytes, this.#starts[depth]!, this.#ends[depth]!);
  }

  /** Looks for transactions within the chosen branch. */
  #nextOp(cursor: FieldCursor, slice: Slice): void {
    if (!nextField(cursor, this.#branches[this.#depth]!)) {
      this.#depth--;
      return;
    }
    slice.keys--;
    if (!this.#op.read(this.bytes, cursor.start, cursor.end)) this.#merge = true;
    if (this.#op.kind === OpKind.Txn) this.#enter(this.#op.start, this.#op.end);
  }
}
