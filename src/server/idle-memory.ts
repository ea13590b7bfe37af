/**
 * When memory that the process holds and does not use is given back: once after each time of work, as soon as there is
 * less to do, and after a long one in its midst. A start is such a time.
 *
 * After work the threads' heaps are collected, and an interval later what that has freed is given back too; once more
 * when V8's own last collections are over, some ten seconds later, if nothing was done meanwhile. A collection
 * holds its thread for 4 to 10 ms in small parts, to give back holds each thread that wants memory for a moment (about
 * 1 ms for 20 MiB), and what is needed again must be asked for again: so not while much is done, and not again and
 * again while nothing is.
 * Thread: main. No clock or timer of its own.
 */

/** Processor time of all threads in an interval, as a share of it, from which on the interval counts as work. */
const workShareMin = 0.1;
/** Intervals of work on end after which memory is given back all the same. */
const workIntervalsMax = 60;
/** Intervals between two collections: what works a little now and then is not held again and again. */
const collectionIntervalsMin = 15;
/** Intervals from the second release after work until memory is given back for the last time. */
const restIntervals = 12;

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
  /** Looks since the last collection. */
  #sinceCollection = collectionIntervalsMin;
  /** Intervals until memory is given back once more; 0: it is not. */
  #restLeft = 0;

  constructor(options: IdleMemoryOptions) {
    this.#options = options;
    this.#cpuMs = options.cpuMs();
  }

  /** To be called once an interval. */
  look(): void {
    const { intervalMs, cpuMs, collect } = this.#options;
    const now = cpuMs();
    const works = now - this.#cpuMs >= workShareMin * intervalMs;
    this.#cpuMs = now;
    this.#sinceCollection++;
    // A collection is no work that would ask for another one.
    if (this.#collected) {
      this.#collected = false;
      this.#restLeft = restIntervals;
      this.#release();
    } else if (works) {
      this.#restLeft = 0;
      if (++this.#worked >= workIntervalsMax) this.#release();
    } else if (this.#worked > 0) {
      if (this.#sinceCollection < collectionIntervalsMin) return;
      this.#sinceCollection = 0;
      this.#collected = true;
      collect();
      this.#release();
    } else if (this.#restLeft > 0 && --this.#restLeft === 0) this.#release();
  }

  #release(): void {
    this.#worked = 0;
    this.#options.release();
  }
}
