import assert from "node:assert/strict";
import { test } from "node:test";
import { nobodysCall } from "../apply/index.js";
import { SeededPrng, silentLogger, type EntryBatch } from "../base/index.js";
import { emptyConfState, message, MessageType, none, RawNode, type ConfState, type Message } from "../raft/index.js";
import type { WalAppend } from "../storage/wal/index.js";
import { firstEntries } from "./bootstrap.js";
import { LogTruncation } from "./log-truncation.js";
import { anonymous, ProposalBuilder } from "./proposal-builder.js";
import { RaftLoop } from "./raft-loop.js";
import { RequestIdGenerator } from "./request-id.js";
import { Waiters } from "./waiters.js";

const self = 0x77n;
/** Of whom only a snapshot tells. */
const other = 0x99n;
const proposedMs = 5;

/** A member alone whose WAL and apply do their work only when the test says so, or whose quick disk does it at once. */
function rig(isQuick = false) {
  const entries = firstEntries([{ id: self, name: "a", peerURLs: ["http://a:1"], clientURLs: [], isLearner: false }]);
  const hardState = { term: 1, vote: none, commit: 1 };
  const node = new RawNode({
    id: self,
    electionTicks: 10,
    heartbeatTicks: 1,
    preVote: true,
    checkQuorum: true,
    maxSizePerMessage: 1 << 20,
    maxInflightMessages: 512,
    maxUncommittedSize: Number.POSITIVE_INFINITY,
    asyncStorageWrites: true,
    prng: new SeededPrng(1),
    snapshot: () => null,
    initialState: {
      hardState,
      confState: emptyConfState,
      prevIndex: 0,
      prevTerm: 0,
      entries: [entries],
      applied: 0,
    },
  });
  const appends: WalAppend[] = [];
  const here: WalAppend[] = [];
  const marks: { index: number }[] = [];
  const installMarks: { index: number; token: number }[] = [];
  const installed: number[] = [];
  const sent: Message[] = [];
  const applied: { batch: EntryBatch; callIds: number[]; startMs: number }[] = [];
  const progress = { appliedIndex: 0, flushedIndex: 0 };
  const waiters = new Waiters();
  const ids = new RequestIdGenerator(self, 1);
  const truncation = new LogTruncation(
    { snapshotCount: 10, catchupEntries: 2, logBytesMax: 1 << 20 },
    { index: 0, confState: emptyConfState },
  );
  const loop = new RaftLoop(
    {
      id: self,
      node,
      wal: {
        append: (work) => void appends.push(work),
        ...(isQuick ? { appendHere: (work: WalAppend) => here.push(work) > 0 } : {}),
        appendSnapshotMark: (mark) => void marks.push(mark),
        appendInstall: ({ index }, _hardState, token) => void installMarks.push({ index, token }),
        release: () => {},
      },
      apply: {
        blocked: false,
        progress,
        entries: (batch, callIds, _term, startMs) => void applied.push({ batch, callIds: [...callIds], startMs }),
        install: (index) => void installed.push(index),
      },
      snapshots: { send: () => assert.fail("nobody to send to"), underWay: false },
      transport: {
        send: (messages) => {
          assert.ok(isQuick || messages.every(({ to }) => to === other), "nobody to send to");
          sent.push(...messages);
        },
      },
      waiters,
      ids,
      truncation,
      hooks: { softState: () => {}, readState: () => {} },
      logger: silentLogger,
      nowMs: () => 0,
    },
    hardState,
  );
  const builder = new ProposalBuilder(ids, 1 << 20);
  return {
    loop,
    node,
    appends,
    here,
    marks,
    installMarks,
    installed,
    sent,
    applied,
    progress,
    /** The WAL has written and synced all it was given. */
    sync: () => loop.durable(appends[appends.length - 1]!.token),
    /** Apply has done all it was given. */
    apply: () => {
      progress.appliedIndex = applied[applied.length - 1]!.batch.lastIndex;
      loop.applied();
    },
    propose: (...callIds: number[]) => {
      for (const callId of callIds) builder.add(4, Uint8Array.of(1, 2, 3), 0, 3, callId, anonymous);
      const taken = builder.take()!;
      waiters.add(taken.firstSequence, taken.callIds, proposedMs, 1e9);
      assert.equal(node.propose(taken.batch), "ok");
      loop.pump();
    },
  };
}

/** Applies the first conf change and makes the member leader. */
function lead(isQuick = false): ReturnType<typeof rig> {
  const member = rig(isQuick);
  member.loop.pump();
  member.loop.confChangeApplied(1, (node): ConfState =>
    node.applyConfChange({ transition: 0, changes: [{ type: 0, nodeId: self }] }, 1),
  );
  member.apply();
  member.node.campaign();
  member.loop.pump();
  while (!member.loop.allDurable) member.sync();
  member.apply();
  assert.equal(member.node.lead, self);
  return member;
}

test("an entry reaches apply only once it is durable, with those who wait for it", () => {
  const member = lead();
  const before = member.applied.length;
  member.propose(11, 0, 12);
  assert.equal(member.applied.length, before, "written, not yet synced");
  member.sync();
  assert.deepEqual(member.applied[before]!.callIds, [11, nobodysCall, 12]);
  assert.equal(member.applied[before]!.startMs, proposedMs);
});

