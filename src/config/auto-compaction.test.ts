/** Values as a real etcd 3.7 logs them at start. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { autoCompactionRule } from "./auto-compaction.js";

const rule = (autoCompactionMode: string, autoCompactionRetention: string): unknown =>
  autoCompactionRule({ autoCompactionMode, autoCompactionRetention });

test("a bare number is hours or revisions", () => {
  assert.deepEqual(rule("periodic", "5"), { mode: "periodic", retention: 5 * 3_600_000 });
  assert.deepEqual(rule("periodic", "+5"), { mode: "periodic", retention: 5 * 3_600_000 });
  assert.deepEqual(rule("revision", "1000"), { mode: "revision", retention: 1000 });
});

test("anything else is a duration, in mode revision taken as nanoseconds", () => {
  assert.deepEqual(rule("periodic", "5m30s"), { mode: "periodic", retention: 330_000 });
  assert.deepEqual(rule("revision", "5us"), { mode: "revision", retention: 5000 });
});

test("nothing, zero: off", () => {
  for (const text of ["", "0", "0s"]) assert.equal(rule("periodic", text), null);
});
