/**
 * A set of revisions (main, sub) on typed arrays: what a compaction keeps.
 * Open addressing with linear probing; the capacity is fixed by the bound given at construction, so that adding never
 * rehashes. Main 0 marks a free slot: a store's first revision is 1.
 * The arrays may be transferred to a job thread and opened there with `RevisionSet.from`.
 */
import { assert } from "../../base/index.js";

/** Slots per expected element: a load of 2/3 keeps probes short. */
const slotsPerElement = 1.5;

function slotOf(main: number, sub: number, slots: number): number {
  // The low word and the sub vary; the high word does so only after 2^32 revisions.
  let hash = Math.imul((main % 4294967296) | 0, 0x9e3779b1) ^ Math.imul(sub, 0x85ebca6b);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x2c1b3c6d);
  hash ^= hash >>> 13;
  return Math.floor(((hash >>> 0) / 4294967296) * slots);
}

export class RevisionSet {
  readonly #mains: Float64Array;
  readonly #subs: Uint32Array;
  #size = 0;
  #prepared = 0;

  /** A set which will never hold more than `elementsMax` revisions. */
  constructor(elementsMax: number, mains?: Float64Array, subs?: Uint32Array) {
    const slots = Math.ceil(elementsMax * slotsPerElement) + 1;
    this.#mains = mains ?? new Float64Array(slots);
    this.#subs = subs ?? new Uint32Array(slots);
  }

  /** Opens a set whose arrays came from another thread. */
  static from(parts: { mains: Float64Array; subs: Uint32Array; size: number }): RevisionSet {
    assert(parts.mains.length === parts.subs.length, "revision set arrays of unequal length");
    const set = new RevisionSet(0, parts.mains, parts.subs);
    set.#size = parts.size;
    set.#prepared = parts.mains.length;
    return set;
  }

  /** The arrays, to be posted to another thread (transfer both buffers and forget this set). */
  parts(): { mains: Float64Array; subs: Uint32Array; size: number } {
    return { mains: this.#mains, subs: this.#subs, size: this.#size };
  }

  get size(): number {
    return this.#size;
  }

  /**
   * Touches the memory of up to `slotsMax` slots; true while more is to be touched. Large arrays come as unmapped
   * pages: adding scattered elements would fault on nearly each (measured: 15 ms for the first 1,000 of 1 M).
   */
  prepare(slotsMax: number): boolean {
    const until = Math.min(this.#mains.length, this.#prepared + slotsMax);
    this.#mains.fill(0, this.#prepared, until);
    this.#subs.fill(0, this.#prepared, until);
    this.#prepared = until;
    return until < this.#mains.length;
  }

  add(main: number, sub: number): void {
    const mains = this.#mains;
    const slots = mains.length;
    assert(main > 0, "revision 0 in a revision set");
    assert(this.#size + 1 < slots, "revision set is full");
    let slot = slotOf(main, sub, slots);
    while (mains[slot] !== 0) {
      if (mains[slot] === main && this.#subs[slot] === sub) return;
      if (++slot === slots) slot = 0;
    }
    mains[slot] = main;
    this.#subs[slot] = sub;
    this.#size++;
  }

  has(main: number, sub: number): boolean {
    const mains = this.#mains;
    const slots = mains.length;
    let slot = slotOf(main, sub, slots);
    while (mains[slot] !== 0) {
      if (mains[slot] === main && this.#subs[slot] === sub) return true;
      if (++slot === slots) slot = 0;
    }
    return false;
  }
}
