/** NOSPACE from the quota's side: what raises it, for whom, how often, and what each request costs. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyProgress, type ActiveAlarm } from "../apply/index.js";
import {
  encodeLeaseGrantRequest,
  encodePutRequest,
  encodeTxnRequest,
  writeVarint64,
  type RequestOpInit,
} from "../proto/index.js";
import { MemberRig } from "./member-rig.test-support.js";
import type { DiskState } from "./publisher.js";
import { SpaceGuard } from "./space-guard.js";

/** Fields of InternalRaftRequest. */
const field = { put: 4, deleteRange: 5, txn: 6, compaction: 7, leaseGrant: 8, leaseRevoke: 9 } as const;
const noSpace = 1;
const corrupt = 2;
/** etcd's own overhead of a put. */
const overhead = 256;

/** Of member 1, whose database has `used` bytes. */
class Rig {
  raised = 0;
  readonly told: DiskState[] = [];
  readonly lines: unknown[] = [];
  /** What apply has written on the board. */
  active: number[] = [noSpace, corrupt];
  readonly guard: SpaceGuard;
  /** Calls that were answered with an error. */
  readonly failed: MemberRig["failed"];

  constructor(quota: string, used: number, alarms: readonly ActiveAlarm[] = []) {
    const { surroundings, failed } = new MemberRig(1, { flags: [`--quota-backend-bytes=${quota}`] });
    this.failed = failed;
    const warn = (message: string, fields?: unknown): void => void this.lines.push([message, fields]);
    const progress = { ...emptyProgress(), dbSize: used };
    const logger = { ...surroundings.logger, warn };
    const publisher = {
      raiseNoSpace: (): void => void this.raised++,
      diskSpace: (state: DiskState): void => void this.told.push(state),
    };
    this.guard = new SpaceGuard(
      {
        ...surroundings,
        logger,
        apply: { ...surroundings.apply, progress },
        alarmBoard: { read: () => this.active },
      },
      publisher,
      7000,
      alarms,
    );
  }

  exceeds(of: number, message: Uint8Array): boolean {
    return this.guard.exceedsQuota(of, message, 0, message.length);
  }
}

const put = (bytes: number): Uint8Array => encodePutRequest({ key: Buffer.from("k"), value: Buffer.alloc(bytes - 1) });
const putOp = (bytes: number): RequestOpInit => ({
  request: { case: "requestPut", value: { key: Buffer.from("k"), value: Buffer.alloc(bytes - 1) } },
});

function varint(value: number): Uint8Array {
  const bytes = new Uint8Array(10);
  return bytes.subarray(0, writeVarint64(BigInt(value), bytes, 0));
}

test("a put fits as long as the file and what it costs stay below the quota; then the alarm is asked for", () => {
  const rig = new Rig("10000", 9000);
  assert.equal(rig.exceeds(field.put, put(10_000 - 9000 - overhead - 1)), false);
  assert.deepEqual([rig.raised, rig.lines], [0, []]);
  assert.equal(rig.exceeds(field.put, put(10_000 - 9000 - overhead)), true);
  assert.equal(rig.raised, 1);
  const fields = { "quota-size-bytes": 10_000, "message-cost-bytes": 1000 };
  assert.deepEqual(rig.lines, [["message exceeded backend quota; raising alarm", fields]]);
});

test("a transaction costs its dearer branch, nested ones included; a grant 64 bytes; what frees space nothing", () => {
  const rig = new Rig("10000", 9000);
  const half = [putOp(244), putOp(243)];
  assert.equal(rig.exceeds(field.txn, encodeTxnRequest({ success: half, failure: half })), false);
  assert.equal(
    rig.exceeds(field.txn, encodeTxnRequest({ success: [putOp(1)], failure: [putOp(244), putOp(244)] })),
    true,
  );
  const nested: RequestOpInit = { request: { case: "requestTxn", value: { failure: [putOp(244)] } } };
  assert.equal(rig.exceeds(field.txn, encodeTxnRequest({ success: [nested, putOp(243)] })), false);
  assert.equal(rig.exceeds(field.txn, encodeTxnRequest({ success: [nested, putOp(244)] })), true);
  const grant = encodeLeaseGrantRequest({ TTL: 60 });
  assert.equal(new Rig("10000", 10_000 - 65).exceeds(field.leaseGrant, grant), false);
  assert.equal(new Rig("10000", 10_000 - 64).exceeds(field.leaseGrant, grant), true);
  const full = new Rig("10000", 20_000);
  for (const of of [field.deleteRange, field.compaction, field.leaseRevoke]) {
    assert.equal(full.exceeds(of, new Uint8Array(5000)), false);
  }
  assert.equal(full.exceeds(field.txn, encodeTxnRequest({})), false);
  assert.equal(full.raised, 0);
});

test("a transaction nested as deep as a parser lets it costs what its innermost put does", () => {
  let txn = encodeTxnRequest({ success: [putOp(100)] });
  for (let depth = 0; depth < 20_000; depth++) {
    const op = Buffer.concat([Uint8Array.of(0x22), varint(txn.length), txn]);
    txn = Buffer.concat([Uint8Array.of(0x1a), varint(op.length), op]);
  }
  assert.equal(new Rig("10000", 10_000 - overhead - 101).exceeds(field.txn, txn), false);
  assert.equal(new Rig("10000", 10_000 - overhead - 100).exceeds(field.txn, txn), true);
});

test("0 is etcd's 2 GiB, a negative quota none", () => {
  const twoGiB = 2 * 1024 ** 3;
  assert.equal(new Rig("0", twoGiB - overhead - 2).exceeds(field.put, put(1)), false);
  assert.equal(new Rig("0", twoGiB - overhead - 1).exceeds(field.put, put(1)), true);
  assert.equal(new Rig("-1", 1e15).exceeds(field.put, put(1)), false);
});

test("this member's alarm is not raised while it is on; another member's, or another alarm, is none of it", () => {
  for (const [alarms, raised] of [
    [[{ memberId: 1n, alarm: noSpace }], 0],
    [[{ memberId: 2n, alarm: noSpace }], 1],
    [[{ memberId: 1n, alarm: corrupt }], 1],
  ] as const) {
    const rig = new Rig("10", 20, alarms);
    assert.equal(rig.exceeds(field.put, put(1)), true);
    rig.guard.diskSpace(true);
    assert.equal(rig.raised, raised);
    assert.deepEqual(rig.told, [{ low: true, isRaised: raised === 0, isOverQuota: true }]);
  }
  // Disarmed while the file is still too large: the next write raises it again.
  const rig = new Rig("10", 20, [{ memberId: 1n, alarm: noSpace }]);
  rig.guard.alarmsChanged([]);
  assert.equal(rig.exceeds(field.put, put(1)), true);
  assert.equal(rig.raised, 1);
  // And so it does when apply has not told of the disarm yet, which its caller knows already.
  const early = new Rig("10", 20, [{ memberId: 1n, alarm: noSpace }]);
  early.active = [corrupt];
  assert.equal(early.exceeds(field.put, put(1)), true);
  assert.equal(early.raised, 1);
  // Who waits is answered by what was on, although it has been disarmed before apply's word of it came.
  const late = new Rig("10", 20);
  late.active = [];
  late.guard.refuse(7);
  assert.deepEqual([...late.failed.keys()], []);
  late.guard.alarmsChanged([{ memberId: 1n, alarm: noSpace }]);
  assert.deepEqual([...late.failed.keys()], [7]);
});
