/** The worker itself, on LMDB and the addon's mailboxes: ready, apply, progress, stop, and a restart from its files. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { EntryBatch, EntryType } from "../base/index.js";
import { formatMember } from "../membership/index.js";
import { Mailbox, mailboxPrefixBytes } from "../native/index.js";
import { encodeConfChange, encodeInternalRaftRequest } from "../proto/index.js";
import type { ApplyInit, FromApply, ToApply } from "./control.js";
import { ApplyMessageWriter, emptyProgress, progressMessageBytes, readProgress } from "./messages.js";
import { memberId, methods } from "./rig.test-support.js";

type Ready = Extract<FromApply, { type: "ready" }>;

/** Main's side, as small as can be. */
class Main {
  readonly toApply = new Mailbox(1 << 20);
  readonly toMain = new Mailbox(1 << 16);
  readonly progress = emptyProgress();
  readonly worker: Worker;
  readonly #writer = new ApplyMessageWriter();
  readonly #messages: FromApply[] = [];
  #changed: () => void = () => {};

  constructor(backendPath: string) {
    const workerData: ApplyInit = {
      backendPath,
      memberId,
      clusterId: 5n,
      methods,
      toApply: this.toApply.handle,
      toMain: this.toMain.handle,
      quotaBackendBytes: 0,
      backendBatchLimit: 10_000,
      backendBatchIntervalMs: 100,
      snapshotDir: "",
      maxLearners: 1,
      warningApplyDurationMs: 100,
      logLevel: "info",
    };
    this.toMain.onWake(() => this.#receive());
    this.worker = new Worker(new URL("apply.worker.js", import.meta.url), { workerData });
    this.worker.on("message", (message: FromApply) => {
      this.#messages.push(message);
      this.#changed();
    });
  }

  /** The first message of a type, waited for. */
  async message<T extends FromApply["type"]>(type: T): Promise<Extract<FromApply, { type: T }>> {
    await this.until(() => this.#messages.some((message) => message.type === type || message.type === "fatal"));
    const found = this.#messages.find((message) => message.type === type);
    assert.ok(found, `no ${type}: ${JSON.stringify(this.#messages.filter((message) => message.type === "fatal"))}`);
    this.#messages.splice(this.#messages.indexOf(found), 1);
    return found as Extract<FromApply, { type: T }>;
  }

  async until(reached: () => boolean): Promise<void> {
    while (!reached()) await new Promise<void>((resolve) => (this.#changed = resolve));
  }

  send(batch: EntryBatch): void {
    this.#writer.entries(batch, new Uint32Array(batch.count), 0, 3);
    assert.ok(this.toApply.send(this.#writer.bytes, this.#writer.length));
  }

  post(message: ToApply): void {
    this.worker.postMessage(message);
  }

  async stop(): Promise<void> {
    const exited = once(this.worker, "exit");
    this.post({ type: "stop" });
    await this.message("stopped");
    await exited;
    this.close();
  }

  close(): void {
    this.toApply.close();
    this.toMain.close();
  }

  #receive(): void {
    const into = new Uint8Array(1 << 17);
    for (let length = this.toMain.receive(into); length > 0; length = this.toMain.receive(into)) {
      for (let at = 0; at < length; at += mailboxPrefixBytes + progressMessageBytes) {
        readProgress(new DataView(into.buffer), at + mailboxPrefixBytes, this.progress);
      }
    }
    this.#changed();
  }
}

function put(index: number, key: string): EntryBatch {
  const data = encodeInternalRaftRequest({ put: { key: Buffer.from(key) }, header: { ID: 1n } });
  return EntryBatch.single({ term: 3, index, type: EntryType.Normal, data });
}

test("a worker applies, tells of its progress, stops, and starts again from its files", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "apply-worker-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const backendPath = join(directory, "db");
  const main = new Main(backendPath);
  const fresh: Ready = await main.message("ready");
  assert.equal(fresh.consistentIndex, 0);
  assert.equal(fresh.revision, 1);
  assert.equal(fresh.confState, null);
  const member = { id: memberId, name: "n", peerURLs: ["http://p"], clientURLs: [], isLearner: false };
  const data = encodeConfChange({ type: 0, nodeId: memberId, context: formatMember(member) });
  main.send(EntryBatch.single({ term: 3, index: 1, type: EntryType.ConfChange, data }));
  for (let index = 2; index <= 11; index++) main.send(put(index, `k${index}`));
  await main.until(() => main.progress.appliedIndex === 11);
  assert.equal(main.progress.revision, 11);
  assert.deepEqual((await main.message("confChange")).members, [member]);
  assert.equal((await main.message("log")).message, "added member");
  await main.until(() => main.progress.flushedIndex === 11);
  main.post({ type: "metrics", id: 4 });
  const { id, text } = await main.message("metrics");
  assert.equal(id, 4);
  assert.match(text, /^etcd_mvcc_put_total 10$/m);
  main.send(put(12, "last"));
  await main.stop();

  const again = new Main(backendPath);
  const ready = await again.message("ready");
  assert.equal(ready.consistentIndex, 12);
  assert.equal(ready.term, 3);
  assert.equal(ready.revision, 12);
  assert.deepEqual(ready.confState?.voters, [memberId]);
  assert.deepEqual(ready.members, [member]);
  await again.stop();
});

test("an entry that cannot be applied is told as fatal", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "apply-worker-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const main = new Main(join(directory, "db"));
  await main.message("ready");
  const data = encodeInternalRaftRequest({ authEnable: {}, header: { ID: 1n } });
  main.send(EntryBatch.single({ term: 3, index: 1, type: EntryType.Normal, data }));
  const fatal = await main.message("fatal");
  assert.match(fatal.message, /entry 1: request field 1000 is not implemented/);
  assert.equal(fatal.kill, false);
  const exited = once(main.worker, "exit");
  await main.worker.terminate();
  await exited;
  main.close();
});

test("a backend that cannot be opened is told as fatal", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "apply-worker-"));
  t.after(() => rmSync(directory, { recursive: true }));
  writeFileSync(join(directory, "file"), "");
  const main = new Main(join(directory, "file", "db"));
  const fatal = await main.message("fatal");
  assert.notEqual(fatal.message, "");
  await main.worker.terminate();
  main.close();
});
