/**
 * The Go client library, unmodified, through a fixed course of calls (test/e2e/clientv3/main.go):
 * what it hands its user must be the same from ours as from the real etcd.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { etcdBinaries, goProgram, ourCommand, packageRoot } from "../support/index.js";
import { runProgram, startPair, type PairMember } from "./pair.js";

const cache = await etcdBinaries();
const ours = ourCommand();
const skip = cache.kind === "skipped" ? cache.reason : false;

const linesOf = async (probe: string, side: PairMember): Promise<string[]> => {
  const { stdout, stderr, code } = await runProgram(probe, [side.endpoint]);
  assert.equal(code, 0, `${side.name}: ${stderr}`);
  return stdout.trimEnd().split("\n");
};

test("clientv3 puts, gets, ranges, txns, deletes and errors as against etcd", { skip }, async (t) => {
  if (cache.kind === "skipped") return;
  const probe = await goProgram("clientv3-probe", join(packageRoot, "test", "e2e", "clientv3"));
  if (probe === null) {
    t.skip("skipped: Go is missing");
    return;
  }
  const pair = await startPair(cache.binaries.etcd, ours);
  try {
    const [expected, actual] = [await linesOf(probe, pair.etcd), await linesOf(probe, pair.ours)];
    t.diagnostic(`${expected.length} lines`);
    assert.ok(expected.length > 70, "the probe did its whole course");
    assert.deepEqual(actual, expected);
  } finally {
    await pair.stop();
  }
});
