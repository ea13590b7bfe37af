/**
 * What survives: a process killed at any moment leaves whole entries; `flushedIndex` moves only after the
 * kernel has confirmed the flush; a flush that fails is reported. The last two watch and disturb the
 * system calls with strace and are skipped where it is missing.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Bucket, emptyRecordView, LmdbBackend, lmdbBackendDefaults, type LmdbBackendOptions } from "./index.js";

const thisFile = fileURLToPath(import.meta.url);
const role = process.env["BACKEND_TEST_ROLE"];
const hasStrace = spawnSync("strace", ["-o", "/dev/null", "true"]).status === 0;
const rounds = 8;

function openIn(directory: string, options: Partial<LmdbBackendOptions> = {}): LmdbBackend {
  const onFatal = (error: Error): void => console.log(`fatal ${error.message}`);
  return LmdbBackend.open({ directory: join(directory, "lmdb"), ...lmdbBackendDefaults, onFatal, ...options });
}

/** Entry n: records (n + 1).0 and (n + 1).1, and n in the lease bucket. */
function writeEntry(backend: LmdbBackend, n: number): void {
  for (let sub = 0; sub < 2; sub++) {
    const at = backend.beginRecord(n + 1, sub, sub === 1, 200);
    backend.recordBlock.fill(n & 255, at, at + 100);
    backend.endRecord(at + 100);
  }
  backend.put(Bucket.Lease, Uint8Array.of(1), Buffer.from(String(n)));
  backend.endEntry(n, 1 + (n >> 10));
}

/** Writes entries until killed; says what is flushed. */
async function writeForEver(): Promise<void> {
  const backend = openIn(process.env["BACKEND_TEST_FOLDER"]!, {
    transactionChangesMax: 100,
    batchIntervalMs: 3,
    onCommit: (report) => console.log(`flushed ${report.flushedIndex}`),
  });
  for (let n = backend.consistentIndex + 1; ;) {
    for (let i = 0; i < 20; i++) writeEntry(backend, n++);
    await new Promise((resolve) => setImmediate(resolve));
    if (backend.isFull) await backend.room();
  }
}

/** Commits ten times; each flush is marked in the trace. */
async function writeMarked(): Promise<void> {
  const backend = openIn(process.env["BACKEND_TEST_FOLDER"]!, { batchIntervalMs: 60_000 });
  for (let n = 1; n <= 10; n++) {
    writeEntry(backend, n);
    writeSync(1, `begin ${n}\n`);
    try {
      await backend.flush();
    } catch (error) {
      writeSync(1, `rejected ${n} ${(error as Error).message}\n`);
      process.kill(process.pid, "SIGKILL");
    }
    writeSync(1, `flushed ${n}\n`);
  }
  await backend.close();
}

function child(kind: string, folder: string, trace: readonly string[] = []): ChildProcess {
  // strace counts calls by thread, so the pool has one.
  const pool = trace.length > 0 ? { UV_THREADPOOL_SIZE: "1" } : {};
  const environment = { ...process.env, ...pool, BACKEND_TEST_ROLE: kind, BACKEND_TEST_FOLDER: folder };
  const [command, ...rest] = [...trace, process.execPath, thisFile];
  return spawn(command!, rest, { env: environment, stdio: ["ignore", "pipe", "inherit"] });
}

/** What the folder holds must be the state after some entry. */
function assertWhole(folder: string, flushed: number): Promise<void> {
  const backend = openIn(folder);
  const index = backend.consistentIndex;
  assert.ok(index >= flushed, `entry ${flushed} was flushed, but ${index} is found`);
  assert.equal(backend.term, 1 + (index >> 10));
  assert.equal(Buffer.from(backend.get(Bucket.Lease, Uint8Array.of(1))!).toString(), String(index));
  const view = emptyRecordView();
  for (const n of [1, (index + 1) >> 1, index]) {
    assert.ok(backend.readRecord(n + 1, 0, false, view), `record of entry ${n} at ${index}`);
    assert.equal(view.end - view.start, 100);
    assert.equal(view.bytes[view.start], n & 255);
    assert.ok(backend.readRecord(n + 1, 1, true, view), `tombstone of entry ${n} at ${index}`);
  }
  assert.ok(!backend.readRecord(index + 2, 0, false, view), "a record of an entry that is not there");
  return backend.close();
}

