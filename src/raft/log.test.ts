import assert from "node:assert/strict";
import { test } from "node:test";
import { EntryBatch, EntryType, SeededPrng, type Prng } from "../base/index.js";
import { encodedSize } from "./entry-size.js";
import { RaftLog } from "./log.js";
import { emptyConfState } from "./conf-change.js";

interface PlainEntry {
  readonly index: number;
  readonly term: number;
  readonly data: string;
}

function batchOf(term: number, firstIndex: number, values: readonly string[]): EntryBatch {
  const bytes = new Uint8Array(Buffer.from(values.join("")));
  const ends = new Uint32Array(values.length);
  let end = 0;
  values.forEach((value, i) => (ends[i] = end += value.length));
  return new EntryBatch({ term, firstIndex, types: new Uint8Array(values.length), ends, bytes });
}

function plain(batches: readonly EntryBatch[]): PlainEntry[] {
  return batches.flatMap((batch) =>
    Array.from({ length: batch.count }, (_, i) => {
      const index = batch.firstIndex + i;
      return { index, term: batch.term, data: Buffer.from(batch.dataOf(index)).toString() };
    }),
  );
}

function emptyLog(applyingSizeMax = Number.POSITIVE_INFINITY): RaftLog {
  return new RaftLog({ prevIndex: 0, prevTerm: 0, applyingSizeMax });
}

/** A log whose terms are given by their runs. */
function logOf(...runs: [term: number, count: number][]): RaftLog {
  const log = emptyLog();
  for (const [term, count] of runs) {
    log.append([batchOf(term, log.lastIndex + 1, new Array<string>(count).fill("x"))], log.lastIndex + 1);
  }
  return log;
}

/** The log as an array of entries, for comparison. */
class PlainLog {
  prevIndex = 0;
  prevTerm = 0;
  entries: PlainEntry[] = [];

  get lastIndex(): number {
    return this.prevIndex + this.entries.length;
  }

  termOrZero(index: number): number {
    if (index === this.prevIndex) return this.prevTerm;
    return this.entries[index - this.prevIndex - 1]?.term ?? 0;
  }

  findConflict(entries: readonly PlainEntry[]): number {
    return entries.find((entry) => this.termOrZero(entry.index) !== entry.term)?.index ?? 0;
  }

  findConflictByTerm(index: number, term: number): number {
    for (let at = index; at > 0; at--) {
      if (at < this.prevIndex || at > this.lastIndex || this.termOrZero(at) <= term) return at;
    }
    return 0;
  }
}

/** Random batches after `index`, whose terms go up from `term`. */
function randomBatches(prng: Prng, index: number, term: number): EntryBatch[] {
  const batches: EntryBatch[] = [];
  let next = index + 1;
  let current = Math.max(1, term);
  for (let i = prng.below(3) + 1; i > 0; i--) {
    current += prng.below(2);
    const values = Array.from({ length: prng.below(5) + 1 }, () => "abcdefgh".slice(0, prng.below(9)));
    batches.push(batchOf(current, next, values));
    next += values.length;
  }
  return batches;
}

test("the log of batches equals a log of entries", () => {
  const prng = new SeededPrng(29);
  for (let run = 0; run < 40; run++) {
    const log = emptyLog();
    const model = new PlainLog();
    for (let round = 0; round < 120; round++) {
      const from = log.committed + prng.below(log.lastIndex - log.committed + 1);
      const batches = randomBatches(prng, from, log.termOrZero(from));
      const entries = plain(batches);
      const conflict = log.findConflict(batches);
      assert.equal(conflict, model.findConflict(entries));
      if (conflict !== 0) {
        log.append(batches, conflict);
        model.entries = model.entries.slice(0, conflict - 1 - model.prevIndex);
        model.entries.push(...entries.filter((entry) => entry.index >= conflict));
      }
      if (prng.below(3) === 0) log.commitTo(log.committed + prng.below(log.lastIndex - log.committed + 1));
      if (prng.below(4) === 0) compactSome(prng, log, model);
      compare(prng, log, model);
    }
  }
});

function compactSome(prng: Prng, log: RaftLog, model: PlainLog): void {
  log.appliedTo(log.applied + prng.below(log.committed - log.applied + 1), 0);
  log.acceptUnstable();
  log.stableTo(log.lastIndex, log.lastTerm);
  const index = model.prevIndex + prng.below(log.applied - model.prevIndex + 1);
  log.compact(index);
  model.prevTerm = model.termOrZero(index);
  model.entries = model.entries.slice(index - model.prevIndex);
  model.prevIndex = index;
}

