/**
 * Leases on a real etcd and on ours: random grants, puts, deletes, revokes and questions with chosen IDs, answered
 * alike; both killed now and then and started on what they hold. Remaining times are compared within a tolerance.
 * SEED=<n> replays a run.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { base64, chooseSeed, etcdBinaries, isJsonList, Prng, type Json, type JsonObject } from "../support/index.js";
import { Both, type Answer, type Side } from "./both.js";

const cache = await etcdBinaries();
const skip = cache.kind === "skipped" ? cache.reason : false;
const seed = chooseSeed();
const timeout = 180_000;
/** Seconds by which remaining times may differ. */
const tolerance = 2;

/** Without the raft term; attached keys come in any order. */
const comparable = (message: JsonObject): JsonObject => {
  const { header, keys, ...rest } = message;
  const { raft_term: _, ...headerRest } = (header ?? {}) as JsonObject;
  const sorted = isJsonList(keys) ? { keys: (keys as string[]).toSorted() } : {};
  return { header: headerRest, ...rest, ...sorted };
};

const start = (): Promise<Both> => Both.start({ etcd: cache, seed, comparable });

/** The same, but for the time that is left. */
const timeToLive = async (both: Both, request: JsonObject): Promise<Answer> => {
  const [etcd, ours] = await both.ask("Lease", "LeaseTimeToLive", request);
  const [left, ourLeft] = [etcd, ours].map(({ messages }) => Number(messages[0]?.["TTL"]));
  assert.ok(Math.abs(left! - ourLeft!) <= tolerance, both.about(`${left} s left at etcd, ${ourLeft} s at ours`));
  assert.equal(left === -1, ourLeft === -1);
  const without = ({ messages, ...rest }: Answer): unknown => ({ ...rest, messages: [{ ...messages[0], TTL: "0" }] });
  assert.deepEqual(without(ours), without(etcd), both.about(`LeaseTimeToLive ${JSON.stringify(request)}`));
  return etcd;
};

const ids = ["1", "2", "3", "7587862094604697347", "9223372036854775807", "-1", "-9223372036854775808", "4294967296"];

/** Each lease gets a time of its own, so that none ends by itself and their order is clear. */
const ttls = ["3000", "4000", "5000", "6000", "9000000000", "9000000001", "9223372036854775807"];

const inRandomWays = async (both: Both, prng: Prng, steps: number): Promise<void> => {
  const pick = <T>(list: readonly T[]): T => list[prng.below(list.length)]!;
  // Some of the names are long.
  const key = (): string => base64(`k${prng.below(12)}`.padEnd(prng.below(8) === 0 ? 1500 : 0, "x"));
  const lease = (): string => (prng.below(4) === 0 ? "0" : pick(ids));
  const put = (): JsonObject => ({ key: key(), value: base64(`v${prng.below(99)}`), lease: lease() });
  let restarted = false;
  for (let step = 0; step < steps; step++) {
    const what = prng.below(100);
    if (step === Math.floor(steps / 3) || step === Math.floor((2 * steps) / 3)) {
      await Promise.all(both.sides.map((side) => side.restart()));
      restarted = true;
    } else if (what < 20) await both.call("Lease", "LeaseGrant", { ID: pick(ids), TTL: pick(ttls) });
    else if (what < 40) await both.call("KV", "Put", put());
    else if (what < 45) {
      const keeping = { key: key(), value: base64("w"), ignore_lease: true };
      const { value: _, ...valueless } = put();
      await both.call("KV", "Put", prng.below(2) === 0 ? keeping : { ...valueless, ignore_value: true });
    } else if (what < 52) {
      const ops = [{ request_put: put() }, { request_delete_range: { key: key() } }, { request_range: { key: key() } }];
      const compare = [{ key: key(), target: 4, result: prng.below(4), lease: pick(ids) }];
      await both.call("KV", "Txn", { compare, success: [pick(ops)], failure: [{ request_put: put() }] });
    } else if (what < 57) await both.call("KV", "DeleteRange", { key: key(), range_end: base64("k3") });
    else if (what < 65) await both.call("Lease", "LeaseRevoke", { ID: pick(ids) });
    else if (what < 75) {
      // Several at once may be renewed at one time here, and then have no order: only where none is looked at.
      const requests = Array.from({ length: restarted ? 1 + prng.below(6) : 1 }, () => ({ ID: lease() }));
      await both.call("Lease", "LeaseKeepAlive", ...requests);
    } else if (what < 88) await timeToLive(both, { ID: lease(), keys: prng.below(2) === 0 });
    else if (what < 94) await both.call("KV", "Range", { key: base64("k"), range_end: base64("l") });
    else {
      const [etcd, ours] = await both.ask("Lease", "LeaseLeases", {});
      const listed = ({ messages }: Answer): Json[] => (messages[0]?.["leases"] ?? []) as Json[];
      const order = (list: Json[]): Json[] =>
        restarted ? list.toSorted((a, b) => (text(a) < text(b) ? -1 : 1)) : list;
      assert.deepEqual(order(listed(ours)), order(listed(etcd)), both.about(`step ${step}`));
      assert.deepEqual(ours.messages[0]?.["header"], etcd.messages[0]?.["header"]);
    }
  }
  await both.call("Maintenance", "HashKV", {});
};

