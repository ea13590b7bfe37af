import assert from "node:assert/strict";
import { test } from "node:test";
import { callHeaderBytes } from "../native/index.js";
import { ReadIndexQueue } from "./read-index.js";

/** A call-batch record with no message. */
function record(callId: number): Uint8Array {
  const bytes = new Uint8Array(callHeaderBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, callHeaderBytes, true);
  view.setUint32(4, callId, true);
  return bytes;
}

function rig(timeoutMs = 7000, firstContext = 0) {
  const asked: number[] = [];
  const released: { index: number; calls: number[] }[] = [];
  const timedOut: number[] = [];
  const queue = new ReadIndexQueue(timeoutMs, firstContext, {
    request: (context) => asked.push(context),
    release: (index, records, length) => {
      const view = new DataView(records.buffer, records.byteOffset);
      const calls = Array.from({ length: length / callHeaderBytes }, (_, i) =>
        view.getUint32(i * callHeaderBytes + 4, true),
      );
      released.push({ index, calls });
    },
    timedOut: (callId) => timedOut.push(callId),
  });
  const add = (callId: number): void => queue.add(record(callId), 0, callHeaderBytes);
  return { queue, add, asked, released, timedOut };
}

test("reads that come while a ReadIndex is under way share the next one (thesis §6.4)", () => {
  const { queue, add, asked, released } = rig();
  add(1);
  queue.flush(0);
  add(2);
  add(3);
  queue.flush(1);
  assert.deepEqual(asked, [1]);
  queue.confirmed(1, 10, 2);
  assert.deepEqual(asked, [1, 2]);
  queue.confirmed(2, 11, 3);
  assert.deepEqual(released, [
    { index: 10, calls: [1] },
    { index: 11, calls: [2, 3] },
  ]);
  assert.equal(queue.waitingBytes, 0);
});

test("an answer to an earlier request releases nothing", () => {
  const { queue, add, released } = rig();
  add(1);
  queue.flush(0);
  queue.confirmed(7, 10, 1);
  assert.deepEqual(released, []);
  assert.equal(queue.slowCount, 1);
});

test("without an answer it asks again with the same context, then gives the calls up", () => {
  const { queue, add, asked, released, timedOut } = rig(1200);
  add(4);
  queue.flush(0);
  queue.tick(499);
  assert.deepEqual(asked, [1]);
  queue.tick(500);
  queue.tick(999);
  assert.deepEqual(asked, [1, 1]);
  add(5);
  queue.tick(1200);
  assert.deepEqual(timedOut, [4]);
  assert.equal(queue.failedCount, 1);
  assert.deepEqual(asked, [1, 1, 2], "those that came meanwhile get their turn");
  queue.confirmed(1, 9, 1201);
  assert.deepEqual(released, []);
  queue.confirmed(2, 9, 1202);
  assert.deepEqual(released, [{ index: 9, calls: [5] }]);
});

test("an answer to a former run's request is not taken for one to this run's", () => {
  const former = rig();
  former.add(1);
  former.queue.flush(0);
  const { queue, add, asked, released } = rig(7000, 12345);
  add(2);
  queue.flush(0);
  queue.confirmed(former.asked[0]!, 3, 1);
  assert.deepEqual(released, []);
  queue.confirmed(asked[0]!, 9, 2);
  assert.deepEqual(released, [{ index: 9, calls: [2] }]);
});

test("who asks whether a quorum answers is told without apply, by a ReadIndex that begins after the question", () => {
  const { queue, add, asked, released } = rig();
  const told: string[] = [];
  add(1);
  queue.flush(0);
  queue.confirm((isConfirmed) => told.push(`a ${isConfirmed}`));
  queue.flush(1);
  queue.confirmed(1, 10, 2);
  assert.deepEqual([told, asked], [[], [1, 2]]);
  queue.confirmed(2, 11, 3);
  assert.deepEqual(told, ["a true"]);
  assert.deepEqual(released, [{ index: 10, calls: [1] }], "nothing goes to apply");
  queue.confirm((isConfirmed) => told.push(`b ${isConfirmed}`));
  queue.flush(10);
  queue.confirm((isConfirmed) => told.push(`c ${isConfirmed}`));
  queue.tick(7010);
  assert.deepEqual(told, ["a true", "b false"]);
  assert.deepEqual(asked, [1, 2, 3, 4], "the next question is asked at once");
  queue.confirmed(4, 12, 7011);
  assert.deepEqual(told, ["a true", "b false", "c true"]);
});
