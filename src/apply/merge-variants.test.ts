/** Variants given more than once, beside what the decoder of whole messages makes of them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SeededPrng, type Prng } from "../base/index.js";
import { decodeRangeResponse, decodeTxnRequest, sizeVarint, writeVarint } from "../proto/index.js";
import { mergeVariants } from "./merge-variants.js";
import { Rig } from "./rig.test-support.js";
import { OpReader } from "./txn-walk.js";

type Bytes = Uint8Array<ArrayBuffer>;

const varint = (value: number): Bytes => {
  const bytes = new Uint8Array(sizeVarint(value));
  writeVarint(value, bytes, 0);
  return bytes;
};
const field = (tag: number, ...content: readonly Uint8Array[]): Bytes => {
  const length = content.reduce((sum, { length }) => sum + length, 0);
  return new Uint8Array(Buffer.concat([Uint8Array.of(tag), varint(length), ...content]));
};

const [range, put, remove, txn] = [0x0a, 0x12, 0x1a, 0x22];
const [compare, success, failure] = [0x0a, 0x12, 0x1a];
const name = (tag: number, text: string): Bytes => field(tag, Buffer.from(text));

/** Any RequestOp: no variant, one, or several, also with unknown fields between them. */
function anyOp(prng: Prng, depth: number): Bytes {
  const parts: Uint8Array[] = [];
  for (let left = prng.below(4); left > 0; left--) {
    const kind = [range, put, remove, txn][prng.below(4)]!;
    if (kind === txn) parts.push(field(txn, depth > 0 ? anyTxn(prng, depth - 1) : new Uint8Array(0)));
    else
      parts.push(field(kind, name(0x0a, "k"), name(0x12, String(prng.below(9))), Uint8Array.of(0x18, prng.below(2))));
    if (prng.below(5) === 0) parts.push(Uint8Array.of(0x78, 1));
  }
  return new Uint8Array(Buffer.concat(parts));
}

function anyTxn(prng: Prng, depth: number): Bytes {
  const parts: Uint8Array[] = [];
  for (let left = prng.below(4); left > 0; left--) {
    const tag = [compare, success, failure][prng.below(3)]!;
    const isCompare = tag === compare;
    parts.push(
      isCompare ? field(tag, Uint8Array.of(0x08, prng.below(4)), name(0x1a, "k")) : field(tag, anyOp(prng, depth)),
    );
    if (prng.below(9) === 0) parts.push(Uint8Array.of(0x78, 1));
  }
  return new Uint8Array(Buffer.concat(parts));
}

function assertOnce(bytes: Uint8Array, ops: ReturnType<typeof decodeTxnRequest>): void {
  // A message whose ops are all given once is merged into itself.
  assert.deepEqual(mergeVariants(bytes, 0, bytes.length), bytes);
  assert.deepEqual(decodeTxnRequest(bytes), ops);
}

test("any transaction means the same after it, and is given once", () => {
  const prng = new SeededPrng(7);
  for (let round = 0; round < 3000; round++) {
    const front = Buffer.alloc(prng.below(5), 0xff);
    const request = anyTxn(prng, 4);
    const bytes = Buffer.concat([front, request, Buffer.alloc(3, 0xff)]);
    const merged = mergeVariants(bytes, front.length, front.length + request.length);
    assertOnce(merged, decodeTxnRequest(request));
  }
});

test("what is repeated is merged, what follows another variant takes its place", () => {
  const op = field(
    success,
    name(0x12, ""),
    field(range, name(0x0a, "r")),
    field(put, name(0x0a, "k")),
    field(put, name(0x12, "v")),
  );
  const merged = mergeVariants(op, 0, op.length);
  assert.deepEqual(merged, field(success, field(put, name(0x0a, "k"), name(0x12, "v"))));
  const reader = new OpReader();
  assert.ok(!reader.read(op, 2, op.length) && reader.read(merged, 2, merged.length));
});

/** A put in two parts, so many transactions deep. */
function nested(levels: number): Bytes {
  const parts: Uint8Array[] = [];
  let length = 0;
  const around = (tag: number): void => {
    const head = Buffer.concat([Uint8Array.of(tag), varint(length)]);
    length += head.length;
    parts.push(head);
  };
  const inner = Buffer.concat([field(put, name(0x0a, "deep")), field(put, name(0x12, "value"))]);
  parts.push(inner);
  length = inner.length;
  for (let level = 1; level < levels; level++) {
    around(success);
    around(txn);
  }
  around(success);
  return new Uint8Array(Buffer.concat(parts.toReversed()));
}

test("5,000 transactions deep, which Go's parser takes: it is merged and applied", async () => {
  const request = nested(5000);
  const merged = mergeVariants(request, 0, request.length);
  // Two heads of the put became one.
  assert.ok(merged.length >= request.length - 4 * 5000 && merged.length < request.length);
  const rig = await Rig.open();
  // An InternalRaftRequest with a header whose ID is 1.
  const internal = Buffer.concat([Uint8Array.of(0xa2, 0x06, 2, 0x08, 1), field(0x32, request)]);
  const [reply] = rig.applyEntries([new Uint8Array(internal)], [1]);
  assert.deepEqual([reply!.code, reply!.text], [0, ""]);
  const { kvs } = decodeRangeResponse(rig.range({ key: Buffer.from("deep") }).message);
  assert.deepEqual(
    kvs.map(({ value }) => Buffer.from(value).toString()),
    ["value"],
  );
});
