/** Files that have rotted: each flipped bit is either found, or changes nothing that is read. */
import assert from "node:assert/strict";
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { open } from "lmdb";
import { SeededPrng } from "../../base/index.js";
import { environmentFault } from "../../native/index.js";
import {
  Bucket,
  emptyRecordView,
  LmdbBackend,
  lmdbBackendDefaults,
  MemoryBackend,
  PinnedReader,
  smallBuckets,
  StoreDamagedError,
  type Backend,
} from "./index.js";

const seed = Number(process.env["SEED"] ?? 20_261);

function temporaryFolder(t: { after: (fn: () => void) => void }): string {
  const folder = mkdtempSync(join(tmpdir(), "etcd-ts-damage-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function openIn(directory: string): LmdbBackend {
  return LmdbBackend.open({ directory, ...lmdbBackendDefaults, onFatal: (error) => assert.fail(error) });
}

function writeRecord(backend: Backend, main: number, sub: number, value: Uint8Array): void {
  const at = backend.beginRecord(main, sub, false, value.length);
  backend.recordBlock.set(value, at);
  backend.endRecord(at + value.length);
}

/** A store with branches, overflow pages, free pages, and entries in small buckets. */
async function fill(backend: Backend, prng: SeededPrng): Promise<void> {
  for (let index = 1; index <= 1_200; index++) {
    const size = prng.below(20) === 0 ? 5_000 + prng.below(9_000) : prng.below(400);
    writeRecord(backend, index, 0, Buffer.alloc(size, `${index} `));
    if (index % 3 === 0) writeRecord(backend, index, 1, Buffer.from(`second ${index}`));
    backend.put(Bucket.Lease, Buffer.from(`lease${index % 300}`), Buffer.alloc(30, `${index}`));
    if (index % 7 === 0) backend.delete(Bucket.Lease, Buffer.from(`lease${prng.below(300)}`));
    backend.endEntry(index, 1 + Math.floor(index / 500), Buffer.from(`{"voters":[${index}]}`));
    if (index % 100 === 0) await backend.flush();
  }
  for (let main = 1; main <= 400; main += 1 + prng.below(2)) backend.deleteRecord(main, 0, false);
  backend.putApart(Bucket.Meta, Buffer.from("finishedCompactRev"), Buffer.from("400"));
  await backend.flush();
}

/** All that can be read, as text. */
function contents(backend: Backend): string[] {
  const found = [`${backend.consistentIndex} ${backend.term}`];
  for (const bucket of smallBuckets) {
    for (const { key, value } of backend.entries(bucket)) {
      found.push(`${bucket} ${Buffer.from(key).toString("latin1")} ${Buffer.from(value).toString("latin1")}`);
    }
  }
  const position = { main: 0, sub: 0 };
  const visit = (main: number, sub: number, _: boolean, bytes: Uint8Array, start: number, end: number): void => {
    found.push(`${main}.${sub} ${Buffer.from(bytes.subarray(start, end)).toString("latin1")}`);
  };
  while (backend.scanRecords(position, { records: 1_000, bytes: 1 << 20 }, { visit }));
  return found;
}

/** Flips one bit to eight bytes somewhere; more often where structure is: fronts and backs of pages, meta pages. */
function damage(path: string, prng: SeededPrng): string {
  const pages = statSync(path).size / 4096;
  const page = prng.below(8) === 0 ? prng.below(2) : prng.below(pages);
  const offset = [prng.below(24), prng.below(200), 2048 + prng.below(200), prng.below(4096)][prng.below(4)]!;
  const bytes = new Uint8Array(1 + prng.below(2) * prng.below(8));
  const fd = openSync(path, "r+");
  const at = page * 4096 + Math.min(offset, 4096 - bytes.length);
  readSync(fd, bytes, 0, bytes.length, at);
  for (let i = 0; i < bytes.length; i++) bytes[i]! ^= i === 0 ? 1 << prng.below(8) : prng.below(256);
  writeSync(fd, bytes, 0, bytes.length, at);
  closeSync(fd);
  return `page ${page}, offset ${offset}, ${bytes.length} bytes`;
}

async function contentsOf(directory: string): Promise<string[]> {
  const backend = openIn(directory);
  const found = contents(backend);
  await backend.close();
  return found;
}

test("a file with flipped bits is refused, or holds what was written", async (t) => {
  t.diagnostic(`seed ${seed}`);
  const prng = new SeededPrng(seed);
  const folder = temporaryFolder(t);
  const sound = join(folder, "sound");
  const backend = openIn(sound);
  await fill(backend, prng);
  const written = contents(backend);
  await backend.close();
  assert.equal(environmentFault(join(sound, "data.mdb")), null);
  assert.deepEqual(await contentsOf(sound), written);
  let refused = 0;
  for (let round = 0; round < 600; round++) {
    const directory = join(folder, `${round}`);
    mkdirSync(directory);
    const path = join(directory, "data.mdb");
    copyFileSync(join(sound, "data.mdb"), path);
    const where = damage(path, prng);
    const before = readFileSync(path);
    try {
      const found = await contentsOf(directory);
      assert.deepEqual(found, written, where);
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      assert.match((error as Error).message, /cannot be opened: .*Nothing was changed/s, where);
      assert.ok(readFileSync(path).equals(before), "the refused file was changed");
      refused++;
    }
    rmSync(directory, { recursive: true });
  }
  t.diagnostic(`${refused} of 600 refused`);
  assert.ok(refused > 200, `only ${refused} were refused`);
});

test("a record that rots while it is in use ends what reads it, and is not sent on", async (t) => {
  const directory = join(temporaryFolder(t), "db");
  const backend = openIn(directory);
  for (let index = 1; index <= 50; index++) {
    writeRecord(backend, index, 0, Buffer.from(`value ${index} of a record`));
    backend.endEntry(index, 1);
  }
  await backend.flush();
  const path = join(directory, "data.mdb");
  const bytes = readFileSync(path);
  const fd = openSync(path, "r+");
  for (let at = bytes.indexOf("value 20 "); at !== -1; at = bytes.indexOf("value 20 ", at + 1)) {
    writeSync(fd, Buffer.from("value 21 "), 0, 9, at);
  }
  closeSync(fd);
  const view = emptyRecordView();
  assert.ok(backend.readRecord(19, 0, false, view));
  assert.throws(() => backend.readRecord(20, 0, false, view), StoreDamagedError);
  assert.throws(() => contents(backend), /revision 20\.0 of the bucket "key" fails its checksum/);
  const reader = new PinnedReader(directory);
  const read = reader.pin();
  const cursor = read.open(Bucket.Key);
  assert.throws(() => {
    while (cursor.next());
  }, StoreDamagedError);
  read.release();
  await reader.close();
  await backend.close();
});

test("an environment of another layout is refused by name", async (t) => {
  const directory = join(temporaryFolder(t), "db");
  await openIn(directory).close();
  const root = open({ path: directory, noSubdir: false, maxDbs: 30, encoding: "binary", keyEncoding: "binary" });
  const checks = root.openDB<Uint8Array, Uint8Array>({ name: "checks", encoding: "binary", keyEncoding: "binary" });
  checks.removeSync(Buffer.from("layout"));
  await root.close();
  assert.throws(() => openIn(directory), /its layout is not known to this version/);
});

test("entries that are gone as a whole are missed", async (t) => {
  const directory = join(temporaryFolder(t), "db");
  const backend = openIn(directory);
  backend.put(Bucket.Alarm, Buffer.from("one"), Buffer.from("1"));
  backend.put(Bucket.Alarm, Buffer.from("two"), Buffer.from("2"));
  backend.endEntry(1, 1);
  await backend.close();
  const root = open({ path: directory, noSubdir: false, maxDbs: 30, encoding: "binary", keyEncoding: "binary" });
  const alarm = root.openDB<Uint8Array, Uint8Array>({ name: "alarm", encoding: "binary", keyEncoding: "binary" });
  alarm.removeSync(Buffer.from("one"));
  await root.close();
  assert.throws(() => openIn(directory), /bucket "alarm" has 1 entries .* written were 2/);
});

test("the twin in memory notices what has rotted, and what is written anew is sound", async () => {
  const backend = new MemoryBackend();
  writeRecord(backend, 1, 0, Buffer.from("record"));
  backend.put(Bucket.Alarm, Buffer.from("a"), Buffer.from("1"));
  backend.endEntry(1, 1);
  assert.equal(backend.flipBit(0), "revision 1.0");
  assert.throws(() => backend.readRecord(1, 0, false, emptyRecordView()), StoreDamagedError);
  assert.throws(() => contents(backend.crashed()), StoreDamagedError);
  for (let place = 1; place < 5; place++) backend.flipBit(place);
  assert.throws(() => backend.entries(Bucket.Alarm), StoreDamagedError);
  backend.put(Bucket.Alarm, Buffer.from("a"), Buffer.from("2"));
  assert.equal(backend.entries(Bucket.Alarm).length, 1);
});
