/**
 * etcd's line `trace` about a call of KV that took long, under its name for the operation and with its details. Of
 * etcd's steps there are none: a request is not timed on its way.
 */
import { clockText, durationText, nowMs, type Logger } from "../base/index.js";
import {
  CompactionRequestDescriptor,
  DeleteRangeRequestDescriptor,
  type MessageDescriptor,
  PutRequestDescriptor,
  RangeRequestDescriptor,
} from "../proto/index.js";
import type { RequestStats } from "./request-facts.js";
import { setFields, txnKinds } from "./request-text.js";

/** A call that took so many milliseconds, or more, is traced. */
export const tracedAfterMs = 100;

type Details = readonly (readonly [string, string | number | boolean])[];

interface Trace {
  readonly operation: string;
  readonly details: Details;
}

/** Logs the line about a call that ends now. */
export function logTrace(logger: Logger, stats: RequestStats): void {
  const trace = traceOf(stats);
  if (trace === undefined) return;
  const end = nowMs();
  logger.info("trace", {
    trace_id: Math.floor(Math.random() * 2 ** 31),
    operation: trace.operation,
    detail: `{${trace.details.map(([name, value]) => `${name}:${value}; `).join("")}}`,
    duration: durationText(stats.milliseconds),
    start: clockText(end - stats.milliseconds),
    end: clockText(end),
    steps: [],
    step_count: 0,
  });
}

/** As in etcd a write that fails has no trace, and a read that fails has less in it. */
function traceOf(stats: RequestStats): Trace | undefined {
  const { path, request, requestBytes, answer } = stats;
  const revision = ["response_revision", answer.revision] as const;
  const isAnswered = stats.responseBytes > 0;
  switch (path) {
    case "/etcdserverpb.KV/Range": {
      const { key, range_end } = textsOf(RangeRequestDescriptor, stats);
      const found: Details = isAnswered ? [["response_count", answer.messages2], revision] : [];
      return { operation: "range", details: [["range_begin", key ?? ""], ["range_end", range_end ?? ""], ...found] };
    }
    case "/etcdserverpb.KV/Put": {
      if (!isAnswered) return undefined;
      const { key } = textsOf(PutRequestDescriptor, stats);
      return { operation: "put", details: [["key", key ?? ""], ["req_size", requestBytes], revision] };
    }
    case "/etcdserverpb.KV/DeleteRange": {
      if (!isAnswered) return undefined;
      const { key, range_end } = textsOf(DeleteRangeRequestDescriptor, stats);
      return {
        operation: "delete_range",
        details: [
          ["key", key ?? ""],
          ["range_end", range_end ?? ""],
        ],
      };
    }
    case "/etcdserverpb.KV/Txn": {
      const { isReadonly, hasPut } = txnKinds(request, requestBytes, answer.field2 !== 0);
      const count = ["number_of_response", answer.messages3] as const;
      const found: Details = hasPut ? [revision, count] : [count, revision];
      if (!isAnswered && !isReadonly) return undefined;
      return { operation: "transaction", details: [["read_only", isReadonly], ...(isAnswered ? found : [])] };
    }
    case "/etcdserverpb.KV/Compact": {
      if (!isAnswered) return undefined;
      const fields = textsOf(CompactionRequestDescriptor, stats);
      return { operation: "compact", details: [["revision", fields["revision"] ?? "0"], revision] };
    }
    default:
      return undefined;
  }
}

/** The fields of a request by their names, bytes as the text that they are. */
function textsOf(descriptor: MessageDescriptor, stats: RequestStats): Record<string, string> {
  const { request, requestBytes } = stats;
  const sent = setFields(descriptor, request, 0, requestBytes);
  const text = (start: number, end: number): string => Buffer.from(request.subarray(start, end)).toString();
  return Object.fromEntries(
    sent.map(({ field, start, end, number }) => [
      field.name,
      field.type === "bytes" ? text(start, end) : String(number),
    ]),
  );
}
