/** The backend on LMDB against its twin in memory: the same random calls, the same answers, at every moment. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { open } from "lmdb";
import { SeededPrng } from "../../base/index.js";
import {
  Bucket,
  emptyRecordView,
  LmdbBackend,
  lmdbBackendDefaults,
  MemoryBackend,
  metaKey,
  smallBuckets,
  type Backend,
  type LmdbBackendOptions,
} from "./index.js";

const seed = Number(process.env["SEED"] ?? 4711);

function temporaryFolder(t: { after: (fn: () => void) => void }): string {
  const folder = mkdtempSync(join(tmpdir(), "etcd-ts-backend-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function openIn(folder: string, options: Partial<LmdbBackendOptions> = {}): LmdbBackend {
  const onFatal = (error: Error): void => assert.fail(error);
  return LmdbBackend.open({ directory: join(folder, "member", "lmdb"), ...lmdbBackendDefaults, onFatal, ...options });
}

function writeRecord(backend: Backend, main: number, sub: number, tombstone: boolean, value: Uint8Array): void {
  const at = backend.beginRecord(main, sub, tombstone, value.length + 10);
  backend.recordBlock.set(value, at);
  backend.endRecord(at + value.length);
}

function recordOf(backend: Backend, main: number, sub: number, tombstone: boolean): string | undefined {
  const view = emptyRecordView();
  if (!backend.readRecord(main, sub, tombstone, view)) return undefined;
  return Buffer.from(view.bytes.subarray(view.start, view.end)).toString("hex");
}

function scanAll(backend: Backend, from: { main: number; sub: number }, records: number, bytes: number): string[] {
  const found: string[] = [];
  const position = { ...from };
  const visitor = {
    visit(main: number, sub: number, tombstone: boolean, value: Uint8Array, start: number, end: number): void {
      found.push(`${main}.${sub}${tombstone ? "t" : ""} ${Buffer.from(value.subarray(start, end)).toString("hex")}`);
    },
  };
  while (backend.scanRecords(position, { records, bytes }, visitor));
  return found;
}

function entriesOf(backend: Backend, bucket: (typeof smallBuckets)[number]): string[] {
  return backend
    .entries(bucket)
    .map(({ key, value }) => `${Buffer.from(key).toString("hex")}=${Buffer.from(value).toString("hex")}`);
}

function assertEqual(lmdb: Backend, memory: Backend, prng: SeededPrng, lastMain: number): void {
  for (const bucket of smallBuckets) {
    if (bucket === Bucket.Meta) continue; // LMDB's has index and term only from the commit on
    assert.deepEqual(entriesOf(lmdb, bucket), entriesOf(memory, bucket), bucket);
  }
  const from = { main: prng.below(lastMain + 2), sub: prng.below(3) };
  const records = 1 + prng.below(20);
  const bytes = 1 + prng.below(3000);
  assert.deepEqual(scanAll(lmdb, from, records, bytes), scanAll(memory, from, 1000, Infinity));
  for (let i = 0; i < 10; i++) {
    const main = prng.below(lastMain + 3);
    const sub = prng.below(4);
    const tombstone = prng.below(3) === 0;
    assert.equal(recordOf(lmdb, main, sub, tombstone), recordOf(memory, main, sub, tombstone));
  }
}

/** One random entry, into both. Returns the last main revision. */
function randomEntry(backends: readonly Backend[], prng: SeededPrng, lastMain: number): number {
  const main = lastMain + 1;
  const changes = prng.below(5);
  let records = 0;
  for (let i = 0; i < changes; i++) {
    const value = new Uint8Array(prng.below(20) === 0 ? prng.below(300_000) : prng.below(200)).fill(prng.below(256));
    const key = Uint8Array.of(prng.below(4), prng.below(256) >> 5);
    const bucket = smallBuckets[1 + prng.below(smallBuckets.length - 1)]!;
    const kind = prng.below(4);
    const tombstone = prng.below(3) === 0;
    for (const backend of backends) {
      if (kind === 0) backend.put(bucket, key, value);
      else if (kind === 1) backend.delete(bucket, key);
      else writeRecord(backend, main, records, tombstone, value);
    }
    if (kind > 1) records++;
  }
  return records > 0 ? main : lastMain;
}

