/**
 * kill -9 in the midst of a physical compaction: after the restart it is resumed, and when it is done all buckets hash
 * as those of a member with the same history that nobody has killed. SEED=<n> replays the choices, KILLS=<n> sets their
 * number.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import {
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

const kills = Number(process.env["KILLS"] ?? 4);
const keys = 50;
const base64 = (text: string): string => Buffer.from(text).toString("base64");

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

const write = async (port: number, prng: Prng, count: number): Promise<void> => {
  for (let n = 0; n < count; n++) {
    const key = base64(`k${prng.below(keys)}`);
    if (prng.oneIn(5)) await call(port, "KV", "DeleteRange", { key });
    else await call(port, "KV", "Put", { key, value: prng.bytes(100).toString("base64") });
  }
};

const revisionOf = async (port: number): Promise<number> => {
  const { header } = await call(port, "KV", "Range", { key: base64("k") });
  return Number((header as JsonObject)["revision"]);
};

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
  let resumed = 0;
  try {
    for (let round = 0; round < kills; round++) {
      const choices = prng.u32();
      await Promise.all([calm, killed].map(({ port }) => write(port, new Prng(choices), 120)));
      const revision = (await revisionOf(calm.port)) - prng.below(30);
      await Promise.all([calm, killed].map(({ port }) => call(port, "KV", "Compact", { revision })));
      // A random moment within the compaction is a time, not an event.
      await delay(prng.below(150));
      await killed.kill();
      killed = await Member.start(killed.options);
      await Promise.all([calm, killed].map(({ port }) => waitForCompactions(port)));
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
    t.diagnostic(`${resumed} of ${kills} compactions were resumed`);
  } finally {
    await calm.kill();
    await killed.kill();
    await folder.remove();
  }
});
