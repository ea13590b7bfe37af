/**
 * Maintenance.Defragment: the file shrinks while puts, reads, watches, leases and snapshots go on; kill -9 in the midst
 * of one loses nothing. SEED=<n> replays the moments of the kills, KILLS=<n> sets their number.
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import {
  base64,
  callOn,
  chooseSeed,
  decodeMessage,
  encodeMessage,
  etcdBinaries,
  GrpcClient,
  GrpcStream,
  HttpClient,
  Member,
  optionsAlike,
  ourCommand,
  Prng,
  rpcTypes,
  temporaryFolder,
  type JsonObject,
} from "../support/index.js";
import { runProgram } from "./pair.js";

const kills = Number(process.env["KILLS"] ?? 4);
const valueBytes = 4000;
const value = (n: number): string => Buffer.alloc(valueBytes, n).toString("base64");

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let member: Member;
let client: GrpcClient;

const call = (path: string, request: JsonObject): Promise<JsonObject> => callOn(client, path, request);
const put = (key: string, n: number): Promise<JsonObject> => call("KV/Put", { key: base64(key), value: value(n) });
const revisionOf = (answer: JsonObject): number => Number((answer["header"] as JsonObject)["revision"]);
const hashKv = async (revision: number): Promise<unknown> =>
  (await call("Maintenance/HashKV", { revision: String(revision) }))["hash"];
const sizes = async (): Promise<{ total: number; inUse: number }> => {
  const { dbSize, dbSizeInUse } = await call("Maintenance/Status", {});
  return { total: Number(dbSize), inUse: Number(dbSizeInUse) };
};

const startIn = async (name: string, flags: readonly string[]): Promise<void> => {
  client?.close();
  member = await Member.start(await optionsAlike(ourCommand(), join(folder.path, name), flags));
  client = new GrpcClient(member.port);
};
const start = (...flags: string[]): Promise<void> => startIn("data", flags);

/** Writes and compacts away a good part of the file. */
const scatter = async (): Promise<void> => {
  for (let n = 0; n < 8; n++) {
    await Promise.all(Array.from({ length: 500 }, (_, i) => put(`key ${i % 400}`, n)));
  }
  const revision = revisionOf(await put("last", 0));
  await call("KV/Compact", { revision: String(revision), physical: true });
  // Sizes are counted anew ten times a second.
  for (let n = 0; (await sizes()).inUse > (await sizes()).total - (4 << 20); n++) {
    assert.ok(n < 100, "compaction has freed nothing");
    await delay(20);
  }
};

before(async () => {
  folder = await temporaryFolder();
  await start();
});

after(async () => {
  client.close();
  await member.kill();
  await folder.remove();
});

test("the file shrinks while everything else goes on", async () => {
  await scatter();
  const from = revisionOf(await put("before", 1));
  const hash = await hashKv(from);
  const watch = new GrpcStream(member.port, "/etcdserverpb.Watch/Watch");
  const types = rpcTypes("etcdserverpb.Watch", "Watch");
  const create = { key: base64("while "), range_end: base64("while~"), start_revision: String(from + 1) };
  watch.send(encodeMessage(types.request, { create_request: create }));
  let done = false;
  const defragmenting = call("Maintenance/Defragment", {}).finally(() => (done = true));
  let written = 0;
  let grants = 0;
  const snapshots: Promise<number>[] = [];
  while (!done || written < 200) {
    const writes = Array.from({ length: 20 }, (_, i) => put(`while ${written + i}`, written + i));
    grants++;
    await Promise.all([
      ...writes,
      call("Lease/LeaseGrant", { TTL: "100" }),
      call("KV/Range", { key: base64("key 7") }),
    ]);
    written += 20;
    if (snapshots.length < 2) {
      const types = rpcTypes("etcdserverpb.Maintenance", "Snapshot");
      const reply = client.unary("/etcdserverpb.Maintenance/Snapshot", encodeMessage(types.request, {}));
      snapshots.push(reply.then(({ status }) => status));
    }
  }
  assert.deepEqual(await defragmenting, {});
  assert.deepEqual(await Promise.all(snapshots), [0, 0]);
  const { total, inUse } = await sizes();
  assert.ok(total - inUse < 2 << 20, `${total} bytes, ${inUse} of them in use`);
  assert.equal(await hashKv(from), hash);
  const leases = (await call("Lease/LeaseLeases", {}))["leases"] as unknown[];
  assert.equal(leases.length, grants);
  const seen: string[] = [];
  while (seen.length < written) {
    await watch.changed(30_000);
    const messages = watch.take();
    assert.notEqual(messages.length, 0, `${seen.length} of ${written} events came`);
    for (const bytes of messages) {
      const { events = [] } = decodeMessage(types.response, bytes).plain as { events?: { kv: { key: string } }[] };
      seen.push(...events.map(({ kv }) => Buffer.from(kv.key, "base64").toString()));
    }
  }
  watch.close();
  assert.equal(new Set(seen).size, written);
});

test("it is logged and counted as etcd does", async () => {
  const messages = member.log.map((line) => (JSON.parse(line) as { msg: string }).msg);
  const lines = ["starting defragment", "defragmenting", "finished defragmenting directory", "finished defragment"];
  assert.deepEqual(
    messages.filter((message) => message.includes("defragment")),
    lines,
  );
  const finished = JSON.parse(member.log.find((line) => line.includes(lines[2]!))!) as Record<string, number>;
  assert.ok(finished["current-db-size-bytes-diff"]! < 0);
  const http = new HttpClient(member.port);
  const get = async (path: string): Promise<string> =>
    (await http.send({ method: "GET", path, headers: {}, body: Buffer.alloc(0) })).body.toString();
  const metrics = await get("/metrics");
  http.close();
  assert.match(metrics, /^etcd_disk_backend_defrag_duration_seconds_count 1$/m);
  assert.match(metrics, /^etcd_disk_defrag_inflight 0$/m);
});

