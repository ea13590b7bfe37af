import assert from "node:assert/strict";
import { test } from "node:test";
import { IdleMemory } from "./idle-memory.js";

/** What is done at the end of each interval, given how much of it was work: "collectrelease", "release" or "". */
function done(shares: readonly number[]): string[] {
  let cpuMs = 5000;
  let what = "";
  const memory = new IdleMemory({
    intervalMs: 1000,
    cpuMs: () => cpuMs,
    collect: () => {
      what += "collect";
    },
    release: () => {
      what += "release";
    },
  });
  return shares.map((share) => {
    cpuMs += share * 1000;
    what = "";
    memory.look();
    return what;
  });
}

/** When it was done, of what `done` tells. */
function when(what: string, all: readonly string[]): number[] {
  return all.flatMap((found, second) => (found === what ? [second] : []));
}

test("memory is collected and given back once after a start and after each time of work", () => {
  const calm = Array.from({ length: 20 }, () => 0.05);
  const all = done([1.5, 0.2, ...calm, 0.3, 1, 0.01, ...calm]);
  assert.deepEqual(when("collectrelease", all), [2, 24]);
  assert.deepEqual(when("release", all), [3, 15, 25, 37]);
});

test("who works a little now and then is not held by collections again and again", () => {
  const all = done(Array.from({ length: 61 }, (_, second) => (second % 3 === 1 ? 0.2 : 0)));
  assert.deepEqual(when("collectrelease", all), [0, 15, 30, 45, 60]);
});

test("it is at once when the start is over by the first look", () => {
  assert.deepEqual(done([0, 0, 0]), ["collectrelease", "release", ""]);
});

test("a collection is no work after which another one would follow", () => {
  assert.deepEqual(done([0, 0.2, 0, 0]), ["collectrelease", "release", "", ""]);
});

test("after work that begins right after a collection there is another one", () => {
  const all = done([0, 1, 1, ...Array.from({ length: 20 }, () => 0)]);
  assert.deepEqual([when("collectrelease", all), when("release", all)[1]], [[0, 15], 16]);
});

test("memory is given back once more when nothing was done for some time after it, and not again", () => {
  const calm = Array.from({ length: 60 }, () => 0);
  const lastOf = (shares: readonly number[]): number => done(shares).lastIndexOf("release");
  assert.equal(lastOf(calm), 13);
  assert.equal(lastOf([0, 0, ...calm.slice(0, 8), 1, ...calm]), 15 + 13);
  assert.equal(done([...calm, ...calm]).filter((what) => what === "release").length, 2);
});

test("memory is given back about once a minute while work goes on", () => {
  const counts = done(Array.from({ length: 181 }, () => 1));
  assert.deepEqual(when("release", counts), [58, 118, 178]);
  assert.ok(counts.every((what) => what !== "collectrelease"));
});
