/**
 * When streams are due for their progress notifications: each has a period of its own, up to a tenth longer than the
 * interval, so that streams opened together do not tick together. One timer serves all; it rings at most each
 * `coarseMs`.
 */
import type { Prng } from "../../base/index.js";
import type { Clock } from "../clock.js";
import type { WatchStream } from "./watch-stream.js";

const coarseMs = 20;

export interface WatchProgressOptions {
  /** --watch-progress-notify-interval. */
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly prng: Prng;
  /** Runs a function once, after so many milliseconds. */
  readonly after: (ms: number, run: () => void) => void;
  readonly tick: (stream: WatchStream) => void;
}

export class WatchProgress {
  readonly #options: WatchProgressOptions;
  readonly #streams = new Set<WatchStream>();
  #armedFor = Infinity;

  constructor(options: WatchProgressOptions) {
    this.#options = options;
  }

  /** A stream has begun: its timer runs from now on, though nobody may want its ticks. */
  opened(stream: WatchStream): void {
    const { intervalMs, prng, clock } = this.#options;
    stream.progressEveryMs = intervalMs + prng.below(Math.max(1, Math.floor(intervalMs / 10)));
    stream.progressAt = clock.now() + stream.progressEveryMs;
  }

  /** The first watcher of this stream wants notifications. */
  add(stream: WatchStream): void {
    // Ticks that nobody wanted have passed meanwhile.
    const late = this.#options.clock.now() - stream.progressAt;
    if (late >= 0) stream.progressAt += (Math.floor(late / stream.progressEveryMs) + 1) * stream.progressEveryMs;
    this.#streams.add(stream);
    this.#arm(stream.progressAt);
  }

  delete(stream: WatchStream): void {
    this.#streams.delete(stream);
  }

  #arm(at: number): void {
    if (at >= this.#armedFor) return;
    this.#armedFor = at;
    this.#options.after(Math.max(coarseMs, at - this.#options.clock.now()), () => this.#ring(at));
  }

  #ring(armedFor: number): void {
    // An earlier timer was set after this one.
    if (armedFor !== this.#armedFor) return;
    this.#armedFor = Infinity;
    const now = this.#options.clock.now();
    let next = Infinity;
    for (const stream of this.#streams) {
      if (stream.progressAt <= now) {
        stream.progressAt += stream.progressEveryMs;
        if (stream.progressAt <= now) stream.progressAt = now + stream.progressEveryMs;
        this.#options.tick(stream);
      }
      next = Math.min(next, stream.progressAt);
    }
    if (next !== Infinity) this.#arm(next);
  }
}
