/**
 * Compactions on a real etcd and on ours: after each, every revision is read and hashed on both, cached hashes of
 * compactions included; then both are killed, and read again. And RangeStream: the same messages from both.
 * SEED=<n> replays a run.
 *
 * Never a delete and a put of one key in one transaction: real etcd 3.7.1 ends at the next read of such a key when a
 * compaction was at exactly that revision.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { base64, chooseSeed, etcdBinaries, Prng, type Json, type JsonObject } from "../support/index.js";
import { Both } from "./both.js";

const cache = await etcdBinaries();
const skip = cache.kind === "skipped" ? cache.reason : false;
const seed = chooseSeed();
const timeout = 180_000;

const keyOf = (prng: Prng): string => `k${prng.below(12)}`;

const putOp = (prng: Prng, key: string): JsonObject => ({
  request_put: { key: base64(key), value: prng.bytes(prng.below(40)).toString("base64") },
});

/** A put, a delete of a range, or a transaction on different keys. */
const write = async (both: Both, prng: Prng): Promise<void> => {
  const key = keyOf(prng);
  const kind = prng.weighted({ put: 5, delete: 2, txn: 2 });
  if (kind === "put") await both.call("KV", "Put", putOp(prng, key)["request_put"] as JsonObject);
  else if (kind === "delete") {
    const end = prng.oneIn(3) ? base64("k4") : "";
    await both.call("KV", "DeleteRange", { key: base64(key), range_end: end });
  } else {
    const keys = [...new Set(Array.from({ length: 1 + prng.below(4) }, () => keyOf(prng)))];
    const success = keys.map((one) =>
      prng.oneIn(3) ? { request_delete_range: { key: base64(one) } } : putOp(prng, one),
    );
    await both.call("KV", "Txn", { success });
  }
};

/** Every revision, one below and one above included. */
const readAll = async (both: Both, revision: number): Promise<void> => {
  for (let at = 1; at <= revision + 1; at++) {
    await both.call("KV", "Range", { key: base64("\0"), range_end: base64("\0"), revision: at });
    await both.call("Maintenance", "HashKV", { revision: at });
  }
  await both.call("Maintenance", "HashKV", { revision: 0 });
};

test(`compactions at random revisions (seed ${seed})`, { skip, timeout }, async () => {
  const prng = new Prng(seed);
  const both = await Both.start({
    etcd: cache,
    seed,
    flags: ["--compaction-batch-limit=7", "--compaction-sleep-interval=1ms"],
  });
  try {
    for (let round = 0; round < 14; round++) {
      for (let n = prng.below(14); n > 0; n--) await write(both, prng);
      const revision = Number(
        ((await both.call("KV", "Range", { key: base64("k") })).messages[0]!["header"] as JsonObject)["revision"],
      );
      const compacted = prng.between(-1, revision + 1);
      await both.call("KV", "Compact", { revision: compacted, physical: prng.oneIn(2) });
      // Answered once all compactions before it are done; else the cached hashes would be a matter of time.
      await both.call("KV", "Compact", { revision: 1, physical: true });
      await readAll(both, revision);
      if (!prng.oneIn(4)) continue;
      await Promise.all(both.sides.map((side) => side.restart()));
      await readAll(both, revision);
    }
  } finally {
    await both.stop();
  }
});

const plainOf = (message: JsonObject | undefined): JsonObject => (message?.["range_response"] ?? {}) as JsonObject;
const kvsOf = (response: JsonObject): readonly Json[] => (response["kvs"] ?? []) as readonly Json[];

/** A stream is a range in pieces, all but the last of keys alone. */
const checkStream = async (both: Both, request: JsonObject): Promise<number> => {
  const streamed = await both.call("KV", "RangeStream", request);
  const whole = await both.call("KV", "Range", request);
  assert.equal(streamed.status, whole.status);
  if (whole.status !== 0) return 0;
  const parts = streamed.messages.map(plainOf);
  const last = parts.at(-1)!;
  for (const part of parts.slice(0, -1)) assert.deepEqual(Object.keys(part), ["kvs"]);
  const joined = parts.flatMap(kvsOf);
  assert.deepEqual({ ...last, ...(joined.length > 0 ? { kvs: joined } : {}) }, whole.messages[0]);
  return parts.length;
};

test(`RangeStream sends what Range does, in etcd's messages (seed ${seed})`, { skip, timeout }, async () => {
  const prng = new Prng(seed + 1);
  const both = await Both.start({ etcd: cache, seed, flags: ["--max-request-bytes=200000"] });
  try {
    for (let n = 0; n < 800; n++) {
      const length = prng.weighted({ none: 1, short: 4, middle: 3, long: 1 });
      const bytes = { none: 0, short: 100, middle: 3000, long: 30_000 }[length];
      const key = base64(`s${String(prng.below(700)).padStart(4, "0")}`);
      await both.call("KV", "Put", { key, value: Buffer.alloc(bytes, n).toString("base64") });
    }
    const all = { key: base64("s"), range_end: base64("t") };
    assert.ok((await checkStream(both, all)) > 5);
    for (let n = 0; n < 40; n++) {
      await checkStream(both, {
        ...(prng.oneIn(4) ? { key: base64("s0100"), range_end: prng.oneIn(2) ? "" : base64("\0") } : all),
        ...(prng.oneIn(2) ? { limit: prng.pick([1, 9, 10, 11, 100, 600, 5000, "9223372036854775807"]) } : {}),
        ...(prng.oneIn(2) ? { revision: prng.pick([-3, 1, 2, 50, 400, 801, 802]) } : {}),
        ...(prng.oneIn(4) ? { keys_only: true } : {}),
        ...(prng.oneIn(6) ? { count_only: true } : {}),
        ...(prng.oneIn(3) ? { serializable: true } : {}),
      });
    }
    await both.call("KV", "Compact", { revision: 300, physical: true });
    for (const revision of [299, 300, 0]) await checkStream(both, { ...all, revision });
    // Each message sorted by a target without an order: revisions, and values of no more keys than Go sorts stably.
    for (const sorted of [
      { sort_target: 2 },
      { sort_target: 3, keys_only: true },
      { sort_target: 3, limit: 35 },
      { sort_target: 2, limit: 7 },
      { sort_target: 3, limit: -1, keys_only: true },
      { sort_target: 4, limit: 9 },
      { sort_target: 4, limit: 10, keys_only: true },
    ]) {
      const { status } = await both.call("KV", "RangeStream", { ...all, ...sorted });
      assert.equal(status, 0);
    }
    for (const refused of [
      {},
      { ...all, sort_order: 2 },
      { ...all, min_mod_revision: 1 },
      { ...all, sort_target: 9 },
    ]) {
      await both.call("KV", "RangeStream", refused);
    }
  } finally {
    await both.stop();
  }
});
