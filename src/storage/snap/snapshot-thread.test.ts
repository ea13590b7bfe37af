import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once, EventEmitter } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { BoltFile, checkBolt } from "../../bolt/index.js";
import { decodeSnapshotResponse } from "../../proto/index.js";
import { LmdbBackend, lmdbBackendDefaults, PinnedReader } from "../backend/index.js";
import type { FromSnapshots } from "./messages.js";
import { startRebuildThread } from "./rebuild-client.js";
import { SnapshotThread } from "./snapshot-thread.js";
import { windowBytes } from "./snapshot-writer.js";

const directory = mkdtempSync(join(tmpdir(), "etcd-ts-snap-"));
const records = 3000;
const unavailable = 14;
const storageVersion = Buffer.from("storageVersion");
let backend: LmdbBackend;
let index = 0;

/** One record more, of the entry after the last. */
function putRecord(length: number): void {
  index++;
  const at = backend.beginRecord(index, 0, false, length);
  backend.recordBlock.fill(index, at, at + length);
  backend.endRecord(at + length);
  backend.endEntry(index, 1);
}

before(async () => {
  backend = LmdbBackend.open({
    ...lmdbBackendDefaults,
    directory: join(directory, "db"),
    onFatal: (error) => assert.fail(error),
    startRebuild: startRebuildThread,
  });
  backend.put("meta", storageVersion, Buffer.from("3.7.0"));
  for (let i = 0; i < records; i++) putRecord(i % 50 === 0 ? 40_000 : 700);
  await backend.flush();
});

after(async () => {
  await backend.close();
  rmSync(directory, { recursive: true });
});

interface Reply {
  readonly callId: number;
  readonly kind: number;
  readonly asks: boolean;
  readonly code: number;
  readonly remaining: bigint;
  readonly blob: Buffer;
  readonly version: string;
  readonly text: string;
}

/** A thread without a thread, and all that it has sent; "sent" and "posted" tell of more. */
class Rig extends EventEmitter {
  readonly replies: Reply[] = [];
  readonly posts: FromSnapshots[] = [];
  readonly thread: SnapshotThread;
  /** Clients that take what they get at once. */
  reads = true;

  constructor(bounds: { stallMsMax: number; jobMsMax: number } = { stallMsMax: 60_000, jobMsMax: 60_000 }) {
    super();
    this.thread = new SnapshotThread({
      ...bounds,
      openReader: () => new PinnedReader(join(directory, "db")),
      reply: (bytes, length) => this.#take(Buffer.from(bytes.subarray(0, length))),
      post: (message) => {
        this.posts.push(message);
        this.emit("posted", message);
      },
    });
  }

  #take(batch: Buffer): void {
    for (let at = 0; at < batch.length; at += batch.readUInt32LE(at)) {
      const kind = batch[at + 8]!;
      const start = at + 16;
      const end = start + batch.readUInt32LE(at + 12);
      const message = decodeSnapshotResponse(batch, start, end);
      this.replies.push({
        callId: batch.readUInt32LE(at + 4),
        kind,
        asks: kind === 1 && batch[at + 9] === 1,
        code: kind === 2 ? batch[at + 9]! : 0,
        remaining: BigInt(message.remainingBytes),
        blob: Buffer.from(message.blob),
        version: message.version,
        text: batch.toString("utf8", end, end + batch.readUInt16LE(at + 10)),
      });
    }
    this.emit("sent");
    const { asks, callId } = this.replies.at(-1)!;
    if (this.reads && asks) void this.thread.handle({ type: "writable", job: callId });
  }

  /** Begins a job as the answer of the call of the same number. */
  start(job = 1): Promise<boolean> {
    return this.thread.handle({ type: "start", job, callId: job });
  }

  async ended(job = 1): Promise<void> {
    while (!this.posts.some((post) => post.type === "ended" && post.job === job)) await once(this, "posted");
  }

  /** The file that was sent. */
  file(job = 1): Buffer {
    const replies = this.replies.filter(({ callId }) => callId === job);
    return Buffer.concat(replies.slice(0, -2).map(({ blob }) => blob));
  }

  /** What of it is in the bucket. */
  entries(bucket: string, job = 1): { readonly key: Buffer; readonly value: Uint8Array }[] {
    const file = this.file(job);
    const bolt = new BoltFile({ size: file.length, read: (at, into) => into.set(file.subarray(at, at + into.length)) });
    assert.deepEqual(checkBolt(bolt), []);
    return [...bolt.entries(bolt.bucket(bucket)!)].map(({ key, value }) => ({ key: Buffer.from(key), value }));
  }
}

let rig: Rig;
beforeEach(() => (rig = new Rig()));
afterEach(() => rig.thread.handle({ type: "stop" }));

