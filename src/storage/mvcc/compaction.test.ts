/** Compaction against the slow store: what is left, what can be read, hashes, crashes at any point. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { SeededPrng } from "../../base/index.js";
import {
  Bucket,
  emptyRecordView,
  LmdbBackend,
  lmdbBackendDefaults,
  MemoryBackend,
  metaKey,
  RevisionKeyReader,
  type Backend,
} from "../backend/index.js";
import { CompactionHashes } from "./compaction-hashes.js";
import { CompactionStep, MvccStore, RevisionStatus, type Compaction } from "./index.js";
import { crc32cByTable, marshal, SlowStore } from "./slow-store.test.js";

const seed = Number(process.env["SEED"] ?? 4321);
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const openStore = (backend: Backend): Promise<MvccStore> =>
  MvccStore.open({ backend, yield: tick, crc32c: crc32cByTable });

/** A store, the slow one, and what writes to both. */
class Pair {
  readonly slow = new SlowStore();
  readonly prng: SeededPrng;
  backend: Backend;
  store: MvccStore;
  compactRevision = -1;
  index = 0;

  private constructor(backend: Backend, store: MvccStore, prng: SeededPrng) {
    this.backend = backend;
    this.store = store;
    this.prng = prng;
  }

  static async open(backend: Backend, prng: SeededPrng): Promise<Pair> {
    return new Pair(backend, await openStore(backend), prng);
  }

  async reopen(backend: Backend): Promise<void> {
    this.backend = backend;
    this.store = await openStore(backend);
  }

  endEntry(): void {
    this.backend.endEntry(++this.index, 1);
  }

  /** One entry of up to three changes; a key may be deleted and put again in it. */
  write(): void {
    const { prng, slow, store } = this;
    store.begin();
    for (let n = 1 + prng.below(3); n > 0; n--) {
      const key = String.fromCharCode(97 + prng.below(5));
      const bytes = Buffer.from(key + "value", "latin1");
      if (prng.below(3) === 0) {
        const end = prng.below(2) === 0 ? "" : "c";
        const range = Buffer.from(key + end, "latin1");
        assert.equal(store.deleteRange(range, 0, 1, 1, range.length), slow.deleteRange(key, end));
      } else {
        slow.put(key, "value", 0n);
        store.put(bytes, 0, 1, bytes, 1, bytes.length, 0, 0);
      }
    }
    slow.end();
    assert.equal(store.end(), slow.revision);
    this.endEntry();
  }

  schedule(revision: number): void {
    assert.equal(this.store.compact(revision), RevisionStatus.Ok);
    this.endEntry();
  }

  /** Ends the compaction in both; returns its hash in the slow one. */
  finish(compaction: Compaction): number {
    const { hash } = this.store.endCompaction(compaction);
    const { revision } = compaction.scheduled;
    const slow = this.slow.compact(revision, this.compactRevision);
    this.compactRevision = revision;
    assert.equal(hash, slow, `the hash of the compaction at ${revision}`);
    return slow;
  }

  /** All records of the backend, which must be the slow store's. */
  checkRecords(): void {
    const found: string[] = [];
    const visit = (
      main: number,
      sub: number,
      tombstone: boolean,
      bytes: Uint8Array,
      start: number,
      end: number,
    ): void =>
      void found.push(
        `${main}.${sub}${tombstone ? "t" : ""} ${Buffer.from(bytes.subarray(start, end)).toString("hex")}`,
      );
    const position = { main: 0, sub: 0 };
    while (this.backend.scanRecords(position, { records: 7, bytes: 1000 }, { visit }));
    const expected = this.slow.records.map(
      (record) => `${record.main}.${record.sub}${record.tombstone ? "t" : ""} ${marshal(record).toString("hex")}`,
    );
    assert.deepEqual(found, expected);
  }

