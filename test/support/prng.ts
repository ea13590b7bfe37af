/**
 * The tests' source of chance: xoshiro128** seeded by splitmix32. Equal seeds give equal sequences
 * on every machine, which is what lets a failing run be replayed.
 */

const splitmix = (state: number): number => {
  let z = (state + 0x9e3779b9) | 0;
  z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
  z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
  return (z ^ (z >>> 15)) >>> 0;
};

const rotateLeft = (x: number, bits: number): number => (x << bits) | (x >>> (32 - bits));

/** A seeded generator of pseudo-random choices. */
export class Prng {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  constructor(seed: number) {
    const s = seed >>> 0;
    this.#a = splitmix(s);
    this.#b = splitmix(s ^ 0x85ebca6b);
    this.#c = splitmix(s ^ 0xc2b2ae35);
    this.#d = splitmix(Math.floor(seed / 2 ** 32) ^ 0x27d4eb2f) | 1;
  }

  /** 32 random bits, unsigned. */
  u32(): number {
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

  /** An integer in [0, bound). */
  below(bound: number): number {
    return this.u32() % bound;
  }

  /** An integer in [lo, hi], both included. */
  between(lo: number, hi: number): number {
    return lo + this.below(hi - lo + 1);
  }

  /** True once in `times` on average. */
  oneIn(times: number): boolean {
    return this.below(times) === 0;
  }

  /** One of `items`, all equally likely. */
  pick<T>(items: readonly [T, ...T[]] | readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error("pick from nothing");
    return item;
  }

  /** One of the names, as likely as its weight says. */
  weighted<T extends string>(weights: Readonly<Record<T, number>>): T {
    const entries = Object.entries(weights) as [T, number][];
    let at = this.below(entries.reduce((sum, [, weight]) => sum + weight, 0));
    for (const [name, weight] of entries) {
      if (at < weight) return name;
      at -= weight;
    }
    throw new Error("weights changed while choosing");
  }

  /** `length` random bytes. */
  bytes(length: number): Buffer {
    const bytes = Buffer.alloc(length);
    for (let i = 0; i < length; i++) bytes[i] = this.u32() & 0xff;
    return bytes;
  }
}

/** The seed of a run: SEED from the environment, or a fresh one. */
export const chooseSeed = (): number => {
  const given = process.env["SEED"];
  if (given === undefined) return Math.floor(Math.random() * 2 ** 32);
  const seed = Number(given);
  if (!Number.isSafeInteger(seed) || seed < 0) throw new Error(`SEED=${given} is not a whole number`);
  return seed;
};
