/** LeaseLeases: order, one state for the calls of a wake-up, slices, bounds. */
import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";
import { copyOf } from "../base/index.js";
import { decodeLeaseLeasesResponse } from "../proto/index.js";
import { LeaseCallWriter, LeaseOp } from "./lease-calls.js";
import { Rig, type Reply } from "./rig.test-support.js";

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
  const count = 50_000;
  calls.add(1, LeaseOp.Leases, 1, 0, 0, 9, stateOf(count));
  calls.add(2, LeaseOp.Leases, 0, 0, 0, 9);
  accept(rig, calls);
  assert.equal(rig.reads.pendingCalls, 2);
  const [first, second] = await answers(rig);
  assert.deepEqual([first?.callId, second?.callId], [1, 2]);
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
