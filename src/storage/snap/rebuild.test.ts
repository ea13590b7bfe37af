/** A store rebuilt beside the one in use: nothing is lost, whatever is written, read or killed meanwhile. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import {
  emptyRecordView,
  LmdbBackend,
  lmdbBackendDefaults,
  MemoryBackend,
  PinnedReader,
  smallBuckets,
  type Backend,
} from "../backend/index.js";
import { startRebuildThread } from "./rebuild-client.js";
import type { FromRebuild } from "./rebuild-messages.js";
import { applyEntry, crashEntries, crashEntryBytes, oldEntries } from "./rebuild-crash.test-support.js";
import { RebuildThread } from "./rebuild-thread.js";
import { SnapshotFileWriter } from "./snapshot-file-writer.js";

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "etcd-ts-rebuild-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, "db");
}

function openIn(directory: string): LmdbBackend {
  return LmdbBackend.open({
    ...lmdbBackendDefaults,
    directory,
    onFatal: (error) => assert.fail(error),
    startRebuild: startRebuildThread,
  });
}

function contentsOf(backend: Backend): unknown {
  const records: string[] = [];
  const position = { main: 0, sub: 0 };
  const visitor = {
    visit: (main: number, sub: number, tombstone: boolean, bytes: Uint8Array, start: number, end: number): void => {
      records.push(`${main} ${sub} ${tombstone} ${end - start} ${bytes[start]}`);
    },
  };
  while (backend.scanRecords(position, { records: 1000, bytes: 1 << 20 }, visitor));
  const small = smallBuckets.filter((bucket) => bucket !== "meta").map((bucket) => backend.entries(bucket).map(String));
  return { records, small };
}

function freeBytesOf(backend: Backend): number {
  const { total, inUse } = backend.sizes();
  return total - inUse;
}

/** The same entries in memory. */
function twinOf(entries: number, bytes: number): MemoryBackend {
  const backend = new MemoryBackend();
  for (let index = 1; index <= entries; index++) applyEntry(backend, index, bytes);
  return backend;
}

