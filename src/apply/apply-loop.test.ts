/** The loop with stand-ins for mailboxes: messages in, answers and progress out, by turns. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { copyOf, EntryBatch, EntryType } from "../base/index.js";
import { CallKind, inboxBytesUsual } from "../native/index.js";
import {
  decodeDeleteRangeResponse,
  decodePutResponse,
  decodeRangeResponse,
  encodeInternalRaftRequest,
  encodeRangeRequest,
  type RequestOpInit,
  type TxnRequestInit,
} from "../proto/index.js";
import { ApplyLoop } from "./apply-loop.js";
import { appliedBefore } from "./lease-events.js";
import { ApplyMessageKind, ApplyMessageWriter, emptyProgress, readProgress, type ApplyProgress } from "./messages.js";
import { callRecord, parseReplies, raftTerm, Rig, type Reply } from "./rig.test-support.js";

/** A mailbox's receiving side, as the addon frames messages. */
class StandInMailbox {
  readonly messages: Uint8Array[] = [];
  /** Length of the buffer that was received into last. */
  bufferBytes = 0;
  receive(into: Uint8Array): number {
    this.bufferBytes = into.length;
    let at = 0;
    for (let next = this.messages[0]; next !== undefined; next = this.messages[0]) {
      const framed = 8 + Math.ceil(next.length / 8) * 8;
      if (at + framed > into.length && at === 0) return -framed;
      if (at + framed > into.length) break;
      new DataView(into.buffer, into.byteOffset).setUint32(at, next.length, true);
      into.set(next, at + 8);
      at += framed;
      this.messages.shift();
    }
    return at;
  }
}

interface Driven {
  readonly rig: Rig;
  readonly inbox: StandInMailbox;
  readonly loop: ApplyLoop;
  readonly replies: Reply[];
  readonly progress: ApplyProgress;
  /** Of each LEASES message, what was applied before it. */
  readonly leasesBehind: number[];
  readonly failures: unknown[];
  /** Runs one scheduled turn. */
  step(): void;
  /** Runs scheduled turns until none is. */
  settle(): number;
}

async function drive(toMainFull: { value: boolean } = { value: false }): Promise<Driven> {
  const rig = await Rig.open();
  const inbox = new StandInMailbox();
  const replies: Reply[] = [];
  const progress = emptyProgress();
  const failures: unknown[] = [];
  const leasesBehind: number[] = [];
  let turns: (() => void)[] = [];
  const loop = new ApplyLoop({
    installer: { install: () => Promise.reject(new Error("no snapshot is expected")) },
    applier: rig.applier,
    reads: rig.reads,
    watches: rig.watches,
    store: rig.store,
    backend: rig.backend,
    leaseEvents: rig.leaseEvents,
    replies: rig.replies,
    fromMain: inbox,
    toMain: {
      send: (bytes, length) => {
        if (toMainFull.value) return false;
        const view = new DataView(bytes.buffer, bytes.byteOffset, length);
        if (view.getUint32(0, true) === ApplyMessageKind.Leases) leasesBehind.push(appliedBefore(view, 0));
        else readProgress(view, 0, progress);
        return true;
      },
    },
    reply: (bytes, length) => void replies.push(...parseReplies(bytes, length)),
    schedule: (turn) => void turns.push(turn),
    fatal: (error) => void failures.push(error),
  });
  const step = (): void => {
    const [turn] = turns;
    turns = turns.slice(1);
    turn?.();
  };
  const settle = (): number => {
    let count = 0;
    for (; turns.length > 0 && count < 1000; count++) step();
    return count;
  };
  return { rig, inbox, loop, replies, progress, leasesBehind, failures, step, settle };
}

function entriesMessage(firstIndex: number, count: number, valueBytes = 1): Uint8Array {
  const entry = encodeInternalRaftRequest({
    put: { key: Buffer.from("a"), value: Buffer.alloc(valueBytes) },
    header: { ID: 3n },
  });
  const batch = new EntryBatch({
    term: raftTerm,
    firstIndex,
    types: new Uint8Array(count),
    ends: Uint32Array.from({ length: count }, (_, i) => (i + 1) * entry.length),
    bytes: Buffer.concat(Array.from({ length: count }, () => entry)),
  });
  const writer = new ApplyMessageWriter();
  writer.entries(
    batch,
    Uint32Array.from({ length: count }, (_, i) => firstIndex + i),
    0,
    raftTerm,
  );
  return copyOf(writer.bytes, 0, writer.length);
}

