/**
 * Maintenance.Snapshot: etcd's own tools take our snapshot, a real etcd restored from it holds the same, our reader
 * takes theirs, their file becomes our store, and clients that do not read cost neither memory nor puts.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { statSync, truncateSync } from "node:fs";
import http2 from "node:http2";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { BoltError, BoltFile, checkBolt } from "../../src/bolt/index.js";
import { LeaseTable } from "../../src/lease/index.js";
import { crc32c } from "../../src/native/index.js";
import { LmdbBackend, lmdbBackendDefaults } from "../../src/storage/backend/index.js";
import { MvccStore } from "../../src/storage/mvcc/index.js";
import { checkOnThread, SnapshotFileError, startRebuildThread } from "../../src/storage/snap/index.js";
import {
  base64,
  callOn,
  decodeMessage,
  etcdBinaries,
  frame,
  freePorts,
  GrpcClient,
  Member,
  ourCommand,
  temporaryFolder,
  type EtcdBinaries,
  type JsonObject,
} from "../support/index.js";
import { runProgram, startPair } from "./pair.js";

const cache = await etcdBinaries();
const skip = cache.kind === "skipped" ? cache.reason : false;
const binaries = cache.kind === "ready" ? cache.binaries : ({} as EtcdBinaries);

const blobBytes = 32 << 10;

let pair: Awaited<ReturnType<typeof startPair>>;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;

/** One connection a member: a client a call would take most of the test's time. */
const clients = new Map<number, GrpcClient>();

const call = (port: number, path: string, request: JsonObject): Promise<JsonObject> => {
  const client = clients.get(port) ?? new GrpcClient(port);
  clients.set(port, client);
  return callOn(client, path, request);
};
const put = (port: number, key: string, value: Uint8Array): Promise<JsonObject> =>
  call(port, "KV/Put", { key: base64(key), value: Buffer.from(value).toString("base64") });

/** Keys with several revisions, tombstones, empty and large values. */
const fill = async (port: number): Promise<void> => {
  const writes: Promise<unknown>[] = [];
  for (let i = 0; i < 3000; i++) writes.push(put(port, `key ${i % 1700}`, Buffer.alloc((i * 37) % 900, i)));
  for (const bytes of [4096, 70_000, 1_400_000]) writes.push(put(port, `large ${bytes}`, Buffer.alloc(bytes, 7)));
  await Promise.all(writes);
  await call(port, "KV/DeleteRange", { key: base64("key 1"), range_end: base64("key 2") });
  await put(port, "key 1", Buffer.alloc(0));
};

const etcdctl = async (port: number, ...args: string[]): Promise<string> => {
  const result = await runProgram(binaries.etcdctl, [`--endpoints=127.0.0.1:${port}`, ...args]);
  assert.equal(result.code, 0, result.stderr);
  return result.stdout;
};

interface SnapshotStatus {
  readonly hash: number;
  readonly revision: number;
  readonly totalKey: number;
  readonly totalSize: number;
  readonly version: string;
}

const statusOf = async (path: string): Promise<SnapshotStatus> => {
  const result = await runProgram(binaries.etcdutl, ["snapshot", "status", path, "-w", "json"]);
  assert.equal(result.code, 0, result.stderr);
  return JSON.parse(result.stdout) as SnapshotStatus;
};

/** The database within a file of `etcdctl snapshot save`. */
const openSnapshot = (path: string): BoltFile => BoltFile.open(path, statSync(path).size - 32);

const hashKv = (port: number): Promise<JsonObject> => call(port, "Maintenance/HashKV", {});

/** Restores the file for a real etcd, which must then say and hold the same as our member. */
const comparedAfterRestore = async (file: string, hash: unknown): Promise<void> => {
  const { port } = pair.ours.member;
  const dataDir = `${file}.restored`;
  const [clientPort = 0, peerPort = 0] = await freePorts(2);
  const peer = `http://127.0.0.1:${peerPort}`;
  const restored = await runProgram(binaries.etcdutl, [
    ...["snapshot", "restore", file, `--data-dir=${dataDir}`],
    ...[`--initial-cluster=default=${peer}`, `--initial-advertise-peer-urls=${peer}`],
  ]);
  assert.equal(restored.code, 0, restored.stderr);
  const etcd = await Member.start({ command: [binaries.etcd], dataDir, clientPort, peerPort });
  try {
    assert.equal((await hashKv(clientPort))["hash"], hash);
    const range = { key: base64("\0"), range_end: base64("\0") };
    const [theirs, mine] = await Promise.all([clientPort, port].map((one) => call(one, "KV/Range", range)));
    assert.deepEqual(theirs!["kvs"], mine!["kvs"]);
    await put(clientPort, "after", Buffer.from("x"));
  } finally {
    clients.get(clientPort)?.close();
    clients.delete(clientPort);
    await etcd.kill();
  }
};

