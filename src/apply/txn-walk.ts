/**
 * Walks a TxnRequest in place: its compares, and the ops of one branch.
 * Nested transactions are walked by the same cursors, one a depth.
 */
import { decodeTxnRequest, encodeTxnRequest } from "../proto/index.js";
import { FieldCursor } from "./field-cursor.js";

/** Tags within a TxnRequest. */
export const TxnTag = { Compare: 0x0a, Success: 0x12, Failure: 0x1a } as const;
/** A RequestOp's variant, by its tag; None: it has none. */
export const OpKind = { None: 0, Range: 0x0a, Put: 0x12, DeleteRange: 0x1a, Txn: 0x22 } as const;
export type OpKind = (typeof OpKind)[keyof typeof OpKind];

/** Reads one RequestOp. */
export class OpReader {
  readonly #cursor = new FieldCursor();
  kind: OpKind = OpKind.None;
  /** The variant's message. */
  start = 0;
  end = 0;

  /** False: the variant was given more than once, and its messages would have to be merged. */
  read(bytes: Uint8Array, start: number, end: number): boolean {
    this.kind = OpKind.None;
    this.start = this.end = start;
    const cursor = this.#cursor;
    cursor.reset(bytes, start, end);
    let once = true;
    while (cursor.next()) {
      const { tag } = cursor;
      if (tag !== OpKind.Range && tag !== OpKind.Put && tag !== OpKind.DeleteRange && tag !== OpKind.Txn) continue;
      once &&= this.kind === OpKind.None;
      this.kind = tag;
      this.start = cursor.start;
      this.end = cursor.end;
    }
    return once;
  }
}

/** Moves to the next field with this tag; false: there is none. */
export function nextField(cursor: FieldCursor, tag: number): boolean {
  while (cursor.next()) if (cursor.tag === tag) return true;
  return false;
}

/** Cursors of nested walks: each depth has one of its own. */
export class CursorStack {
  readonly #cursors: FieldCursor[] = [];

  at(depth: number): FieldCursor {
    return (this.#cursors[depth] ??= new FieldCursor());
  }
}

/** The same transaction with every RequestOp's variant given once, as Go's parser merges them. */
export function mergeVariants(bytes: Uint8Array, start: number, end: number): Uint8Array {
  return encodeTxnRequest(decodeTxnRequest(bytes, start, end));
}
