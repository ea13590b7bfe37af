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

test("memory is collected and given back once after a start and after each time of work", () => {
  assert.deepEqual(done([1.5, 0.2, 0.05, 0, 0.09, 0.3, 0.01, 0, 0]), [
    "",
    "",
    "collectrelease",
    "release",
    "",
    "",
    "collectrelease",
    "release",
    "",
  ]);
});

test("it is at once when the start is over by the first look", () => {
  assert.deepEqual(done([0, 0, 0]), ["collectrelease", "release", ""]);
});

test("a collection is no work after which another one would follow", () => {
  assert.deepEqual(done([0, 0.2, 0, 0]), ["collectrelease", "release", "", ""]);
});

test("work that begins right after a collection has memory collected once it is over", () => {
  assert.deepEqual(done([0, 1, 1, 0, 0]), ["collectrelease", "release", "", "collectrelease", "release"]);
});

test("memory is given back once more when nothing was done for some time after it, and not again", () => {
  const calm = Array.from({ length: 60 }, () => 0);
  const lastOf = (shares: readonly number[]): number => done(shares).lastIndexOf("release");
  assert.equal(lastOf(calm), 13);
  assert.equal(lastOf([0, 0, ...calm.slice(0, 8), 1, ...calm]), 10 + 14);
  assert.equal(done([...calm, ...calm]).filter((what) => what === "release").length, 2);
});

test("memory is given back about once a minute while work goes on", () => {
  const counts = done(Array.from({ length: 181 }, () => 1));
  const releases = counts.flatMap((what, second) => (what === "release" ? [second] : []));
  assert.deepEqual(releases, [58, 118, 178]);
  assert.ok(counts.every((what) => what !== "collectrelease"));
});
