/** Lease requests at apply: answers, keys that go in one revision, slices, alarms and quota, what main is told. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  AlarmAction,
  AlarmType,
  decodeLeaseGrantResponse,
  decodeLeaseRevokeResponse,
  decodeRangeResponse,
  encodeInternalRaftRequest,
  type InternalRaftRequestInit,
} from "../proto/index.js";
import { MemoryBackend } from "../storage/backend/index.js";
import { readLeaseEvents } from "./lease-events.js";
import { memberId, Rig } from "./rig.test-support.js";

const grant = (ID: bigint, TTL = 60): InternalRaftRequestInit => ({ leaseGrant: { ID, TTL } });
const revoke = (ID: bigint): InternalRaftRequestInit => ({ leaseRevoke: { ID } });
const put = (key: string, lease = 0n): InternalRaftRequestInit => ({ put: { key: Buffer.from(key), lease } });

function keysOf(rig: Rig): string[] {
  const everything = { key: Buffer.from([0]), rangeEnd: Buffer.from([0]) };
  return decodeRangeResponse(rig.range(everything).message).kvs.map(({ key }) => Buffer.from(key).toString());
}

/** What main would hear. */
function told(rig: Rig): string[] {
  const events: string[] = [];
  rig.leaseEvents.send({
    send: (bytes, length) => {
      readLeaseEvents(new DataView(bytes.buffer, 0, length), 0, {
        granted: (low, _, ttl) => void events.push(`granted ${low} ${ttl}`),
        revoked: (low) => void events.push(`revoked ${low}`),
        checkpointed: (low, _, remaining) => void events.push(`checkpointed ${low} ${remaining}`),
      });
      return true;
    },
  });
  return events;
}

test("grant and revoke are answered with what they did, and main hears of it", async () => {
  const rig = await Rig.open();
  const granted = decodeLeaseGrantResponse(rig.request(grant(5n, 1)).message);
  assert.deepEqual([granted.ID, granted.TTL, granted.error, granted.header?.revision], [5n, 2, "", 1]);
  assert.deepEqual(rig.request(grant(5n)).text, "etcdserver: lease already exists");
  assert.deepEqual(rig.request(grant(0n)).text, "etcdserver: requested lease not found");
  assert.deepEqual(rig.request(grant(6n, 9_000_000_001)).text, "etcdserver: too large lease TTL");
  rig.request({ leaseCheckpoint: { checkpoints: [{ ID: 5n, remainingTTL: 1 }] } });
  assert.equal(decodeLeaseRevokeResponse(rig.request(revoke(5n)).message).header?.revision, 1);
  assert.deepEqual(rig.request(revoke(5n)).text, "etcdserver: requested lease not found");
  assert.deepEqual(told(rig), ["granted 5 2", "checkpointed 5 1", "revoked 5"]);
});

test("a lease's keys go in the order of their names, in one revision; a key that has moved stays", async () => {
  const rig = await Rig.open();
  rig.request(grant(5n));
  rig.request(grant(6n));
  for (const key of ["c", "a", "b", "moved", "freed"]) rig.request(put(key, 5n));
  rig.request(put("moved", 6n));
  rig.request(put("freed"));
  rig.request(put("z", 6n));
  const before = rig.store.currentRevision;
  const order: string[] = [];
  rig.store.onChanges = (changes) => {
    const view = { bytes: new Uint8Array(0), start: 0, end: 0 };
    for (let i = 0; i < changes.count; i++) {
      assert.ok(changes.isDelete(i));
      changes.read(i, view);
      order.push(Buffer.from(view.bytes.subarray(view.start + 2, view.end)).toString());
    }
  };
  assert.equal(decodeLeaseRevokeResponse(rig.request(revoke(5n)).message).header?.revision, before + 1);
  assert.deepEqual(order.splice(0), ["a", "b", "c"]);
  assert.deepEqual(keysOf(rig), ["freed", "moved", "z"]);
  rig.request(revoke(6n));
  assert.deepEqual(order, ["moved", "z"]);
});

test("a lease with very many keys is revoked in slices, and answered at the end", async () => {
  const rig = await Rig.open({ leaseIds: [5n] });
  for (let i = 0; i < 2000; i++) rig.follow(put(`k${i}`, 5n));
  const before = rig.store.currentRevision;
  const reply = rig.request(revoke(5n));
  assert.equal(decodeLeaseRevokeResponse(reply.message).header?.revision, before + 1);
  assert.deepEqual(keysOf(rig), []);
});

test("keys are with their leases again after a restart", async () => {
  const backend = new MemoryBackend();
  const rig = await Rig.open({ backend });
  rig.request(grant(5n));
  rig.request(grant(6n));
  rig.request(put("a", 5n));
  rig.request(put("b", 5n));
  rig.request(put("b", 6n));
  rig.request(put("c", 6n));
  rig.request({ deleteRange: { key: Buffer.from("c") } });
  const again = await Rig.open({ backend: backend.crashed() });
  assert.equal(again.leases.count, 2);
  assert.deepEqual(again.leases.keysOf(6, 0).map(String), rig.leases.keysOf(6, 0).map(String));
  again.request(revoke(6n));
  assert.deepEqual(keysOf(again), ["a"]);
});

test("NOSPACE refuses grants alone, CORRUPT revokes too; beyond the quota a grant happens and fails", async () => {
  const rig = await Rig.open({ leaseIds: [5n] });
  const alarm = (action: number, type: number): void => {
    rig.request({ alarm: { action, memberID: memberId, alarm: type } });
  };
  alarm(AlarmAction.ACTIVATE, AlarmType.NOSPACE);
  assert.equal(rig.request(grant(6n)).text, "etcdserver: mvcc: database space exceeded");
  assert.equal(rig.request(revoke(5n)).code, 0);
  alarm(AlarmAction.DEACTIVATE, AlarmType.NOSPACE);
  alarm(AlarmAction.ACTIVATE, AlarmType.CORRUPT);
  assert.equal(rig.request(grant(6n)).text, "etcdserver: corrupt cluster");
  assert.equal(rig.request(revoke(5n)).text, "etcdserver: corrupt cluster");
  const full = await Rig.open({ quotaBackendBytes: 1 });
  const entry = encodeInternalRaftRequest({ ...grant(6n), header: { ID: 7n } });
  assert.deepEqual(full.applyEntries([entry], [9]), []);
  assert.deepEqual(full.events, [{ type: "noSpace", callId: 9 }], "main refuses it");
  assert.ok(full.leases.has(6, 0));
});
