/**
 * How many slow calls may be logged. A line costs about 100 µs, a hundred times as much as the call: a member behind
 * which everything takes long would fall further behind for the lines alone, and not recover.
 */
import type { Logger } from "../base/index.js";

/** So many calls are logged at once, about 5 ms of work, and then one in so many milliseconds. */
const callsMax = 50;
const callMs = 10;
/** Those left out are told of after so long. */
const summaryMs = 1000;

export class LogBudget {
  readonly #logger: Logger;
  readonly #nowMs: () => number;
  /** Up to here the time for calls is used. */
  #usedMs = -Infinity;
  #leftOut = 0;

  /** `nowMs`: milliseconds that never go back. */
  constructor(logger: Logger, nowMs: () => number = () => performance.now()) {
    this.#logger = logger;
    this.#nowMs = nowMs;
  }

  /** Whether one more call may be logged now. One that may not is counted. */
  take(): boolean {
    const now = this.#nowMs();
    const used = Math.max(this.#usedMs, now - callsMax * callMs) + callMs;
    if (used <= now) {
      this.#usedMs = used;
      return true;
    }
    if (this.#leftOut++ === 0) setTimeout(() => this.#tell(), summaryMs).unref();
    return false;
  }

  #tell(): void {
    const count = this.#leftOut;
    this.#leftOut = 0;
    this.#logger.warn("too many slow requests to log each", { "not logged": count });
  }
}
