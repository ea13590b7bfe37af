/** Entries: headers, errors, alarms, quota, membership, replay, and entries that end the member. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { EntryBatch, EntryType } from "../base/index.js";
import { formatMember, formatPromoteContext, type Member } from "../membership/index.js";
import { GrpcCode } from "../errors/index.js";
import {
  AlarmAction,
  AlarmType,
  decodeAlarmResponse,
  decodePutResponse,
  decodeRangeResponse,
  decodeStatusResponse,
  decodeTxnResponse,
  encodeConfChange,
  encodeInternalRaftRequest,
  type ConfChangeInit,
  type InternalRaftRequestInit,
  type RequestOpInit,
  type TxnResponse,
} from "../proto/index.js";
import { Bucket, MemoryBackend } from "../storage/backend/index.js";
import { clusterId, memberId, raftTerm, Rig } from "./rig.test-support.js";

const a = Buffer.from("a");
const putA: RequestOpInit = { request: { case: "requestPut", value: { key: a, value: a } } };

function member(id: bigint, fields: Partial<Member> = {}): Member {
  return { id, name: "", peerURLs: [`http://${id}:2380`], clientURLs: [], isLearner: false, ...fields };
}

function confChange(rig: Rig, change: ConfChangeInit): Extract<(typeof rig.events)[number], { type: "confChange" }> {
  rig.applyEntries([encodeConfChange(change)], [0], EntryType.ConfChange);
  const event = rig.events.pop();
  assert.equal(event?.type, "confChange");
  return event;
}

test("a put's header names cluster, member, the new revision and main's term", async () => {
  const rig = await Rig.open();
  const { header } = decodePutResponse(rig.request({ put: { key: a } }).message);
  assert.deepEqual(header, { clusterId, memberId, revision: 2, raftTerm });
});

test("nested responses carry the revision alone, a nested transaction's header is empty", async () => {
  const rig = await Rig.open();
  const range: RequestOpInit = { request: { case: "requestRange", value: { key: a } } };
  const nested: RequestOpInit = { request: { case: "requestTxn", value: { success: [range] } } };
  const remove: RequestOpInit = { request: { case: "requestDeleteRange", value: { key: Buffer.from("none") } } };
  const reply = rig.request({ txn: { success: [remove, range, putA, range, remove, nested] } });
  const response = decodeTxnResponse(reply.message);
  const revisions = response.responses.map(({ response: op }) => op?.value.header);
  const only = (revision: number): object => ({ clusterId: 0n, memberId: 0n, revision, raftTerm: 0 });
  assert.deepEqual(revisions, [only(1), only(1), only(2), only(2), only(2), only(0)]);
  const inner = (response.responses[5]!.response!.value as TxnResponse).responses[0]!.response!.value;
  assert.deepEqual(inner.header, only(2));
  assert.equal(response.header?.revision, 2);
});

test("the header's room is right when the revision's varint grows", async () => {
  const rig = await Rig.open();
  for (let i = 0; i < 130; i++) {
    const txn = { success: i % 2 === 0 ? [putA] : [], compare: [{ key: a, target: 3 }] };
    const failure: RequestOpInit[] = [{ request: { case: "requestRange", value: { key: a } } }];
    const response = decodeTxnResponse(rig.request({ txn: { ...txn, success: [putA], failure } }).message);
    assert.equal(response.header?.revision, rig.store.currentRevision);
    rig.follow({ put: { key: a } });
  }
});

test("a variant given twice in one op is merged, as Go's parser does", async () => {
  const rig = await Rig.open();
  // RequestOp { request_put { key: "a" }, request_put { value: "v" } } in a success list.
  const op = Buffer.from([0x12, 3, 0x0a, 1, 0x61, 0x12, 3, 0x12, 1, 0x76]);
  const txn = Buffer.concat([Buffer.from([0x12, op.length]), op]);
  const entry = Buffer.concat([Buffer.from([0x32, txn.length]), txn, Buffer.from([0xa2, 6, 2, 8, 9])]);
  const [reply] = rig.applyEntries([entry], [5]);
  assert.equal(decodeTxnResponse(reply!.message).responses.length, 1);
  const { kvs } = decodeRangeResponse(rig.range({ key: a }).message);
  assert.equal(Buffer.from(kvs[0]!.value).toString(), "v");
});

test("a lease that does not exist and a key that is not there are refused before anything is written", async () => {
  const rig = await Rig.open();
  const reply = rig.request({ put: { key: a, lease: 9n } });
  assert.deepEqual([reply.code, reply.text], [5, "etcdserver: requested lease not found"]);
  const ignoring: RequestOpInit = { request: { case: "requestPut", value: { key: a, ignoreValue: true } } };
  const other = rig.request({
    txn: { success: [{ request: { case: "requestPut", value: { key: Buffer.from("b") } } }, ignoring] },
  });
  assert.deepEqual([other.code, other.text], [3, "etcdserver: key not found"]);
  assert.equal(rig.store.currentRevision, 1);
});

test("alarms refuse what they should, and survive a restart", async () => {
  const backend = new MemoryBackend();
  const rig = await Rig.open({ backend });
  rig.request({ put: { key: a } });
  const activate = { alarm: { action: AlarmAction.ACTIVATE, memberID: 5n, alarm: AlarmType.NOSPACE } };
  assert.deepEqual(decodeAlarmResponse(rig.request(activate).message).alarms, [{ memberID: 5n, alarm: 1 }]);
  assert.deepEqual(rig.alarmBoard.read(), [1]);
  assert.deepEqual(rig.events.pop(), { type: "alarms", index: 2, alarms: [{ memberId: 5n, alarm: 1 }] });
  const full = "etcdserver: mvcc: database space exceeded";
  assert.equal(rig.request({ put: { key: a } }).text, full);
  assert.equal(rig.request({ txn: { failure: [putA] } }).text, full, "the branch that is not taken counts too");
  assert.equal(rig.request({ txn: {} }).text, "");
  assert.equal(rig.request({ deleteRange: { key: a } }).text, "");
  assert.deepEqual(rig.events, [], "no further alarm is asked for while one is active");

  const again = await Rig.open({ backend: backend.crashed() });
  assert.deepEqual(again.alarmBoard.read(), [1]);
  assert.equal(again.request({ put: { key: a } }).text, full);
  const status = again.read("/etcdserverpb.Maintenance/Status", new Uint8Array(0));
  assert.deepEqual(decodeStatusResponse(status.message).errors, ["memberID:5 alarm:NOSPACE"]);
  const disarm = { ...activate.alarm, action: AlarmAction.DEACTIVATE };
  assert.deepEqual(decodeAlarmResponse(again.request({ alarm: { ...disarm, memberID: 6n } }).message).alarms, []);
  assert.equal(decodeAlarmResponse(again.request({ alarm: disarm }).message).alarms.length, 1);
  assert.deepEqual(again.alarmBoard.read(), []);
  assert.equal(again.request({ put: { key: a } }).text, "");
  again.request({ alarm: { action: AlarmAction.ACTIVATE, memberID: 1n, alarm: AlarmType.CORRUPT } });
  const corrupt = "etcdserver: corrupt cluster";
  assert.equal(again.request({ put: { key: a } }).text, corrupt);
  assert.equal(again.request({ deleteRange: { key: a } }).text, corrupt);
  assert.equal(again.request({ txn: {} }).text, corrupt);
  const got = decodeAlarmResponse(again.request({ alarm: { action: AlarmAction.GET } }).message);
  assert.deepEqual(got.alarms, [{ memberID: 1n, alarm: 2 }]);
});

test("a write over the quota is applied; main hears whom to refuse once the alarm is on", async () => {
  const rig = await Rig.open({ quotaBackendBytes: 1000 });
  const value = Buffer.alloc(2000);
  const requests: InternalRaftRequestInit[] = [
    { put: { key: a, value } },
    { txn: { failure: [{ request: { case: "requestPut", value: { key: a, value } } }] } },
  ];
  const entries = requests.map((request) => encodeInternalRaftRequest({ ...request, header: { ID: 77n } }));
  assert.deepEqual(rig.applyEntries(entries, [7, 0]), []);
  assert.deepEqual(
    rig.events,
    [7, 0].map((callId) => ({ type: "noSpace", callId })),
  );
  assert.equal(rig.store.currentRevision, 2, "the put is there; the transaction had nothing to do");
});

test("etcd#18667: a transaction that reads a compacted revision is refused whole, by who answers and by who does not", async () => {
  const [answering, following] = [await Rig.open(), await Rig.open()];
  const readAt = (revision: number): RequestOpInit => ({
    request: { case: "requestRange", value: { key: a, revision } },
  });
  for (const rig of [answering, following]) {
    for (let i = 0; i < 5; i++) rig.follow({ put: { key: a, value: Buffer.from(String(i)) } });
    rig.follow({ compaction: { revision: 4 } });
  }
  for (const [revision, code] of [
    [3, GrpcCode.OutOfRange],
    [99, GrpcCode.OutOfRange],
    [4, undefined],
  ] as const) {
    // At once, below another operation, and in a transaction within one.
    for (const ops of [
      [readAt(revision), putA],
      [putA, readAt(revision)],
    ]) {
      for (const txn of [
        { success: ops },
        { success: [{ request: { case: "requestTxn", value: { success: ops } } }] },
      ]) {
        const before = answering.store.currentRevision;
        const reply = answering.request({ txn } as InternalRaftRequestInit);
        following.follow({ txn } as InternalRaftRequestInit);
        assert.equal(reply.code, code ?? GrpcCode.OK, reply.text);
        assert.equal(answering.store.currentRevision, code === undefined ? before + 1 : before);
        assert.equal(following.store.currentRevision, answering.store.currentRevision);
      }
    }
  }
});

test("entries at or below the consistent index change nothing again", async () => {
  const backend = new MemoryBackend();
  const first = await Rig.open({ backend });
  for (let i = 0; i < 3; i++) first.request({ put: { key: a } });
  const again = await Rig.open({ backend: backend.crashed() });
  assert.equal(again.applier.appliedIndex, 3);
  const entry = encodeInternalRaftRequest({ put: { key: a }, header: { ID: 1n } });
  const batch = new EntryBatch({
    term: raftTerm,
    firstIndex: 2,
    types: new Uint8Array(3),
    ends: Uint32Array.of(entry.length, 2 * entry.length, 3 * entry.length),
    bytes: Buffer.concat([entry, entry, entry]),
  });
  again.applyBatch(batch, [0, 0, 0]);
  assert.equal(again.applier.appliedIndex, 4);
  assert.equal(again.store.currentRevision, 5);
});

test("an empty entry only moves the index; other entries that cannot be applied end the member", async () => {
  const open = async (): Promise<Rig> => {
    const rig = await Rig.open();
    assert.deepEqual(rig.applyEntries([new Uint8Array(0)], [0]), []);
    assert.equal(rig.applier.appliedIndex, 1);
    return rig;
  };
  const rig = await open();
  const unknown = encodeInternalRaftRequest({ authEnable: {}, header: { ID: 1n } });
  assert.throws(() => rig.applyEntries([unknown], [0]), /entry 2: request field 1000 is not implemented/);
  const nobody = encodeInternalRaftRequest({ put: { key: a } });
  const second = await open();
  assert.throws(() => second.applyEntries([nobody], [0]), /entry 2 has no request ID/);
  const third = await open();
  assert.throws(() => third.applyEntries([nobody], [0], EntryType.ConfChangeV2), /entry type 2 is not implemented/);
});

test("members are added, promoted, updated and removed by the rules", async () => {
  const backend = new MemoryBackend();
  const rig = await Rig.open({ backend });
  const own = member(memberId, { name: "n1" });
  const added = confChange(rig, { type: 0, nodeId: memberId, context: formatMember(own) });
  assert.deepEqual([added.accepted, added.id, added.confState.voters], [true, 0n, [memberId]]);
  const learner = member(2n, { isLearner: true });
  const second = confChange(rig, { id: 8n, type: 3, nodeId: 2n, context: formatMember(learner) });
  assert.deepEqual([second.id, second.confState.learners], [8n, [2n]]);
  const third = member(3n, { isLearner: true });
  const refused = confChange(rig, { type: 3, nodeId: 3n, context: formatMember(third) });
  assert.deepEqual([refused.accepted, refused.nodeId], [false, 0n]);
  assert.equal(refused.refusal?.message, "etcdserver: too many learner members in cluster");
  const taken = confChange(rig, { type: 0, nodeId: 4n, context: formatMember(member(4n, { peerURLs: own.peerURLs })) });
  assert.equal(taken.refusal?.message, "etcdserver: Peer URLs already exists");
  const known = confChange(rig, { type: 0, nodeId: 2n, context: formatMember(learner) });
  assert.equal(known.refusal?.message, "etcdserver: member ID already exist");
  const voter = confChange(rig, { type: 0, nodeId: memberId, context: formatPromoteContext(memberId) });
  assert.equal(voter.refusal?.message, "etcdserver: can only promote a learner member");
  const promoted = confChange(rig, { type: 0, nodeId: 2n, context: formatPromoteContext(2n) });
  assert.deepEqual([promoted.confState.voters, promoted.confState.learners], [[2n, memberId], []]);
  const moved = confChange(rig, {
    type: 2,
    nodeId: 2n,
    context: formatMember(member(2n, { peerURLs: ["http://x:1"] })),
  });
  assert.deepEqual(moved.members.find(({ id }) => id === 2n)?.peerURLs, ["http://x:1"]);
  const gone = confChange(rig, { type: 1, nodeId: 2n });
  assert.deepEqual([gone.accepted, gone.confState.voters, gone.removedSelf], [true, [memberId], false]);
  const back = confChange(rig, { type: 0, nodeId: 2n, context: formatMember(learner) });
  assert.equal(back.refusal?.message, "etcdserver: member not found");

  const again = await Rig.open({ backend: backend.crashed() });
  assert.deepEqual(again.membership.sortedMembers(), [own]);
  assert.deepEqual([...again.membership.removed], [2n]);
  assert.deepEqual(again.membership.confState?.voters, [memberId]);
  const last = confChange(again, { type: 1, nodeId: memberId });
  assert.deepEqual([last.accepted, last.removedSelf], [false, false], "nobody could decide anything any more");
  confChange(again, { type: 0, nodeId: 5n, context: formatMember(member(5n)) });
  assert.equal(confChange(again, { type: 1, nodeId: memberId }).removedSelf, true);
});

test("a refused change moves the consistent index and leaves the ConfState", async () => {
  const backend = new MemoryBackend();
  const rig = await Rig.open({ backend });
  confChange(rig, { type: 0, nodeId: memberId, context: formatMember(member(memberId)) });
  const before = backend.get(Bucket.Meta, Buffer.from("confState"));
  assert.equal(Buffer.from(before!).toString(), `{"voters":[${memberId}],"auto_leave":false}`);
  confChange(rig, { type: 1, nodeId: 9n });
  assert.equal(backend.consistentIndex, 2);
  assert.deepEqual(backend.get(Bucket.Meta, Buffer.from("confState")), before);
});

test("attributes and versions are stored; a version beyond ours ends the member", async () => {
  const backend = new MemoryBackend();
  const rig = await Rig.open({ backend });
  confChange(rig, { type: 0, nodeId: memberId, context: formatMember(member(memberId)) });
  const memberAttributes = { name: "n1", clientUrls: ["http://c:1"] };
  rig.follow({ clusterMemberAttrSet: { memberID: memberId, memberAttributes } });
  rig.follow({ clusterVersionSet: { ver: "3.7.0" } });
  const text = (bucket: "members" | "cluster" | "meta", key: string): string =>
    Buffer.from(backend.get(bucket, Buffer.from(key)) ?? []).toString();
  const id = memberId.toString(16);
  const row = `{"id":${memberId},"peerURLs":["http://${memberId}:2380"],"name":"n1","clientURLs":["http://c:1"]}`;
  assert.equal(text("members", id), row);
  assert.equal(text("cluster", "clusterVersion"), "3.7.0");
  assert.equal(text("meta", "storageVersion"), "3.7.0");
  assert.deepEqual(
    rig.events.map(({ type }) => type),
    ["members", "clusterVersion"],
  );
  assert.throws(() => rig.follow({ clusterMemberAttrSet: { memberID: 99n } }), /unknown member 63/);
  const other = await Rig.open();
  assert.throws(() => other.follow({ clusterVersionSet: { ver: "3.8.0" } }), /lower than determined cluster version/);
});

test("metrics tell of applies and the store", async () => {
  const rig = await Rig.open();
  rig.request({ put: { key: a, value: a } });
  rig.request({ txn: { success: [putA, putA] } });
  rig.request({ put: { key: a, lease: 4n } });
  rig.range({ key: a });
  const text = rig.registry.text();
  assert.match(text, /etcd_server_apply_duration_seconds_count\{op="Put",success="true",version="v3"\} 1\n/);
  assert.match(text, /etcd_server_apply_duration_seconds_count\{op="Put",success="false",version="v3"\} 1\n/);
  assert.match(text, /etcd_server_range_duration_seconds_count\{success="true"\} 1\n/);
  assert.match(text, /etcd_mvcc_put_total 3\n/);
  assert.match(text, /etcd_mvcc_txn_total 1\n/);
  assert.match(text, /etcd_debugging_mvcc_current_revision 3\n/);
});
