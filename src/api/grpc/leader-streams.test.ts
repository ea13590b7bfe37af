import assert from "node:assert/strict";
import { test } from "node:test";
import { LeaderStreams } from "./leader-streams.js";

test("streams end at the third look in a row without a leader, and looking ends with them", () => {
  const timers: (() => void)[] = [];
  const ended: number[] = [];
  let hasLeader = true;
  const streams = new LeaderStreams({
    electionTimeoutMs: 1000,
    hasLeader: () => hasLeader,
    end: (callId) => ended.push(callId),
    after: (_milliseconds, run) => timers.push(run),
  });
  const look = (): void => timers.shift()!();
  streams.add(1);
  streams.add(2);
  streams.add(3);
  assert.equal(timers.length, 1);
  look();
  hasLeader = false;
  look();
  look();
  hasLeader = true;
  look();
  hasLeader = false;
  look();
  look();
  streams.delete(2);
  assert.deepEqual(ended, []);
  look();
  assert.deepEqual(ended, [1, 3]);
  assert.equal(timers.length, 0, "nobody is left to look for");
  streams.add(4);
  look();
  look();
  assert.deepEqual(ended, [1, 3], "counting starts anew");
});
