/**
 * etcd's line about a unary call, `request stats`: at level warn about those that take longer than
 * --warning-unary-request-duration, at level debug about each. Counts and contents are of KV's calls alone, as in etcd.
 */
import { durationText, type Logger } from "../base/index.js";
import type { CallBatchReader } from "../native/index.js";
import { WireReader } from "../proto/index.js";
import { isMalformed, requestText, txnOps } from "./request-text.js";

const kv = "/etcdserverpb.KV/";

/** What the log wants to know of calls. */
export interface RequestLogOptions {
  readonly logger: Logger;
  /** Lines of level debug are wanted: one for each call. */
  readonly logsDebug: boolean;
  /** --warning-unary-request-duration, milliseconds. */
  readonly slowAfterMs: number;
}

/** A unary call that is answered. */
export interface RequestStats {
  readonly milliseconds: number;
  /** Who made it: "ip:port", or "gateway". */
  readonly remote: string;
  /** Path of the method. */
  readonly path: string;
  readonly requestBytes: number;
  /** 0: it ended with an error. */
  readonly responseBytes: number;
  /** Fields 2 and 4 of the answer where they are varints. */
  readonly responseFields: readonly [number, number];
  /** The request, or its beginning. */
  readonly request: Uint8Array;
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

  constructor(options: RequestLogOptions) {
    this.#options = options;
  }

  /** Calls that took so many milliseconds, or more, are to be told to `add`. */
  get fromMs(): number {
    return this.#options.logsDebug ? 0 : this.#options.slowAfterMs;
  }

  add(stats: RequestStats): void {
    const { logger, logsDebug } = this.#options;
    if (isMalformed(stats.path, stats.request, stats.requestBytes)) return;
    const { requestCount, requestBytes, responseCount, responseBytes } = countsOf(stats);
    const isFailedTxn = stats.path === `${kv}Txn` && responseBytes === 0;
    logger[logsDebug ? "debug" : "warn"]("request stats", {
      "start time": microsecondsText(performance.timeOrigin + performance.now() - stats.milliseconds),
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
  const { requestBytes, responseBytes, responseFields } = stats;
  switch (stats.path) {
    case `${kv}Range`:
      return { requestCount: 0, requestBytes, responseCount: responseFields[1], responseBytes };
    case `${kv}Put`:
      return { requestCount: 1, requestBytes, responseCount: 0, responseBytes };
    case `${kv}DeleteRange`:
      return { requestCount: 0, requestBytes, responseCount: responseFields[0], responseBytes };
    case `${kv}Txn`: {
      const none = { requestCount: 0, requestBytes: 0 };
      const ops = responseBytes === 0 ? none : txnOps(stats.request, requestBytes, responseFields[0] !== 0);
      return { ...ops, responseCount: 0, responseBytes };
    }
    default:
      return { requestCount: -1, requestBytes: -1, responseCount: -1, responseBytes: -1 };
  }
}

/** Milliseconds since the epoch as text that has microseconds. */
function microsecondsText(milliseconds: number): string {
  const micros = String(Math.floor((milliseconds % 1) * 1000)).padStart(3, "0");
  return `${new Date(milliseconds).toISOString().slice(0, -1)}${micros}Z`;
}

/** What the edge's Slow record says. */
export function readSlowRecord(record: CallBatchReader): Omit<RequestStats, "remote" | "path"> {
  const { bytes, messageStart, messageEnd } = record;
  const view = new DataView(bytes.buffer, bytes.byteOffset + messageStart, 32);
  return {
    milliseconds: Number(view.getBigUint64(0, true)) / 1000,
    requestBytes: view.getUint32(8, true),
    responseBytes: view.getUint32(12, true),
    responseFields: [Number(view.getBigInt64(16, true)), Number(view.getBigInt64(24, true))],
    request: bytes.subarray(messageStart + 32, messageEnd),
  };
}

/** Fields 2 and 4 of one of our own answers where they are varints. */
export function responseFieldsOf(response: Uint8Array): [number, number] {
  const found: [number, number] = [0, 0];
  const reader = new WireReader(response, 0);
  while (reader.at < response.length) {
    const tag = reader.tag(response.length);
    if (tag === 16) found[0] = reader.int64Number(response.length);
    else if (tag === 32) found[1] = reader.int64Number(response.length);
    else reader.skip(tag, response.length);
  }
  return found;
}
