/** Slots in the order of a time that belongs to each: a binary heap on typed arrays, in which a time can be changed. */
import { grown } from "./id-table.js";

const absent = -1;

export class ExpiryHeap {
  /** By slot. */
  #due = new Float64Array(0);
  #place = new Int32Array(0);
  /** By place. */
  #slots = new Int32Array(0);
  #count = 0;

  get count(): number {
    return this.#count;
  }
  /** The slot whose time comes first; −1: there is none. */
  get first(): number {
    return this.#count === 0 ? absent : this.#slots[0]!;
  }

  has(slot: number): boolean {
    return slot < this.#place.length && this.#place[slot] !== absent;
  }

  dueOf(slot: number): number {
    return this.#due[slot]!;
  }

  /** The first slot, if its time has come, which is `again` from now on; −1: there is none. */
  takeDue(now: number, again: number): number {
    const slot = this.first;
    if (slot === absent || this.#due[slot]! > now) return absent;
    this.set(slot, again);
    return slot;
  }

  /** Adds a slot, or changes its time. */
  set(slot: number, due: number): void {
    this.#reach(slot);
    const place = this.#place[slot]!;
    if (place === absent) {
      this.#due[slot] = due;
      this.#up(this.#count++, slot);
    } else {
      const before = this.#due[slot]!;
      this.#due[slot] = due;
      if (due < before) this.#up(place, slot);
      else this.#down(place, slot);
    }
  }

  remove(slot: number): void {
    if (!this.has(slot)) return;
    const place = this.#place[slot]!;
    this.#place[slot] = absent;
    const last = this.#slots[--this.#count]!;
    if (last === slot) return;
    if (this.#due[last]! < this.#due[slot]!) this.#up(place, last);
    else this.#down(place, last);
  }

  clear(): void {
    this.#count = 0;
    this.#place.fill(absent);
  }

  #reach(slot: number): void {
    const length = this.#due.length;
    if (slot < length) return;
    const longer = Math.max(16, 2 * length, slot + 1);
    this.#due = grown(this.#due, longer);
    this.#slots = grown(this.#slots, longer);
    this.#place = grown(this.#place, longer);
    this.#place.fill(absent, length);
  }

  /** Puts `slot` at `place` or above. */
  #up(place: number, slot: number): void {
    const due = this.#due[slot]!;
    while (place > 0) {
      const above = (place - 1) >>> 1;
      const other = this.#slots[above]!;
      if (this.#due[other]! <= due) break;
      this.#move(other, place);
      place = above;
    }
    this.#move(slot, place);
  }

  /** Puts `slot` at `place` or below. */
  #down(place: number, slot: number): void {
    const due = this.#due[slot]!;
    for (;;) {
      let below = 2 * place + 1;
      if (below >= this.#count) break;
      const right = below + 1;
      if (right < this.#count && this.#due[this.#slots[right]!]! < this.#due[this.#slots[below]!]!) below = right;
      const other = this.#slots[below]!;
      if (this.#due[other]! >= due) break;
      this.#move(other, place);
      place = below;
    }
    this.#move(slot, place);
  }

  #move(slot: number, place: number): void {
    this.#slots[place] = slot;
    this.#place[slot] = place;
  }
}