for (const transactionChangesMax of [1, 40, 1000]) {
  test(`LMDB answers as the twin in memory does, by transactions of ${transactionChangesMax} (seed ${seed})`, async (t) => {
    const folder = temporaryFolder(t);
    const prng = new SeededPrng(seed + transactionChangesMax);
    let lmdb = openIn(folder, { transactionChangesMax, batchIntervalMs: 5 });
    const memory = new MemoryBackend();
    let lastMain = 1;
    for (let index = 1; index <= 400; index++) {
      lastMain = randomEntry([lmdb, memory], prng, lastMain);
      const confState = prng.below(50) === 0 ? Uint8Array.of(prng.below(256)) : undefined;
      lmdb.endEntry(index, 1 + (index >> 6), confState);
      memory.endEntry(index, 1 + (index >> 6), confState);
      if (prng.below(8) === 0) assertEqual(lmdb, memory, prng, lastMain);
      if (prng.below(20) === 0) await lmdb.flush();
      else if (prng.below(3) === 0) await new Promise((resolve) => setImmediate(resolve));
      if (prng.below(80) === 0) {
        await lmdb.close();
        lmdb = openIn(folder, { transactionChangesMax, batchIntervalMs: 5 });
        assert.equal(lmdb.consistentIndex, index);
        assert.equal(lmdb.flushedIndex, index);
        assert.equal(lmdb.term, 1 + (index >> 6));
      }
    }
    await lmdb.flush();
    assertEqual(lmdb, memory, prng, lastMain);
    assert.deepEqual(entriesOf(lmdb, Bucket.Meta), entriesOf(memory, Bucket.Meta));
    assert.equal(lmdb.flushedIndex, 400);
    assert.equal(lmdb.overlayBytes, 0);
    await lmdb.close();
  });
}

test("an entry is not committed before it is ended", async (t) => {
  const folder = temporaryFolder(t);
  const backend = openIn(folder);
  backend.put(Bucket.Lease, Uint8Array.of(1), Uint8Array.of(1));
  backend.endEntry(1, 1);
  backend.put(Bucket.Lease, Uint8Array.of(2), Uint8Array.of(2));
  const flushed = backend.flush();
  writeRecord(backend, 2, 0, false, Uint8Array.of(7));
  backend.endEntry(2, 1);
  await flushed;
  backend.put(Bucket.Lease, Uint8Array.of(3), Uint8Array.of(3)); // of an entry that never ends
  await backend.close();
  const again = openIn(folder);
  assert.equal(again.consistentIndex, 2);
  assert.deepEqual(entriesOf(again, Bucket.Lease), ["01=01", "02=02"]);
  assert.equal(recordOf(again, 2, 0, false), "07");
  await again.close();
});

test("values larger than lmdb's buffer are read from memory, from the file and by a scan", async (t) => {
  const backend = openIn(temporaryFolder(t));
  const large = new Uint8Array(20 << 20).map((_, i) => i >> 12);
  writeRecord(backend, 2, 0, false, large);
  writeRecord(backend, 3, 0, false, Uint8Array.of(3));
  backend.endEntry(1, 1);
  const view = emptyRecordView();
  for (const place of ["memory", "file"]) {
    assert.ok(backend.readRecord(2, 0, false, view), place);
    assert.ok(Buffer.from(large).equals(view.bytes.subarray(view.start, view.end)), place);
    assert.deepEqual(scanAll(backend, { main: 3, sub: 0 }, 10, 10), ["3.0 03"]);
    assert.equal(scanAll(backend, { main: 2, sub: 0 }, 10, 10)[0], `2.0 ${Buffer.from(large).toString("hex")}`);
    await backend.flush();
  }
  await backend.close();
});

test("a file that is foreign, of another version or cut short is refused by name", async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, "member", "lmdb", "data.mdb");
  const backend = openIn(folder);
  for (let n = 1; n < 100; n++) {
    writeRecord(backend, n + 1, 0, false, new Uint8Array(2000));
    backend.endEntry(n, 1);
  }
  await backend.close();
  const sound = readFileSync(path);
  const version = Buffer.from(sound).fill(3, 28, 29);
  for (const damaged of [Buffer.alloc(16384, 7), Buffer.alloc(0), version, sound.subarray(0, 12_000)]) {
    writeFileSync(path, damaged);
    assert.throws(() => openIn(folder), /data.mdb cannot be opened: it is/);
    assert.deepEqual(readFileSync(path), damaged, "what was refused must stay as it was");
  }
  for (let length = 16_384; length < sound.length; length += 40_960) {
    writeFileSync(path, sound.subarray(0, length));
    assert.throws(() => scanAll(openIn(folder), { main: 0, sub: 0 }, 10, 10_000), /MDB_|cut short/, `${length} bytes`);
    for (const file of ["data.mdb", "lock.mdb"]) rmSync(join(folder, "member", "lmdb", file), { force: true });
  }
  writeFileSync(path, sound);
  const again = openIn(folder);
  assert.equal(again.consistentIndex, 99);
  await again.close();
});

test("an environment that was being made when the process ended is made anew", async (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, "member", "lmdb.making"), { recursive: true });
  writeFileSync(join(folder, "member", "lmdb.making", "data.mdb"), "half");
  const backend = openIn(folder);
  assert.equal(backend.consistentIndex, 0);
  await backend.close();
  assert.ok(!existsSync(join(folder, "member", "lmdb.making")));
});