/** One entry alone, in a message of its own. */
function singleEntryMessage(index: number, data: Uint8Array): Uint8Array {
  const batch = EntryBatch.single({ term: raftTerm, index, type: EntryType.Normal, data });
  const writer = new ApplyMessageWriter();
  writer.entries(batch, Uint32Array.of(index), 0, raftTerm);
  return copyOf(writer.bytes, 0, writer.length);
}

function deleteAllMessage(index: number): Uint8Array {
  const deleteRange = { key: Buffer.from([0]), rangeEnd: Buffer.from([0]), prevKv: true };
  return singleEntryMessage(index, encodeInternalRaftRequest({ deleteRange, header: { ID: 3n } }));
}

function txnMessage(index: number, txn: TxnRequestInit): Uint8Array {
  return singleEntryMessage(index, encodeInternalRaftRequest({ txn, header: { ID: 3n } }));
}

/** As the dispatcher hands it on: among the reads. */
function cancelMessage(callId: number): Uint8Array {
  const writer = new ApplyMessageWriter();
  const record = callRecord(callId, 0, new Uint8Array(0), CallKind.Cancel);
  writer.beginReads({ raftTerm, minAppliedIndex: 0, commitIndex: 1, leaderId: 1n, startMs: 0 });
  writer.appendRead(record, 0, record.length);
  writer.finishReads();
  return copyOf(writer.bytes, 0, writer.length);
}

function readsMessage(minAppliedIndex: number, callId: number, revision = 0): Uint8Array {
  const writer = new ApplyMessageWriter();
  const record = callRecord(callId, 0, encodeRangeRequest({ key: Buffer.from("a"), revision }));
  writer.beginReads({ raftTerm, minAppliedIndex, commitIndex: 1, leaderId: 1n, startMs: 0 });
  assert.equal(writer.readsEmpty, true);
  writer.appendRead(record, 0, record.length);
  writer.finishReads();
  return copyOf(writer.bytes, 0, writer.length);
}

test("entries and reads of one wake-up are answered in one batch, and main hears how far apply is", async () => {
  const { inbox, loop, replies, progress, settle } = await drive();
  inbox.messages.push(readsMessage(2, 50), entriesMessage(1, 3), readsMessage(0, 51));
  loop.wake();
  loop.wake();
  assert.ok(settle() <= 2, "one turn, and one that finds nothing");
  assert.deepEqual(replies.map(({ callId }) => callId).sort(), [1, 2, 3, 50, 51]);
  assert.equal(progress.appliedIndex, 3);
  assert.equal(progress.revision, 4);
});

test("main hears behind which entry a lease was granted, however long it has heard of no progress", async () => {
  const { rig, inbox, loop, leasesBehind, settle } = await drive();
  const grant = encodeInternalRaftRequest({ leaseGrant: { ID: 7n, TTL: 60 }, header: { ID: 3n } });
  const { appliedIndex } = rig.applier;
  inbox.messages.push(entriesMessage(appliedIndex + 1, 3));
  loop.wake();
  settle();
  inbox.messages.push(singleEntryMessage(appliedIndex + 4, grant));
  loop.wake();
  settle();
  assert.deepEqual(leasesBehind, [appliedIndex + 3]);
});

test("a message longer than the buffer is received all the same, and its buffer is not kept", async () => {
  const { inbox, loop, replies, settle } = await drive();
  inbox.messages.push(entriesMessage(1, 4, 1 << 20));
  loop.wake();
  settle();
  assert.equal(replies.length, 4);
  inbox.messages.push(entriesMessage(5, 1));
  loop.wake();
  settle();
  assert.equal(replies.length, 5);
  assert.equal(inbox.bufferBytes, inboxBytesUsual);
});

test("progress that main's full mailbox refused is told again", async () => {
  const full = { value: true };
  const { inbox, loop, progress, settle } = await drive(full);
  inbox.messages.push(entriesMessage(1, 1));
  loop.wake();
  settle();
  assert.equal(progress.appliedIndex, 0);
  full.value = false;
  settle();
  loop.wake();
  settle();
  assert.equal(progress.appliedIndex, 1);
});

