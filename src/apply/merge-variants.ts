/**
 * Rewrites a TxnRequest so that every RequestOp has its variant once, as Go's parser merges what is given more than
 * once: a message that is repeated is one after the other, and of several variants the last counts.
 * It is written from its end to its beginning, so that the length of what is nested is known before it is told; without
 * recursion, because a client of a real member may nest 5,000 deep.
 */
import { sizeVarint, writeVarint } from "../proto/index.js";
import { FieldCursor } from "./field-cursor.js";
import { OpKind, TxnTag } from "./txn-walk.js";

/** The same transaction; what is unknown in an op is left out. */
export function mergeVariants(bytes: Uint8Array, start: number, end: number): Uint8Array {
  return new Merger(bytes, end - start).merge(start, end);
}

/** Numbers a field takes on the stack: its tag, where it begins, and its content. */
const fieldNumbers = 4;

class Merger {
  readonly #bytes: Uint8Array;
  readonly #cursor = new FieldCursor();
  /** Never longer than what is merged. */
  readonly #out: Uint8Array;
  /** What is written begins here. */
  #at: number;
  /** Fields that are still to be written, of the outer transactions and of the one in hand. */
  readonly #fields: number[] = [];
  // Of each transaction in the making but the outermost: where its fields begin, where it ends, the tag of its op.
  readonly #bases: number[] = [];
  readonly #ends: number[] = [];
  readonly #tags: number[] = [];
  /** Of the op in hand: the variant that counts, and where its messages begin and end. */
  #kind: OpKind = OpKind.None;
  readonly #run: number[] = [];

  constructor(bytes: Uint8Array, length: number) {
    this.#bytes = bytes;
    this.#out = new Uint8Array(length);
    this.#at = length;
  }

  merge(start: number, end: number): Uint8Array {
    this.#addFields(start, end);
    for (;;) {
      while (this.#fields.length > (this.#bases.at(-1) ?? 0)) this.#writeLast();
      if (this.#bases.length === 0) return this.#out.subarray(this.#at);
      this.#bases.pop();
      this.#closeOp(OpKind.Txn, this.#tags.pop()!, this.#ends.pop()!);
    }
  }

  #addFields(start: number, end: number): void {
    const cursor = this.#cursor;
    cursor.reset(this.#bytes, start, end);
    for (let from = start; cursor.next(); from = cursor.position) {
      const isOp = cursor.tag === TxnTag.Success || cursor.tag === TxnTag.Failure;
      this.#fields.push(cursor.tag, from, isOp ? cursor.start : from, cursor.position);
    }
  }

  /** Writes the last field there is, or goes into its transaction. */
  #writeLast(): void {
    const [tag, from, start, end] = this.#fields.splice(-fieldNumbers) as [number, number, number, number];
    if (start === from) return this.#copy(from, end);
    this.#readOp(start, end);
    const run = this.#run;
    if (this.#kind === OpKind.Txn) {
      this.#bases.push(this.#fields.length);
      this.#ends.push(this.#at);
      this.#tags.push(tag);
      for (let i = 0; i < run.length; i += 2) this.#addFields(run[i]!, run[i + 1]!);
      return;
    }
    const endAt = this.#at;
    for (let i = run.length - 2; i >= 0; i -= 2) this.#copy(run[i]!, run[i + 1]!);
    this.#closeOp(this.#kind, tag, endAt);
  }

  #readOp(start: number, end: number): void {
    const cursor = this.#cursor;
    const run = this.#run;
    this.#kind = OpKind.None;
    run.length = 0;
    cursor.reset(this.#bytes, start, end);
    while (cursor.next()) {
      const { tag } = cursor;
      if (tag !== OpKind.Range && tag !== OpKind.Put && tag !== OpKind.DeleteRange && tag !== OpKind.Txn) continue;
      if (tag !== this.#kind) run.length = 0;
      this.#kind = tag;
      run.push(cursor.start, cursor.end);
    }
  }

  #copy(start: number, end: number): void {
    this.#at -= end - start;
    this.#out.set(this.#bytes.subarray(start, end), this.#at);
  }

  /** What has been written up to `endAt` is an op's variant; now the op around it. */
  #closeOp(kind: OpKind, tag: number, endAt: number): void {
    if (kind !== OpKind.None) this.#head(kind, endAt);
    this.#head(tag, endAt);
  }

  #head(tag: number, endAt: number): void {
    const length = endAt - this.#at;
    this.#at -= 1 + sizeVarint(length);
    this.#out[this.#at] = tag;
    writeVarint(length, this.#out, this.#at + 1);
  }
}