test("with StopGRPCServiceOnDefrag health checks hear of it", async () => {
  await member.stop();
  await start("--feature-gates=StopGRPCServiceOnDefrag=true");
  const stream = new GrpcStream(member.port, "/grpc.health.v1.Health/Watch");
  stream.send(Buffer.alloc(0));
  stream.halfClose();
  const told: string[] = [];
  const hears = async (...statuses: string[]): Promise<void> => {
    while (told.length < statuses.length) {
      await stream.changed(30_000);
      const messages = stream.take();
      assert.notEqual(messages.length, 0, `told ${told.join()}`);
      told.push(...messages.map((message) => message.toString("hex")));
    }
    assert.deepEqual(told, statuses);
  };
  const [serving, notServing] = ["0801", "0802"];
  await hears(serving);
  assert.deepEqual(await call("Maintenance/Defragment", {}), {});
  const { messages } = await client.unary("/grpc.health.v1.Health/Check", Buffer.alloc(0));
  assert.deepEqual(
    messages.map((message) => message.toString("hex")),
    [serving],
  );
  await hears(serving, notServing, serving);
  stream.close();
  const changes = member.log
    .map((line) => JSON.parse(line) as { msg: string; status?: string; reason?: string })
    .filter(({ msg }) => msg === "grpc service status changed")
    .map(({ status, reason }) => [status, reason]);
  assert.deepEqual(changes, [
    ["SERVING", undefined],
    ["NOT_SERVING", "defrag is active"],
    ["SERVING", undefined],
  ]);
});

test("over the gateway, and by etcd's own etcdctl", async (t) => {
  const http = new HttpClient(member.port);
  const request = { method: "POST", path: "/v3/maintenance/defragment", headers: {}, body: Buffer.from("{}") };
  const reply = await http.send(request);
  http.close();
  assert.deepEqual([reply.status, reply.body.toString()], [200, "{}"]);
  const cache = await etcdBinaries();
  if (cache.kind === "skipped") return t.diagnostic(cache.reason);
  const endpoint = `127.0.0.1:${member.port}`;
  const { stdout, code } = await runProgram(cache.binaries.etcdctl, [`--endpoints=${endpoint}`, "defrag"]);
  assert.equal(code, 0);
  assert.match(stdout, new RegExp(`^Finished defragmenting etcd member\\[${endpoint}\\]\\. took `));
});

test(`${kills} times kill -9 in the midst of it`, { timeout: 120_000 }, async (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const prng = new Prng(seed);
  for (let round = 0; round < kills; round++) {
    await scatter();
    const revision = revisionOf(await put("before", round));
    const hash = await hashKv(revision);
    let acknowledged = 0;
    let alive = true;
    const writing = (async (): Promise<void> => {
      for (let n = 0; alive; n++) {
        const reply = await put(`round ${round} ${n}`, n).catch(() => null);
        if (reply !== null) acknowledged = n + 1;
      }
    })();
    void call("Maintenance/Defragment", {}).catch(() => {});
    await member.waitForLog("defragmenting");
    // A random moment within it is a time, not an event.
    await delay(prng.below(400));
    await member.kill();
    alive = false;
    await writing;
    await start();
    assert.equal(existsSync(join(folder.path, "data", "member", "db.rebuild")), false);
    assert.equal(await hashKv(revision), hash, `SEED=${seed}, round ${round}`);
    const prefix = { key: base64(`round ${round} `), range_end: base64(`round ${round}~`), count_only: true };
    const { count } = await call("KV/Range", prefix);
    assert.ok(
      Number(count ?? 0) >= acknowledged,
      `${String(count)} of ${acknowledged} writes, SEED=${seed}, round ${round}`,
    );
  }
});

test("at a start, when it frees enough", async () => {
  await scatter();
  await member.stop();
  await start("--bootstrap-defrag-threshold-megabytes=100000");
  await member.waitForLog("Skipping defragmentation");
  const before = await sizes();
  await member.stop();
  await start("--bootstrap-defrag-threshold-megabytes=1");
  await member.waitForLog("finished defragmenting directory");
  const { total } = await sizes();
  assert.ok(total < before.total, `${before.total} → ${total}`);
  assert.equal((await call("KV/Range", { key: base64("key 7"), count_only: true }))["count"], "1");
});

test("a quota of thirteen pages, etcd's own tests have it, is used up, and not after what it held is compacted", async () => {
  await member.stop();
  await startIn("small", ["--quota-backend-bytes=53248"]);
  await call("KV/Put", { key: base64("small"), value: base64("a") });
  let revision = 0;
  let puts = 0;
  // As with etcd the size is that of the last commit: many a put of these may be faster.
  const fill = async (): Promise<void> => {
    for (; puts < 5000; puts++) revision = revisionOf(await put("large", puts));
  };
  await assert.rejects(fill, /mvcc: database space exceeded/);
  assert.ok(puts >= 1, `${puts} values of a page found room`);
  await assert.rejects(call("KV/Put", { key: base64("refused") }), /mvcc: database space exceeded/);
  await call("KV/Compact", { revision, physical: true });
  await call("Maintenance/Defragment", {});
  const { alarms } = await call("Maintenance/Alarm", { action: "GET" });
  for (const alarm of alarms as JsonObject[]) await call("Maintenance/Alarm", { action: "DEACTIVATE", ...alarm });
  await call("KV/Put", { key: base64("small"), value: base64("b") });
});