const text = (value: Json): string => JSON.stringify(value);

test("random leases and keys: the same answers, before and after restarts", { skip, timeout }, async () => {
  const both = await start();
  try {
    await inRandomWays(both, new Prng(seed), 1500);
  } finally {
    await both.stop();
  }
});

test("leases that end take their keys along, on both at about the same time", { skip, timeout }, async () => {
  const both = await start();
  try {
    for (const id of ["11", "12"]) {
      await both.call("Lease", "LeaseGrant", { ID: id, TTL: "-5" });
      for (let i = 0; i < 5; i++) await both.call("KV", "Put", { key: base64(`${id}-${9 - i}`), lease: id });
    }
    await both.call("KV", "Put", { key: base64("11-7") });
    // A keepalive for a lease whose time is up waits for its end; one kept alive outlives the other.
    const gone = async (side: Side): Promise<number> => {
      const began = performance.now();
      for (;;) {
        const { messages } = await side.call("KV", "Range", { key: base64("11-9") });
        if (Number(messages[0]?.["count"] ?? 0) === 0) return performance.now() - began;
        const alive = await side.call("Lease", "LeaseKeepAlive", { ID: "12" });
        assert.equal(alive.messages[0]?.["TTL"], "2");
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    };
    const [etcd, ours] = await Promise.all(both.sides.map(gone));
    // How much later depends on the machine.
    for (const ms of [etcd!, ours!]) assert.ok(ms > 1500 && ms < 15_000, `etcd: ${etcd} ms, ours: ${ours} ms`);
    const { messages } = await both.call("KV", "Range", { key: base64("1"), range_end: base64("2") });
    assert.equal(messages[0]?.["count"], "6");
    await both.call("Lease", "LeaseKeepAlive", { ID: "11" });
  } finally {
    await both.stop();
  }
});

test("alarms and a used-up quota refuse grants, CORRUPT refuses revokes too", { skip, timeout }, async () => {
  const both = await start();
  try {
    await both.call("Lease", "LeaseGrant", { ID: "5", TTL: "100" });
    await both.call("Lease", "LeaseGrant", { ID: "6", TTL: "100" });
    const member = "1";
    const alarm = (action: number, type: number): Promise<Answer> =>
      both.call("Maintenance", "Alarm", { action, memberID: member, alarm: type });
    await alarm(1, 1);
    await both.call("Lease", "LeaseGrant", { ID: "7", TTL: "100" });
    await both.call("Lease", "LeaseRevoke", { ID: "5" });
    await alarm(2, 1);
    await alarm(1, 2);
    await both.call("Lease", "LeaseGrant", { ID: "7", TTL: "100" });
    const { status, text: message } = await both.call("Lease", "LeaseRevoke", { ID: "6" });
    assert.deepEqual([status, message], [15, "etcdserver: corrupt cluster"]);
    await both.call("Lease", "LeaseKeepAlive", { ID: "6" }, { ID: "5" });
    await timeToLive(both, { ID: "6" });
    await alarm(2, 2);
    await both.call("Lease", "LeaseRevoke", { ID: "6" });
  } finally {
    await both.stop();
  }
});
