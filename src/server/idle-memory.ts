/**
 * When memory that the process holds and does not use is given back: once after each time of work, as soon as there is
 * less to do, and after a long one in its midst. A start is such a time.
 *
 * After work the threads' heaps are collected first, and an interval later what that has freed is given back. A collection
 * holds its thread for 4 to 10 ms in small parts, to give back holds each thread that wants memory for a moment (about
 * 1 ms for 20 MiB), and what is needed again must be asked for again: so not while much is done, and not again and
 * again while nothing is.
 * Thread: main. No clock or timer of its own.
 */

/** Processor time of all threads in an interval, as a share of it, from which on the interval counts as work. */
const workShareMin = 0.1;
/** Intervals of work on end after which memory is given back all the same. */
const workIntervalsMax = 60;

export interface IdleMemoryOptions {
  readonly intervalMs: number;
  /** Processor time that the process has used, in ms. */
  readonly cpuMs: () => number;
  /** Has garbage collected; it may go on after the call. */
  readonly collect: () => void;
  readonly release: () => void;
}

export class IdleMemory {
  readonly #options: IdleMemoryOptions;
  #cpuMs: number;
  /** Intervals of work since memory was given back. */
  #worked = 1;
  /** The heaps were collected at the last look. */
  #collected = false;

  constructor(options: IdleMemoryOptions) {
    this.#options = options;
    this.#cpuMs = options.cpuMs();
  }

  /** To be called once an interval. */
  look(): void {
    const { intervalMs, cpuMs, collect, release } = this.#options;
    const now = cpuMs();
    const works = now - this.#cpuMs >= workShareMin * intervalMs;
    this.#cpuMs = now;
    // A collection is no work that would ask for another one.
    if (works && !this.#collected) this.#worked++;
    if (this.#worked === 0 || (works && !this.#collected && this.#worked < workIntervalsMax)) return;
    if (!works && !this.#collected) {
      this.#collected = true;
      return collect();
    }
    this.#collected = false;
    this.#worked = 0;
    release();
  }
}
