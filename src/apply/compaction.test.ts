/** Compaction as clients see it: who is answered when, reads and streams under way, alarms. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../base/index.js";
import { CallKind, ReplyKind } from "../native/index.js";
import {
  decodeCompactionResponse,
  decodeHashResponse,
  decodeRangeResponse,
  decodeRangeStreamResponse,
  decodeTxnResponse,
  encodeInternalRaftRequest,
  encodeRangeRequest,
  encodeTxnRequest,
  type RangeRequestInit,
  type RangeResponse,
  SortTarget,
} from "../proto/index.js";
import { MemoryBackend } from "../storage/backend/index.js";
import { callRecord, methods, Rig, type Reply, type RigOptions } from "./rig.test-support.js";

const all = { key: Buffer.from([0]), rangeEnd: Buffer.from([0]) };
const compacted = "etcdserver: mvcc: required revision has been compacted";
const future = "etcdserver: mvcc: required revision is a future revision";
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Keys k000000 …, one put each: key i has revision i + 2. */
async function filled(keys: number, options: RigOptions = {}): Promise<Rig> {
  const rig = await Rig.open(options);
  for (let i = 0; i < keys; i++) {
    rig.follow({ put: { key: Buffer.from(`k${String(i).padStart(6, "0")}`), value: Buffer.from(`v${i}`) } });
  }
  return rig;
}

/** Applies a compaction that call `callId` waits for; the answers of the same turn. */
const compact = (rig: Rig, callId: number, revision: number, physical = false): Reply[] =>
  rig.applyEntries([encodeInternalRaftRequest({ compaction: { revision, physical }, header: { ID: 5n } })], [callId]);

async function settle(rig: Rig): Promise<Reply[]> {
  for (let turns = 0; rig.store.pendingCompactions.length > 0 || turns < 5; turns++) {
    assert.ok(turns < 10_000, "the compaction does not end");
    await tick();
  }
  assert.deepEqual(rig.failures, []);
  return rig.takeReplies();
}

const revisionOf = (reply: Reply | undefined): number =>
  decodeCompactionResponse(reply!.message).header?.revision ?? -1;

test("a compaction is answered at once, a physical one when it is done, with the revision of then", async () => {
  const rig = await filled(50, { compactionBatchLimit: 7 });
  rig.follow({ deleteRange: all });
  const [first] = compact(rig, 1, 20);
  assert.equal(revisionOf(first), 52);
  assert.deepEqual(compact(rig, 2, 52, true), []);
  rig.follow({ put: { key: Buffer.from("later") } });
  const [last, ...others] = await settle(rig);
  assert.deepEqual([last?.callId, revisionOf(last), others.length], [2, 53, 0]);
  // All were deleted at 52: their tombstones stay until a later compaction.
  assert.equal(compact(rig, 3, 53, true).length, 0);
  await settle(rig);
  const left: number[] = [];
  rig.backend.scanRecords({ main: 0, sub: 0 }, { records: 100, bytes: 1e6 }, { visit: (main) => left.push(main) });
  assert.deepEqual(left, [53]);
});

test("refusals: passed revisions at once or, if physical, after the compactions before; futures at once", async () => {
  const rig = await filled(30, { compactionBatchLimit: 3 });
  compact(rig, 1, 10);
  assert.deepEqual(
    compact(rig, 2, 10).map(({ text }) => text),
    [compacted],
  );
  assert.deepEqual(
    compact(rig, 3, 99, true).map(({ text }) => text),
    [future],
  );
  assert.deepEqual(compact(rig, 4, 9, true), []);
  const replies = await settle(rig);
  assert.deepEqual(
    replies.map(({ callId, text }) => [callId, text]),
    [[4, compacted]],
  );
  assert.deepEqual(
    compact(rig, 5, -7, true).map(({ text }) => text),
    [compacted],
    "nothing is under way",
  );
});

test("nobody who waits for a physical compaction is answered before its end is on the disk", async () => {
  const backend = new MemoryBackend({ flushAtOnce: false });
  const rig = await filled(10, { backend });
  assert.deepEqual(compact(rig, 1, 11, true), []);
  for (let turns = 0; rig.store.pendingCompactions.length > 0; turns++) {
    assert.ok(turns < 10_000, "the compaction does not end");
    backend.flushNow();
    await tick();
  }
  assert.deepEqual(compact(rig, 2, 11, true), [], "the end is not flushed");
  await tick();
  assert.deepEqual(rig.takeReplies(), []);
  backend.flushNow();
  const replies = await settle(rig);
  assert.deepEqual(
    replies.map(({ callId, text }) => [callId, text]),
    [
      [1, ""],
      [2, compacted],
    ],
  );
});

