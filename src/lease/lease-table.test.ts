/** The table against a slow model, its records in the backend, and what a restart makes of them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { copyOf, SeededPrng } from "../base/index.js";
import { ErrLeaseExists, ErrLeaseNotFound, ErrLeaseTtlTooLarge } from "../errors/index.js";
import { decodeLease } from "../proto/index.js";
import { Bucket, MemoryBackend } from "../storage/backend/index.js";
import { LeaseTable, minimumTtl } from "./index.js";

const ttlMin = 2;

function bytesOf(key: string): Uint8Array {
  return Buffer.from(key, "latin1");
}

/** The table by maps, as one would write it first. */
class Model {
  readonly leases = new Map<string, { ttl: number; remaining: number }>();
  readonly keys = new Map<string, string>();

  keysOf(lease: string): string[] {
    return [...this.keys]
      .filter(([, owner]) => owner === lease)
      .map(([key]) => key)
      .toSorted();
  }
}

function keysOf(table: LeaseTable, low: number, high: number): string[] {
  return table
    .keysOf(low, high)
    .map((key) => Buffer.from(key).toString("latin1"))
    .toSorted();
}

function compare(table: LeaseTable, model: Model): void {
  assert.equal(table.count, model.leases.size);
  assert.equal(table.attachedKeys, model.keys.size);
  for (const [id, { ttl }] of model.leases) {
    const [low, high] = id.split(" ").map(Number) as [number, number];
    assert.ok(table.has(low, high));
    assert.equal(table.ttlOf(low, high), ttl);
    assert.deepEqual(keysOf(table, low, high), model.keysOf(id));
  }
}

test("grants, revokes and moves of keys do what a model of maps does", () => {
  const seed = Number(process.env["SEED"] ?? 4711);
  const prng = new SeededPrng(seed);
  const below = (n: number): number => prng.uint32() % n;
  const table = new LeaseTable(new MemoryBackend(), ttlMin);
  const model = new Model();
  // Long names and names of all small lengths, so that blocks are freed and used again.
  const keyOf = (): string => {
    const n = below(400);
    return n % 50 === 0 ? "L".repeat(1000 + n) : `${"k".repeat(n % 40)}${n}`;
  };
  // Few values in either half, so that IDs meet.
  const idOf = (): [number, number] => [1 + below(9), below(3) * 0x4000_0000];
  for (let step = 0; step < 30_000; step++) {
    const [low, high] = idOf();
    const id = `${low} ${high}`;
    const what = below(10);
    if (what === 0) {
      const expected = model.leases.has(id) ? ErrLeaseExists : null;
      const ttl = below(100) - 10;
      assert.equal(table.grant(low, high, ttl), expected, `seed ${seed}`);
      if (expected === null) model.leases.set(id, { ttl: Math.max(ttl, ttlMin), remaining: 0 });
    } else if (what === 1 && model.leases.has(id) && below(3) === 0) {
      table.remove(low, high);
      for (const key of model.keysOf(id)) model.keys.delete(key);
      model.leases.delete(id);
    } else if (what < 7) {
      const key = keyOf();
      const hasLease = below(4) > 0;
      const padded = bytesOf(`##${key}##`);
      table.keyPut(padded, 2, padded.length - 2, hasLease ? low : 0, hasLease ? high : 0);
      if (hasLease && model.leases.has(id)) model.keys.set(key, id);
      else model.keys.delete(key);
    } else {
      const key = keyOf();
      table.keyDeleted(bytesOf(key), 0, key.length);
      model.keys.delete(key);
    }
    if (step % 500 === 0) compare(table, model);
  }
  compare(table, model);
});

