/** Transactions that touch many keys: slices, what is read between them, answers that are too long or not awaited. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  decodeDeleteRangeResponse,
  decodeTxnResponse,
  encodeInternalRaftRequest,
  type CompareInit,
  type DeleteRangeResponse,
  type RangeRequestInit,
  type RangeResponse,
  type RequestOpInit,
  type TxnRequestInit,
} from "../proto/index.js";
import { Rig, type RigOptions } from "./rig.test-support.js";

const all = { key: Buffer.from([0]), rangeEnd: Buffer.from([0]) };
const keyCount = 1000;
/** Keys of a slice in these tests. */
const sliceKeys = 100;

async function filledRig(options: RigOptions = {}): Promise<Rig> {
  const rig = await Rig.open({ writeSlice: { keys: sliceKeys, bytes: 1 << 20 }, ...options });
  for (let i = 0; i < keyCount; i++) {
    rig.follow({ put: { key: Buffer.from(`k${String(i).padStart(4, "0")}`), value: Buffer.from("old") } });
  }
  return rig;
}

function rangeOp(request: RangeRequestInit = all): RequestOpInit {
  return { request: { case: "requestRange", value: request } };
}

function putOp(key: string, value = "new"): RequestOpInit {
  return { request: { case: "requestPut", value: { key: Buffer.from(key), value: Buffer.from(value) } } };
}

function times<T>(count: number, make: () => T): T[] {
  return Array.from({ length: count }, make);
}

test("ranges of a write transaction are read in slices; reads between them see the state before it", async () => {
  const rig = await filledRig();
  const revision = rig.store.currentRevision;
  rig.betweenSlices = () => {
    assert.equal(rig.applier.isBusy, true);
    const read = rig.range({ key: Buffer.from("k0000") });
    assert.match(Buffer.from(read.message).toString("latin1"), /old/);
    assert.equal(rig.store.currentRevision, revision);
    const future = rig.range({ key: Buffer.from("k0000"), revision: revision + 1 });
    assert.equal(future.text, "etcdserver: mvcc: required revision is a future revision");
  };
  const nested: RequestOpInit = { request: { case: "requestTxn", value: { success: [rangeOp(), putOp("x")] } } };
  const reply = rig.request({ txn: { success: [putOp("k0000"), ...times(8, rangeOp), nested, rangeOp()] } });
  assert.ok(rig.turns >= (10 * keyCount) / sliceKeys - 1, `${rig.turns} turns`);
  const response = decodeTxnResponse(reply.message);
  assert.equal(response.header?.revision, revision + 1);
  const first = response.responses[1]!.response!.value as RangeResponse;
  assert.equal(Buffer.from(first.kvs[0]!.value).toString(), "new", "the transaction sees its own writes");
  assert.equal((response.responses[10]!.response!.value as RangeResponse).kvs.length, keyCount + 1);
});

test("ops that are small each share a slice, and many of them need more than one", async () => {
  const rig = await filledRig();
  const few = { key: Buffer.from("k00"), rangeEnd: Buffer.from("k005") };
  rig.request({ txn: { success: [putOp("x"), rangeOp(few)] } });
  assert.equal(rig.turns, 0, "50 keys fit into one slice");
  rig.request({ txn: { success: [putOp("x"), ...times(20, () => rangeOp(few))] } });
  assert.ok(rig.turns >= (20 * 50) / (2 * sliceKeys) && rig.turns <= (20 * 60) / sliceKeys, `${rig.turns} turns`);
});

test("sorted and counted ranges take their share of a slice, too", async () => {
  const rig = await filledRig();
  rig.request({ txn: { success: [putOp("x"), rangeOp({ ...all, sortOrder: 2, sortTarget: 4 })] } });
  assert.ok(rig.turns >= (2 * keyCount) / sliceKeys - 1, `${rig.turns} turns`);
  rig.turns = 0;
  rig.request({ txn: { success: [putOp("x"), ...times(64, () => rangeOp({ ...all, countOnly: true }))] } });
  assert.ok(rig.turns >= 10 && rig.turns <= 40, `${rig.turns} turns`);
});

