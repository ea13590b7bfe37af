/**
 * When memory that the process holds and does not use is given back: once after each time of work, as soon as there is
 * less to do, and after a long one in its midst. A start is such a time.
 *
 * To give back holds each thread that wants memory for a moment (about 1 ms for 20 MiB), and what is needed again must
 * be asked for again: so not while much is done, and not again and again while nothing is.
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
  readonly release: () => void;
}

export class IdleMemory {
  readonly #options: IdleMemoryOptions;
  #cpuMs: number;
  /** Intervals of work since memory was given back. */
  #worked = 1;

  constructor(options: IdleMemoryOptions) {
    this.#options = options;
    this.#cpuMs = options.cpuMs();
  }

  /** To be called once an interval. */
  look(): void {
    const { intervalMs, cpuMs, release } = this.#options;
    const now = cpuMs();
    const works = now - this.#cpuMs >= workShareMin * intervalMs;
    this.#cpuMs = now;
    if (works) this.#worked++;
    if (this.#worked === 0 || (works && this.#worked < workIntervalsMax)) return;
    this.#worked = 0;
    release();
  }
}
