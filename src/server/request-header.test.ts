import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeInternalRaftRequest } from "../proto/index.js";
import { anonymous, ProposalBuilder } from "./proposal-builder.js";
import { ownSequenceOf } from "./request-header.js";
import { RequestIdGenerator } from "./request-id.js";

const limit = 1 << 20;

test("the ID of every proposal is found again, whatever stands before or behind the header", () => {
  for (const member of [0x0001n, 0x00ffn, 0x1234n, 0xffffn]) {
    const ids = new RequestIdGenerator(member, 1_795_251_000_123);
    const builder = new ProposalBuilder(ids, limit);
    const message = Uint8Array.from({ length: 300 }, (_, i) => i);
    for (const field of [4, 5, 6, 10, 1300, 1301])
      assert.ok(builder.add(field, message, 7, 7 + (field % 290), field, anonymous));
    const { batch, firstSequence, callIds } = builder.take()!;
    const entries = batch.at(1, 100);
    for (let i = 0; i < batch.count; i++) {
      const found = ownSequenceOf(entries.bytes, entries.startOf(100 + i), entries.endOf(100 + i), ids);
      assert.equal(found, firstSequence + i);
    }
    assert.deepEqual([...callIds], [4, 5, 6, 10, 1300, 1301]);
  }
});

test("an ID of another member, and what is not a request, are not ours", () => {
  const ids = new RequestIdGenerator(1n, 5);
  const builder = new ProposalBuilder(new RequestIdGenerator(2n, 5), limit);
  builder.add(4, Uint8Array.of(1, 2, 3), 0, 3, 0, anonymous);
  const { batch } = builder.take()!;
  assert.equal(ownSequenceOf(batch.bytes, 0, batch.bytes.length, ids), -1);
  assert.equal(ownSequenceOf(Uint8Array.of(), 0, 0, ids), -1);
  assert.equal(ownSequenceOf(Uint8Array.of(0xa2, 0x06, 0x02, 0x12), 0, 4, ids), -1);
  assert.equal(ownSequenceOf(Uint8Array.of(0x25, 1, 2, 3, 4), 0, 5, ids), -1);
});

test("a request over the limit is refused and uses no ID up", () => {
  const message = new Uint8Array(200);
  const whole = new ProposalBuilder(new RequestIdGenerator(1n, 5), limit);
  assert.ok(whole.add(4, message, 0, 100, 1, anonymous));
  const builder = new ProposalBuilder(new RequestIdGenerator(1n, 5), whole.byteLength);
  assert.ok(builder.add(4, message, 0, 100, 1, anonymous));
  assert.ok(!builder.add(4, message, 0, 101, 2, anonymous));
  assert.ok(builder.add(4, message, 0, 100, 3, anonymous));
  assert.deepEqual([...builder.take()!.callIds], [1, 3]);
  assert.equal(builder.take(), null);
});

test("the entry says who sent the request, however long the name", () => {
  const ids = new RequestIdGenerator(0xffffn, 1_795_251_000_123);
  for (const length of [1, 50, 120, 200, 5000]) {
    const builder = new ProposalBuilder(ids, limit);
    const identity = { user: new Uint8Array(length).fill(0x75), authRevision: 2 ** 40 + 7 };
    assert.ok(builder.add(4, Uint8Array.of(0x0a, 1, 0x6b), 0, 3, 1, identity));
    const { batch, firstSequence } = builder.take()!;
    const { header, put } = decodeInternalRaftRequest(batch.bytes);
    assert.equal(header?.ID, ids.idOf(firstSequence));
    assert.equal(header?.username, "u".repeat(length));
    assert.equal(Number(header?.authRevision), 2 ** 40 + 7);
    assert.deepEqual([...(put?.key ?? [])], [0x6b]);
    assert.equal(ownSequenceOf(batch.bytes, 0, batch.bytes.length, ids), firstSequence);
  }
});