  /** Every revision from the compacted one on reads as before. */
  checkReads(): void {
    const view = emptyRecordView();
    for (let revision = Math.max(1, this.compactRevision); revision <= this.slow.revision; revision++) {
      assert.equal(this.store.checkRevision(revision), RevisionStatus.Ok);
      const alive = new Map(this.slow.at(revision).map((record) => [record.key, record]));
      for (const key of "abcde") {
        const found = this.store.readKey(Buffer.from(key), 0, 1, revision, view);
        const record = alive.get(key);
        assert.equal(found, record !== undefined, `${key} at ${revision}`);
        if (record === undefined) continue;
        assert.equal(
          Buffer.from(view.bytes.subarray(view.start, view.end)).toString("hex"),
          marshal(record).toString("hex"),
        );
        assert.deepEqual([this.store.foundCreateRevision, this.store.foundVersion], [record.create, record.version]);
      }
    }
    if (this.compactRevision > 1) {
      assert.equal(this.store.checkRevision(this.compactRevision - 1), RevisionStatus.Compacted);
    }
  }

  async checkHashes(): Promise<void> {
    for (let revision = Math.max(1, this.compactRevision); revision <= this.slow.revision; revision++) {
      if (this.store.compactionHashes.find(revision) !== undefined) continue;
      const { hash, compactRevision } = await this.store.hashKv(revision);
      assert.deepEqual([hash, compactRevision], [this.slow.hash(revision, this.compactRevision), this.compactRevision]);
    }
  }
}

/** Steps of a compaction, with `between` after each. */
async function run(compaction: Compaction, chunkMax: number, between: () => void, backend: Backend): Promise<void> {
  while (compaction.stepIndex()) between();
  await backend.flush();
  while (compaction.stepRecords(chunkMax) !== CompactionStep.Done) between();
}

const openLmdb = (directory: string): Backend =>
  LmdbBackend.open({ directory, ...lmdbBackendDefaults, onFatal: (error) => assert.fail(error.message) });

for (const kind of ["memory", "LMDB"]) {
  test(`compaction at any revision, with writes between its steps: ${kind} (seed ${seed})`, async () => {
    const folder = mkdtempSync(join(tmpdir(), "compaction-"));
    const open = (): Backend => (kind === "memory" ? new MemoryBackend() : openLmdb(join(folder, "db")));
    const pair = await Pair.open(open(), new SeededPrng(seed));
    for (let round = 0; round < 40; round++) {
      for (let n = pair.prng.below(12); n > 0; n--) pair.write();
      const low = Math.max(0, pair.compactRevision + 1);
      if (low > pair.slow.revision) continue;
      pair.schedule(low + pair.prng.below(pair.slow.revision - low + 1));
      const compaction = pair.store.beginCompaction()!;
      const writes = pair.prng.below(2) === 0;
      await run(
        compaction,
        1 + pair.prng.below(5),
        () => writes && pair.prng.below(3) === 0 && pair.write(),
        pair.backend,
      );
      const hash = pair.finish(compaction);
      await pair.backend.flush();
      pair.checkRecords();
      pair.checkReads();
      await pair.checkHashes();
      const cached = await pair.store.hashKv(compaction.scheduled.revision);
      assert.equal(cached.hash, compaction.scheduled.revision === 0 ? cached.hash : hash);
      if (round % 5 !== 4) continue;
      // A restart reads the same from what is left.
      if (kind === "LMDB") await pair.backend.close();
      await pair.reopen(kind === "LMDB" ? open() : (pair.backend as MemoryBackend).crashed());
      pair.checkReads();
      await pair.checkHashes();
    }
    await pair.backend.close();
    rmSync(folder, { recursive: true });
  });
}

