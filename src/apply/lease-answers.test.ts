import assert from "node:assert/strict";
import { test } from "node:test";
import { copyOf } from "../base/index.js";
import { decodeLeaseKeepAliveResponse, decodeLeaseTimeToLiveResponse } from "../proto/index.js";
import { LeaseCallWriter, LeaseOp } from "./lease-calls.js";
import { Rig } from "./rig.test-support.js";

async function rigWithLease(): Promise<(op: LeaseOp, operand: number, id: number, milliseconds: number) => Uint8Array> {
  const rig = await Rig.open();
  rig.follow({ leaseGrant: { ID: 7n, TTL: 60 } });
  for (const key of ["b", "a"]) rig.follow({ put: { key: Buffer.from(key), lease: 7n } });
  rig.takeReplies();
  return (op, operand, id, milliseconds) => {
    const calls = new LeaseCallWriter();
    calls.add(1, op, operand, id, 0, milliseconds);
    rig.reads.beginTurn();
    rig.accept(copyOf(calls.bytes, 0, calls.length));
    const [reply] = rig.takeReplies();
    return reply!.message;
  };
}

test("a keepalive tells the lease's TTL, and none for a lease that is not there", async () => {
  const ask = await rigWithLease();
  const told = [7, 8].map((id) => decodeLeaseKeepAliveResponse(ask(LeaseOp.KeepAlive, 0, id, 0)));
  assert.deepEqual(
    told.map(({ ID, TTL }) => [ID, TTL]),
    [
      [7n, 60],
      [8n, 0],
    ],
  );
});

test("time to live: whole seconds that are left, the granted ones, and the keys when they are wanted", async () => {
  const ask = await rigWithLease();
  const of = (operand: number, id: number, milliseconds: number): unknown[] => {
    const message = ask(LeaseOp.TimeToLive, operand, id, milliseconds);
    const { ID, TTL, grantedTTL, keys } = decodeLeaseTimeToLiveResponse(message);
    return [ID, TTL, grantedTTL, ...keys.map((key) => Buffer.from(key).toString()).toSorted()];
  };
  assert.deepEqual(of(1, 7, 41_999), [7n, 41, 60, "a", "b"]);
  assert.deepEqual(of(0, 7, 41_999), [7n, 41, 60]);
  // Main has not heard of it yet.
  assert.deepEqual(of(0, 7, NaN), [7n, 59, 60]);
  assert.deepEqual(of(1, 8, 0), [8n, -1, 0]);
});
