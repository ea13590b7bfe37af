/**
 * The npm client `etcd3`, unmodified: what it hands its user is the same from ours as from the real etcd, also when the
 * server is killed and started again under its watches, leases and locks.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { EtcdLockFailedError, Etcd3, type IKeyValue, type Watcher } from "etcd3";
import { etcdBinaries, Member, ourCommand } from "../support/index.js";
import { startPair, type PairMember } from "./pair.js";

const cache = await etcdBinaries();
const ours = ourCommand();
const skip = cache.kind === "skipped" ? cache.reason : false;
const timeout = 90_000;

/** What a course saw, a line a step. */
type Course = (client: Etcd3, side: PairMember) => Promise<unknown[]>;

const onBoth = async (course: Course): Promise<readonly unknown[]> => {
  if (cache.kind === "skipped") throw new Error(cache.reason);
  const pair = await startPair(cache.binaries.etcd, ours);
  try {
    const [expected, actual] = await Promise.all(
      [pair.etcd, pair.ours].map(async (side) => {
        const client = new Etcd3({ hosts: side.endpoint });
        try {
          return await course(client, side);
        } finally {
          client.close();
        }
      }),
    );
    assert.deepEqual(actual, expected);
    return expected!;
  } finally {
    await pair.stop();
  }
};

const plain = (kv: IKeyValue): string[] =>
  [kv.key, kv.value].map(String).concat([kv.create_revision, kv.mod_revision, kv.version]);

/** The error's kind and text. */
const failure = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => "no error",
    (error: Error) => `${error.name}: ${error.message}`,
  );

const keys: Course = async (client) => {
  const seen: unknown[] = [];
  for (const [key, value] of Object.entries({ a: "1", b: "2", ba: "3", c: "4" })) await client.put(key).value(value);
  seen.push(
    await client.get("a").string(),
    await client.get("none").string(),
    await client.getAll().prefix("b").strings(),
  );
  seen.push(await client.getAll().sort("Value", "Descend").limit(2).keys(), await client.getAll().count());
  seen.push(
    (await client.get("a").exec()).kvs.map(plain),
    (await client.put("a").value("5").getPrevious())?.value.toString(),
  );
  // The client's own `then`, not a promise's.
  // oxlint-disable-next-line promise/valid-params
  const txn = await client
    .if("a", "Value", "==", "5")
    .and("b", "Version", ">", 0)
    .then(client.put("a").value("6"), client.get("b"), client.delete().key("c"))
    .else(client.get("a"))
    .commit();
  seen.push(txn.succeeded, txn.responses.length, await client.getAll().strings());
  seen.push((await client.delete().prefix("b")).deleted, (await client.delete().all()).deleted);
  seen.push(await failure(client.put("").value("x").exec()), await failure(client.get("a").revision(1_000_000).exec()));
  seen.push(await failure(client.put("x").value("y").lease("77").exec()));
  return seen;
};

const concurrency: Course = async (client) => {
  const seen: unknown[] = [];
  const first = await client.lock("mutex").ttl(20).acquire();
  seen.push(
    await failure(client.lock("mutex").acquire()),
    (await failure(client.lock("mutex").acquire())).includes(EtcdLockFailedError.name),
  );
  await first.release();
  seen.push(await client.lock("mutex").do(() => "within the lock"));
  const adds = Array.from({ length: 6 }, () =>
    client.stm({ retries: 100 }).transact(async (tx) => {
      const count = Number((await tx.get("count").string()) ?? 0);
      await tx.put("count").value(count + 1);
    }),
  );
  await Promise.all(adds);
  seen.push(await client.get("count").string());
  const election = client.election("vote", 20);
  const campaign = election.campaign("one");
  await campaign.wait();
  const observer = await election.observe();
  seen.push(await election.leader(), observer.leader());
  const changed = once(observer, "change");
  await campaign.proclaim("one again");
  seen.push(await changed, await election.leader());
  await observer.cancel();
  await campaign.resign();
  seen.push(await election.leader());
  return seen;
};

/** Collects a watcher's events until there are so many. */
const collect = (watcher: Watcher, count: number): Promise<string[]> =>
  new Promise((resolve, reject) => {
    const seen: string[] = [];
    const add = (what: string): void => {
      seen.push(what);
      if (seen.length === count) resolve(seen);
    };
    watcher.on("put", (kv, previous) => add(`put ${String(kv.value)} after ${String(previous?.value)}`));
    watcher.on("delete", (kv, previous) => add(`delete ${String(kv.key)} after ${String(previous?.value)}`));
    watcher.on("error", reject);
  });

const restarts: Course = async (client, side) => {
  const watcher = await client.watch().prefix("w").withPreviousKV().create();
  const events = collect(watcher, 5);
  const lease = client.lease(20);
  await lease.put("leased").value("x");
  const lock = await client.lock("held").ttl(20).acquire();
  await client.put("w").value("1");
  await client.put("w").value("2");
  await side.member.kill();
  const member = await Member.start(side.member.options);
  try {
    const put = async (): Promise<void> => {
      for (let tries = 0; ; tries++) {
        // The client does not try a write again by itself.
        const error = await client
          .put("w")
          .value("3")
          .exec()
          .then(
            () => null,
            (cause: Error) => cause,
          );
        if (error === null) return;
        if (tries === 100) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    };
    await put();
    await client.put("w").value("4");
    await client.delete().key("w");
    const seen: unknown[] = [await events];
    seen.push((await lease.keepaliveOnce()).TTL, lease.revoked(), await client.get("leased").string());
    seen.push(await failure(client.lock("held").acquire()));
    await lock.release();
    await lease.revoke();
    seen.push(await client.getAll().keys());
    await watcher.cancel();
    return seen;
  } finally {
    client.close();
    await member.kill();
  }
};

test("npm etcd3: keys, ranges, transactions and errors", { skip, timeout }, async () => {
  assert.ok((await onBoth(keys)).length > 10);
});

test("npm etcd3: locks, STM and elections", { skip, timeout }, async () => {
  const seen = await onBoth(concurrency);
  assert.ok(seen.includes("within the lock") && seen.includes("6"), JSON.stringify(seen));
});

test("npm etcd3: watches, leases and locks over a kill -9", { skip, timeout }, async () => {
  const [events] = await onBoth(restarts);
  assert.deepEqual(events, [
    "put 1 after undefined",
    "put 2 after 1",
    "put 3 after 2",
    "put 4 after 3",
    "delete w after 4",
  ]);
});
