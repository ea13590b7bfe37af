/** RangeStream calls at their bounds, in the midst of a message, and with each option beside Range. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CallKind } from "../native/index.js";
import {
  decodeRangeResponse,
  decodeRangeStreamResponse,
  encodeRangeRequest,
  type RangeRequestInit,
} from "../proto/index.js";
import { callRecord, methods, Rig, type Reply } from "./rig.test-support.js";

const all = { key: Buffer.from([0]), rangeEnd: Buffer.from([0]) };
const rangeStream = methods.indexOf("/etcdserverpb.KV/RangeStream");
const tooMany = "etcdserver: too many requests";

async function filled(keys: number): Promise<Rig> {
  const rig = await Rig.open();
  for (let i = 0; i < keys; i++) rig.follow({ put: { key: Buffer.from(`k${String(i).padStart(6, "0")}`) } });
  return rig;
}

function ask(rig: Rig, callId: number, request: RangeRequestInit): void {
  rig.accept(callRecord(callId, rangeStream, encodeRangeRequest(request)));
}
function tell(rig: Rig, callId: number, kind: number): void {
  rig.accept(callRecord(callId, 0, new Uint8Array(0), kind));
}
const textOf = (replies: readonly Reply[], callId: number): string | undefined =>
  replies.find((reply) => reply.callId === callId)?.text;

/** All that a stream sends, to a client that takes everything. */
function readAll(rig: Rig, request: RangeRequestInit): ReturnType<typeof decodeRangeResponse> {
  ask(rig, 1, request);
  const parts = [];
  for (let replies = rig.finishReads(); ; replies = rig.finishReads()) {
    const [message, end] = replies;
    parts.push(decodeRangeStreamResponse(message!.message).rangeResponse!);
    if (end !== undefined) return { ...parts.at(-1)!, kvs: parts.flatMap(({ kvs }) => kvs) };
    tell(rig, 1, CallKind.Writable);
  }
}

test("each option gives what Range gives", async () => {
  const rig = await filled(100);
  rig.follow({ put: { key: Buffer.from("k000050"), value: Buffer.from("later") } });
  const one = { key: Buffer.from("k000007") };
  const requests: RangeRequestInit[] = [
    all,
    one,
    { key: Buffer.from("none") },
    { ...all, keysOnly: true },
    { ...all, countOnly: true },
    { ...one, countOnly: true },
    { ...all, limit: 35 },
    { ...all, limit: 5, keysOnly: true },
    { ...all, limit: 35, revision: 60 },
    { ...all, revision: 60, countOnly: true },
    { ...all, limit: 1000 },
  ];
  for (const request of requests) {
    const expected = decodeRangeResponse(rig.range(request).message);
    assert.deepEqual(readAll(rig, request), expected, JSON.stringify(request));
  }
});

test("a revision that a long delete is about to make is still to come", async () => {
  const rig = await filled(3000);
  const { currentRevision } = rig.store;
  let replies: Reply[] = [];
  rig.betweenSlices = () => {
    if (replies.length > 0) return;
    ask(rig, 1, { ...all, revision: currentRevision + 1 });
    replies = rig.finishReads();
  };
  rig.follow({ deleteRange: all });
  assert.equal(textOf(replies, 1), "etcdserver: mvcc: required revision is a future revision");
  assert.equal(rig.store.currentRevision, currentRevision + 1);
});

test("a compaction in the midst of a message ends the stream", async () => {
  const rig = await filled(3000);
  ask(rig, 1, { ...all, revision: 2000, limit: -1 });
  rig.reads.beginTurn();
  rig.reads.work();
  assert.deepEqual(rig.takeReplies(), []);
  rig.follow({ compaction: { revision: 2500 } });
  const replies = rig.finishReads();
  assert.deepEqual([replies.length, textOf(replies, 1)], [1, "etcdserver: mvcc: required revision has been compacted"]);
});

test("who goes in the midst of a message gets nothing, and the next stream all of its own", async () => {
  const rig = await filled(3000);
  ask(rig, 1, { ...all, limit: -1 });
  rig.reads.beginTurn();
  rig.reads.work();
  tell(rig, 1, CallKind.Cancel);
  ask(rig, 2, { ...all, limit: 5 });
  const replies = rig.finishReads();
  assert.ok(replies.every(({ callId }) => callId === 2));
  assert.equal(decodeRangeStreamResponse(replies[0]!.message).rangeResponse!.kvs.length, 5);
});

test("10,000 streams at a time, and 64 MiB of their requests; beyond that they are refused until one goes", async () => {
  const rig = await filled(20);
  const streamsMax = 10_000;
  for (let callId = 1; callId <= streamsMax; callId++) {
    ask(rig, callId, all);
    if (callId % 100 === 0) rig.finishReads();
  }
  ask(rig, streamsMax + 1, all);
  assert.equal(textOf(rig.finishReads(), streamsMax + 1), tooMany);
  tell(rig, 1, CallKind.Cancel);
  ask(rig, 1, all);
  assert.equal(textOf(rig.finishReads(), 1), "");

  const large = await filled(20);
  const longKey = { key: Buffer.alloc(7 << 20, 1), rangeEnd: Buffer.from([0]) };
  for (let callId = 1; callId <= 11; callId++) {
    ask(large, callId, longKey);
    const text = textOf(large.finishReads(), callId);
    assert.equal(text, callId <= 10 ? "" : tooMany, `stream ${callId}`);
  }
  for (const callId of [1, 2]) tell(large, callId, CallKind.Cancel);
  ask(large, 12, longKey);
  assert.equal(textOf(large.finishReads(), 12), "");
});

test("a stream that has ended leaves room", async () => {
  const rig = await filled(3);
  for (let round = 0; round < 12; round++) {
    const key = Buffer.alloc(7 << 20, 0);
    ask(rig, 1, { key, rangeEnd: Buffer.from([0]) });
    assert.equal(textOf(rig.finishReads().slice(-1), 1), "", `round ${round}`);
  }
  assert.equal(rig.reads.pendingCalls, 0);
});