test("proposals of several wake-ups wait for one sync and are applied in order", () => {
  const member = lead();
  const before = member.applied.length;
  member.propose(1);
  member.propose(2);
  member.propose(3, 4);
  assert.equal(member.applied.length, before);
  member.sync();
  assert.deepEqual(
    member.applied.slice(before).flatMap(({ callIds }) => callIds),
    [1, 2, 3, 4],
  );
});

test("a request alone may be written at once, and is applied when that returns; several go to the log's thread", () => {
  const member = lead(true);
  const before = member.applied.length;
  const written = member.here.length;
  member.propose(7);
  assert.equal(member.here.length, written + 1);
  assert.deepEqual(member.applied[before]!.callIds, [7]);
  member.propose(8, 9);
  assert.equal(member.here.length, written + 1);
  assert.equal(member.applied.length, before + 1, "not yet synced");
  // One that is written at once while others wait comes after them, so they are durable as well.
  member.propose(10);
  assert.deepEqual(
    member.applied.slice(before + 1).flatMap(({ callIds }) => callIds),
    [8, 9, 10],
  );
  assert.ok(member.loop.allDurable);
});

test("with a learner beside it, a leader never waits for its disk", () => {
  const member = lead(true);
  member.node.applyConfChange({ transition: 0, changes: [{ type: 3, nodeId: 0x88n }] }, member.node.lastIndex);
  const written = member.here.length;
  member.propose(7);
  assert.equal(member.here.length, written);
});

test("a commit index alone costs no append; the next one takes it along", () => {
  const member = lead();
  const before = member.appends.length;
  member.propose(1);
  member.sync();
  member.apply();
  assert.equal(member.appends.length, before + 1);
  assert.ok(member.appends[before]!.hardState!.commit < member.loop.commitIndex);
  member.propose(2);
  assert.equal(member.appends[before + 1]!.hardState!.commit, member.loop.commitIndex);
  member.sync();
  member.loop.writeCommit();
  assert.equal(member.appends.length, before + 3);
  member.loop.writeCommit();
  assert.equal(member.appends.length, before + 3, "written once");
});

test("the leader's vote and term are durable before it leads (figure 2)", () => {
  const member = rig();
  member.loop.pump();
  member.loop.confChangeApplied(1, (node) =>
    node.applyConfChange({ transition: 0, changes: [{ type: 0, nodeId: self }] }, 1),
  );
  member.apply();
  member.node.campaign();
  member.loop.pump();
  assert.equal(member.node.lead, none);
  const { hardState } = member.appends[member.appends.length - 1]!;
  assert.deepEqual([hardState!.term, hardState!.vote], [2, self]);
  member.sync();
  assert.equal(member.node.lead, self);
});

test("the log is cut behind what the backend has flushed; without others memory keeps none of it", () => {
  const member = lead();
  for (let i = 0; i < 20; i++) {
    member.propose(1);
    member.sync();
    member.apply();
  }
  assert.deepEqual(member.marks, []);
  member.progress.flushedIndex = 15;
  member.loop.applied();
  assert.deepEqual(
    member.marks.map(({ index }) => index),
    [15],
  );
  assert.equal(member.node.firstIndex, 16);
});

test("the log is not cut within a batch that apply has not ended, though its beginning is flushed", () => {
  const member = lead();
  member.propose(...new Array<number>(30).fill(0));
  member.sync();
  const { firstIndex } = member.applied[member.applied.length - 1]!.batch;
  Object.assign(member.progress, { appliedIndex: firstIndex + 20, flushedIndex: firstIndex + 15 });
  member.loop.applied();
  assert.deepEqual(member.marks, []);
  member.apply();
  assert.deepEqual(
    member.marks.map(({ index }) => index),
    [firstIndex + 15],
  );
});

test("a snapshot goes to apply, and is acknowledged, only once its mark is durable", () => {
  const member = rig();
  member.loop.pump();
  member.loop.confChangeApplied(1, (node): ConfState =>
    node.applyConfChange({ transition: 0, changes: [{ type: 0, nodeId: self }] }, 1),
  );
  member.apply();
  const confState = { ...emptyConfState, voters: [self, other] };
  const snapshot = { index: 50, term: 3, confState, data: new Uint8Array(0) };
  member.node.step(message({ type: MessageType.Snap, to: self, from: other, term: 3, snapshot }));
  member.loop.pump();
  const tokens = member.installMarks.map(({ index, token }) => [index, token]);
  assert.equal(tokens.length, 1);
  const [index, token] = tokens[0]!;
  assert.equal(index, 50);
  const acknowledged = (): number[] =>
    member.sent.filter(({ type }) => type === MessageType.AppResp).map((response) => response.index);
  // The write before the mark has come back.
  member.loop.durable(token! - 1);
  assert.deepEqual([member.installed, acknowledged()], [[], []]);
  member.loop.durable(token!);
  assert.deepEqual(member.installed, [50]);
  while (!member.loop.allDurable) member.sync();
  assert.deepEqual(acknowledged(), [50]);
  assert.deepEqual(member.installed, [50], "once");
});