test(`a crash at any step of a compaction: it is resumed and ends the same (seed ${seed})`, async () => {
  for (let crashAt = 0; crashAt < 30; crashAt++) {
    const backend = new MemoryBackend({ flushAtOnce: false });
    const pair = await Pair.open(backend, new SeededPrng(seed + crashAt));
    for (let n = 0; n < 15; n++) pair.write();
    const target = 1 + pair.prng.below(pair.slow.revision);
    pair.schedule(target);
    backend.commit();
    backend.flushNow();
    const compaction = pair.store.beginCompaction()!;
    let steps = 0;
    while (compaction.stepIndex()) steps++;
    while (steps++ < crashAt && compaction.stepRecords(1) !== CompactionStep.Done) {
      backend.commit();
      if (pair.prng.below(2) === 0) backend.flushNow();
    }
    await pair.reopen(backend.crashed());
    assert.deepEqual(
      pair.store.pendingCompactions.map(({ revision, hashes }) => [revision, hashes]),
      [[target, false]],
    );
    assert.equal(pair.store.compactRevision, target);
    const resumed = pair.store.beginCompaction()!;
    while (resumed.stepIndex());
    while (resumed.stepRecords(3) !== CompactionStep.Done);
    pair.store.endCompaction(resumed);
    pair.slow.compact(target, -1);
    pair.compactRevision = target;
    pair.checkRecords();
    pair.checkReads();
    await pair.checkHashes();
    // Its hash would tell of less than all since the last one.
    assert.equal(pair.store.compactionHashes.all().length, 0);
  }
});

test("what cannot be compacted, and what is written to meta", async () => {
  const backend = new MemoryBackend();
  const pair = await Pair.open(backend, new SeededPrng(seed));
  assert.equal(pair.store.compact(-1), RevisionStatus.Compacted);
  assert.equal(pair.store.compact(2), RevisionStatus.Future);
  while (pair.slow.revision < 5) pair.write();
  pair.schedule(4);
  assert.equal(pair.store.compact(4), RevisionStatus.Compacted);
  assert.equal(pair.store.compact(pair.slow.revision + 1), RevisionStatus.Future);
  const reader = new RevisionKeyReader();
  const readMeta = (key: Uint8Array): number => {
    const value = backend.get(Bucket.Meta, key);
    if (value === undefined) return -1;
    reader.read(value, 0, value.length);
    return reader.main;
  };
  assert.deepEqual([readMeta(metaKey.scheduledCompactRevision), readMeta(metaKey.finishedCompactRevision)], [4, -1]);
  pair.schedule(5);
  const first = pair.store.beginCompaction()!;
  await run(first, 1000, () => {}, backend);
  pair.finish(first);
  assert.deepEqual([readMeta(metaKey.scheduledCompactRevision), readMeta(metaKey.finishedCompactRevision)], [5, 4]);
  const second = pair.store.beginCompaction()!;
  await run(second, 1000, () => {}, backend);
  pair.finish(second);
  assert.equal(readMeta(metaKey.finishedCompactRevision), 5);
  assert.equal(pair.store.beginCompaction(), undefined);
  // The second was scheduled before the first had finished.
  assert.deepEqual(
    pair.store.compactionHashes.all().map(({ revision }) => revision),
    [4],
  );
});

test("a compaction to revision 0 that a restart has cut short never was; one that has finished is not repeated", async () => {
  const backend = new MemoryBackend();
  const pair = await Pair.open(backend, new SeededPrng(seed));
  pair.write();
  assert.equal(pair.store.compact(0), RevisionStatus.Ok);
  backend.endEntry(backend.consistentIndex + 1, 1);
  const again = await Pair.open(backend.crashed(), new SeededPrng(seed));
  assert.deepEqual([again.store.compactRevision, again.store.pendingCompactions], [-1, []]);
  const compaction = pair.store.beginCompaction()!;
  await run(compaction, 1000, () => {}, backend);
  pair.store.endCompaction(compaction);
  await backend.flush();
  const done = await Pair.open(backend.crashed(), new SeededPrng(seed));
  assert.deepEqual([done.store.compactRevision, done.store.compact(0)], [0, RevisionStatus.Compacted]);
});

test("index and records are gone through in slices of at most 1,000", async () => {
  const backend = new MemoryBackend();
  const store = await openStore(backend);
  const keys = 5000;
  for (let n = 0; n < 2 * keys; n++) {
    const bytes = Buffer.from(`${n % keys}`.padStart(8, "0"));
    store.begin();
    store.put(bytes, 0, bytes.length, bytes, 0, 0, 0, 0);
    store.end();
    backend.endEntry(n + 1, 1);
  }
  assert.equal(store.compact(store.currentRevision), RevisionStatus.Ok);
  backend.endEntry(2 * keys + 1, 1);
  const compaction = store.beginCompaction()!;
  let indexSlices = 1;
  while (compaction.stepIndex()) indexSlices++;
  let recordSlices = 1;
  while (compaction.stepRecords(2 * keys) !== CompactionStep.Done) recordSlices++;
  assert.equal(compaction.removed, keys);
  assert.ok(indexSlices >= keys / 1000, `${indexSlices} slices of the index`);
  assert.ok(recordSlices >= (2 * keys) / 1000, `${recordSlices} slices of the records`);
});