test("a corrupt cluster compacts nothing; one without space does", async () => {
  const rig = await filled(5);
  rig.request({ alarm: { action: 1, memberID: 1n, alarm: 1 } });
  assert.equal(compact(rig, 1, 2)[0]?.text, "");
  rig.request({ alarm: { action: 1, memberID: 1n, alarm: 2 } });
  assert.equal(compact(rig, 2, 3)[0]?.text, "etcdserver: corrupt cluster");
  assert.equal(rig.store.compactRevision, 2);
  await settle(rig);
});

test("etcd's lines tell of a compaction; one that a restart has cut short is resumed, and its hash is not kept", async () => {
  const lines: (readonly [message: string, fields: Record<string, unknown>])[] = [];
  const info = (message: string, fields: Record<string, unknown> = {}): void => void lines.push([message, fields]);
  const logger = { ...silentLogger, info };
  const backend = new MemoryBackend();
  const rig = await filled(30, { backend, compactionBatchLimit: 3, logger });
  for (let i = 0; i < 3; i++) rig.follow({ put: { key: Buffer.from("k000001") } });
  compact(rig, 1, 33);
  await settle(rig);
  const messages = lines.splice(0);
  assert.deepEqual(
    messages.map(([message]) => message),
    ["compact tree index", "finished scheduled compaction", "storing new hash"],
  );
  const [, finished, stored] = messages.map(([, fields]) => fields);
  assert.deepEqual(messages[0]?.[1], { revision: 33 });
  assert.deepEqual(
    [finished?.["compact-revision"], finished?.["number-of-keys-compacted"], finished?.["hash"]],
    [33, 2, stored?.["hash"]],
  );
  assert.deepEqual([stored?.["revision"], stored?.["compact-revision"]], [33, -1]);

  compact(rig, 2, 34);
  rig.compactor.stop();
  await rig.backend.flush();
  lines.length = 0;
  const again = await Rig.open({ backend: backend.crashed(), logger });
  assert.equal(again.store.compactRevision, 34);
  again.compactor.resume();
  await settle(again);
  assert.deepEqual(lines.shift(), ["resume scheduled compaction", { "scheduled-compact-revision": 34 }]);
  assert.deepEqual(
    lines.map(([message]) => message),
    [
      "compact tree index",
      "finished scheduled compaction",
      "previous compaction was interrupted, skip storing compaction hash value",
    ],
  );
  assert.deepEqual(again.store.compactionHashes.all(), []);
});

test("a compaction waits while a long delete is under way", async () => {
  const rig = await filled(1500);
  compact(rig, 1, 100);
  rig.follow({ deleteRange: all });
  await settle(rig);
  assert.equal(rig.store.compactRevision, 100);
});

test("long reads under way: at the latest revision they begin anew, at a passed one they are refused", async () => {
  const rig = await filled(3000);
  const record = (callId: number, method: string, message: Uint8Array): Uint8Array =>
    callRecord(callId, methods.indexOf(method), message);
  rig.accept(record(1, "/etcdserverpb.KV/Range", encodeRangeRequest(all)));
  rig.accept(record(2, "/etcdserverpb.KV/Range", encodeRangeRequest({ ...all, revision: 2900 })));
  rig.reads.beginTurn();
  rig.reads.work();
  rig.reads.work();
  rig.follow({ put: { key: Buffer.from("z") } });
  compact(rig, 3, 3002);
  await settle(rig);
  const replies = rig.finishReads();
  const [latest, old] = [1, 2].map((callId) => replies.find((reply) => reply.callId === callId));
  const response = decodeRangeResponse(latest!.message);
  assert.deepEqual([response.kvs.length, response.header?.revision], [3001, 3002]);
  assert.equal(old?.text, compacted);
});

test("a long transaction of ranges begins anew after a compaction", async () => {
  const rig = await filled(3000);
  const range = { request: { case: "requestRange", value: all } } as const;
  const success = [range, range];
  rig.accept(callRecord(1, methods.indexOf("/etcdserverpb.KV/Txn"), encodeTxnRequest({ success })));
  rig.reads.beginTurn();
  for (let n = 0; n < 8; n++) rig.reads.work();
  rig.follow({ put: { key: Buffer.from("z") } });
  compact(rig, 3, 3002);
  await settle(rig);
  const [reply] = rig.finishReads();
  const { responses, header } = decodeTxnResponse(reply!.message);
  assert.equal(header?.revision, 3002);
  assert.deepEqual(
    responses.map(({ response }) => (response?.value as RangeResponse | undefined)?.kvs.length),
    [3001, 3001],
  );
});

