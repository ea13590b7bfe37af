/** LeaseTimeToLive with very many keys, in slices. LeaseLeases: order, one state for the calls of a wake-up, slices, bounds. */
import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";
import { copyOf } from "../base/index.js";
import { CallKind, ReplyKind } from "../native/index.js";
import {
  decodeLeaseLeasesResponse,
  decodeLeaseTimeToLiveResponse,
  encodeInternalRaftRequest,
  type InternalRaftRequestInit,
} from "../proto/index.js";
import { LeaseCallWriter, LeaseOp } from "./lease-calls.js";
import { callRecord, Rig, type Reply } from "./rig.test-support.js";

/** IDs count down as ends go up. */
function stateOf(count: number): Uint8Array {
  const bytes = Buffer.alloc(16 * count);
  for (let i = 0; i < count; i++) {
    const n = (i * 7919) % count;
    bytes.writeBigUInt64LE(BigInt(count - n) << 20n, 8 * i);
    bytes.writeDoubleLE(n / 3, 8 * count + 8 * i);
  }
  return bytes;
}

async function answers(rig: Rig): Promise<Reply[]> {
  while (rig.reads.pendingCalls > 0) await turn();
  assert.deepEqual(rig.failures, []);
  return rig.takeReplies();
}

function accept(rig: Rig, calls: LeaseCallWriter): void {
  rig.reads.beginTurn();
  rig.accept(copyOf(calls.bytes, 0, calls.length));
  calls.clear();
}

test("all IDs by their end; the calls of one wake-up share a state; it goes in slices", async () => {
  const rig = await Rig.open();
  const calls = new LeaseCallWriter();
  const count = 100_000;
  calls.add(1, LeaseOp.Leases, 1, 0, 0, 9, stateOf(count));
  calls.add(2, LeaseOp.Leases, 0, 0, 0, 9);
  accept(rig, calls);
  assert.equal(rig.reads.pendingCalls, 2);
  const answered = whole(await answers(rig));
  assert.deepEqual([...answered.keys()], [1, 2]);
  const [first, second] = [...answered.values()];
  assert.ok(first!.parts > 1 && first!.code === 0);
  const { leases, header } = decodeLeaseLeasesResponse(first!.message);
  assert.equal(header?.revision, rig.store.currentRevision);
  assert.deepEqual(
    leases.map(({ ID }) => Number(ID >> 20n)),
    Array.from({ length: count }, (_, i) => count - i),
  );
  assert.ok(Buffer.from(first!.message).equals(second!.message));
  // 16 passes of the sort, and the encoding.
  assert.ok(rig.pauses >= (16 * count) / 10_000 + count / 10_000, `${rig.pauses} pauses`);
});

test("no leases: an answer without any", async () => {
  const rig = await Rig.open();
  const calls = new LeaseCallWriter();
  calls.add(1, LeaseOp.Leases, 1, 0, 0, 1, stateOf(0));
  accept(rig, calls);
  const [reply] = await answers(rig);
  assert.deepEqual(decodeLeaseLeasesResponse(reply!.message).leases, []);
});

test("a later state takes the place of one that waits; a state that is not there is refused", async () => {
  const rig = await Rig.open();
  const calls = new LeaseCallWriter();
  for (let n = 1; n <= 3; n++) calls.add(n, LeaseOp.Leases, 1, 0, 0, n, stateOf(n));
  calls.add(4, LeaseOp.Leases, 0, 0, 0, 2);
  accept(rig, calls);
  const replies = await answers(rig);
  assert.deepEqual(
    replies.map(({ callId, text }) => [callId, text]),
    [
      [4, "etcdserver: too many requests"],
      [1, ""],
      [2, ""],
      [3, ""],
    ],
  );
  for (const { message } of replies.slice(1)) assert.equal(decodeLeaseLeasesResponse(message).leases.length, 3);
});

/** The answers of `replies`, those in parts put together. */
function whole(replies: readonly Reply[]): Map<number, { message: Uint8Array; parts: number; code: number }> {
  const answers = new Map<number, { message: Uint8Array; parts: number; code: number }>();
  for (const { callId, kind, code, message } of replies) {
    const answer = answers.get(callId) ?? { message: new Uint8Array(0), parts: 0, code: -1 };
    answers.set(callId, answer);
    if (kind === ReplyKind.End) answer.code = code;
    else {
      answer.message = Buffer.concat([answer.message, message]);
      answer.parts++;
    }
  }
  return answers;
}

