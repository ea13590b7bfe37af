import assert from "node:assert/strict";
import { test } from "node:test";
import { ErrTooManyRequests } from "../../errors/index.js";
import { CallBatchReader } from "../../native/index.js";
import type { ConcurrencyMessage } from "../http/index.js";
import { encodeLockRequest } from "../../proto/index.js";
import { callRecord } from "./call-record.test-support.js";
import { methodIndex } from "./methods.js";
import { HandedOverCalls } from "./handed-over-calls.js";

const methods = { lock: methodIndex("/v3lockpb.Lock/Lock"), observe: methodIndex("/v3electionpb.Election/Observe") };

/** A reader that stands at the record of a call. */
function record(callId: number, message: Uint8Array, method = methods.lock): CallBatchReader {
  const bytes = callRecord(callId, message, method);
  const reader = new CallBatchReader();
  reader.reset(bytes, bytes.length);
  reader.next();
  return reader;
}

test("only calls that run are told of", () => {
  const posted: ConcurrencyMessage[] = [];
  const calls = new HandedOverCalls((message) => posted.push(message));
  assert.equal(calls.start(record(1, encodeLockRequest({ lease: 7n }))), null);
  calls.cancel(2);
  calls.writable(1);
  calls.cancel(1);
  calls.ended(1);
  calls.cancel(1);
  assert.deepEqual(
    posted.map(({ kind }) => kind),
    ["call", "writableCall", "cancelCall"],
  );
});

test("calls that hold too much memory together are refused until some have ended", () => {
  const calls = new HandedOverCalls(() => {});
  const large = encodeLockRequest({ name: new Uint8Array(1 << 20) });
  let count = 0;
  while (calls.start(record(count, large)) === null) count++;
  assert.ok(count > 0 && 4 * large.length * count <= 256 << 20, `${count} were taken`);
  assert.ok(calls.start(record(count, large)) instanceof ErrTooManyRequests);
  // A cancelled one holds its share until it has been cleaned up.
  calls.cancel(0);
  assert.ok(calls.start(record(count, large)) instanceof ErrTooManyRequests);
  calls.ended(0);
  assert.equal(calls.start(record(count, large)), null);
});

test("what does not parse is refused as grpc-go refuses it, a stream in its own words", () => {
  const calls = new HandedOverCalls(() => assert.fail("nothing is handed over"));
  const cut = Buffer.from([0x0a, 0x05]);
  const texts = [methods.lock, methods.observe].map((method) => calls.start(record(1, cut, method))?.message ?? "");
  assert.match(texts[0]!, /^grpc: error unmarshalling request: /);
  assert.match(texts[1]!, /^grpc: failed to unmarshal the received message: /);
});
