import assert from "node:assert/strict";
import { test } from "node:test";
import { message, MessageType } from "../raft/index.js";
import { Outstanding } from "./outstanding.js";

const acknowledgement = (index: number): ReturnType<typeof message> =>
  message({ type: MessageType.AppResp, to: 2n, from: 1n, term: 3, index });

test("responses are delivered once, in the order of the work, when that is done", () => {
  const work = new Outstanding();
  assert.equal(work.oldestMs, null);
  work.add(1, [acknowledgement(10)], 5);
  work.add(2, [acknowledgement(11), acknowledgement(12)], 6);
  work.add(4, [acknowledgement(13)], 7);
  const told: number[] = [];
  work.done(0, ({ index }) => told.push(index));
  assert.deepEqual([told, work.oldestMs], [[], 5]);
  work.done(3, ({ index }) => {
    told.push(index);
    // Whoever is told may have more to do at once.
    if (index === 10) work.add(3, [acknowledgement(14)], 8);
  });
  assert.deepEqual([told, work.oldestMs], [[10, 11, 12], 7]);
  work.done(9, ({ index }) => told.push(index));
  assert.deepEqual(told, [10, 11, 12, 13, 14]);
});

test("what waits for a disk that hangs is kept once, however often it is said", () => {
  const work = new Outstanding();
  work.add(1, [acknowledgement(10)], 0);
  for (let i = 0; i < 1000; i++) work.add(1, [acknowledgement(10), { ...acknowledgement(11), reject: i % 2 === 0 }], i);
  assert.deepEqual([work.count, work.responses, work.oldestMs], [1, 3, 0]);
  const told: unknown[] = [];
  work.done(1, ({ index, reject }) => told.push([index, reject]));
  assert.deepEqual(told, [
    [10, false],
    [11, true],
    [11, false],
  ]);
});
