/** Reads: waiting for an index, slices, turns, bounds, and the answers that are not about keys. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CallKind } from "../native/index.js";
import {
  decodeHashKVResponse,
  decodeMemberListResponse,
  decodeRangeResponse,
  decodeStatusResponse,
  decodeTxnResponse,
  encodeHashKVRequest,
  encodeRangeRequest,
  encodeTxnRequest,
  SortOrder,
  SortTarget,
  type RangeRequestInit,
  type RangeResponse,
} from "../proto/index.js";
import { callRecord, clusterId, concat, memberId, methods, Rig, raftTerm, type Reply } from "./rig.test-support.js";

const all = { key: Buffer.from([0]), rangeEnd: Buffer.from([0]) };
const rangeMethod = methods.indexOf("/etcdserverpb.KV/Range");
const txnMethod = methods.indexOf("/etcdserverpb.KV/Txn");
const keyCount = 3000;

/** Key i was put i-th; its value sorts against the key's order. */
async function filledRig(valueBytes = 20, keys = keyCount): Promise<Rig> {
  const rig = await Rig.open();
  for (let i = 0; i < keys; i++) {
    const value = Buffer.from(String(keys - i).padStart(valueBytes, "0"));
    rig.follow({ put: { key: Buffer.from(`k${String(i).padStart(6, "0")}`), value } });
  }
  return rig;
}

function rangeOf(reply: Reply): RangeResponse {
  assert.equal(reply.text, "");
  return decodeRangeResponse(reply.message);
}

const names = (response: RangeResponse): string[] => response.kvs.map((kv) => Buffer.from(kv.key).toString());

test("a long range is read in slices at one revision while puts and short reads go on", async () => {
  const rig = await filledRig();
  const revision = rig.store.currentRevision;
  rig.accept(callRecord(1, rangeMethod, encodeRangeRequest(all)));
  assert.deepEqual(rig.takeReplies(), [], "the first slice does not suffice");
  assert.equal(rig.reads.pendingCalls, 1);
  rig.reads.beginTurn();
  rig.reads.work();
  let turns = 1;
  for (; rig.reads.hasWork; turns++) {
    rig.follow({ put: { key: Buffer.from("k000000"), value: Buffer.from("later") } });
    rig.follow({ deleteRange: { key: Buffer.from(`k00${String(2000 + turns)}`) } });
    rig.reads.beginTurn();
    rig.accept(callRecord(100 + turns, rangeMethod, encodeRangeRequest({ key: Buffer.from("k000000") })));
    const [short] = rig.takeReplies();
    assert.equal(short?.callId, 100 + turns, "a short read is answered in its own turn");
    rig.reads.work();
  }
  assert.ok(turns > keyCount / 512, `${turns} turns`);
  const response = rangeOf(rig.sent[0]!);
  assert.equal(response.count, keyCount);
  assert.equal(response.kvs.length, keyCount);
  assert.equal(Number(Buffer.from(response.kvs[0]!.value).toString()), keyCount);
  assert.equal(response.header?.revision, revision);
  assert.equal(rig.reads.pendingCalls, 0);
});

/** A range over all keys, with a put between its slices; how many they were, and its answer. */
function inSlices(rig: Rig, form: RangeRequestInit): { turns: number; response: RangeResponse } {
  rig.accept(callRecord(1, rangeMethod, encodeRangeRequest({ ...all, ...form })));
  assert.deepEqual(rig.takeReplies(), [], "the first slice does not suffice");
  let turns = 1;
  for (rig.reads.beginTurn(), rig.reads.work(); rig.reads.hasWork; turns++) {
    rig.follow({ put: { key: Buffer.from("between"), value: Buffer.from("slices") } });
    rig.reads.beginTurn();
    rig.reads.work();
  }
  return { turns, response: rangeOf(rig.takeReplies()[0]!) };
}

const descend = { sortOrder: SortOrder.DESCEND };
/** Forms of a range over all keys, what comes of each, and how often 512 keys must be looked at at least. */
const longForms: readonly { name: string; form: RangeRequestInit; kvs: number; turnsMin: number }[] = [
  { name: "a limit, the rest is counted", form: { limit: 2 }, kvs: 2, turnsMin: 2 },
  { name: "keys only", form: { keysOnly: true }, kvs: keyCount, turnsMin: 5 },
  { name: "a limit by value", form: { sortTarget: SortTarget.VALUE, ...descend, limit: 2 }, kvs: 2, turnsMin: 5 },
  { name: "by creation", form: { sortTarget: SortTarget.CREATE, ...descend }, kvs: keyCount, turnsMin: 10 },
  { name: "keys only, downwards", form: { keysOnly: true, ...descend }, kvs: keyCount, turnsMin: 10 },
  { name: "a filter that one key passes", form: { minModRevision: keyCount + 1 }, kvs: 1, turnsMin: 5 },
  { name: "a filter that none passes", form: { maxCreateRevision: 1, limit: 1 }, kvs: 0, turnsMin: 5 },
];

