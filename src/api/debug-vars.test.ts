import assert from "node:assert/strict";
import { test } from "node:test";
import { debugVars } from "./debug-vars.js";

test("the form of Go's expvar, a line for each variable", () => {
  const lines = debugVars(["etcd", "--name=a"], null).split("\n");
  assert.deepEqual([lines[0], ...lines.slice(-2)], ["{", "}", ""]);
  assert.deepEqual(
    lines.slice(1, -2).map((line) => line.slice(0, line.indexOf(":"))),
    ['"cmdline"', '"file_descriptor_limit"', '"memstats"', '"raft.status"'],
  );
  assert.equal(lines[1], '"cmdline": ["etcd","--name=a"],');
  assert.equal(lines.at(-3), '"raft.status": null');
});