async function killedLeavesWholeEntries(folder: string): Promise<void> {
  let flushed = 0;
  for (let round = 0; round < rounds; round++) {
    const writer = child("writeForEver", folder);
    const goal = flushed + 500 + round * 700;
    for await (const line of createInterface({ input: writer.stdout! })) {
      flushed = Math.max(flushed, Number(line.split(" ")[1]));
      if (flushed >= goal) writer.kill("SIGKILL");
    }
    await assertWhole(folder, flushed);
  }
}

/** The lines of the trace that matter, as words. */
function traceEvents(path: string): string[] {
  const events: string[] = [];
  for (const line of readFileSync(path, "utf8").split("\n")) {
    const mark = /write\(1, "(begin|flushed) (\d+)/.exec(line);
    if (mark !== null) events.push(`${mark[1]} ${mark[2]}`);
    else if (/fdatasync\(.*= 0$|fdatasync resumed>.*= 0$/.test(line)) events.push("synced");
    else if (/pwrite64\(\d+, .*, 128, 2088\)/.test(line)) events.push("meta");
  }
  return events;
}

async function flushedFollowsSync(folder: string): Promise<void> {
  const trace = join(folder, "trace");
  const writer = child("writeMarked", folder, ["strace", "-f", "-e", "trace=fdatasync,pwrite64,write", "-o", trace]);
  writer.stdout!.resume();
  assert.deepEqual(await once(writer, "exit"), [0, null]);
  const events = traceEvents(trace);
  for (let n = 1; n <= 10; n++) {
    const between = events.slice(events.indexOf(`begin ${n}`) + 1, events.indexOf(`flushed ${n}`));
    const synced = between.indexOf("synced");
    assert.ok(synced >= 0, `no fdatasync before entry ${n} was called flushed: ${between.join(", ")}`);
    assert.ok(between.indexOf("meta", synced) > synced, `the flushed meta page of ${n} was not written after it`);
  }
}

async function failedCallIsFatal(folder: string, inject: string, expected: RegExp): Promise<void> {
  await openIn(folder).close(); // making the files is not what is to fail
  const writer = child("writeMarked", folder, ["strace", "-f", "-o", "/dev/null", "-e", `inject=${inject}`]);
  const lines: string[] = [];
  for await (const line of createInterface({ input: writer.stdout! })) lines.push(line);
  assert.match(lines.find((line) => line.startsWith("fatal")) ?? "nothing", expected);
  const last = lines.at(-1)!;
  assert.match(last, /^rejected \d+/);
  assert.ok(!lines.includes(`flushed ${last.split(" ")[1]}`));
  const flushed = lines.filter((line) => line.startsWith("flushed")).length;
  await assertWhole(folder, flushed);
}

function inFolder(run: (folder: string) => Promise<void>): () => Promise<void> {
  return async () => {
    const folder = mkdtempSync(join(tmpdir(), "etcd-ts-durability-"));
    try {
      await run(folder);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  };
}

if (role === "writeForEver") await writeForEver();
else if (role === "writeMarked") await writeMarked();
else {
  const skip = hasStrace ? false : "strace is not installed";
  test("kill -9 leaves whole entries and nothing flushed is lost", inFolder(killedLeavesWholeEntries));
  test("flushed comes after fdatasync and the meta page", { skip }, inFolder(flushedFollowsSync));
  test(
    "a flush that fails is fatal",
    { skip },
    inFolder((folder) => failedCallIsFatal(folder, "fdatasync:error=EIO:when=4+", /EIO/)),
  );
  // Ten commits: pages by lseek and writev, then the meta page and the flushed meta page by pwrite64.
  for (const inject of [
    "writev:error=ENOSPC:when=7+",
    "pwrite64:error=ENOSPC:when=9+",
    "pwrite64:error=ENOSPC:when=10+",
  ]) {
    const run = inFolder((folder) => failedCallIsFatal(folder, inject, /ENOSPC|EIO|MDB_PANIC|No space/));
    test(`a full disk is fatal: ${inject}`, { skip }, run);
  }
}
