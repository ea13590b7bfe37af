/**
 * --warning-unary-request-duration: etcd's line about a slow call, but for the counts and the content of the request,
 * which are gone when the call has ended.
 */
import type { Logger } from "../base/index.js";
import type { CallBatchReader } from "../native/index.js";

/** A unary call that has ended. */
export interface RequestStats {
  readonly milliseconds: number;
  /** Who made it: "ip:port", or "gateway". */
  readonly remote: string;
  /** Path of the method. */
  readonly path: string;
  readonly requestBytes: number;
  readonly responseBytes: number;
}

export function logSlowRequest(logger: Logger, stats: RequestStats): void {
  const { milliseconds, remote, path, requestBytes, responseBytes } = stats;
  logger.warn("request stats", {
    "start time": new Date(Date.now() - milliseconds).toISOString(),
    "time spent": `${milliseconds.toFixed(3)}ms`,
    remote,
    "response type": path,
    "request size": requestBytes,
    "response size": responseBytes,
  });
}

/** What the edge's Slow record says. */
export function readSlowRecord(record: CallBatchReader): Omit<RequestStats, "remote" | "path"> {
  const { bytes, messageStart } = record;
  const view = new DataView(bytes.buffer, bytes.byteOffset + messageStart, 16);
  return {
    milliseconds: Number(view.getBigUint64(0, true)) / 1000,
    requestBytes: view.getUint32(8, true),
    responseBytes: view.getUint32(12, true),
  };
}
