/**
 * The append messages to one follower that have not been acknowledged: a sliding window, each message
 * known by its last index. Bounded by a number of messages and, when asked for, of bytes.
 * Invariant: indexes in the window never decrease.
 */
import { assert } from "../base/index.js";

const firstCapacity = 16;

export class Inflights {
  readonly #countMax: number;
  readonly #bytesMax: number;
  // A ring; it grows by doubling, because most followers never fill it.
  #indexes = new Float64Array(0);
  #sizes = new Float64Array(0);
  #start = 0;
  #count = 0;
  #bytes = 0;

  /** `bytesMax` is soft: a message that crosses it is let through. */
  constructor(countMax: number, bytesMax: number) {
    assert(countMax > 0, "inflights: no room for any message");
    this.#countMax = countMax;
    this.#bytesMax = bytesMax;
  }

  get count(): number {
    return this.#count;
  }

  get full(): boolean {
    return this.#count === this.#countMax || this.#bytes >= this.#bytesMax;
  }

  /** Notes a message that ends with entry `index`. */
  add(index: number, bytes: number): void {
    assert(!this.full, "inflights: add to a full window");
    if (this.#count === this.#indexes.length) this.#grow();
    let at = this.#start + this.#count;
    if (at >= this.#indexes.length) at -= this.#indexes.length;
    this.#indexes[at] = index;
    this.#sizes[at] = bytes;
    this.#count += 1;
    this.#bytes += bytes;
  }

  /** Forgets every message that ends at or before `index`. */
  freeTo(index: number): void {
    while (this.#count > 0 && this.#indexes[this.#start]! <= index) {
      this.#bytes -= this.#sizes[this.#start]!;
      this.#start += 1;
      if (this.#start === this.#indexes.length) this.#start = 0;
      this.#count -= 1;
    }
  }

  clear(): void {
    this.#start = 0;
    this.#count = 0;
    this.#bytes = 0;
  }

  #grow(): void {
    const capacity = Math.max(firstCapacity, this.#indexes.length * 2);
    const indexes = new Float64Array(capacity);
    const sizes = new Float64Array(capacity);
    for (let i = 0; i < this.#count; i++) {
      const from = (this.#start + i) % this.#indexes.length;
      indexes[i] = this.#indexes[from]!;
      sizes[i] = this.#sizes[from]!;
    }
    this.#indexes = indexes;
    this.#sizes = sizes;
    this.#start = 0;
  }
}
