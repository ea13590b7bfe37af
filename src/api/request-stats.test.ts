/** The lines of calls that take long; test/e2e/slow-requests.test.ts compares `request stats` with etcd's. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { LogFields, Logger } from "../base/index.js";
import {
  encodeCompactionRequest,
  encodeDeleteRangeRequest,
  encodePutRequest,
  encodeRangeRequest,
  encodeTxnRequest,
} from "../proto/index.js";
import type { RequestStats } from "./request-facts.js";
import { RequestLog } from "./request-stats.js";

const key = Buffer.from("k");
const answer = { field2: 1, field4: 9, messages2: 4, messages3: 2, revision: 7 };
const noAnswer = { field2: 0, field4: 0, messages2: 0, messages3: 0, revision: 0 };
const put = { request: { case: "requestPut", value: { key } } } as const;
const range = { request: { case: "requestRange", value: { key } } } as const;
const innerRead = { request: { case: "requestTxn", value: { success: [range] } } } as const;
const inner = { request: { case: "requestTxn", value: { failure: [put] } } } as const;

/** What is logged of a call, or of some: level, message and fields. */
function linesOf(
  stats: Partial<RequestStats> | readonly Partial<RequestStats>[],
  options = { logsDebug: false, slowAfterMs: 300 },
): [string, LogFields][] {
  const lines: [string, LogFields][] = [];
  const at =
    (level: string) =>
    (message: string, fields: LogFields = {}): void =>
      void lines.push([`${level} ${message}`, fields]);
  const logger: Logger = {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    named: () => logger,
  };
  const log = new RequestLog({ logger, ...options });
  for (const one of [stats].flat()) {
    const request = one.request ?? new Uint8Array(0);
    const call = {
      milliseconds: 150,
      remote: "127.0.0.1:1",
      path: "",
      requestBytes: request.length,
      responseBytes: 30,
    };
    log.add({ ...call, answer, ...one, request });
  }
  return lines;
}

/** Operation and details of a call's trace. */
function traceOf(method: string, request: Uint8Array, more: Partial<RequestStats> = {}): string {
  const lines = linesOf({ path: `/etcdserverpb.KV/${method}`, request, ...more });
  return lines.map(([what, { operation, detail }]) => `${what}: ${String(operation)} ${String(detail)}`).join();
}

test("a call of more than 100 ms has etcd's trace", () => {
  const range6 = encodeRangeRequest({ key, rangeEnd: Buffer.from("z") });
  assert.equal(
    traceOf("Range", range6),
    "info trace: range {range_begin:k; range_end:z; response_count:4; response_revision:7; }",
  );
  assert.equal(
    traceOf("Put", encodePutRequest({ key, value: key })),
    "info trace: put {key:k; req_size:6; response_revision:7; }",
  );
  assert.equal(
    traceOf("DeleteRange", encodeDeleteRangeRequest({ key })),
    "info trace: delete_range {key:k; range_end:; }",
  );
  assert.equal(
    traceOf("Compact", encodeCompactionRequest({ revision: 4 })),
    "info trace: compact {revision:4; response_revision:7; }",
  );
  assert.equal(traceOf("../Lease/LeaseGrant", new Uint8Array(0)), "");
});

test("a transaction's trace says whether it writes", () => {
  const of = (request: Uint8Array, more?: Partial<RequestStats>): string => traceOf("Txn", request, more);
  const writes = "info trace: transaction {read_only:false; response_revision:7; number_of_response:2; }";
  const others = "info trace: transaction {read_only:false; number_of_response:2; response_revision:7; }";
  const reads = "info trace: transaction {read_only:true; number_of_response:2; response_revision:7; }";
  assert.equal(of(encodeTxnRequest({ success: [range, put] })), writes);
  assert.equal(of(encodeTxnRequest({ success: [range], failure: [put] })), others);
  assert.equal(of(encodeTxnRequest({ success: [range, inner] })), others);
  // etcd takes a transaction within for a write, whatever is in it.
  assert.equal(of(encodeTxnRequest({ success: [range, innerRead] })), others);
  assert.equal(of(encodeTxnRequest({ success: [range], failure: [range] })), reads);
});