/** How many records are left. */
function recordsOf(rig: Rig): number {
  let records = 0;
  rig.backend.scanRecords({ main: 0, sub: 0 }, { records: 10_000, bytes: 1e6 }, { visit: () => records++ });
  return records;
}

test("a compaction removes nothing before it is on the disk itself, and pauses 10 ms and a flush each 1,000 records", async () => {
  const backend = new MemoryBackend({ flushAtOnce: false });
  const slept: number[] = [];
  const compactionSleep = (milliseconds: number): Promise<void> => Promise.resolve(void slept.push(milliseconds));
  const rig = await filled(2500, { backend, compactionSleep });
  rig.follow({ deleteRange: all });
  compact(rig, 1, 2502);
  for (const left of [5000, 4000, 3000, 2500]) {
    for (let turns = 0; recordsOf(rig) !== left; turns++) {
      assert.ok(turns < 10_000, `${recordsOf(rig)} records are left, not ${left}`);
      await tick();
    }
    for (let turns = 0; turns < 50; turns++) await tick();
    assert.equal(recordsOf(rig), left, "it goes on without the disk");
    backend.flushNow();
  }
  for (let turns = 0; rig.store.pendingCompactions.length > 0; turns++) {
    assert.ok(turns < 10_000, "the compaction does not end");
    await tick();
    backend.flushNow();
  }
  await settle(rig);
  assert.deepEqual(slept, [10, 10, 10, 10, 10], "5,000 records, of which the tombstones stay");
});

test("a hash of the whole store holds a compaction where it is, which then goes on", async () => {
  const rig = await filled(100, { compactionBatchLimit: 2 });
  rig.follow({ deleteRange: all });
  assert.equal(recordsOf(rig), 200);
  compact(rig, 1, 102, true);
  for (let n = 0; recordsOf(rig) === 200; n++) {
    assert.ok(n < 10_000, "nothing is removed");
    await tick();
  }
  await rig.compactor.withoutCompaction(async () => {
    const [records, hash] = [recordsOf(rig), await rig.store.hash()];
    for (let n = 0; n < 20; n++) await tick();
    assert.deepEqual([recordsOf(rig), await rig.store.hash()], [records, hash]);
    assert.deepEqual(rig.takeReplies(), [], "the compaction is under way");
  });
  for (const callId of [2, 3]) {
    rig.accept(callRecord(callId, methods.indexOf("/etcdserverpb.Maintenance/Hash"), encodeRangeRequest({})));
  }
  const replies = await settle(rig);
  const hashes = replies.filter(({ callId }) => callId !== 1).map(({ message }) => decodeHashResponse(message));
  assert.deepEqual(
    hashes.map(({ header, hash }) => [header?.revision, hash]),
    [102, 102].map((revision) => [revision, hashes[0]?.hash]),
  );
  assert.equal(replies.filter(({ callId }) => callId === 1).length, 1);
});

/** What a stream has sent since the last call. */
class StreamCall {
  readonly rig: Rig;
  readonly callId: number;

  constructor(rig: Rig, callId: number, request: RangeRequestInit) {
    this.rig = rig;
    this.callId = callId;
    rig.accept(callRecord(callId, methods.indexOf("/etcdserverpb.KV/RangeStream"), encodeRangeRequest(request)));
  }

  read(): Reply[] {
    return this.rig.finishReads().filter(({ callId }) => callId === this.callId);
  }

  taken(): void {
    this.rig.accept(callRecord(this.callId, 0, new Uint8Array(0), CallKind.Writable));
  }

  cancel(): void {
    this.rig.accept(callRecord(this.callId, 0, new Uint8Array(0), CallKind.Cancel));
  }
}

const chunkOf = (reply: Reply): RangeResponse => decodeRangeStreamResponse(reply.message).rangeResponse!;

test("a stream sends a message each time the last one was taken: 10 keys, 20, 40, at one revision", async () => {
  const rig = await filled(100);
  const stream = new StreamCall(rig, 7, all);
  const sizes: number[] = [];
  for (let replies = stream.read(); ; replies = stream.read()) {
    sizes.push(chunkOf(replies[0]!).kvs.length);
    if (replies.length === 2) {
      assert.deepEqual([replies[1]?.kind, replies[1]?.code], [ReplyKind.End, 0]);
      const { header, count, more } = chunkOf(replies[0]!);
      assert.deepEqual([header?.revision, count, more], [101, 100, false]);
      break;
    }
    assert.deepEqual([replies.length, chunkOf(replies[0]!).header], [1, undefined]);
    assert.deepEqual(stream.read(), [], "nothing more before the client has taken it");
    rig.follow({ put: { key: Buffer.from("k000099"), value: Buffer.from("later") } });
    rig.follow({ put: { key: Buffer.from("zzz") } });
    stream.taken();
  }
  assert.deepEqual(sizes, [10, 20, 40, 30]);
  assert.equal(rig.reads.pendingCalls, 0);
});