test("ten hashes are kept, those of the highest revisions, in order", () => {
  const hashes = new CompactionHashes();
  for (const revision of [7, 90, 20, 30, 40, 50, 60, 70, 80, 10, 5, 100]) {
    hashes.store({ hash: revision, compactRevision: 1, revision });
  }
  assert.deepEqual(
    hashes.all().map(({ revision }) => revision),
    [10, 20, 30, 40, 50, 60, 70, 80, 90, 100],
  );
  assert.deepEqual([hashes.find(10)?.hash, hashes.find(7)], [10, undefined]);
});

test("a HashKV under way when a compaction is scheduled begins anew", async () => {
  const pair = await Pair.open(new MemoryBackend(), new SeededPrng(seed + 1));
  while (pair.slow.revision < 2500) pair.write();
  const hashed = pair.store.hashKv(0);
  const old = pair.store.hashKv(10);
  pair.schedule(2000);
  const compaction = pair.store.beginCompaction()!;
  await run(compaction, 1000, () => {}, pair.backend);
  pair.finish(compaction);
  const result = await hashed;
  assert.deepEqual([result.hash, result.compactRevision], [pair.slow.hash(pair.slow.revision, 2000), 2000]);
  assert.equal((await old).status, RevisionStatus.Compacted);
});

test("Hash is of all buckets, without the keys of meta that differ between members", async () => {
  const backend = new MemoryBackend();
  const pair = await Pair.open(backend, new SeededPrng(seed + 2));
  for (let n = 0; n < 10; n++) pair.write();
  backend.put(Bucket.Alarm, Buffer.from("alarm"), Buffer.from("1"));
  backend.put(Bucket.Meta, metaKey.confState, Buffer.from("{}"));
  backend.put(Bucket.Meta, metaKey.storageVersion, Buffer.from("3.7.0"));
  pair.endEntry();
  const parts: Buffer[] = [Buffer.from("alarmalarm1authauthRolesauthUsersclusterkey")];
  for (const record of pair.slow.records) {
    const key = Buffer.alloc(record.tombstone ? 18 : 17, "t");
    key.writeBigUInt64BE(BigInt(record.main), 0);
    key.write("_", 8);
    key.writeBigUInt64BE(BigInt(record.sub), 9);
    parts.push(key, marshal(record));
  }
  parts.push(Buffer.from("leasemembersmembers_removedmetaconfState{}"));
  assert.equal(await pair.store.hash(), crc32cByTable(0, Buffer.concat(parts)));
  pair.write();
  assert.notEqual(await pair.store.hash(), crc32cByTable(0, Buffer.concat(parts)));
});

test("Hash takes leases from their table in pieces, as of the call, and pauses between", async () => {
  const backend = new MemoryBackend();
  backend.put(Bucket.Lease, Buffer.from("12345678"), Buffer.from("lease"));
  backend.endEntry(1, 1);
  let pauses = 0;
  const options = {
    backend,
    crc32c: crc32cByTable,
    yield: (): Promise<void> => {
      pauses++;
      return Promise.resolve();
    },
  };
  const plain = await MvccStore.open(options);
  const expected = await plain.hash();
  const pieces = ["1234", "", "5678lea", "", "", "se"].map((text) => Buffer.from(text));
  const keyLeases = { keyPut: () => {}, keyDeleted: () => {}, bucketBytes: () => pieces };
  const sliced = await MvccStore.open({ ...options, keyLeases });
  pauses = 0;
  assert.equal(await sliced.hash(), expected);
  assert.ok(pauses >= pieces.length, `${pauses} pauses`);
});
