import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConfState } from "../raft/index.js";
import { LogTruncation } from "./log-truncation.js";

const confState = (...voters: bigint[]): ConfState => ({
  voters,
  learners: [],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
});
const node = (firstIndex = 1) => ({ termOf: (index: number) => Math.floor(index / 100), firstIndex });

function truncation(start = 0): LogTruncation {
  const options = { snapshotCount: 100, catchupEntries: 30, logBytesMax: 1000 };
  return new LogTruncation(options, { index: start, confState: confState(1n) });
}

test("the log is cut once snapshot-count entries have been flushed, and keeps catch-up entries in memory", () => {
  const log = truncation();
  assert.equal(log.next(99, node()), null);
  assert.deepEqual(log.next(250, node()), {
    mark: { index: 250, term: 2, confState: confState(1n) },
    compactIndex: 220,
  });
  assert.equal(log.next(250, node(221)), null);
  assert.equal(log.next(349, node(221)), null);
  assert.equal(log.next(350, node(221))?.compactIndex, 320);
});

test("a log that grows large is cut early and to the end", () => {
  const log = truncation();
  log.appended(1001);
  assert.equal(log.next(5, node())?.compactIndex, 5);
  assert.equal(log.next(6, node(6)), null);
});

test("the mark carries the configuration that held at its index, not a later one", () => {
  const log = truncation();
  log.confChanged(120, confState(1n, 2n));
  log.confChanged(260, confState(1n, 2n, 3n));
  assert.deepEqual(log.next(250, node())?.mark?.confState, confState(1n, 2n));
  assert.deepEqual(log.next(400, node(221))?.mark?.confState, confState(1n, 2n, 3n));
});

test("a lone member's memory keeps no more than a thousand flushed entries, or 2 MiB, between two marks", () => {
  const log = new LogTruncation(
    { snapshotCount: 5000, catchupEntries: 30, logBytesMax: 100 << 20 },
    { index: 0, confState: confState(1n) },
  );
  assert.equal(log.next(999, node(), "none"), null);
  assert.equal(log.next(1000, node(), "some"), null);
  assert.deepEqual(log.next(1000, node(), "none"), { mark: null, compactIndex: 1000 });
  assert.equal(log.next(1999, node(1001), "none"), null);
  log.appended(2 << 20);
  assert.deepEqual(log.next(2000, node(1001), "none"), { mark: null, compactIndex: 2000 });
  assert.equal(log.next(2001, node(2001), "none"), null);
  assert.equal(log.next(5000, node(4501), "none")?.compactIndex, 5000);
  assert.equal(log.next(10_000, node(5001), "some")?.compactIndex, 9970);
  log.appended(3 << 20);
  assert.equal(log.next(10_001, node(10_002), "none"), null, "nothing is there to be cut");
});

test("the bytes of a lone member's log bring a mark, whatever has left memory", () => {
  const log = truncation();
  log.appended(600);
  log.appended(600);
  assert.equal(log.next(5, node(6), "none")?.mark?.index, 5);
});

test("nothing is compacted twice", () => {
  const log = truncation(1000);
  assert.equal(log.next(1100, node(1095))?.compactIndex, 1094);
});

const one = confState(1n);
const two = confState(1n, 2n);

test("a snapshot for a follower is the newest flushed state with the configuration at it", () => {
  const truncation = new LogTruncation(
    { snapshotCount: 100, catchupEntries: 30, logBytesMax: 1000 },
    { index: 10, confState: one },
  );
  const log = { termOf: (index: number) => (index > 500 ? 0 : 3) };
  assert.equal(truncation.snapshotAt(0, log), null);
  assert.equal(truncation.snapshotAt(9, log), null, "behind the mark");
  assert.equal(truncation.snapshotAt(501, log), null, "not in the log");
  truncation.confChanged(40, two);
  assert.equal(truncation.snapshotAt(39, log)!.confState, one);
  const { index, term, confState } = truncation.snapshotAt(40, log)!;
  assert.deepEqual([index, term, confState], [40, 3, two]);
});

test("an installed snapshot is where the log begins; configurations that it holds come too late", () => {
  const truncation = new LogTruncation(
    { snapshotCount: 100, catchupEntries: 30, logBytesMax: 1000 },
    { index: 10, confState: one },
  );
  const log = { termOf: () => 4, firstIndex: 1001 };
  truncation.installed({ index: 1000, confState: two });
  truncation.confChanged(50, one);
  assert.equal(truncation.next(1000, log), null);
  assert.deepEqual(truncation.next(1100, log)!.mark, { index: 1100, term: 4, confState: two });
});

test("while a snapshot is being sent, memory keeps what its receiver needs next, within its bound", () => {
  const truncation = new LogTruncation(
    { snapshotCount: 10, catchupEntries: 3, logBytesMax: 1000 },
    { index: 0, confState: one },
  );
  const log = { termOf: () => 1, firstIndex: 1 };
  truncation.appended(600);
  assert.deepEqual(
    [truncation.next(10, log, "being sent a snapshot")!.compactIndex, truncation.next(20, log)!.compactIndex],
    [0, 17],
  );
  truncation.appended(600);
  truncation.appended(600);
  assert.equal(truncation.next(30, log, "being sent a snapshot")!.compactIndex, 30);
});
