/**
 * Leases that a leader does not know of although clients ask for them. It may not say at once that there is none: until
 * it has committed an entry of its own term it may not know all that was committed before, and one that was replaced
 * without noticing does not know what was granted since. A client that is told so gives its lease up.
 *
 * So each waits for a barrier that begins after the question; all that are asked for meanwhile share the next one.
 * Thread: main. Bound: one for each stream that waits.
 */
import type { BarrierDone } from "./barriers.js";

export class DoubtedLeases {
  readonly #barrier: (done: BarrierDone) => void;
  readonly #passed: () => void;
  /** They wait for the next barrier. */
  #doubted = new Set<bigint>();
  /** Those of the barrier under way; null: there is none. */
  #asked: ReadonlySet<bigint> | null = null;
  /** Those of the barrier that has just passed. */
  #certain: ReadonlySet<bigint> = new Set();

  /** `barrier`: until this member knows what was committed anywhere before. `passed`: questions may come again. */
  constructor(barrier: (done: BarrierDone) => void, passed: () => void) {
    this.#barrier = barrier;
    this.#passed = passed;
  }

  /** Whether a lease that is not known here is certainly not there; false: the question is to come again in `passed`. */
  isGone(id: bigint): boolean {
    if (this.#certain.has(id)) return true;
    this.#doubted.add(id);
    this.#begin();
    return false;
  }

  #begin(): void {
    if (this.#asked !== null || this.#doubted.size === 0) return;
    const asked = this.#doubted;
    this.#asked = asked;
    this.#doubted = new Set();
    this.#barrier((error) => {
      this.#asked = null;
      if (error === null) this.#certain = asked;
      this.#passed();
      this.#certain = new Set();
      this.#begin();
    });
  }
}
