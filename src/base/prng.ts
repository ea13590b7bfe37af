/**
 * Chance, passed in: whoever needs a random choice is handed a `Prng`, so that a whole run follows
 * from one seed. Not for secrets.
 */
import { assert } from "./assert.js";

/** A source of pseudo-random numbers. */
export interface Prng {
  /** A uniform integer in [0, 2^32). */
  uint32(): number;
  /** A uniform integer in [0, bound), for 0 < bound <= 2^32. */
  below(bound: number): number;
}

/** One round of SplitMix32; spreads a seed over the generator's state. */
function splitMix32(state: number): number {
  let z = (state + 0x9e3779b9) | 0;
  z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
  z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
  return (z ^ (z >>> 15)) >>> 0;
}

function rotateLeft(x: number, bits: number): number {
  return (x << bits) | (x >>> (32 - bits));
}

/** xoshiro128** (Blackman and Vigna): small, fast, and equal on every machine. */
export class SeededPrng implements Prng {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  /** Every safe non-negative integer is another stream. */
  constructor(seed: number) {
    assert(Number.isSafeInteger(seed) && seed >= 0, "prng: seed must be a safe non-negative integer");
    this.#a = splitMix32((seed % 0x100000000) | 0);
    this.#b = splitMix32(this.#a ^ Math.floor(seed / 0x100000000));
    this.#c = splitMix32(this.#b);
    // The state must not be all zero, in which the generator would stay.
    this.#d = splitMix32(this.#c) | 1;
  }

  uint32(): number {
    const result = Math.imul(rotateLeft(Math.imul(this.#b, 5), 7), 9) >>> 0;
    const t = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= t;
    this.#d = rotateLeft(this.#d, 11);
    return result;
  }

  below(bound: number): number {
    assert(Number.isInteger(bound) && bound > 0 && bound <= 0x100000000, "prng: bound out of range");
    // Draws above the largest multiple of `bound` would favour small results, so they are thrown away.
    const limit = 0x100000000 - (0x100000000 % bound);
    let drawn = this.uint32();
    while (drawn >= limit) drawn = this.uint32();
    return drawn % bound;
  }
}