test("compares and deletes of a transaction go in slices", async () => {
  const rig = await filledRig();
  const compare: CompareInit = { ...all, target: 0, result: 0, targetUnion: { case: "version", value: 1 } };
  const remove: RequestOpInit = { request: { case: "requestDeleteRange", value: { ...all, prevKv: true } } };
  rig.betweenSlices = () => assert.equal(rig.range({ ...all, countOnly: true }).message.at(-2), 0xe8);
  const txn: TxnRequestInit = { compare: times(5, () => compare), success: [putOp("k0000")] };
  assert.equal(decodeTxnResponse(rig.request({ txn }).message).succeeded, true);
  assert.ok(rig.turns >= (5 * keyCount) / sliceKeys - 1, `${rig.turns} turns`);
  rig.turns = 0;
  const { responses } = decodeTxnResponse(rig.request({ txn: { success: [remove] } }).message);
  const removed = responses[0]!.response!.value as DeleteRangeResponse;
  assert.deepEqual([removed.deleted, removed.prevKvs.length], [keyCount, keyCount]);
  assert.ok(rig.turns >= (2 * keyCount) / sliceKeys - 1, `${rig.turns} turns`);
});

test("a response over the limit is not read on, but everything is written", async () => {
  const rig = await filledRig({ responseBytesMax: 10_000 });
  const { counts } = rig.applier;
  const before = counts.ranges;
  const nested: RequestOpInit = { request: { case: "requestTxn", value: { success: [rangeOp(), putOp("x")] } } };
  const reply = rig.request({ txn: { success: [nested, ...times(50, rangeOp), putOp("y"), rangeOp()] } });
  assert.equal(reply.code, 8);
  assert.match(reply.text, /^grpc: trying to send message larger than max/);
  assert.equal(counts.ranges - before, 1, "the first is over the limit");
  assert.ok(rig.turns < keyCount / sliceKeys, `${rig.turns} turns: not even the first is read to its end`);
  assert.equal(rig.store.liveKeys, keyCount + 2);
  const answered = rig.request({ txn: { success: [putOp("z"), rangeOp({ key: Buffer.from("x") })] } });
  assert.equal(answered.text, "", "the next one is answered");
  const removed = rig.request({ deleteRange: { ...all, prevKv: true } });
  assert.equal(removed.code, 8);
  assert.equal(rig.store.liveKeys, 0);
  assert.equal(decodeDeleteRangeResponse(rig.request({ deleteRange: all }).message).deleted, 0);
});

test("where nobody waits ranges are checked and not read", async () => {
  const [asked, follower] = [await filledRig(), await filledRig()];
  const txn: TxnRequestInit = { success: [...times(20, rangeOp), putOp("x")] };
  asked.request({ txn });
  follower.follow({ txn });
  assert.ok(asked.turns > 100);
  assert.deepEqual([follower.turns, follower.applier.counts.ranges], [0, 0]);
  const future: TxnRequestInit = { success: [putOp("never"), rangeOp({ ...all, revision: 5000 })] };
  assert.equal(asked.request({ txn: future }).text, "etcdserver: mvcc: required revision is a future revision");
  follower.follow({ txn: future });
  assert.equal(follower.store.currentRevision, asked.store.currentRevision);
  assert.equal((await follower.store.hashKv(0)).hash, (await asked.store.hashKv(0)).hash);
});

test("when the client goes, the rest is written and not read", async () => {
  for (const goesAt of [0, 3, 12]) {
    const rig = await filledRig();
    const compare: CompareInit = { ...all, target: 0, result: 0, targetUnion: { case: "version", value: 1 } };
    const remove: RequestOpInit = {
      request: { case: "requestDeleteRange", value: { key: Buffer.from("k00"), rangeEnd: Buffer.from("k05") } },
    };
    const txn: TxnRequestInit = { compare: [compare], success: [putOp("x"), ...times(50, rangeOp), remove] };
    rig.betweenSlices = () => {
      rig.applier.cancel(8);
      if (rig.turns === goesAt) rig.applier.cancel(9);
    };
    const entry = encodeInternalRaftRequest({ txn, header: { ID: 77n } });
    assert.deepEqual(rig.applyEntries([entry], [9]), []);
    assert.ok(rig.turns <= 12 + 1 + 500 / sliceKeys + 10, `${rig.turns} turns`);
    assert.equal(rig.store.liveKeys, keyCount + 1 - 500);
    assert.equal(rig.request({ put: { key: Buffer.from("after") } }).text, "");
    assert.equal(rig.request({ txn: { success: [putOp("z")] } }).text, "");
  }
});
