/** Chance for a run: streams that all follow from its seed, so that one part's draws do not shift another's. */
import { SeededPrng, type Prng } from "../../src/base/index.js";

export class Chance {
  readonly #prng: Prng;

  /** `stream` names the part that draws. */
  constructor(seed: number, stream: number) {
    this.#prng = new SeededPrng((seed % 2 ** 32) * 2 ** 16 + stream);
  }

  /** For code that wants a Prng. */
  get prng(): Prng {
    return this.#prng;
  }

  /** A whole number in [0, bound). */
  below(bound: number): number {
    return this.#prng.below(bound);
  }

  /** A whole number in [lo, hi]. */
  between(lo: number, hi: number): number {
    return lo + this.#prng.below(hi - lo + 1);
  }

  /** A number in [0, 1). */
  fraction(): number {
    return this.#prng.uint32() / 2 ** 32;
  }

  /** True once in `times` on average; never for 0. */
  oneIn(times: number): boolean {
    return times > 0 && this.#prng.below(times) === 0;
  }

  /** A number around `mean`, seldom much larger: delays of disks and networks. */
  around(mean: number): number {
    return mean * Math.min(10, 0.2 - 0.8 * Math.log(1 - this.fraction()));
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.#prng.below(items.length)];
    if (item === undefined) throw new Error("pick from nothing");
    return item;
  }

  shuffled<T>(items: readonly T[]): T[] {
    const left = [...items];
    const out: T[] = [];
    while (left.length > 0) out.push(...left.splice(this.#prng.below(left.length), 1));
    return out;
  }
}
