/**
 * A member that ended between a snapshot's mark in its log and the end of the installation: the next start repeats it,
 * however often it is killed in the midst of that; without the file it says what is missing and changes nothing.
 */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { BoltFile } from "../../src/bolt/index.js";
import { parseConfState } from "../../src/membership/index.js";
import { snapshotPath } from "../../src/storage/snap/index.js";
import { Wal, type HardState, type SnapshotMark } from "../../src/storage/wal/index.js";
import {
  base64,
  callAt,
  decodeMessage,
  encodeMessage,
  GrpcClient,
  GrpcStream,
  Member,
  optionsAlike,
  ourCommand,
  rpcTypes,
  temporaryFolder,
  type JsonObject,
} from "../support/index.js";

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
const running = new Set<Member>();

/** Members with the same URLs to the outside have the same ID: one is the other's double. */
const launch = async (name: string): Promise<Member> => {
  const member = Member.launch(await optionsAlike(ourCommand(), join(folder.path, name)));
  running.add(member);
  return member;
};
const start = async (name: string): Promise<Member> => {
  const member = await launch(name);
  await member.ready();
  return member;
};

/** HashKV is served from what has been applied: after a start, the linearizable read waits for the log's last entries. */
const hashKv = async ({ port }: Member): Promise<unknown> => {
  await callAt(port, "KV/Range", { key: base64("any") });
  return (await callAt(port, "Maintenance/HashKV", {}))["hash"];
};

/** All events since the beginning, as a watch tells them: each once, in order. */
const historyOf = async ({ port }: Member): Promise<JsonObject[]> => {
  const stream = new GrpcStream(port, "/etcdserverpb.Watch/Watch");
  const send = (request: JsonObject): void => stream.send(encodeMessage("etcdserverpb.WatchRequest", request));
  const everything = { key: base64("\0"), range_end: base64("\0"), start_revision: "2", prev_kv: true };
  send({ create_request: everything });
  const events: JsonObject[] = [];
  const deadline = Date.now() + 30_000;
  for (let noticed = false; !noticed;) {
    assert.ok(Date.now() < deadline, "no notice of progress");
    send({ progress_request: {} });
    await stream.changed(100);
    for (const message of stream.take()) {
      const { plain } = decodeMessage("etcdserverpb.WatchResponse", message);
      events.push(...((plain["events"] ?? []) as JsonObject[]));
      noticed ||= plain["watch_id"] === "-1";
    }
  }
  stream.close();
  const revisions = events.map(({ kv }) => Number((kv as JsonObject)["mod_revision"]));
  assert.deepEqual(
    revisions,
    revisions.map((_, i) => i + 2),
    "one event a revision",
  );
  return events;
};

/** The database of a member as Maintenance.Snapshot sends it, without the digest. */
const snapshotOf = async ({ port }: Member): Promise<Buffer> => {
  const types = rpcTypes("etcdserverpb.Maintenance", "Snapshot");
  const client = new GrpcClient(port);
  const reply = await client.unary("/etcdserverpb.Maintenance/Snapshot", encodeMessage(types.request, {}));
  client.close();
  const blobs = reply.messages.map((bytes) => decodeMessage(types.response, bytes).plain["blob"] as string);
  return Buffer.concat(blobs.slice(0, -1).map((blob) => Buffer.from(blob, "base64")));
};

const markOf = (file: string): SnapshotMark => {
  const bolt = BoltFile.open(file);
  const meta = new Map(
    [...bolt.entries(bolt.bucket("meta")!)].map(({ key, value }) => [Buffer.from(key).toString(), value]),
  );
  bolt.close();
  const numberOf = (name: string): number => Number(Buffer.from(meta.get(name)!).readBigUInt64BE());
  return {
    index: numberOf("consistent_index"),
    term: numberOf("term"),
    confState: parseConfState(meta.get("confState")!),
  };
};

/** Writes into a stopped member's log what Raft writes when a snapshot has come. */
const writeMark = async (name: string, mark: SnapshotMark): Promise<void> => {
  let told: () => void = () => {};
  const durable = new Promise<void>((resolve) => (told = resolve));
  const dir = join(folder.path, name, "member", "wal");
  const wal = await Wal.open({
    dir,
    onDurable: (token) => token === 1 && told(),
    onFatal: (error) => assert.fail(error),
  });
  let hardState: HardState = { term: 0, vote: 0n, commit: 0 };
  await wal.replay({
    entriesRecord: () => {},
    hardStateRecord: (state) => (hardState = state),
    snapshotMark: () => {},
  });
  const term = Math.max(hardState.term, mark.term);
  wal.appendInstall(mark, { term, vote: 0n, commit: mark.index }, 1);
  await durable;
  await wal.close();
};

before(async () => {
  folder = await temporaryFolder();
});

after(async () => {
  await Promise.all([...running].map((member) => member.kill()));
  await folder.remove();
});

test("the installation is repeated at the start, until it is done", { timeout: 120_000 }, async () => {
  const source = await start("source");
  for (let n = 0; n < 40; n++) {
    const puts = Array.from({ length: 50 }, (_, i) =>
      callAt(source.port, "KV/Put", { key: base64(`key ${i}`), value: Buffer.alloc(3000, n).toString("base64") }),
    );
    await Promise.all(puts);
  }
  const hash = await hashKv(source);
  const history = await historyOf(source);
  assert.equal(history.length, 2000);
  const bytes = await snapshotOf(source);
  await source.stop();
  const target = await start("target");
  await callAt(target.port, "KV/Put", { key: base64("old"), value: base64("x") });
  await target.stop();

  const snapDir = join(folder.path, "target", "member", "snap");
  mkdirSync(snapDir, { recursive: true });
  const loose = join(folder.path, "loose.db");
  writeFileSync(loose, bytes);
  const mark = markOf(loose);
  await writeMark("target", mark);

  const refused = await launch("target");
  await refused.waitForLog("do not belong together");
  assert.equal((await refused.exited).code, 1);
  renameSync(loose, snapshotPath(snapDir, mark.index));
  for (let n = 0; n < 2; n++) {
    const killed = await launch("target");
    await killed.waitForLog("repeating the installation of a snapshot that was cut short");
    await killed.kill();
  }
  const installed = await start("target");
  assert.equal(await hashKv(installed), hash);
  assert.deepEqual(await historyOf(installed), history);
  const old = await callAt(installed.port, "KV/Range", { key: base64("old") });
  assert.equal(old["count"], undefined);
  await callAt(installed.port, "KV/Put", { key: base64("new"), value: base64("y") });
  // It is removed beside everything else.
  for (let n = 0; readdirSync(snapDir).length > 0; n++) {
    assert.ok(n < 200, "the file is still there");
    await delay(20);
  }
  const after = await hashKv(installed);
  await installed.kill();
  const again = await start("target");
  // HashKV is of what has been applied; a linearizable read waits for the rest of the log.
  assert.equal((await callAt(again.port, "KV/Range", { key: base64("new") }))["count"], "1");
  assert.equal(await hashKv(again), after);
  const later = await historyOf(again);
  assert.deepEqual(later.slice(0, -1), history);
  assert.equal((later.at(-1)!["kv"] as JsonObject)["key"], base64("new"));
  assert.ok(!again.log.some((line) => line.includes("repeating the installation")));
});
