/**
 * A run of consecutive Raft entries of one term, the unit that travels edge → raft → wal → apply.
 * One contiguous byte block holds the data of all its entries, so that a batch costs one WAL record,
 * one message to a peer and one hand-over to apply, and no object an entry.
 *
 * Invariants: `count >= 1`; `ends` is non-decreasing and `ends[count - 1] === bytes.length`;
 * entry i (index `firstIndex + i`) has the data `bytes[i === 0 ? 0 : ends[i - 1], ends[i])`.
 * A batch is immutable once made; `bytes` is never a reused buffer.
 */
import { assert } from "./assert.js";

/** raftpb.EntryType. */
export const EntryType = { Normal: 0, ConfChange: 1, ConfChangeV2: 2 } as const;
export type EntryType = (typeof EntryType)[keyof typeof EntryType];

export class EntryBatch {
  readonly term: number;
  /** Index of the first entry; 0 in a proposal that has no place in the log yet. */
  readonly firstIndex: number;
  readonly types: Uint8Array;
  readonly ends: Uint32Array;
  readonly bytes: Uint8Array;

  constructor(fields: { term: number; firstIndex: number; types: Uint8Array; ends: Uint32Array; bytes: Uint8Array }) {
    assert(fields.ends.length > 0, "empty entry batch");
    assert(fields.types.length === fields.ends.length, "entry batch: types and ends differ in length");
    assert(
      fields.ends[fields.ends.length - 1] === fields.bytes.length,
      "entry batch: bytes do not end with the last entry",
    );
    this.term = fields.term;
    this.firstIndex = fields.firstIndex;
    this.types = fields.types;
    this.ends = fields.ends;
    this.bytes = fields.bytes;
  }

  /** A batch of one entry. */
  static single(fields: { term: number; index: number; type: EntryType; data: Uint8Array }): EntryBatch {
    return new EntryBatch({
      term: fields.term,
      firstIndex: fields.index,
      types: Uint8Array.of(fields.type),
      ends: Uint32Array.of(fields.data.length),
      bytes: fields.data,
    });
  }

  get count(): number {
    return this.ends.length;
  }

  get lastIndex(): number {
    return this.firstIndex + this.ends.length - 1;
  }

  /** Where entry `index` starts in `bytes`. */
  startOf(index: number): number {
    const i = index - this.firstIndex;
    return i === 0 ? 0 : this.ends[i - 1]!;
  }

  /** Where entry `index` ends in `bytes`. */
  endOf(index: number): number {
    return this.ends[index - this.firstIndex]!;
  }

  typeOf(index: number): EntryType {
    return this.types[index - this.firstIndex] as EntryType;
  }

  /** The data of entry `index`, as a view. */
  dataOf(index: number): Uint8Array {
    return this.bytes.subarray(this.startOf(index), this.endOf(index));
  }

  /** The entries with `first <= index <= last`, sharing this batch's bytes. */
  slice(first: number, last: number): EntryBatch {
    assert(first >= this.firstIndex && last <= this.lastIndex && first <= last, "entry batch: slice out of range");
    if (first === this.firstIndex && last === this.lastIndex) return this;
    const from = this.startOf(first);
    const lo = first - this.firstIndex;
    const hi = last - this.firstIndex + 1;
    return new EntryBatch({
      term: this.term,
      firstIndex: first,
      types: this.types.subarray(lo, hi),
      ends: this.ends.slice(lo, hi).map((end) => end - from),
      bytes: this.bytes.subarray(from, this.endOf(last)),
    });
  }

  /** The same entries at another place of the log: a leader gives a proposal its term and index. */
  at(term: number, firstIndex: number): EntryBatch {
    return new EntryBatch({ term, firstIndex, types: this.types, ends: this.ends, bytes: this.bytes });
  }
}