test("many leases and keys: slots and items are given out again", () => {
  const table = new LeaseTable(new MemoryBackend(), ttlMin);
  for (let round = 0; round < 3; round++) {
    for (let i = 1; i <= 5000; i++) {
      assert.equal(table.grant(i, round, 10), null);
      const key = bytesOf(`key-${i}`);
      table.keyPut(key, 0, key.length, i, round);
    }
    assert.equal(table.attachedKeys, 5000);
    for (let i = 5000; i >= 1; i--) {
      assert.deepEqual(keysOf(table, i, round), [`key-${i}`]);
      table.remove(i, round);
    }
    assert.equal(table.count, 0);
    assert.equal(table.attachedKeys, 0);
  }
});

test("names of any length keep their bytes though the Buffer they came in is used again", () => {
  const table = new LeaseTable(new MemoryBackend(), ttlMin);
  table.grant(1, 0, 100);
  const lengths = [1, 8, 1024, 1025, 3000];
  const shared = Buffer.alloc(4000);
  for (const length of lengths) table.keyPut(shared.fill("k"), 0, length, 1, 0);
  shared.fill("x");
  assert.deepEqual(
    keysOf(table, 1, 0),
    lengths.map((length) => "k".repeat(length)),
  );
});

test("what a grant is refused for", () => {
  const table = new LeaseTable(new MemoryBackend(), ttlMin);
  assert.equal(table.grant(0, 0, 10), ErrLeaseNotFound);
  assert.equal(table.grant(1, 0, 9_000_000_001), ErrLeaseTtlTooLarge);
  assert.equal(table.grant(1, 0, 9_000_000_000), null);
  assert.equal(table.grant(1, 0, 10), ErrLeaseExists);
  assert.equal(table.grant(0, 1, 0), null);
  assert.equal(table.ttlOf(0, 1), ttlMin);
});

test("a lease's record is etcd's, and is gone with the lease", () => {
  const backend = new MemoryBackend();
  const table = new LeaseTable(backend, ttlMin);
  table.grant(0x8899aabb, 0x11223344, 60);
  const key = Buffer.from("112233448899aabb", "hex");
  const stored = (): unknown => {
    const value = backend.get(Bucket.Lease, key);
    return value && decodeLease(value);
  };
  assert.deepEqual(stored(), { ID: 0x112233448899aabbn, TTL: 60, RemainingTTL: 0 });
  table.checkpoint(0x8899aabb, 0x11223344, 9, true);
  assert.deepEqual(stored(), { ID: 0x112233448899aabbn, TTL: 60, RemainingTTL: 9 });
  table.checkpoint(1, 1, 9, true);
  assert.equal(backend.entries(Bucket.Lease).length, 1);
  table.remove(0x8899aabb, 0x11223344);
  assert.equal(stored(), undefined);
});

test("leases come back from the backend; a TTL below today's minimum is raised; IDs may be negative", () => {
  const backend = new MemoryBackend();
  const before = new LeaseTable(backend, 1);
  before.grant(5, 0, 1);
  before.grant(0xffff_ffff, 0xffff_ffff, 70);
  before.checkpoint(0xffff_ffff, 0xffff_ffff, 33, true);
  const after = new LeaseTable(backend, ttlMin);
  const told: unknown[] = [];
  after.tellAll({
    granted: (...lease) => void told.push(lease),
    revoked: () => assert.fail(),
    checkpointed: () => assert.fail(),
  });
  assert.deepEqual(told, [
    [5, 0, 2, 0],
    [0xffff_ffff, 0xffff_ffff, 70, 33],
  ]);
});