test("a failure ends the loop and is told once", async () => {
  const { inbox, loop, failures, settle, progress } = await drive();
  inbox.messages.push(entriesMessage(5, 1), entriesMessage(1, 1));
  loop.wake();
  settle();
  assert.match(String(failures[0]), /entries are not consecutive/);
  inbox.messages.push(entriesMessage(1, 1));
  loop.wake();
  assert.equal(settle(), 0);
  assert.equal(failures.length, 1);
  assert.equal(progress.appliedIndex, 0);
});

test("drain resolves when all that was received is applied", async () => {
  const { inbox, loop, rig, settle } = await drive();
  inbox.messages.push(entriesMessage(1, 2));
  const drained = loop.drain();
  settle();
  await drained;
  assert.equal(rig.applier.appliedIndex, 2);
});

test("a long delete goes on in slices: reads see the state before it, entries wait", async () => {
  const { rig, inbox, loop, replies, settle, failures, step } = await drive();
  const keys = 3000;
  for (let i = 0; i < keys; i++) rig.follow({ put: { key: Buffer.from(`k${i}`), value: Buffer.from("v") } });
  rig.follow({ put: { key: Buffer.from("a"), value: Buffer.from("old") } });
  const revision = rig.store.currentRevision;
  const index = keys + 2;
  inbox.messages.push(
    deleteAllMessage(index),
    entriesMessage(index + 1, 2),
    readsMessage(0, 50),
    readsMessage(index, 51),
  );
  loop.wake();
  step();
  assert.deepEqual(
    replies.map(({ callId }) => callId),
    [50],
    "only the read has been answered",
  );
  inbox.messages.push(readsMessage(0, 52), entriesMessage(index + 3, 1));
  step();
  for (const { message } of replies) {
    const { kvs, header } = decodeRangeResponse(message);
    assert.equal(Buffer.from(kvs[0]!.value).toString(), "old");
    assert.equal(header?.revision, revision);
  }
  assert.equal(rig.applier.appliedIndex, keys + 1);
  let slices = 0;
  for (; rig.store.changeCount < keys; slices++) {
    inbox.messages.push(readsMessage(0, 53, revision + 1));
    step();
    assert.equal(replies.pop()?.text, "etcdserver: mvcc: required revision is a future revision");
  }
  assert.ok(slices > 5, `${slices} slices`);
  settle();
  assert.deepEqual(
    replies.map(({ callId }) => callId).sort((a, b) => a - b),
    [50, 51, 52, index, index + 1, index + 2, index + 3],
  );
  const deleted = decodeDeleteRangeResponse(replies.find(({ callId }) => callId === index)!.message);
  assert.equal(deleted.deleted, keys + 1);
  assert.equal(deleted.prevKvs.length, keys + 1);
  assert.equal(deleted.header?.revision, revision + 1);
  const last = decodePutResponse(replies.find(({ callId }) => callId === index + 3)!.message);
  assert.equal(last.header?.revision, revision + 4);
  assert.deepEqual(failures, []);
});

test("a client that goes during its long transaction is not answered, and what it would have read is not read", async () => {
  const { rig, inbox, loop, replies, settle, failures } = await drive();
  const keys = 3000;
  for (let i = 0; i < keys; i++) rig.follow({ put: { key: Buffer.from(`k${i}`) } });
  const all = { key: Buffer.from([0]), rangeEnd: Buffer.from([0]) };
  const txn: TxnRequestInit = {
    success: [
      ...Array.from({ length: 20 }, (): RequestOpInit => ({ request: { case: "requestRange", value: all } })),
      { request: { case: "requestPut", value: { key: Buffer.from("last") } } },
    ],
  };
  inbox.messages.push(txnMessage(keys + 1, txn), cancelMessage(keys + 1), entriesMessage(keys + 2, 1));
  loop.wake();
  const turns = settle();
  assert.ok(turns < 5, `${turns} turns`);
  assert.deepEqual(
    replies.map(({ callId }) => callId),
    [keys + 2],
  );
  assert.equal(rig.store.liveKeys, keys + 2);
  assert.deepEqual(failures, []);
});