for (const { name, form, kvs, turnsMin } of longForms) {
  test(`a long range goes in slices with puts between them: ${name}`, async () => {
    const { turns, response } = inSlices(await filledRig(), form);
    assert.ok(turns >= turnsMin, `${turns} turns`);
    assert.equal(response.kvs.length, kvs);
    assert.equal(response.count, keyCount, "of the revision at which it began");
  });
}

test("counting goes in slices, too, of many more keys", async () => {
  const keys = 30_000;
  const rig = await filledRig(1, keys);
  const { turns, response } = inSlices(rig, { countOnly: true });
  assert.ok(turns >= 2 && turns <= 20, `${turns} turns`);
  assert.deepEqual([response.count, response.kvs.length], [keys, 0]);
  const filtered = inSlices(rig, { countOnly: true, maxModRevision: 2 });
  assert.equal(filtered.response.count, keys + 1, "the filters of records do not change the count");
  assert.ok(filtered.turns <= 20, `${filtered.turns} turns`);
});

test("a long sorted range is merged in slices", async () => {
  const rig = await filledRig();
  const target = { ...all, sortTarget: SortTarget.VALUE, sortOrder: SortOrder.ASCEND };
  const response = rangeOf(rig.range(target));
  assert.equal(response.kvs.length, keyCount);
  assert.deepEqual(names(response), names(rangeOf(rig.range({ ...all, sortOrder: SortOrder.DESCEND }))));
  const created = rangeOf(
    rig.range({ ...target, sortTarget: SortTarget.CREATE, sortOrder: SortOrder.DESCEND, limit: 3 }),
  );
  assert.deepEqual(names(created), ["k002999", "k002998", "k002997"]);
  assert.equal(created.more, true);
  assert.equal(created.count, keyCount);
  const ties = rangeOf(rig.range({ ...target, sortTarget: SortTarget.VERSION }));
  assert.deepEqual(names(ties), names(ties).toSorted(), "ties keep the keys' order, across runs too");
  const keysOnly = rangeOf(rig.range({ ...target, keysOnly: true, limit: 2 }));
  assert.deepEqual(names(keysOnly), ["k002999", "k002998"]);
  assert.equal(keysOnly.kvs[0]!.value.length, 0);
  assert.equal(keysOnly.kvs[0]!.version, 1);
});

test("an order of NONE by another target sorts the first limit + 1 keys only", async () => {
  const rig = await filledRig();
  const response = rangeOf(rig.range({ ...all, sortTarget: SortTarget.VALUE, limit: 3 }));
  assert.deepEqual(names(response), ["k000003", "k000002", "k000001"]);
  assert.equal(response.more, true);
});

test("a long transaction of ranges is read in slices at the revision at which it began", async () => {
  const rig = await filledRig();
  const request = encodeTxnRequest({
    compare: [{ ...all, target: 0, result: 0, targetUnion: { case: "version", value: 1 } }],
    success: [
      { request: { case: "requestRange", value: all } },
      { request: { case: "requestRange", value: { ...all, countOnly: true } } },
    ],
  });
  const revision = rig.store.currentRevision;
  rig.accept(callRecord(1, txnMethod, request));
  rig.reads.beginTurn();
  rig.reads.work();
  for (let turn = 0; rig.reads.hasWork; turn++) {
    rig.follow({ put: { key: Buffer.from(`new${turn}`) } });
    rig.reads.beginTurn();
    rig.reads.work();
  }
  const response = decodeTxnResponse(rig.sent[0]!.message);
  assert.equal(response.succeeded, true);
  assert.equal(response.header?.revision, revision);
  const [read, counted] = response.responses.map(({ response: op }) => op?.value as RangeResponse);
  assert.equal(read?.kvs.length, keyCount);
  assert.equal(read?.header?.revision, revision);
  assert.equal(counted?.count, keyCount);
});

test("a read waits until its index is applied, in order of arrival", async () => {
  const rig = await Rig.open();
  const request = encodeRangeRequest({ key: Buffer.from("a") });
  rig.accept(callRecord(1, rangeMethod, request), { minAppliedIndex: 2 });
  rig.accept(callRecord(2, rangeMethod, request), { minAppliedIndex: 0 });
  assert.deepEqual(
    rig.takeReplies().map(({ callId }) => callId),
    [2],
  );
  rig.follow({ put: { key: Buffer.from("a") } });
  assert.deepEqual(rig.finishReads(), []);
  rig.follow({ put: { key: Buffer.from("a") } });
  const [reply] = rig.finishReads();
  assert.equal(reply?.callId, 1);
  assert.equal(rangeOf(reply!).kvs[0]?.version, 2);
  assert.equal(rig.reads.pendingBytes, 0);
  assert.equal(rig.reads.pendingCalls, 0);
});