test("a snapshot is the store at the commit at which it began", async () => {
  rig.reads = false;
  await rig.start();
  await once(rig, "sent");
  const count = index;
  for (let i = 0; i < 500; i++) putRecord(2000);
  await backend.flush();
  rig.reads = true;
  await rig.thread.handle({ type: "writable", job: 1 });
  await rig.ended();
  const end = rig.replies.at(-1)!;
  assert.deepEqual([end.kind, end.code], [2, 0]);
  assert.deepEqual(rig.replies.at(-2)!.blob, createHash("sha256").update(rig.file()).digest());
  const entries = rig.entries("key");
  assert.equal(entries.length, count);
  assert.ok(
    entries.every(({ key, value }, i) => key.readBigUInt64BE() === BigInt(i + 1) && value[0] === ((i + 1) & 255)),
  );
  const meta = rig.entries("meta").map(({ key }) => key.toString());
  assert.deepEqual(meta, ["consistent_index", "storageVersion", "term"]);
});

test("messages of 32 KiB with what remains and the schema's version, then the digest", async () => {
  for (const version of ["3.6.0", ""]) {
    if (version === "") backend.delete("meta", storageVersion);
    else backend.put("meta", storageVersion, Buffer.from(version));
    putRecord(10);
    await backend.flush();
    rig = new Rig();
    await rig.start();
    await rig.ended();
    const messages = rig.replies.slice(0, -1);
    assert.ok(messages.every((message) => message.version === version));
    const blobs = messages.slice(0, -1).map(({ blob }) => blob.length);
    assert.ok(blobs.every((length, i) => length === 32 << 10 || (i === blobs.length - 1 && length < 32 << 10)));
    const bytes = rig.file().length;
    let remaining = bytes;
    for (const message of messages.slice(0, -1)) {
      remaining -= message.blob.length;
      assert.equal(message.remaining, BigInt(remaining));
    }
    assert.deepEqual([messages.at(-1)!.remaining, messages.at(-1)!.blob.length], [0n, 32]);
    const logged = rig.posts.flatMap((post) => (post.type === "log" ? [post] : []));
    assert.deepEqual(
      logged.map(({ level, message }) => `${level} ${message}`),
      [
        "info sending database snapshot to client",
        "info sending database sha256 checksum to client",
        "info successfully sent database snapshot to client",
      ],
    );
    assert.equal(logged[0]!.fields["storage-version"], version);
    assert.ok(logged.every(({ fields }) => fields["total-bytes"] === bytes));
  }
  backend.put("meta", storageVersion, Buffer.from("3.7.0"));
});

test("a store that was replaced: who began before it goes on with the old one, the next has the new one", async () => {
  rig.reads = false;
  await rig.start();
  await once(rig, "sent");
  const count = index;
  putRecord(10);
  await backend.flush();
  await backend.defragment();
  putRecord(10);
  await backend.flush();
  rig.reads = true;
  await rig.start(2);
  await rig.ended(2);
  assert.equal(rig.entries("key", 2).length, count + 2);
  await rig.thread.handle({ type: "writable", job: 1 });
  await rig.ended(1);
  assert.equal(rig.entries("key", 1).length, count);
});

test("no more than a window is sent before the client has taken it", async () => {
  rig.reads = false;
  await rig.start();
  for (let windows = 1; windows <= 3; windows++) {
    await once(rig, "sent");
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(Buffer.concat(rig.replies.map(({ blob }) => blob)).length, windows * windowBytes);
    assert.equal(rig.replies.filter(({ asks }) => asks).length, windows);
    await rig.thread.handle({ type: "writable", job: 1 });
  }
});

test("a client that takes nothing is sent away", async () => {
  rig = new Rig({ stallMsMax: 5, jobMsMax: 60_000 });
  rig.reads = false;
  await rig.start();
  await rig.ended();
  const end = rig.replies.at(-1)!;
  assert.deepEqual([end.code, end.text], [unavailable, "etcdserver: snapshot is not being read"]);
});

test("so is one that takes for ever", async () => {
  rig = new Rig({ stallMsMax: 60_000, jobMsMax: 0 });
  await rig.start();
  await rig.ended();
  const end = rig.replies.at(-1)!;
  assert.deepEqual([end.code, end.text], [unavailable, "etcdserver: snapshot took too long"]);
});

test("a client that goes is not answered", async () => {
  rig.reads = false;
  await rig.start();
  await once(rig, "sent");
  const sent = rig.replies.length;
  await rig.thread.handle({ type: "cancel", job: 1 });
  await rig.ended();
  assert.equal(rig.replies.length, sent);
});

test("several at a time, by turns; a stop ends them", async () => {
  rig.reads = false;
  for (const job of [1, 2, 3]) await rig.start(job);
  while (rig.replies.filter(({ asks }) => asks).length < 3) await once(rig, "sent");
  assert.equal(await rig.thread.handle({ type: "stop" }), true);
  assert.deepEqual(rig.posts.filter(({ type }) => type === "ended").length, 3);
  rig = new Rig();
});
