/**
 * etcd's line about a unary call, `request stats`: at level warn about those that take
 * --warning-unary-request-duration or longer, at level debug about each; and its line `trace` about KV's calls of 100 ms
 * or more. Counts and contents are of KV's calls alone, as in etcd.
 */
import { clockText, durationText, nowMs, type Logger } from "../base/index.js";
import { LogBudget } from "./log-budget.js";
import type { RequestStats } from "./request-facts.js";
import { logTrace, tracedAfterMs } from "./request-trace.js";
import { isMalformed, requestText, txnOpBytes } from "./request-text.js";

const kv = "/etcdserverpb.KV/";

/** What the log wants to know of calls. */
export interface RequestLogOptions {
  readonly logger: Logger;
  /** Lines of level debug are wanted: one for each call. */
  readonly logsDebug: boolean;
  /** --warning-unary-request-duration, milliseconds. */
  readonly slowAfterMs: number;
}

interface Counts {
  readonly requestCount: number;
  readonly requestBytes: number;
  readonly responseCount: number;
  readonly responseBytes: number;
}

/** See the module. */
export class RequestLog {
  readonly #options: RequestLogOptions;
  readonly #budget: LogBudget;

  constructor(options: RequestLogOptions) {
    this.#options = options;
    this.#budget = new LogBudget(options.logger);
  }

  /** Calls that took so many milliseconds, or more, are to be told to `add`. */
  get fromMs(): number {
    return this.#options.logsDebug ? 0 : Math.min(this.#options.slowAfterMs, tracedAfterMs);
  }

  add(stats: RequestStats): void {
    const { logger, logsDebug, slowAfterMs } = this.#options;
    const isTraced = stats.milliseconds >= tracedAfterMs && stats.path.startsWith(kv);
    const isToldOf = logsDebug || stats.milliseconds >= slowAfterMs;
    if (!isTraced && !isToldOf) return;
    // Who wants a line for each call gets it, whatever it costs.
    if (!logsDebug && !this.#budget.take()) return;
    if (isMalformed(stats.path, stats.request, stats.requestBytes)) return;
    if (isTraced) logTrace(logger, stats);
    if (isToldOf) this.#logStats(stats);
  }

  #logStats(stats: RequestStats): void {
    const { logger, logsDebug } = this.#options;
    const { requestCount, requestBytes, responseCount, responseBytes } = countsOf(stats);
    const isFailedTxn = stats.path === `${kv}Txn` && responseBytes === 0;
    logger[logsDebug ? "debug" : "warn"]("request stats", {
      "start time": clockText(nowMs() - stats.milliseconds),
      "time spent": durationText(stats.milliseconds),
      remote: stats.remote,
      "response type": stats.path,
      "request count": requestCount,
      "request size": requestBytes,
      "response count": responseCount,
      "response size": responseBytes,
      "request content": isFailedTxn ? "" : requestText(stats.path, stats.request, stats.requestBytes),
    });
  }
}

function countsOf(stats: RequestStats): Counts {
  const { requestBytes, responseBytes, answer } = stats;
  switch (stats.path) {
    case `${kv}Range`:
      return { requestCount: 0, requestBytes, responseCount: answer.field4, responseBytes };
    case `${kv}Put`:
      return { requestCount: 1, requestBytes, responseCount: 0, responseBytes };
    case `${kv}DeleteRange`:
      return { requestCount: 0, requestBytes, responseCount: answer.field2, responseBytes };
    case `${kv}Txn`: {
      const isFailed = responseBytes === 0;
      const bytes = isFailed ? 0 : txnOpBytes(stats.request, requestBytes, answer.field2 !== 0);
      // Each op of the branch that was taken has one response.
      return { requestCount: answer.messages3, requestBytes: bytes, responseCount: 0, responseBytes };
    }
    default:
      return { requestCount: -1, requestBytes: -1, responseCount: -1, responseBytes: -1 };
  }
}