test("a stream with a negative limit is one message, cut only where it gets far too long", async () => {
  const rig = await filled(100);
  const [message, end] = new StreamCall(rig, 7, { ...all, limit: -1 }).read();
  const { header, kvs, count, more } = chunkOf(message!);
  assert.deepEqual([header?.revision, kvs.length, count, more], [101, 100, 100, false]);
  assert.deepEqual([end?.kind, end?.code], [ReplyKind.End, 0]);

  const bounded = await filled(1000, { streamMessageBytes: 1000 });
  const stream = new StreamCall(bounded, 7, { ...all, limit: -1 });
  const sizes: number[] = [];
  for (let replies: Reply[] = []; replies.length < 2; stream.taken()) {
    replies = stream.read();
    sizes.push(chunkOf(replies[0]!).kvs.length);
  }
  assert.ok(sizes.length > 1, "never cut");
  assert.equal(
    sizes.reduce((sum, size) => sum + size, 0),
    1000,
  );
});

test("a stream with a sort target sorts each message by itself, as etcd does: a key may be left out", async () => {
  const rig = await filled(0);
  const name = (i: number): string => `s${String(i).padStart(2, "0")}`;
  for (let i = 0; i < 13; i++) rig.follow({ put: { key: Buffer.from(name(i)), value: Buffer.from(name(99 - i)) } });
  const sorted = { key: Buffer.from("s"), rangeEnd: Buffer.from("t"), sortTarget: SortTarget.VALUE };
  const messagesOf = (callId: number, keysOnly: boolean): string[][] => {
    const stream = new StreamCall(rig, callId, { ...sorted, keysOnly });
    const messages: string[][] = [];
    for (let replies = stream.read(); ; replies = stream.read()) {
      const { kvs } = chunkOf(replies[0]!);
      assert.ok(kvs.every(({ value }) => (value.length === 0) === keysOnly));
      messages.push(kvs.map(({ key }) => Buffer.from(key).toString()));
      if (replies.length === 2) return messages;
      stream.taken();
    }
  };
  // Eleven are read for ten: the greatest of them, s00, is not sent, and what comes next begins behind s01.
  const expected = [[10, 9, 8, 7, 6, 5, 4, 3, 2, 1].map(name), [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2].map(name)];
  assert.deepEqual(messagesOf(7, false), expected);
  assert.deepEqual(messagesOf(8, true), expected);
});

test("a stream whose revision is compacted between messages ends as compacted; a cancelled one is forgotten", async () => {
  const rig = await filled(100);
  const stream = new StreamCall(rig, 7, all);
  const other = new StreamCall(rig, 8, all);
  assert.equal(stream.read().length, 1);
  rig.follow({ put: { key: Buffer.from("zzz") } });
  compact(rig, 1, 102);
  await settle(rig);
  stream.taken();
  assert.equal(stream.read()[0]?.text, compacted);
  other.cancel();
  other.taken();
  assert.deepEqual(other.read(), []);
  assert.equal(rig.reads.pendingCalls, 0);
  assert.equal(new StreamCall(rig, 9, { ...all, revision: 101 }).read()[0]?.text, compacted);
  assert.equal(new StreamCall(rig, 10, { ...all, revision: 999 }).read()[0]?.text, future);
});

test("a stream's limit: what lies beyond is counted; large values make messages of fewer keys", async () => {
  const rig = await filled(100, { streamMessageBytes: 10_000 });
  const limited = new StreamCall(rig, 7, { ...all, limit: 5 });
  const [reply] = limited.read();
  const { kvs, more, count } = chunkOf(reply!);
  assert.deepEqual([kvs.length, more, count], [5, true, 100]);
  const value = Buffer.alloc(3000, 1);
  for (let i = 0; i < 60; i++) rig.follow({ put: { key: Buffer.from(`l${String(i).padStart(2, "0")}`), value } });
  const stream = new StreamCall(rig, 8, { key: Buffer.from("l"), rangeEnd: Buffer.from("m") });
  const sizes: number[] = [];
  for (let replies = stream.read(); ; replies = stream.read()) {
    sizes.push(chunkOf(replies[0]!).kvs.length);
    if (replies.length === 2) break;
    stream.taken();
  }
  assert.deepEqual(sizes.slice(0, 3), [10, 5, 5]);
});