test("a turn answers a bounded number of calls; the others are kept and answered next", async () => {
  const rig = await Rig.open();
  rig.follow({ put: { key: Buffer.from("a") } });
  const request = encodeRangeRequest({ key: Buffer.from("a") });
  rig.reads.beginTurn();
  rig.accept(concat(Array.from({ length: 2000 }, (_, i) => callRecord(i + 1, rangeMethod, request))));
  const first = rig.takeReplies();
  assert.ok(first.length >= 100 && first.length < 2000, `${first.length} calls in the first turn`);
  const rest = rig.finishReads();
  assert.deepEqual(
    [...first, ...rest].map(({ callId }) => callId),
    Array.from({ length: 2000 }, (_, i) => i + 1),
  );
  assert.equal(rig.reads.pendingBytes, 0);
  assert.equal(rig.reads.pendingCalls, 0);
});

test("calls beyond the bound are refused, each once", async () => {
  const rig = await Rig.open();
  const request = encodeRangeRequest({ key: Buffer.alloc(1 << 20) });
  const refused: number[] = [];
  for (let i = 1; i <= 80; i++) {
    rig.accept(callRecord(i, rangeMethod, request), { minAppliedIndex: 5 });
    for (const reply of rig.takeReplies()) {
      assert.equal(reply.text, "etcdserver: too many requests");
      refused.push(reply.callId);
    }
  }
  assert.ok(refused.length > 10 && refused.length < 20, `${refused.length} refused`);
  assert.equal(rig.reads.pendingCalls + refused.length, 80);
});

test("a cancelled long read is dropped", async () => {
  const rig = await filledRig();
  for (let callId = 1; callId <= 4; callId++) rig.accept(callRecord(callId, rangeMethod, encodeRangeRequest(all)));
  rig.reads.beginTurn();
  rig.reads.work();
  rig.reads.beginTurn();
  for (const callId of [1, 3]) rig.accept(callRecord(callId, 0, new Uint8Array(0), CallKind.Cancel));
  const replies = rig.finishReads();
  assert.deepEqual(replies.map(({ callId }) => callId).sort(), [2, 4]);
  for (const reply of replies) assert.equal(rangeOf(reply).kvs.length, keyCount);
});

test("a compacted or future revision is refused", async () => {
  const rig = await Rig.open();
  const reply = rig.range({ key: Buffer.from("a"), revision: 2 });
  assert.equal(reply.code, 11);
  assert.equal(reply.text, "etcdserver: mvcc: required revision is a future revision");
});

test("Status, MemberList and HashKV tell of this member", async () => {
  const rig = await Rig.open();
  rig.follow({ put: { key: Buffer.from("a") } });
  rig.accept(callRecord(1, methods.indexOf("/etcdserverpb.Maintenance/Status"), new Uint8Array(0)), {
    leaderId: 0n,
    commitIndex: 9,
  });
  const status = decodeStatusResponse(rig.takeReplies()[0]!.message);
  assert.equal(status.version, "3.7.1");
  assert.equal(status.raftIndex, 9);
  assert.equal(status.raftAppliedIndex, 1);
  assert.equal(status.raftTerm, raftTerm);
  assert.deepEqual(status.errors, ["etcdserver: no leader"]);
  assert.equal(status.dbSizeQuota, 2 ** 31);
  assert.deepEqual(status.downgradeInfo, { enabled: false, targetVersion: "" });
  const list = decodeMemberListResponse(rig.read("/etcdserverpb.Cluster/MemberList", new Uint8Array(0)).message);
  assert.deepEqual(list.header, { clusterId, memberId, revision: 0, raftTerm });
  rig.accept(callRecord(2, methods.indexOf("/etcdserverpb.Maintenance/HashKV"), encodeHashKVRequest({ revision: 9 })));
  rig.accept(callRecord(3, methods.indexOf("/etcdserverpb.Maintenance/HashKV"), new Uint8Array(0)));
  await new Promise((resolve) => setImmediate(resolve));
  const [future, hash] = rig.finishReads();
  assert.equal(future?.text, "etcdserver: mvcc: required revision is a future revision");
  const response = decodeHashKVResponse(hash!.message);
  assert.equal(response.hashRevision, 2);
  assert.equal(response.compactRevision, -1);
  assert.notEqual(response.hash, 0);
  assert.deepEqual(rig.failures, []);
});

test("the ranges and compares of one transaction share a slice", async () => {
  const rig = await filledRig();
  // Each alone is within a slice; together they are 40 × 400 keys.
  const some = { key: Buffer.from("k000000"), rangeEnd: Buffer.from("k000400") };
  const compare = { ...some, target: 0, result: 1, targetUnion: { case: "version" as const, value: 0 } };
  const success = Array.from({ length: 20 }, () => ({ request: { case: "requestRange" as const, value: some } }));
  rig.reads.beginTurn();
  rig.accept(callRecord(1, txnMethod, encodeTxnRequest({ compare: Array(20).fill(compare), success })));
  assert.deepEqual(rig.takeReplies(), []);
  let turns = 0;
  for (; rig.reads.hasWork; turns++) {
    rig.reads.beginTurn();
    rig.reads.work();
  }
  const [reply] = rig.takeReplies();
  const response = decodeTxnResponse(reply!.message);
  assert.deepEqual([response.succeeded, response.responses.length], [true, 20]);
  assert.ok(turns >= (40 * 400) / 2 / 512, `${turns} turns`);
});
