/**
 * kill -9 in the midst of a physical compaction: after the restart it is resumed, and when it is done all buckets hash
 * as those of a member with the same history that nobody has killed; and watches that go on meanwhile see each event of
 * their range exactly once, in order. SEED=<n> replays the choices, KILLS=<n> sets their number.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import {
  base64,
  chooseSeed,
  decodeMessage,
  encodeMessage,
  GrpcClient,
  Member,
  optionsAlike,
  ourCommand,
  Prng,
  rpcTypes,
  temporaryFolder,
  type JsonObject,
} from "../support/index.js";
import { CrashWatcher } from "./crash-watch.js";
import { History, type Change } from "./history.js";

const kills = Number(process.env["KILLS"] ?? 4);
const keys = 50;

const call = async (port: number, service: string, method: string, request: JsonObject): Promise<JsonObject> => {
  const types = rpcTypes(`etcdserverpb.${service}`, method);
  const client = new GrpcClient(port);
  try {
    const reply = await client.unary(`/etcdserverpb.${service}/${method}`, encodeMessage(types.request, request));
    const [message] = reply.messages;
    return message === undefined ? { code: reply.status } : decodeMessage(types.response, message).plain;
  } finally {
    client.close();
  }
};

const drawChanges = (prng: Prng, count: number): Change[] =>
  Array.from({ length: count }, (): Change => {
    const key = `k${prng.below(keys)}`;
    return prng.oneIn(5) ? { kind: "delete", key } : { kind: "put", key, value: prng.bytes(50).toString("hex") };
  });

/** One write each. */
const write = async (port: number, changes: readonly Change[]): Promise<void> => {
  for (const change of changes) {
    const key = base64(change.key);
    if (change.kind === "delete") await call(port, "KV", "DeleteRange", { key });
    else await call(port, "KV", "Put", { key, value: base64(change.value) });
  }
};

/** All keys, some in fragments, one key, deletes alone. */
const newWatchers = (): CrashWatcher[] => [
  new CrashWatcher({ key: "k", end: "l", start: 1 }),
  new CrashWatcher({ key: "k2", end: "k5", start: 1, fragment: true }),
  new CrashWatcher({ key: "k7", start: 1, progressNotify: true }),
  new CrashWatcher({ key: "\0", end: "\0", start: 1, noPut: true }),
];

/** Resolves when all compactions scheduled before are done: this one is answered after them. */
const waitForCompactions = async (port: number): Promise<void> => {
  assert.deepEqual(await call(port, "KV", "Compact", { revision: -1, physical: true }), { code: 11 });
};

test(`${kills} times kill -9 during a compaction`, { timeout: 120_000 }, async (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const prng = new Prng(seed);
  const folder = await temporaryFolder();
  const start = async (name: string): Promise<Member> => {
    const flags = ["--compaction-batch-limit=10", "--compaction-sleep-interval=15ms"];
    return Member.start(await optionsAlike(ourCommand(), join(folder.path, name), flags));
  };
  const calm = await start("calm");
  let killed = await start("killed");
  const history = new History();
  const watchers = newWatchers();
  for (const watcher of watchers) watcher.open(killed.port);
  const writeBoth = async (count: number): Promise<void> => {
    const changes = drawChanges(prng, count);
    await Promise.all([calm, killed].map(({ port }) => write(port, changes)));
    for (const change of changes) history.apply([change]);
  };
  const settle = (): Promise<unknown> => Promise.all(watchers.map((watcher) => watcher.settle(history.revision)));
  let resumed = 0;
  let seen = 0;
  try {
    for (let round = 0; round < kills; round++) {
      await writeBoth(120);
      // Who is told of a revision once it is compacted is told so, and not what it was.
      await settle();
      const revision = history.revision - prng.below(30);
      await Promise.all([calm, killed].map(({ port }) => call(port, "KV", "Compact", { revision })));
      await writeBoth(20);
      // A random moment within the compaction is a time, not an event.
      await delay(prng.below(150));
      await killed.kill();
      for (const watcher of watchers) watcher.close();
      killed = await Member.start(killed.options);
      for (const watcher of watchers) watcher.open(killed.port);
      await writeBoth(5);
      await Promise.all([calm, killed].map(({ port }) => waitForCompactions(port)));
      await settle();
      for (const watcher of watchers) seen += watcher.check(history);
      if (killed.log.some((line) => line.includes("resume scheduled compaction"))) resumed++;
      const [expected, found] = await Promise.all(
        [calm, killed].map(async ({ port }) => ({
          hash: (await call(port, "Maintenance", "Hash", {}))["hash"],
          hashKv: (await call(port, "Maintenance", "HashKV", { revision: revision + 1 }))["hash"],
          kvs: (await call(port, "KV", "Range", { key: base64("k"), range_end: base64("l"), revision }))["kvs"],
        })),
      );
      assert.deepEqual(found, expected, `SEED=${seed}, round ${round}, compacted at ${revision}`);
    }
    t.diagnostic(`${resumed} of ${kills} compactions were resumed, watches saw ${seen} events`);
    assert.ok(seen > 0);
  } finally {
    for (const watcher of watchers) watcher.close();
    await calm.kill();
    await killed.kill();
    await folder.remove();
  }
});