/** Applies a request that nobody waits for; what others are answered meanwhile is added to `replies`. */
function follow(rig: Rig, request: InternalRaftRequestInit, replies: Reply[]): void {
  replies.push(...rig.applyEntries([encodeInternalRaftRequest({ ...request, header: { ID: 77n } })], [0]));
}

test("very many keys of a lease are listed in slices, also while some come and go", async () => {
  const rig = await Rig.open({ leaseIds: [5n] });
  const count = 20_000;
  const key = (i: number): Buffer => Buffer.from(`key ${i}`);
  for (let i = 0; i < count; i++) rig.follow({ put: { key: key(i), lease: 5n } });
  const calls = new LeaseCallWriter();
  for (const callId of [1, 2, 3]) calls.add(callId, LeaseOp.TimeToLive, 1, 5, 0, 7000);
  accept(rig, calls);
  assert.equal(rig.reads.pendingCalls, 3);
  rig.accept(callRecord(2, 0, new Uint8Array(0), CallKind.Cancel));
  const { pauses } = rig;
  while (rig.pauses < pauses + 3) await turn();
  // The one attached first is listed last.
  const replies: Reply[] = [];
  for (let i = 0; i < 100; i++) follow(rig, { put: { key: key(i) } }, replies);
  follow(rig, { put: { key: key(count), lease: 5n } }, replies);
  const answered = whole([...replies, ...(await answers(rig))]);
  assert.deepEqual([...answered.keys()], [1, 3]);
  const listed = [1, 3].map((callId) => {
    const { message, code, parts } = answered.get(callId)!;
    const { keys, TTL, grantedTTL, ID } = decodeLeaseTimeToLiveResponse(message);
    assert.deepEqual([code, TTL, grantedTTL, ID], [0, 7, 60, 5n]);
    assert.ok(parts > count / 2000, `${parts} parts`);
    return keys.map(String);
  });
  const stay = Array.from({ length: count - 100 }, (_, i) => String(key(i + 100)));
  assert.deepEqual(listed[0]!.toSorted(), stay.toSorted());
  assert.deepEqual(listed[1]!.toSorted(), [...stay, String(key(count))].toSorted());
});

test("keys are listed of what there was when the state is another's meanwhile", async () => {
  const rig = await Rig.open({ leaseIds: [5n] });
  const other = await Rig.open({ leaseIds: [5n, 6n] });
  const count = 10_000;
  for (let i = 0; i < count; i++) rig.follow({ put: { key: Buffer.from(`key ${i}`), lease: 5n } });
  other.follow({ put: { key: Buffer.from("other"), lease: 6n } });
  const calls = new LeaseCallWriter();
  calls.add(1, LeaseOp.TimeToLive, 1, 5, 0, 7000);
  accept(rig, calls);
  while (rig.pauses < 2) await turn();
  rig.leases.adopt(other.leases);
  const { message, code } = whole(await answers(rig)).get(1)!;
  const { keys } = decodeLeaseTimeToLiveResponse(message);
  assert.equal(code, 0);
  assert.deepEqual(keys.map(String).toSorted(), Array.from({ length: count }, (_, i) => `key ${i}`).toSorted());
});

test("a lease that is revoked while its keys are listed has no more of them", async () => {
  const rig = await Rig.open({ leaseIds: [5n] });
  for (let i = 0; i < 10_000; i++) rig.follow({ put: { key: Buffer.from(`key ${i}`), lease: 5n } });
  const calls = new LeaseCallWriter();
  calls.add(1, LeaseOp.TimeToLive, 1, 5, 0, 7000);
  calls.add(2, LeaseOp.TimeToLive, 1, 5, 0, 7000);
  accept(rig, calls);
  while (rig.pauses < 3) await turn();
  const replies: Reply[] = [];
  follow(rig, { leaseRevoke: { ID: 5n } }, replies);
  follow(rig, { leaseGrant: { ID: 6n, TTL: 60 } }, replies);
  follow(rig, { put: { key: Buffer.from("other"), lease: 6n } }, replies);
  const answered = whole([...replies, ...(await answers(rig))]);
  const [first, second] = [1, 2].map((callId) => decodeLeaseTimeToLiveResponse(answered.get(callId)!.message).keys);
  assert.ok(first!.length > 0 && first!.length < 10_000 && !first!.map(String).includes("other"));
  assert.deepEqual(second, []);
});
