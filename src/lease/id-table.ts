/**
 * Lease IDs and the slot of each: a hash table on typed arrays. A slot is a small number under which owners keep
 * what they know of a lease in arrays of their own; a freed slot is given out again.
 * Invariant: at most half of the buckets are taken, so that a search is short.
 */
import { assert } from "../base/index.js";

const slotsMin = 16;
const noSlot = -1;

/** A typed array of the same kind, longer, with the same beginning. */
export function grown<T extends Uint8Array | Uint32Array | Int32Array | Float64Array>(array: T, length: number): T {
  const longer = new (array.constructor as new (length: number) => T)(length);
  longer.set(array);
  return longer;
}

/** Spreads a lease's ID over 32 bits. */
function hashOf(low: number, high: number): number {
  let hash = Math.imul(low ^ (low >>> 16), 0x85ebca6b) ^ Math.imul(high ^ 0x9e3779b9, 0xc2b2ae35);
  hash = Math.imul(hash ^ (hash >>> 15), 0x27d4eb2f);
  return (hash ^ (hash >>> 13)) >>> 0;
}

export class IdTable {
  /** The int64 IDs by slot, in two unsigned halves. */
  low = new Uint32Array(slotsMin);
  high = new Uint32Array(slotsMin);
  /** By slot: 1 when it is taken. */
  #taken = new Uint8Array(slotsMin);
  #buckets = new Int32Array(2 * slotsMin).fill(noSlot);
  /** Freed slots, each naming the next. */
  #nextFree = new Int32Array(slotsMin);
  #firstFree = noSlot;
  /** Slots below this have been given out before. */
  #end = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }
  /** Owners' arrays must be as long as this. */
  get capacity(): number {
    return this.low.length;
  }
  /** Every taken slot is below. */
  get end(): number {
    return this.#end;
  }

  isTaken(slot: number): boolean {
    return this.#taken[slot] === 1;
  }

  /** The slot of an ID, or −1. */
  find(low: number, high: number): number {
    const mask = this.#buckets.length - 1;
    for (let at = hashOf(low, high) & mask; ; at = (at + 1) & mask) {
      const slot = this.#buckets[at]!;
      if (slot === noSlot || (this.low[slot] === low && this.high[slot] === high)) return slot;
    }
  }

  /** Gives a slot to an ID that has none. */
  add(low: number, high: number): number {
    const slot = this.#takeSlot();
    this.low[slot] = low;
    this.high[slot] = high;
    this.#taken[slot] = 1;
    this.#count++;
    this.#link(slot);
    return slot;
  }

  remove(slot: number): void {
    assert(this.isTaken(slot), "lease: a slot is freed twice");
    this.#unlink(slot);
    this.#taken[slot] = 0;
    this.#nextFree[slot] = this.#firstFree;
    this.#firstFree = slot;
    this.#count--;
  }

  #takeSlot(): number {
    const freed = this.#firstFree;
    if (freed !== noSlot) {
      this.#firstFree = this.#nextFree[freed]!;
      return freed;
    }
    if (this.#end === this.capacity) this.#grow();
    return this.#end++;
  }

  #grow(): void {
    const capacity = 2 * this.capacity;
    this.low = grown(this.low, capacity);
    this.high = grown(this.high, capacity);
    this.#taken = grown(this.#taken, capacity);
    this.#nextFree = grown(this.#nextFree, capacity);
    this.#buckets = new Int32Array(2 * capacity).fill(noSlot);
    for (let slot = 0; slot < this.#end; slot++) if (this.isTaken(slot)) this.#link(slot);
  }

  #link(slot: number): void {
    const mask = this.#buckets.length - 1;
    let at = hashOf(this.low[slot]!, this.high[slot]!) & mask;
    while (this.#buckets[at] !== noSlot) at = (at + 1) & mask;
    this.#buckets[at] = slot;
  }

  /** Closes the gap, so that no search ends before what it looks for. */
  #unlink(slot: number): void {
    const buckets = this.#buckets;
    const mask = buckets.length - 1;
    let gap = hashOf(this.low[slot]!, this.high[slot]!) & mask;
    while (buckets[gap] !== slot) gap = (gap + 1) & mask;
    for (let at = (gap + 1) & mask; buckets[at] !== noSlot; at = (at + 1) & mask) {
      const home = hashOf(this.low[buckets[at]!]!, this.high[buckets[at]!]!) & mask;
      // Only what may not stand after the gap moves into it.
      if (((at - home) & mask) < ((at - gap) & mask)) continue;
      buckets[gap] = buckets[at]!;
      gap = at;
    }
    buckets[gap] = noSlot;
  }
}