test("a checkpoint that is not stored counts until a restart, and is no part of the bucket", () => {
  const backend = new MemoryBackend();
  const table = new LeaseTable(backend, ttlMin);
  const told = (of: LeaseTable): number[] => {
    const remaining: number[] = [];
    of.tellAll({
      granted: (_low, _high, _ttl, left) => void remaining.push(left),
      revoked: () => assert.fail(),
      checkpointed: () => assert.fail(),
    });
    return remaining;
  };
  table.grant(1, 0, 600);
  table.checkpoint(1, 0, 400, true);
  table.checkpoint(1, 0, 100, false);
  assert.deepEqual(told(table), [100]);
  assert.deepEqual(told(new LeaseTable(backend, ttlMin)), [400]);
  const bytes = Buffer.concat([...table.bucketBytes()].map((piece) => copyOf(piece)));
  assert.ok(bytes.equals(Buffer.concat(backend.entries(Bucket.Lease).flatMap(({ key, value }) => [key, value]))));
  // The ID comes again: nothing of the former lease is left.
  table.remove(1, 0);
  table.grant(1, 0, 600);
  assert.deepEqual(told(table), [0]);
  table.checkpoint(1, 0, 100, false);
  table.checkpoint(1, 0, 0, true);
  assert.deepEqual(told(table), [0]);
});

test("the observer hears of each change", () => {
  const table = new LeaseTable(new MemoryBackend(), ttlMin);
  const told: unknown[] = [];
  table.observer = {
    granted: (...of) => void told.push(["granted", ...of]),
    revoked: (...of) => void told.push(["revoked", ...of]),
    checkpointed: (...of) => void told.push(["checkpointed", ...of]),
  };
  table.grant(1, 2, 30);
  table.grant(1, 2, 30);
  table.checkpoint(1, 2, 7, true);
  table.remove(1, 2);
  assert.deepEqual(told, [
    ["granted", 1, 2, 30, 0],
    ["checkpointed", 1, 2, 7],
    ["revoked", 1, 2],
  ]);
});

test("the shortest TTL is one and a half election timeouts, in whole seconds", () => {
  assert.equal(minimumTtl({ electionTimeout: 1000, heartbeatInterval: 100 }), 2);
  assert.equal(minimumTtl({ electionTimeout: 500, heartbeatInterval: 100 }), 1);
  assert.equal(minimumTtl({ electionTimeout: 1500, heartbeatInterval: 100 }), 3);
  assert.equal(minimumTtl({ electionTimeout: 50_000, heartbeatInterval: 10_000 }), 70);
});

test("the bucket's bytes are those of the backend, as of the call, in pieces", () => {
  const backend = new MemoryBackend();
  const table = new LeaseTable(backend, 2);
  for (let i = 0; i < 25_000; i++) table.grant((i * 0x9e3779b1) >>> 0, i % 3 === 0 ? 0x8000_0000 + i : i, 60);
  table.checkpoint(0x9e3779b1, 1, 7, true);
  // A start with another minimum changes what a lease gets, and nothing that is stored.
  const again = new LeaseTable(backend, 100);
  assert.equal(again.ttlOf(0x9e3779b1, 1), 100);
  const expected = Buffer.concat(backend.entries(Bucket.Lease).flatMap(({ key, value }) => [key, value]));
  const pieces = again.bucketBytes();
  again.grant(77, 77, 60);
  const bytes: Uint8Array[] = [];
  for (const piece of pieces) {
    assert.ok(piece.length <= 100_000, "a piece is long");
    bytes.push(copyOf(piece));
  }
  assert.ok(Buffer.concat(bytes).equals(expected));
  assert.ok(bytes.filter((piece) => piece.length === 0).length >= 10, "the sort does not pause");
});

test("the keys of a lease come in order of name, with pauses", () => {
  const table = new LeaseTable(new MemoryBackend(), 2);
  table.grant(1, 0, 60);
  const names = Array.from({ length: 9000 }, (_, i) => `k${(i * 7919) % 9000}`);
  for (const name of names) table.keyPut(Buffer.from(name), 0, name.length, 1, 0);
  const steps = table.sortedKeysOf(1, 0);
  let pauses = 0;
  let step = steps.next();
  for (; step.done !== true; step = steps.next()) pauses++;
  assert.deepEqual(
    step.value.map((key) => Buffer.from(key).toString()),
    names.sort(),
  );
  assert.ok(pauses > 9000 / 2000, `${pauses} pauses`);
});