before(async () => {
  if (skip !== false) return;
  folder = await temporaryFolder();
  pair = await startPair(binaries.etcd, ourCommand());
  await Promise.all([fill(pair.etcd.member.port), fill(pair.ours.member.port)]);
});

after(async () => {
  if (skip !== false) return;
  for (const client of clients.values()) client.close();
  await pair.stop();
  await folder.remove();
});

describe("etcd's tools and ours", { skip }, () => {
  test("a real etcd restored from our snapshot holds the same", async () => {
    const { port } = pair.ours.member;
    const file = join(folder.path, "ours.db");
    const said = await etcdctl(port, "snapshot", "save", file);
    assert.equal(said, `Snapshot saved at ${file}\nServer version 3.7.0\n`);
    const status = await statusOf(file);
    const { header, hash } = await hashKv(port);
    assert.equal(String(status.revision), (header as JsonObject)["revision"]);
    assert.equal(status.version, "3.7.0");

    await comparedAfterRestore(file, hash);
  });

  test("our reader finds in a real etcd's files what is there", async () => {
    const file = join(folder.path, "theirs.db");
    await etcdctl(pair.etcd.member.port, "snapshot", "save", file);
    const bolt = openSnapshot(file);
    assert.deepEqual(checkBolt(bolt), []);
    const names = [...bolt.buckets()].map(({ name }) => Buffer.from(name).toString());
    assert.deepEqual(names, "alarm auth authRoles authUsers cluster key lease members members_removed meta".split(" "));
    const ours = join(folder.path, "ours again.db");
    await etcdctl(pair.ours.member.port, "snapshot", "save", ours);
    const mine = openSnapshot(ours);
    assert.deepEqual(checkBolt(mine), []);
    assert.deepEqual(
      [...mine.buckets()].map(({ name }) => Buffer.from(name).toString()),
      names,
    );
    assert.equal([...bolt.entries(bolt.bucket("key")!)].length, [...mine.entries(mine.bucket("key")!)].length);
    const metaKeys = (one: BoltFile): string[] =>
      [...one.entries(one.bucket("meta")!)].map(({ key }) => Buffer.from(key).toString());
    assert.deepEqual(metaKeys(mine), metaKeys(bolt));
    bolt.close();
    mine.close();
  });

  test("a real etcd's file, received from a member, becomes our store, and HashKV is equal", async () => {
    const { port } = pair.etcd.member;
    await call(port, "Lease/LeaseGrant", { ID: "77", TTL: "600" });
    await call(port, "KV/Put", { key: base64("leased"), value: base64("x"), lease: "77" });
    const file = join(folder.path, "received.db");
    await etcdctl(port, "snapshot", "save", file);
    // A member sends the database alone.
    truncateSync(file, statSync(file).size - 32);
    const answer = await hashKv(port);
    const bolt = BoltFile.open(file);
    const meta = new Map(
      [...bolt.entries(bolt.bucket("meta")!)].map(({ key, value }) => [Buffer.from(key).toString(), value]),
    );
    bolt.close();
    const numberOf = (name: string): number => Number(Buffer.from(meta.get(name)!).readBigUInt64BE());
    const position = { index: numberOf("consistent_index"), term: numberOf("term") };
    await checkOnThread(file, position);
    await assert.rejects(checkOnThread(file, { ...position, index: position.index + 1 }), SnapshotFileError);

    const backend = LmdbBackend.open({
      ...lmdbBackendDefaults,
      directory: join(folder.path, "installed"),
      onFatal: (error) => assert.fail(error),
      startRebuild: startRebuildThread,
    });
    const mvcc = { yield: () => new Promise<void>((resolve) => setImmediate(resolve)), crc32c };
    const fresh = await backend.beginInstall(file);
    const leases = new LeaseTable(fresh, 1);
    const store = await MvccStore.open({ ...mvcc, backend: fresh, keyLeases: leases });
    const before = await store.hashKv(0);
    await backend.finishInstall(fresh, () => {});
    const reopened = await MvccStore.open({ ...mvcc, backend });
    for (const { hash, currentRevision } of [before, await reopened.hashKv(0)]) {
      assert.equal(String(hash), String(answer["hash"]));
      assert.equal(String(currentRevision), (answer["header"] as JsonObject)["revision"]);
    }
    assert.deepEqual(
      leases.keysOf(77, 0).map((key) => Buffer.from(key).toString()),
      ["leased"],
    );
    assert.equal(backend.consistentIndex, position.index);
    await backend.close();
  });

  test("a file cut short is refused by etcdutl and by us", async () => {
    const file = join(folder.path, "short.db");
    await etcdctl(pair.ours.member.port, "snapshot", "save", file);
    truncateSync(file, statSync(file).size - 32 - 4096);
    assert.notEqual((await runProgram(binaries.etcdutl, ["snapshot", "status", file])).code, 0);
    assert.throws(() => BoltFile.open(file), BoltError);
  });

  test("a real etcd restored from it after a compaction", async () => {
    const { port } = pair.ours.member;
    const { header } = await hashKv(port);
    const revision = Number((header as JsonObject)["revision"]);
    await call(port, "KV/Compact", { revision: String(revision - 900), physical: true });
    const file = join(folder.path, "compacted.db");
    await etcdctl(port, "snapshot", "save", file);
    const bolt = openSnapshot(file);
    assert.deepEqual(checkBolt(bolt), []);
    const keys = [...bolt.entries(bolt.bucket("meta")!)].map(({ key }) => Buffer.from(key).toString());
    assert.ok(keys.includes("finishedCompactRev") && keys.includes("scheduledCompactRev"));
    bolt.close();
    const answer = await hashKv(port);
    assert.equal(answer["compact_revision"], String(revision - 900));
    await comparedAfterRestore(file, answer["hash"]);
  });
});

