import assert from "node:assert/strict";
import { test } from "node:test";
import {
  encodeDeleteRangeRequest,
  encodePutRequest,
  encodeRangeRequest,
  encodeTxnRequest,
  type PutRequestInit,
  type RangeRequestInit,
  sizeVarint,
  writeVarint,
} from "../../proto/index.js";
import { KvValidator } from "./validate-kv.js";

const bytes = (text: string): Uint8Array => Buffer.from(text, "latin1");
const validator = new KvValidator({ txnOpsMax: 128 });
const malformed = "grpc: error unmarshalling request: proto: cannot parse invalid wire-format data";

/** Puts the message between other bytes: scans must keep to [start, end). */
function placed(message: Uint8Array): [Uint8Array, number, number] {
  const all = Buffer.concat([Buffer.alloc(3, 0xff), message, Buffer.alloc(3, 0xff)]);
  return [all, 3, 3 + message.length];
}
const text = (all: Uint8Array, start: number, end: number): string => Buffer.from(all).toString("latin1", start, end);

test("put: fields are found in place", () => {
  const init: PutRequestInit = { key: bytes("k"), value: bytes("value"), lease: -2n, prevKv: true };
  const [all, start, end] = placed(encodePutRequest(init));
  assert.equal(validator.checkPut(all, start, end), undefined);
  const { put } = validator;
  assert.equal(text(all, put.keyStart, put.keyEnd), "k");
  assert.equal(text(all, put.valueStart, put.valueEnd), "value");
  assert.deepEqual([put.lease, put.hasLease, put.prevKv, put.ignoreValue], [-2n, true, true, false]);
  assert.equal(validator.checkPut(...placed(encodePutRequest({ key: bytes("x") }))), undefined);
  assert.deepEqual([put.lease, put.prevKv, put.valueEnd - put.valueStart], [0n, false, 0], "cleared");
});

test("put: etcd's checks in etcd's order", () => {
  const check = (init: PutRequestInit): string | undefined =>
    validator.checkPut(...placed(encodePutRequest(init)))?.message;
  const all = { value: bytes("v"), lease: 1n, ignoreValue: true, ignoreLease: true };
  assert.equal(check(all), "etcdserver: key is not provided");
  assert.equal(check({ ...all, key: bytes("k") }), "etcdserver: value is provided");
  assert.equal(check({ ...all, key: bytes("k"), value: bytes("") }), "etcdserver: lease is provided");
  assert.equal(check({ key: bytes("k"), ignoreLease: true, ignoreValue: true }), undefined);
});

test("what does not parse is refused with grpc-go's text", () => {
  const check = (...message: number[]): string | undefined =>
    validator.checkPut(...placed(Buffer.from(message)))?.message;
  assert.equal(check(0x0a), malformed, "length missing");
  assert.equal(check(0x0a, 2, 1), malformed, "cut off");
  assert.equal(check(0x0c), malformed, "end of no group");
  assert.equal(check(0x00, 0), malformed, "field number 0");
  assert.equal(check(0x0e), malformed, "wire type 6");
  assert.equal(check(0x0a, 1, 97, 0x0b, 0x0c), undefined, "a known field as a group is an unknown field");
  assert.equal(check(0x0a, 1, 97, 0x0d, 1, 2, 3), malformed, "fixed32 cut off");
  assert.equal(check(0x0a, 1, 97, 0x0a, 0), "etcdserver: key is not provided", "the last value wins");
});

test("range: saturated operands and sort options", () => {
  const check = (init: RangeRequestInit): string | undefined =>
    validator.checkRange(...placed(encodeRangeRequest(init)))?.message;
  assert.equal(check({ key: bytes("a"), limit: -1, serializable: true, maxCreateRevision: 7 }), undefined);
  const { range } = validator;
  assert.deepEqual([range.limit, range.serializable, range.maxCreateRevision], [-1, true, 7]);
  assert.equal(check({ sortOrder: 9 }), "etcdserver: key is not provided");
  assert.equal(check({ key: bytes("a"), sortOrder: 3 }), "etcdserver: invalid sort option");
  assert.equal(check({ key: bytes("a"), sortTarget: -1 }), "etcdserver: invalid sort option");
  const huge = Buffer.from([0x0a, 1, 97, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
  assert.equal(validator.checkRange(huge, 0, huge.length), undefined);
  assert.equal(range.limit, Number.MAX_SAFE_INTEGER);
});

test("range stream: no sorting, no revision filters", () => {
  const check = (init: RangeRequestInit): string | undefined =>
    validator.checkRangeStream(...placed(encodeRangeRequest({ key: bytes("a"), ...init })))?.message;
  assert.equal(check({ sortOrder: 1 }), undefined);
  assert.equal(check({ sortTarget: 3 }), undefined);
  assert.equal(check({ sortOrder: 1, sortTarget: 1 }), "RangeStream does not support custom sort orders");
  assert.equal(check({ sortOrder: 2 }), "RangeStream does not support custom sort orders");
  assert.equal(check({ minModRevision: 1 }), "RangeStream does not support revision filters");
  assert.equal(
    validator.checkRangeStream(Buffer.from([0x0a]), 0, 1)?.message,
    "grpc: failed to unmarshal the received message: proto: cannot parse invalid wire-format data",
  );
});

test("delete range", () => {
  const [all, start, end] = placed(encodeDeleteRangeRequest({ key: bytes("a"), rangeEnd: bytes("b"), prevKv: true }));
  assert.equal(validator.checkDeleteRange(all, start, end), undefined);
  const { deleteRange } = validator;
  assert.equal(text(all, deleteRange.rangeEndStart, deleteRange.rangeEndEnd), "b");
  assert.equal(deleteRange.prevKv, true);
  assert.equal(validator.checkDeleteRange(all, 0, 0)?.message, "etcdserver: key is not provided");
});

test("txn: decoded when sound", () => {
  const message = encodeTxnRequest({ success: [{ request: { case: "requestPut", value: { key: bytes("k") } } }] });
  assert.equal(validator.checkTxn(...placed(message)), undefined);
  assert.equal(validator.txn.success.length, 1);
  assert.equal(validator.checkTxn(Buffer.from([0x12, 1]), 0, 2)?.message, malformed);
});

/** A txn within a txn, `levels` of them. */
function nested(levels: number): Uint8Array {
  const heads: Uint8Array[] = [];
  let length = 0;
  for (let i = 1; i < 2 * levels - 1; i++) {
    const head = new Uint8Array(1 + sizeVarint(length));
    head[0] = i % 2 ? 0x22 : 0x12;
    writeVarint(length, head, 1);
    heads.push(head);
    length += head.length;
  }
  return Buffer.concat(heads.reverse());
}

test("txn: any depth is answered and none takes the stack", () => {
  const check = (levels: number, opsMax = 128): string | undefined => {
    const message = nested(levels);
    return new KvValidator({ txnOpsMax: opsMax }).checkTxn(message, 0, message.length)?.message;
  };
  const tooMany = "etcdserver: too many operations in txn request";
  assert.equal(check(129), undefined, "128 levels of one op each, then an empty txn");
  assert.equal(check(130), tooMany);
  assert.equal(check(5000), tooMany);
  assert.equal(check(5001), "grpc: error unmarshalling request: proto: exceeded maximum recursion depth");
  assert.equal(check(1000, 100_000), undefined);
  assert.equal(check(5000, 100_000), tooMany);
});