test("of failures only reads are traced", () => {
  const failed = { responseBytes: 0, answer: noAnswer };
  assert.equal(
    traceOf("Range", encodeRangeRequest({ key }), failed),
    "info trace: range {range_begin:k; range_end:; }",
  );
  assert.equal(
    traceOf("Txn", encodeTxnRequest({ success: [range] }), failed),
    "info trace: transaction {read_only:true; }",
  );
  for (const [method, request] of [
    ["Put", encodePutRequest({ key })],
    ["DeleteRange", encodeDeleteRangeRequest({ key })],
    ["Txn", encodeTxnRequest({ success: [put] })],
    ["Compact", encodeCompactionRequest({ revision: 4 })],
  ] as const) {
    assert.equal(traceOf(method, request, failed), "", method);
  }
});

test("a trace has etcd's fields, and no steps", () => {
  const [line] = linesOf({ path: "/etcdserverpb.KV/Put", request: encodePutRequest({ key }), milliseconds: 1500.25 });
  const { trace_id: id, start, end, ...rest } = line![1];
  assert.ok(Number.isInteger(id) && Number(id) >= 0 && Number(id) < 2 ** 31);
  assert.equal(Date.parse(String(end)) - Date.parse(String(start)) >= 1500, true);
  const detail = "{key:k; req_size:3; response_revision:7; }";
  assert.deepEqual(rest, { operation: "put", detail, duration: "1.50025s", steps: [], step_count: 0 });
});

test("what is quick has no line, and what is no request of its method has none", () => {
  const path = "/etcdserverpb.KV/Put";
  const request = encodePutRequest({ key });
  const levels = (stats: Partial<RequestStats>, options?: { logsDebug: boolean; slowAfterMs: number }): string[] =>
    linesOf({ path, request, ...stats }, options).map(([what]) => what);
  assert.deepEqual(levels({ milliseconds: 99 }), []);
  assert.deepEqual(levels({ milliseconds: 299 }), ["info trace"]);
  assert.deepEqual(levels({ milliseconds: 301 }), ["info trace", "warn request stats"]);
  assert.deepEqual(levels({ milliseconds: 60 }, { logsDebug: false, slowAfterMs: 50 }), ["warn request stats"]);
  assert.deepEqual(levels({ milliseconds: 0 }, { logsDebug: true, slowAfterMs: 50 }), ["debug request stats"]);
  assert.deepEqual(levels({ milliseconds: 500, request: Buffer.from([0x0a, 9, 1]) }), []);
});

test("calls that have no line take nothing of what may be logged", () => {
  const request = encodePutRequest({ key });
  const calls = Array.from({ length: 1000 }, (_, i) => ({
    path: i < 999 ? "/etcdserverpb.Lease/LeaseGrant" : "/etcdserverpb.KV/Put",
    request,
  }));
  assert.deepEqual(
    linesOf(calls).map(([what]) => what),
    ["info trace"],
  );
});

test("a transaction that is there in part has all its ops and bytes counted", () => {
  const whole = encodeTxnRequest({ success: [put, put], failure: [range] });
  const of = (request: Uint8Array, field2: number, messages3: number): unknown[] => {
    const facts = { answer: { ...answer, field2, messages3 }, requestBytes: whole.length, milliseconds: 301 };
    const fields = linesOf({ path: "/etcdserverpb.KV/Txn", request, ...facts })[1]![1];
    return [fields["request count"], fields["request size"]];
  };
  assert.deepEqual(of(whole, 1, 2), [2, 10]);
  assert.deepEqual(of(whole, 0, 1), [1, 5]);
  assert.deepEqual(of(whole.subarray(0, 9), 1, 2), [2, whole.length]);
});

test("transactions within transactions, however deep, are shown down to a depth", () => {
  let request = encodeTxnRequest({ success: [put] });
  for (let depth = 0; depth < 1000; depth++) {
    const op = Buffer.concat([Buffer.from([0x22, ...varint(request.length)]), request]);
    request = Buffer.concat([Buffer.from([0x12, ...varint(op.length)]), op]);
  }
  const [line] = linesOf({
    path: "/etcdserverpb.KV/Txn",
    request: request.subarray(0, 16 << 10),
    milliseconds: 301,
  }).slice(1);
  assert.match(String(line![1]["request content"]), /success:<request_txn:<…>>/);
});

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}