function compare(prng: Prng, log: RaftLog, model: PlainLog): void {
  assert.equal(log.lastIndex, model.lastIndex);
  assert.equal(log.firstIndex, model.prevIndex + 1);
  for (let index = 0; index <= log.lastIndex + 2; index++) {
    assert.equal(log.termOrZero(index), model.termOrZero(index), `term of ${index}`);
    const term = prng.below(log.lastTerm + 2);
    assert.equal(log.findConflictByTerm(index, term), model.findConflictByTerm(index, term), `${index} ${term}`);
  }
  const first = log.firstIndex + prng.below(model.entries.length + 1);
  const sizeMax = prng.below(100);
  const taken = log.entriesFrom(first, sizeMax);
  const wanted = model.entries.slice(first - log.firstIndex);
  assert.deepEqual(plain(taken), wanted.slice(0, plain(taken).length));
  const size = encodedSize(taken);
  if (plain(taken).length > 1) assert.ok(size <= sizeMax);
  if (plain(taken).length < wanted.length) {
    const more = log.entriesFrom(first, Number.POSITIVE_INFINITY);
    const next = plain(more).at(plain(taken).length)!;
    const nextSize = encodedSize([batchOf(next.term, next.index, [next.data])]);
    assert.ok(plain(taken).length >= 1 && size + nextSize > sizeMax, "stopped although there was room");
  }
}

test("sizes are those of raftpb", () => {
  // 08 type is left out for a normal entry; 10 term, 18 index, 22 length data.
  assert.equal(encodedSize([batchOf(1, 1, [""])]), 4);
  assert.equal(encodedSize([batchOf(1, 1, ["abc"])]), 9);
  assert.equal(encodedSize([batchOf(300, 20_000, ["a".repeat(200)])]), 3 + 4 + 3 + 200);
  assert.equal(encodedSize([batchOf(2 ** 40, 1, [""])]), 1 + 6 + 2);
  const change = EntryBatch.single({ term: 1, index: 1, type: EntryType.ConfChange, data: new Uint8Array(0) });
  assert.equal(encodedSize([change]), 6);
});

test("a log is up to date by last term, then by length (§5.4.1)", () => {
  const log = logOf([1, 2], [3, 2]);
  assert.equal(log.isUpToDate(4, 3), true);
  assert.equal(log.isUpToDate(3, 3), false);
  assert.equal(log.isUpToDate(9, 2), false);
  assert.equal(log.isUpToDate(1, 4), true);
});

test("committed entries never change (§5.4)", () => {
  const log = logOf([1, 5]);
  log.commitTo(3);
  assert.throws(() => log.append([batchOf(2, 3, ["y"])], 3));
  log.append([batchOf(2, 4, ["y"])], 4);
  assert.equal(log.lastIndex, 4);
  log.commitTo(1);
  assert.equal(log.committed, 3);
  assert.throws(() => log.commitTo(5));
});

test("replaced entries are no longer durable, and an answer about them counts for nothing (thesis §10.2.1)", () => {
  const log = logOf([1, 3]);
  log.acceptUnstable();
  log.append([batchOf(2, 2, ["b", "b"])], 2);
  assert.equal(log.stableTo(3, 1), false);
  assert.deepEqual(
    plain(log.nextUnstable()).map((e) => e.index),
    [2, 3],
  );
  log.acceptUnstable();
  assert.equal(log.stableTo(3, 2), true);
  assert.equal(log.hasUnstable, false);
  log.append([batchOf(3, 3, ["c"])], 3);
  assert.equal(log.stable, 2);
});

test("only durable entries are applied unless allowed", () => {
  const log = logOf([1, 4]);
  log.commitTo(4);
  assert.equal(log.hasNextCommitted(false), false);
  assert.equal(log.hasNextCommitted(true), true);
  log.acceptUnstable();
  log.stableTo(2, 1);
  assert.deepEqual(
    plain(log.nextCommitted(false)).map((e) => e.index),
    [1, 2],
  );
});

test("what is being applied is limited", () => {
  const log = emptyLog(30);
  log.append([batchOf(1, 1, ["a".repeat(10), "b".repeat(10), "c".repeat(10)])], 1);
  log.commitTo(3);
  const first = log.nextCommitted(true);
  assert.deepEqual(
    plain(first).map((e) => e.index),
    [1],
  );
  log.acceptApplying(first, true);
  assert.equal(log.hasNextCommitted(true), false, "the next would cross the limit");
  log.appliedTo(1, encodedSize(first));
  assert.deepEqual(
    plain(log.nextCommitted(true)).map((e) => e.index),
    [2],
  );
});

test("a snapshot replaces the log and is applied before any entry (§7)", () => {
  const log = logOf([1, 3]);
  log.commitTo(2);
  log.restore({ index: 10, term: 4, confState: emptyConfState, data: new Uint8Array(0) });
  assert.deepEqual([log.firstIndex, log.lastIndex, log.lastTerm, log.committed], [11, 10, 4, 10]);
  log.append([batchOf(4, 11, ["x"])], 11);
  log.commitTo(11);
  assert.equal(log.hasNextCommitted(true), false);
  log.acceptUnstable();
  assert.equal(log.nextUnstableSnapshot, null);
  assert.equal(log.hasPendingSnapshot, true);
  log.stableSnapshotTo(10);
  log.appliedTo(10, 0);
  assert.deepEqual(
    plain(log.nextCommitted(true)).map((e) => e.index),
    [11],
  );
});

test("compaction is only for what is applied and durable", () => {
  const log = logOf([1, 4]);
  log.commitTo(4);
  log.appliedTo(3, 0);
  assert.throws(() => log.compact(2), /durable/);
  log.acceptUnstable();
  log.stableTo(4, 1);
  assert.throws(() => log.compact(4), /applied/);
  log.compact(3);
  assert.equal(log.firstIndex, 4);
});
