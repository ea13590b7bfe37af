/**
 * The entries since the last compaction, all in memory, as a deque of batches.
 * Invariants: batches follow each other without gap; terms never go back; `prevIndex` is the entry before
 * the first, whose term is still known; a batch whose first entries are compacted is kept whole.
 */
import { assert, type EntryBatch } from "../base/index.js";
import { SizeBudget } from "./entry-size.js";

/** The term of an entry that is compacted or not there yet. */
export const unknownTerm = -1;

export class EntryDeque {
  #batches: EntryBatch[] = [];
  /** Batches before this position are compacted. */
  #head = 0;
  #prevIndex: number;
  #prevTerm: number;
  #lastIndex: number;
  #lastTerm: number;

  constructor(prevIndex: number, prevTerm: number) {
    this.#prevIndex = prevIndex;
    this.#prevTerm = prevTerm;
    this.#lastIndex = prevIndex;
    this.#lastTerm = prevTerm;
  }

  get prevIndex(): number {
    return this.#prevIndex;
  }

  get lastIndex(): number {
    return this.#lastIndex;
  }

  get lastTerm(): number {
    return this.#lastTerm;
  }

  /** Forgets all; the log goes on after a snapshot. */
  reset(prevIndex: number, prevTerm: number): void {
    this.#batches = [];
    this.#head = 0;
    this.#prevIndex = prevIndex;
    this.#prevTerm = prevTerm;
    this.#lastIndex = prevIndex;
    this.#lastTerm = prevTerm;
  }

  /** The term of entry `index`, or `unknownTerm`. */
  termAt(index: number): number {
    if (index === this.#lastIndex) return this.#lastTerm;
    if (index === this.#prevIndex) return this.#prevTerm;
    if (index < this.#prevIndex || index > this.#lastIndex) return unknownTerm;
    return this.#batches[this.#positionOf(index)]!.term;
  }

  push(batch: EntryBatch): void {
    assert(batch.firstIndex === this.#lastIndex + 1, "log gap");
    assert(batch.term >= this.#lastTerm, "term went back");
    this.#batches.push(batch);
    this.#lastIndex = batch.lastIndex;
    this.#lastTerm = batch.term;
  }

  /** Drops every entry from `index` on. */
  truncateFrom(index: number): void {
    assert(index > this.#prevIndex, "truncation of compacted entries");
    if (index > this.#lastIndex) return;
    const position = this.#positionOf(index);
    const cut = this.#batches[position]!;
    this.#batches.length = position;
    if (cut.firstIndex < index) this.#batches.push(cut.slice(cut.firstIndex, index - 1));
    this.#lastIndex = index - 1;
    this.#lastTerm = this.#lastIndex === this.#prevIndex ? this.#prevTerm : this.#batches.at(-1)!.term;
  }

  /** Drops every entry up to and including `index`, whose term stays known. */
  compact(index: number): void {
    assert(index > this.#prevIndex && index <= this.#lastIndex, "compaction outside of the log");
    const position = this.#positionOf(index);
    this.#prevTerm = this.#batches[position]!.term;
    this.#prevIndex = index;
    const oldHead = this.#head;
    this.#head = this.#batches[position]!.lastIndex === index ? position + 1 : position;
    // Moving the rest costs as much as was dropped, so that compaction is cheap in the long run.
    if (this.#head * 2 >= this.#batches.length) {
      this.#batches = this.#batches.slice(this.#head);
      this.#head = 0;
    } else {
      // Dropped batches must not keep their bytes alive.
      this.#batches.fill(this.#batches.at(-1)!, oldHead, this.#head);
    }
  }

  /** The entries `first..last` that fit into `bytesMax`, at least one; batches are shared. */
  slice(first: number, last: number, bytesMax: number): EntryBatch[] {
    assert(first > this.#prevIndex && last <= this.#lastIndex, "log slice out of range");
    const taken: EntryBatch[] = [];
    if (first > last) return taken;
    const budget = new SizeBudget(bytesMax);
    let position = this.#positionOf(first);
    for (let next = first; next <= last; position++) {
      const batch = this.#batches[position]!;
      const wanted = Math.min(batch.lastIndex, last);
      const fitting = budget.take(batch, next, wanted);
      if (fitting >= next) taken.push(batch.slice(next, fitting));
      if (fitting < wanted) break;
      next = wanted + 1;
    }
    return taken;
  }

  /**
   * The first of the given entries that is not in this log with the same term, 0 when all are (paper §5.3).
   * The entry before them is in this log.
   */
  findConflict(entries: readonly EntryBatch[]): number {
    for (const batch of entries) {
      for (let index = batch.firstIndex; index <= batch.lastIndex;) {
        if (index > this.#lastIndex) return index;
        const own = this.#batches[this.#positionOf(index)]!;
        if (own.term !== batch.term) return index;
        index = own.lastIndex + 1;
      }
    }
    return 0;
  }

  /**
   * The highest index up to `index` where a log that has `term` at `index` may agree with this one:
   * the term there is not above `term`, or is not known. Jumps a whole term run at a time (paper §5.3, last but
   * two paragraphs: one rejected append a conflicting term).
   */
  findConflictByTerm(index: number, term: number): number {
    let at = index;
    while (at > this.#prevIndex && at <= this.#lastIndex) {
      const batch = this.#batches[this.#positionOf(at)]!;
      if (batch.term <= term) return at;
      at = Math.max(batch.firstIndex - 1, this.#prevIndex);
    }
    if (at === this.#prevIndex && at > 0 && this.#prevTerm > term) return at - 1;
    return at;
  }

  /** Whether any entry of `first..last` satisfies the test on its type. */
  hasType(first: number, last: number, matches: (type: number) => boolean): boolean {
    for (let index = first; index <= last;) {
      const batch = this.#batches[this.#positionOf(index)]!;
      const end = Math.min(batch.lastIndex, last);
      for (; index <= end; index++) {
        if (matches(batch.typeOf(index))) return true;
      }
    }
    return false;
  }

  /** The position of the batch that holds entry `index`, which must be in the log. */
  #positionOf(index: number): number {
    let lo = this.#head;
    let hi = this.#batches.length - 1;
    // Most look-ups are for the newest entries.
    if (hi >= lo && this.#batches[hi]!.firstIndex <= index) return hi;
    while (lo < hi) {
      const middle = (lo + hi + 1) >>> 1;
      if (this.#batches[middle]!.firstIndex <= index) lo = middle;
      else hi = middle - 1;
    }
    return lo;
  }
}