test("the stream: blobs of 32 KiB, what remains, version, then the digest", { skip }, async () => {
  await put(pair.ours.member.port, "just put", Buffer.from("just before"));
  const client = new GrpcClient(pair.ours.member.port);
  const reply = await client.unary("/etcdserverpb.Maintenance/Snapshot", Buffer.alloc(0));
  client.close();
  assert.equal(reply.status, 0, reply.message);
  const decoded = reply.messages.map((bytes) => decodeMessage("etcdserverpb.SnapshotResponse", bytes));
  const messages = decoded.map(({ plain }) => ({
    remaining: Number(plain["remaining_bytes"] ?? 0),
    blob: Buffer.from((plain["blob"] as string | undefined) ?? "", "base64"),
    version: plain["version"],
  }));
  assert.ok(decoded.every(({ canonical }) => canonical));
  const digest = messages.pop()!;
  const total = messages.reduce((sum, { blob }) => sum + blob.length, 0);
  assert.equal(total % 4096, 0);
  let remaining = total;
  const hash = createHash("sha256");
  for (const [i, { blob, version, ...message }] of messages.entries()) {
    assert.equal(version, "3.7.0");
    assert.equal(blob.length, i + 1 < messages.length ? blobBytes : blob.length);
    remaining -= blob.length;
    assert.equal(message.remaining, remaining);
    hash.update(blob);
  }
  assert.deepEqual(digest, { remaining: 0, blob: hash.digest(), version: "3.7.0" });
  const file = Buffer.concat(messages.map(({ blob }) => blob));
  assert.ok(file.includes("just before"), "what was put before the call is in it");
});

describe("clients that do not read", { skip }, () => {
  const streams: http2.ClientHttp2Stream[] = [];
  let session: http2.ClientHttp2Session;
  const open = (): http2.ClientHttp2Stream => {
    const stream = session.request({
      ":method": "POST",
      ":path": "/etcdserverpb.Maintenance/Snapshot",
      "content-type": "application/grpc",
      te: "trailers",
    });
    stream.on("error", () => {});
    stream.end(frame(Buffer.alloc(0)));
    streams.push(stream);
    return stream;
  };
  const answered = (stream: http2.ClientHttp2Stream): Promise<http2.IncomingHttpHeaders> =>
    new Promise((resolve) => stream.once("response", resolve));

  before(() => {
    if (skip === false) session = http2.connect(`http://127.0.0.1:${pair.ours.member.port}`);
  });
  after(() => session?.destroy());

  test("hold a bounded number of snapshots, and puts go on", async () => {
    for (let i = 0; i < 4; i++) await answered(open());
    const refused = await answered(open());
    assert.equal(refused["grpc-message"], "etcdserver: too many requests");
    await Promise.all(
      Array.from({ length: 500 }, (_, i) => put(pair.ours.member.port, `during ${i}`, Buffer.alloc(100))),
    );
  });

  test("and give them back when they go or read on", async () => {
    const [gone, ...rest] = streams.slice(0, 4);
    const closed = new Promise((resolve) => gone!.once("close", resolve));
    gone!.close(http2.constants.NGHTTP2_CANCEL);
    await closed;
    // The thread hears of it a moment later; one that did not would send the client away after a minute.
    const deadline = Date.now() + 30_000;
    let next = open();
    while ((await answered(next))["grpc-message"] === "etcdserver: too many requests") {
      assert.ok(Date.now() < deadline, "its place is not given to another");
      next = open();
    }
    rest.push(next);
    const trailers = await Promise.all(
      rest.map(
        (stream) =>
          new Promise<http2.IncomingHttpHeaders>((resolve) => {
            stream.once("trailers", resolve);
            stream.resume();
          }),
      ),
    );
    assert.deepEqual(
      trailers.map((one) => one["grpc-status"]),
      ["0", "0", "0", "0"],
    );
    // A put's answer comes after what the cancel and the ends have led to on main.
    await etcdctl(pair.ours.member.port, "snapshot", "save", join(folder.path, "later.db"));
  });
});
