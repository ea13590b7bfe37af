import assert from "node:assert/strict";
import { test } from "node:test";
import { SeededPrng } from "../base/index.js";
import { Inflights } from "./inflights.js";
import { Progress, ProgressState } from "./progress.js";

function progress(match: number, next: number, inflightMessagesMax = 4): Progress {
  const made = new Progress({ id: 2n, next, inflightMessagesMax, inflightBytesMax: Number.POSITIVE_INFINITY });
  made.match = match;
  return made;
}

test("the window equals a plain queue", () => {
  const prng = new SeededPrng(11);
  const window = new Inflights(40, 1000);
  const plain: { index: number; bytes: number }[] = [];
  let index = 0;
  for (let round = 0; round < 5000; round++) {
    const bytes = plain.reduce((sum, m) => sum + m.bytes, 0);
    assert.equal(window.full, plain.length === 40 || bytes >= 1000);
    assert.equal(window.count, plain.length);
    if (!window.full && prng.below(5) > 0) {
      index += prng.below(3);
      const size = prng.below(60);
      window.add(index, size);
      plain.push({ index, bytes: size });
    } else {
      const to = index - prng.below(20);
      window.freeTo(to);
      while (plain.length > 0 && plain[0]!.index <= to) plain.shift();
    }
    if (prng.below(500) === 0) {
      window.clear();
      plain.length = 0;
    }
  }
});

test("adding to a full window is a programmer's error", () => {
  const window = new Inflights(1, Number.POSITIVE_INFINITY);
  window.add(1, 1);
  assert.throws(() => window.add(2, 1));
});

test("probe: one append at a time, until a rejection or an answer", () => {
  const member = progress(0, 10);
  member.sentEntries(3, 30);
  assert.equal(member.paused, true);
  assert.equal(member.next, 10);
  assert.equal(member.maybeDecrementTo(5, 2), false, "a late rejection of another probe");
  assert.equal(member.paused, true);
  assert.equal(member.maybeDecrementTo(9, 4), true);
  assert.deepEqual([member.next, member.paused], [5, false]);
});

test("nextIndex never falls to matchIndex (figure 2)", () => {
  const member = progress(5, 6);
  assert.equal(member.maybeDecrementTo(5, 0), true);
  assert.equal(member.next, 6);
});

test("replicate: appends are pipelined, and stop when the window is full", () => {
  const member = progress(9, 10, 2);
  member.becomeReplicate();
  member.sentEntries(5, 50);
  assert.deepEqual([member.next, member.paused], [15, false]);
  member.sentEntries(1, 10);
  assert.deepEqual([member.next, member.paused], [16, true]);
  assert.equal(member.maybeUpdate(14), true);
  member.inflights.freeTo(14);
  assert.deepEqual([member.match, member.paused, member.inflights.count], [14, false, 1]);
  assert.equal(member.maybeUpdate(14), false);
});

test("replicate: a rejection falls back to what matches, unless it is old", () => {
  const member = progress(9, 20);
  member.state = ProgressState.Replicate;
  assert.equal(member.maybeDecrementTo(9, 3), false);
  assert.equal(member.maybeDecrementTo(15, 3), true);
  assert.equal(member.next, 10);
});

test("snapshot: nothing is sent; afterwards probes start behind it", () => {
  const member = progress(1, 2);
  member.becomeSnapshot(100);
  assert.equal(member.paused, true);
  assert.throws(() => member.sentEntries(1, 1));
  member.becomeProbe();
  assert.deepEqual([member.next, member.state, member.paused], [101, ProgressState.Probe, false]);
});

test("a commit index is sent only when it can tell something new", () => {
  const member = progress(5, 8);
  member.sentCommit = 4;
  assert.equal(member.canBumpCommit(4), false);
  assert.equal(member.canBumpCommit(6), true);
  member.sentCommit = 7;
  assert.equal(member.canBumpCommit(9), false, "it already covers all that was sent");
});