test("the file shrinks, and what is written meanwhile is in it", async (t) => {
  const directory = folderOf(t);
  const backend = openIn(directory);
  let index = 0;
  for (; index < 4000;) applyEntry(backend, ++index, 3000);
  await backend.flush();
  const removed = 3000;
  for (let main = 2; main <= removed + 1; main++) {
    for (let sub = 0; sub <= (main - 1) % 2; sub++) backend.deleteRecord(main, sub, (main - 1) % 7 === 0);
  }
  await backend.flush();
  const before = freeBytesOf(backend);
  assert.ok(before > 10 << 20, `${before} bytes free`);
  let defragmenting = true;
  const done = backend.defragment().finally(() => (defragmenting = false));
  while (defragmenting) {
    for (let i = 0; i < 20; i++) applyEntry(backend, ++index, 3000);
    const view = emptyRecordView();
    assert.ok(backend.readRecord(index - 500, 0, (index - 501) % 7 === 0, view));
    assert.equal(view.end - view.start, 3000);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await done;
  for (let i = 0; i < 500; i++) applyEntry(backend, ++index, 3000);
  const expected = twinOf(index, 3000);
  for (let main = 2; main <= removed + 1; main++) {
    for (let sub = 0; sub <= (main - 1) % 2; sub++) expected.deleteRecord(main, sub, (main - 1) % 7 === 0);
  }
  assert.deepEqual(contentsOf(backend), contentsOf(expected));
  await backend.flush();
  const after = freeBytesOf(backend);
  assert.ok(after < 2 << 20, `${before} → ${after} bytes free`);
  const fileBytes = statSync(join(directory, "data.mdb")).size;
  // Of the file's pages a few are LMDB's own.
  assert.ok(fileBytes <= backend.sizes().total + (8 << 12), `${fileBytes} bytes, told ${backend.sizes().total}`);
  await backend.close();
  assert.deepEqual(readdirSync(directory).toSorted(), ["data.mdb", "lock.mdb"]);
  const again = openIn(directory);
  assert.equal(again.consistentIndex, index);
  assert.deepEqual(contentsOf(again), contentsOf(expected));
  await again.close();
});

test("one after another, with a reader that keeps the old file", async (t) => {
  const directory = folderOf(t);
  const backend = openIn(directory);
  for (let index = 1; index <= 100; index++) applyEntry(backend, index, 100);
  await backend.flush();
  const reader = new PinnedReader(directory);
  const read = reader.pin();
  for (let round = 0; round < 3; round++) {
    await backend.defragment();
    for (let i = 1; i <= 100; i++) applyEntry(backend, (round + 1) * 100 + i, 100);
    await backend.flush();
  }
  assert.equal(reader.isReplaced, true);
  const cursor = read.open("key");
  let count = 0;
  while (cursor.next()) count++;
  assert.equal(count, 150);
  read.release();
  await reader.close();
  assert.deepEqual(contentsOf(backend), contentsOf(twinOf(400, 100)));
  await backend.close();
});

test("a stop in the midst of it leaves the store as it was", async (t) => {
  const directory = folderOf(t);
  const backend = openIn(directory);
  for (let index = 1; index <= 3000; index++) applyEntry(backend, index, 3000);
  await backend.flush();
  const outcome = assert.rejects(backend.defragment(), /the member is stopping/);
  await backend.close();
  await outcome;
  const again = openIn(directory);
  assert.deepEqual(contentsOf(again), contentsOf(twinOf(3000, 3000)));
  await again.close();
});

test("without room for the copy nothing is touched", async (t) => {
  const directory = folderOf(t);
  const backend = openIn(directory);
  applyEntry(backend, 1, 10);
  await backend.flush();
  const answers: FromRebuild[] = [];
  const init = { directory, quotaBytes: 0, bytesInUse: 1000 };
  const thread = new RebuildThread(init, {
    post: (answer) => answers.push(answer),
    sleep: () => Promise.resolve(),
    freeBytes: () => 100 << 20,
  });
  await thread.handle({ type: "copy" });
  assert.equal(await thread.handle({ type: "end" }), true);
  assert.equal(answers[0]!.type, "failed");
  assert.match(JSON.stringify(answers[0]), /not enough disk space.*"isFatal":false/);
  assert.equal(existsSync(`${directory}.rebuild`), false);
  await backend.close();
});

const points = ["started", "copied", "flushed", "replaced", "ended"] as const;

/** Runs the program of a crash test to its end. */
function runToCrash(...args: string[]): void {
  const program = fileURLToPath(new URL("./rebuild-crash.test-support.js", import.meta.url));
  const { signal, stdout, stderr } = spawnSync(process.execPath, [program, ...args], { env: {} });
  assert.equal(signal, "SIGKILL", stderr.toString());
  assert.equal(stdout.toString(), "flushed\n");
}

for (const point of points) {
  test(`killed when it has ${point}, one whole store is there`, (t) => {
    const directory = folderOf(t);
    runToCrash(point, directory);
    const backend = openIn(directory);
    assert.equal(existsSync(`${directory}.rebuild`), false);
    assert.equal(backend.consistentIndex, crashEntries);
    assert.deepEqual(contentsOf(backend), contentsOf(twinOf(crashEntries, crashEntryBytes)));
    return backend.close();
  });
}

/** A file of a store with all entries. */
async function snapshotIn(folder: string): Promise<string> {
  const source = openIn(join(folder, "source"));
  for (let index = 1; index <= crashEntries; index++) applyEntry(source, index, crashEntryBytes);
  await source.flush();
  const reader = new PinnedReader(join(folder, "source"));
  const read = reader.pin();
  const writer = new SnapshotFileWriter(read);
  const layout = finish(writer.size());
  const pieces = [...writer.write(layout)].filter((piece) => piece !== null);
  read.release();
  await reader.close();
  await source.close();
  const file = join(folder, "snapshot");
  writeFileSync(file, Buffer.concat(pieces));
  return file;
}

function finish<T>(steps: Generator<unknown, T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

test("killed at each step of an installation, the old store is there whole, or the new one", async (t) => {
  const file = await snapshotIn(dirname(folderOf(t)));
  const expected = contentsOf(twinOf(crashEntries, crashEntryBytes));
  for (const point of ["started", "flushed", "replaced", "ended"]) {
    const directory = folderOf(t);
    runToCrash(point, directory, file);
    const backend = openIn(directory);
    assert.equal(existsSync(`${directory}.rebuild`), false);
    const isNew = point === "replaced" || point === "ended";
    assert.equal(backend.consistentIndex, isNew ? crashEntries : oldEntries, point);
    if (!isNew) {
      assert.deepEqual(contentsOf(backend), contentsOf(twinOf(oldEntries, crashEntryBytes)));
      // As the next start does.
      await backend.finishInstall(await backend.beginInstall(file), () => {});
    }
    assert.deepEqual(contentsOf(backend), expected, point);
    await backend.close();
  }
});
