import assert from "node:assert/strict";
import { test } from "node:test";
import { IdleMemory } from "./idle-memory.js";

/** How often memory is given back by the end of each interval, given how much of it was work. */
function released(shares: readonly number[]): number[] {
  let cpuMs = 5000;
  let count = 0;
  const memory = new IdleMemory({ intervalMs: 1000, cpuMs: () => cpuMs, release: () => count++ });
  return shares.map((share) => {
    cpuMs += share * 1000;
    memory.look();
    return count;
  });
}

test("memory is given back once after a start and after each time of work", () => {
  assert.deepEqual(released([1.5, 0.2, 0.05, 0, 0.09, 0.3, 0.01, 0]), [0, 0, 1, 1, 1, 1, 2, 2]);
});

test("memory is given back at once when the start is over by the first look", () => {
  assert.deepEqual(released([0, 0, 0]), [1, 1, 1]);
});

test("memory is given back about once a minute while work goes on", () => {
  const counts = released(Array.from({ length: 181 }, () => 1));
  assert.deepEqual([counts[57], counts[58], counts[59], counts[118], counts[119], counts[180]], [0, 1, 1, 2, 2, 3]);
});