test("the interval commits without a call, and the report tells of it", async (t) => {
  let onCommit: LmdbBackendOptions["onCommit"];
  const reported = new Promise<number>((resolve) => (onCommit = (report) => resolve(report.flushedIndex)));
  const backend = openIn(temporaryFolder(t), { batchIntervalMs: 10, onCommit: onCommit! });
  const interval = setInterval(() => {}, 1000); // the backend's own timer does not hold the process
  backend.endEntry(5, 2);
  assert.equal(backend.flushedIndex, 0);
  assert.equal(await reported, 5);
  assert.equal(backend.flushedIndex, 5);
  clearInterval(interval);
  await backend.close();
});

test("the overlay has a bound, and room comes with the commit", async (t) => {
  const backend = openIn(temporaryFolder(t), { overlayBytesMax: 4 << 20, batchIntervalMs: 60_000 });
  let index = 0;
  while (!backend.isFull) {
    writeRecord(backend, index + 2, 0, false, new Uint8Array(100_000));
    backend.endEntry(++index, 1);
  }
  assert.ok(index < 50, `full after ${index}`);
  await backend.room();
  assert.ok(!backend.isFull);
  await backend.close();
});

test("a record below the last one is refused, also by LMDB itself", async (t) => {
  const folder = temporaryFolder(t);
  const fatal: Error[] = [];
  const backend = openIn(folder, { onFatal: (error) => fatal.push(error) });
  writeRecord(backend, 5, 0, false, Uint8Array.of(1));
  assert.throws(() => writeRecord(backend, 4, 0, false, Uint8Array.of(1)), /not above the last one/);
  backend.endEntry(1, 1);
  await backend.flush();
  // Somebody else writes a later record behind the backend's back.
  const other = open({
    path: join(folder, "member", "lmdb"),
    noSubdir: false,
    keyEncoding: "binary",
    encoding: "binary",
  });
  const key = other.openDB<Uint8Array, Uint8Array>({ name: "key", keyEncoding: "binary", encoding: "binary" });
  await key.put(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 9, 0x5f, 0, 0, 0, 0, 0, 0, 0, 0), Uint8Array.of(1));
  writeRecord(backend, 6, 0, false, Uint8Array.of(1));
  backend.endEntry(2, 1);
  await assert.rejects(backend.flush(), /later revision/);
  assert.equal(fatal.length, 1);
  await assert.rejects(backend.room(), /later revision/);
});

test("sizes grow with what is stored and count used pages", async (t) => {
  const backend = openIn(temporaryFolder(t), { sizesAgeMsMax: 0 });
  const before = backend.sizes();
  for (let i = 0; i < 100; i++) writeRecord(backend, 2 + i, 0, false, new Uint8Array(10_000));
  for (let i = 0; i < 1000; i++) backend.put(Bucket.Lease, Uint8Array.of(i >> 8, i & 255), new Uint8Array(1000));
  backend.endEntry(1, 1);
  await backend.flush();
  const grown = backend.sizes();
  assert.ok(grown.total - before.total > 2_000_000 && grown.total - before.total < 4_000_000, `${grown.total}`);
  assert.ok(grown.inUse <= grown.total && grown.total - grown.inUse < 64 << 10, `${grown.inUse} of ${grown.total}`);
  for (let i = 0; i < 1000; i++) backend.delete(Bucket.Lease, Uint8Array.of(i >> 8, i & 255));
  backend.endEntry(2, 1);
  await backend.flush();
  const shrunk = backend.sizes();
  assert.ok(shrunk.inUse < grown.inUse - 900_000, `${shrunk.inUse} after ${grown.inUse}`);
  assert.ok(shrunk.total >= grown.total);
  await backend.close();
});

test("the twin in memory restarts as of its last flush", async () => {
  const backend = new MemoryBackend({ flushAtOnce: false });
  writeRecord(backend, 2, 0, false, Uint8Array.of(1));
  backend.put(Bucket.Lease, Uint8Array.of(1), Uint8Array.of(1));
  backend.endEntry(1, 1);
  backend.flushNow();
  writeRecord(backend, 3, 0, false, Uint8Array.of(2));
  backend.put(Bucket.Lease, Uint8Array.of(2), Uint8Array.of(2));
  backend.endEntry(2, 1);
  const flushed = backend.flush();
  const restarted = backend.crashed();
  assert.equal(restarted.consistentIndex, 1);
  assert.deepEqual(scanAll(restarted, { main: 0, sub: 0 }, 10, 1000), ["2.0 01"]);
  assert.deepEqual(entriesOf(restarted, Bucket.Lease), ["01=01"]);
  assert.ok(restarted.get(Bucket.Meta, metaKey.consistentIndex) !== undefined);
  backend.flushNow();
  await flushed;
  assert.equal(backend.crashed().consistentIndex, 2);
});
