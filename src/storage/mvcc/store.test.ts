/** The store against the slow one: random histories, old revisions, slices, restarts, hashes. */
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
  revisionKey,
  type Backend,
} from "../backend/index.js";
import { KeyValueReader, MvccStore, RevisionStatus, type RangeQuery, type RangeScan } from "./index.js";
import { crc32cByTable, marshal, SlowStore, type SlowRecord } from "./slow-store.test.js";

const seed = Number(process.env["SEED"] ?? 1234);
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function openStore(backend: Backend): Promise<MvccStore> {
  return MvccStore.open({ backend, yield: tick, crc32c: crc32cByTable });
}

/** Both stores, and the log index of the last entry. */
class Pair {
  readonly slow = new SlowStore();
  readonly prng: SeededPrng;
  backend: Backend;
  store: MvccStore;
  scan: RangeScan;
  index = 0;

  private constructor(backend: Backend, store: MvccStore, prng: SeededPrng) {
    this.backend = backend;
    this.store = store;
    this.scan = store.newRangeScan();
    this.prng = prng;
  }

  static async open(backend: Backend, prng: SeededPrng): Promise<Pair> {
    return new Pair(backend, await openStore(backend), prng);
  }

  async reopen(backend: Backend): Promise<void> {
    this.backend = backend;
    this.store = await openStore(backend);
    this.scan = this.store.newRangeScan();
  }

  key(): string {
    const key = String.fromCharCode(97 + this.prng.below(6)) + "/" + this.prng.below(4);
    return this.prng.below(30) === 0 ? key.padEnd(900, "x\xff\0") : key;
  }

  end(from: string): string {
    return ["", "\0", from + "\0", "d", "c/2"][this.prng.below(5)]!;
  }

  revision(): number {
    return this.prng.below(3) === 0 ? 0 : 1 + this.prng.below(this.slow.revision);
  }

  put(): void {
    const key = this.key();
    const length = [0, 1, 100, 127, 128, 20_000][this.prng.below(6)]!;
    const value = String.fromCharCode(this.prng.below(256)).repeat(length);
    const lease = this.prng.below(3) === 0 ? (BigInt(this.prng.uint32()) << 31n) | BigInt(this.prng.uint32()) : 0n;
    this.slow.put(key, value, lease);
    const bytes = Buffer.from(key + value, "latin1");
    const low = Number(lease & 0xffff_ffffn);
    this.store.put(bytes, 0, key.length, bytes, key.length, bytes.length, low, Number(lease >> 32n));
  }

  deleteRange(): void {
    const from = this.key();
    const end = this.end(from);
    const bytes = Buffer.from(from + end, "latin1");
    if (end === "" && this.prng.below(2) === 0) {
      const changes = this.store.changeCount;
      this.store.deleteKey(bytes, 0, from.length);
      assert.equal(this.store.changeCount - changes, this.slow.deleteRange(from, end));
      return;
    }
    const deleted = this.store.deleteRange(bytes, 0, from.length, from.length, bytes.length);
    assert.equal(deleted, this.slow.deleteRange(from, end));
  }

  /** One entry with a write transaction, reads in it included; with `putsFirst` no key is put after its delete. */
  writeEntry(putsFirst = false): void {
    const before = this.slow.records.length;
    const changes: string[] = [];
    const view = emptyRecordView();
    this.store.onChanges = (txn) => {
      assert.equal(txn.revision, this.slow.revision + 1);
      for (let i = 0; i < txn.count; i++) {
        txn.read(i, view);
        changes.push(`${txn.isDelete(i)} ${textOf(view)}`);
      }
    };
    this.store.begin();
    for (let ops = this.prng.below(4); ops >= 0; ops--) {
      const deletes = putsFirst ? ops === 0 : true;
      if (deletes && this.prng.below(4) === 0) this.deleteRange();
      else this.put();
      if (this.prng.below(3) === 0) this.checkRange();
      if (this.prng.below(3) === 0) this.checkKey();
    }
    const written = this.slow.records.slice(before);
    const revision = this.store.end();
    this.slow.end();
    assert.equal(revision, this.slow.revision);
    assert.deepEqual(
      changes,
      written.map((record) => `${record.tombstone} ${marshal(record).toString("hex")}`),
    );
    this.backend.endEntry(++this.index, 1);
  }

  checkKey(): void {
    const key = this.key();
    const revision = this.revision();
    const bytes = Buffer.from(key, "latin1");
    const view = emptyRecordView();
    const expected = this.slow.at(revision || Infinity, key, "")[0];
    assert.equal(this.store.readKey(bytes, 0, bytes.length, revision, view), expected !== undefined);
    if (expected === undefined) return;
    assert.equal(textOf(view), marshal(expected).toString("hex"));
    const { foundModRevision, foundCreateRevision, foundVersion } = this.store;
    assert.deepEqual(
      [foundModRevision, foundCreateRevision, foundVersion],
      [expected.main, expected.create, expected.version],
    );
    checkReader(view, expected);
  }

  query(): RangeQuery & { from: string; end: string } {
    const from = this.key();
    const end = this.end(from);
    const bytes = Buffer.from(from + end, "latin1");
    const places = { bytes, keyStart: 0, keyEnd: from.length, endStart: from.length, endEnd: bytes.length };
    const limit = this.prng.below(3) === 0 ? 0 : 1 + this.prng.below(6);
    const kind = this.prng.below(4);
    const wanted = { count: this.prng.below(2) === 0, countOnly: kind === 0, keysOnly: kind === 1 };
    return { ...places, ...wanted, revision: this.revision(), limit, from, end };
  }

  /** Reads a range in random slices; `between` runs between them. */
  checkRange(between: () => void = () => {}, scan = this.scan): void {
    const query = this.query();
    const expected = this.slow.at(query.revision || Infinity, query.from, query.end);
    assert.equal(scan.start(query), RevisionStatus.Ok);
    const wrong = query.bytes.fill(0xff); // it has been copied
    assert.ok(wrong.length >= 0);
    const found: string[] = [];
    const sink = {
      record: (bytes: Uint8Array, start: number, end: number): void =>
        void found.push(Buffer.from(bytes.subarray(start, end)).toString("hex")),
    };
    while (!scan.next(sink, { keys: 1 + this.prng.below(8), bytes: 1 + this.prng.below(2000) })) between();
    const limit = query.countOnly ? 0 : query.limit || Infinity;
    const shown = expected
      .slice(0, limit)
      .map((record) => (query.keysOnly ? { ...record, value: "", lease: 0n } : record));
    assert.deepEqual(
      found,
      shown.map((record) => marshal(record).toString("hex")),
    );
    assert.equal(scan.returned, shown.length);
    assert.equal(scan.more, !query.countOnly && expected.length > shown.length);
    if (query.count || query.countOnly || query.limit === 0) assert.equal(scan.count, expected.length);
  }

  async checkHash(): Promise<void> {
    const revision = this.revision();
    const { status, hash, revision: hashed } = await this.store.hashKv(revision);
    assert.equal(status, RevisionStatus.Ok);
    assert.equal(hashed, revision || this.slow.revision);
    assert.equal(hash, this.slow.hash(hashed, this.store.compactRevision));
  }
}

function textOf(view: { bytes: Uint8Array; start: number; end: number }): string {
  return Buffer.from(view.bytes.subarray(view.start, view.end)).toString("hex");
}

function checkReader(view: { bytes: Uint8Array; start: number; end: number }, expected: SlowRecord): void {
  const reader = new KeyValueReader();
  reader.readView(view);
  const slice = (start: number, end: number): string =>
    Buffer.from(reader.bytes.subarray(start, end)).toString("latin1");
  assert.equal(slice(reader.keyStart, reader.keyEnd), expected.key);
  assert.equal(slice(reader.valueStart, reader.valueEnd), expected.value);
  assert.equal((BigInt(reader.leaseHigh) << 32n) | BigInt(reader.leaseLow), expected.lease);
  const numbers = [reader.createRevision, reader.modRevision, reader.version];
  assert.deepEqual(numbers, [expected.create, expected.main, expected.version]);
}

async function step(pair: Pair): Promise<void> {
  pair.writeEntry();
  assert.equal(pair.store.currentRevision, pair.slow.revision);
  if (pair.prng.below(2) === 0) pair.checkRange();
  if (pair.prng.below(4) === 0) pair.checkRange(() => pair.writeEntry(), pair.store.newRangeScan());
  pair.checkKey();
  if (pair.prng.below(25) === 0) await pair.checkHash();
}

test(`a random history in memory, with restarts (seed ${seed})`, async () => {
  const pair = await Pair.open(new MemoryBackend(), new SeededPrng(seed));
  for (let i = 0; i < 300; i++) {
    await step(pair);
    if (pair.prng.below(40) === 0) await pair.reopen((pair.backend as MemoryBackend).crashed());
  }
});

test(`a random history on LMDB, with commits at any moment and restarts (seed ${seed})`, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "etcd-ts-store-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const onFatal = (error: Error): void => assert.fail(error);
  const options = {
    directory: join(directory, "lmdb"),
    ...lmdbBackendDefaults,
    transactionChangesMax: 20,
    batchIntervalMs: 2,
    onFatal,
  };
  const pair = await Pair.open(LmdbBackend.open(options), new SeededPrng(seed + 1));
  for (let i = 0; i < 300; i++) {
    await step(pair);
    if (pair.prng.below(3) === 0) await tick();
    if (pair.prng.below(20) === 0) await pair.backend.flush();
    if (pair.prng.below(60) > 0) continue;
    await pair.backend.close();
    await pair.reopen(LmdbBackend.open(options));
  }
  await pair.backend.close();
});

test(`a crash restarts at the flushed entry's revision, and its entries can be applied again (seed ${seed})`, async () => {
  const backend = new MemoryBackend({ flushAtOnce: false });
  const pair = await Pair.open(backend, new SeededPrng(seed + 2));
  const revisions = [1];
  for (let i = 0; i < 50; i++) {
    pair.writeEntry();
    revisions.push(pair.slow.revision);
    if (pair.prng.below(10) === 0) backend.flushNow();
    const crashed = backend.crashed();
    const store = await openStore(crashed);
    assert.equal(store.currentRevision, revisions[crashed.consistentIndex]);
  }
});

test("revisions: an empty store, futures, compactions finished and interrupted", async () => {
  const backend = new MemoryBackend();
  const empty = await openStore(backend);
  assert.deepEqual([empty.currentRevision, empty.compactRevision, empty.pendingCompactions.length], [1, -1, 0]);
  assert.equal(empty.checkRevision(1), RevisionStatus.Ok);
  assert.equal(empty.checkRevision(-5), RevisionStatus.Ok);
  assert.equal(empty.checkRevision(2), RevisionStatus.Future);
  empty.begin();
  assert.equal(empty.end(), 1);
  backend.put(Bucket.Meta, metaKey.finishedCompactRevision, revisionKey(7, 0));
  const finished = await openStore(backend);
  assert.deepEqual([finished.currentRevision, finished.compactRevision, finished.pendingCompactions.length], [7, 7, 0]);
  assert.equal(finished.checkRevision(6), RevisionStatus.Compacted);
  assert.equal(finished.checkRevision(7), RevisionStatus.Ok);
  assert.equal((await finished.hashKv(6)).status, RevisionStatus.Compacted);
  assert.equal((await finished.hashKv(8)).status, RevisionStatus.Future);
  backend.put(Bucket.Meta, metaKey.scheduledCompactRevision, revisionKey(9, 0));
  const pending = await openStore(backend);
  assert.deepEqual(
    [pending.currentRevision, pending.compactRevision, pending.pendingCompactions[0]?.revision],
    [9, 9, 9],
  );
});

test(`hashes with a compaction scheduled at any revision (seed ${seed})`, async () => {
  const pair = await Pair.open(new MemoryBackend(), new SeededPrng(seed + 3));
  for (let i = 0; i < 60; i++) pair.writeEntry(true);
  for (let compact = 1; compact <= pair.slow.revision; compact++) {
    pair.backend.put(Bucket.Meta, metaKey.scheduledCompactRevision, revisionKey(compact, 0));
    await pair.reopen(pair.backend);
    for (const revision of [compact, pair.slow.revision, compact + pair.prng.below(pair.slow.revision - compact + 1)]) {
      const { hash, compactRevision } = await pair.store.hashKv(revision);
      assert.equal(compactRevision, compact);
      assert.equal(hash, pair.slow.hash(revision, compact), `at ${revision}, compacted at ${compact}`);
    }
  }
});

test("hashes: of nothing, of a negative revision, and those that compactions left", async () => {
  const pair = await Pair.open(new MemoryBackend(), new SeededPrng(seed + 4));
  assert.equal((await pair.store.hashKv(0)).hash, 1084519789);
  for (let i = 0; i < 12; i++) pair.writeEntry();
  assert.equal((await pair.store.hashKv(-3)).hash, 1084519789);
  for (let revision = 12; revision >= 1; revision--) {
    pair.store.compactionHashes.store({ hash: revision, revision, compactRevision: revision - 1 });
  }
  assert.equal(pair.store.compactionHashes.all().length, 10);
  const kept = await pair.store.hashKv(5);
  assert.deepEqual([kept.hash, kept.compactRevision, kept.currentRevision], [5, 4, pair.slow.revision]);
  assert.equal((await pair.store.hashKv(2)).hash, pair.slow.hash(2, -1));
});

test("a delete of a range in slices is the delete of the range", async () => {
  const pair = await Pair.open(new MemoryBackend(), new SeededPrng(seed + 5));
  for (let i = 0; i < 40; i++) pair.writeEntry();
  const alive = pair.slow.at(Infinity, "b", "e").length;
  pair.store.begin();
  pair.store.beginDeleteRange(Buffer.from("be"), 0, 1, 1, 2);
  let deleted = 0;
  for (let found = pair.store.deleteNext(2); found !== -1; found = pair.store.deleteNext(2)) deleted += found;
  pair.store.end();
  assert.equal(deleted, alive);
  assert.equal(pair.slow.deleteRange("b", "e"), alive);
  pair.slow.end();
  assert.equal((await pair.store.hashKv(0)).hash, pair.slow.hash(pair.slow.revision, -1));
});

/** The history that a real etcd 3.7.1 was given by etcdctl; the hashes below are its answers. */
function etcdHistory(store: MvccStore): void {
  const put = (key: string, value: string, leaseLow = 0, leaseHigh = 0): void => {
    const bytes = Buffer.from(key + value);
    store.put(bytes, 0, key.length, bytes, key.length, bytes.length, leaseLow, leaseHigh);
  };
  const remove = (key: string, end = ""): void => {
    const bytes = Buffer.from(key + end);
    store.deleteRange(bytes, 0, key.length, key.length, bytes.length);
  };
  const transactions: (() => void)[] = [
    () => put("a", "1"),
    () => put("b", ""),
    () => put("a", "2"),
    () => put("c", "leased", 0x7a207d06, 0x3acea1fd),
    () => remove("a"),
    () => put("a", "3"),
    () => [put("x", "1"), put("y", "2"), remove("b")],
    () => remove("x", "\0"),
  ];
  for (const transaction of transactions) putAlone(store, transaction);
}

function putAlone(store: MvccStore, transaction: () => void): void {
  store.begin();
  transaction();
  store.end();
}

async function compactedAt(backend: Backend, revision: number): Promise<MvccStore> {
  backend.put(Bucket.Meta, metaKey.scheduledCompactRevision, revisionKey(revision, 0));
  return openStore(backend);
}

function putZ(store: MvccStore, value: string): void {
  const bytes = Buffer.from("z" + value);
  putAlone(store, () => store.put(bytes, 0, 1, bytes, 1, 2, 0, 0));
}

test("hashes are those of a real etcd for one history", async () => {
  const backend = new MemoryBackend();
  let store = await openStore(backend);
  etcdHistory(store);
  assert.equal((await store.hashKv(0)).hash, 3214451827);
  store = await compactedAt(backend, 7);
  putZ(store, "1");
  assert.equal((await store.hashKv(0)).hash, 2777243020);
  assert.equal((await store.hashKv(8)).hash, 3852368234);
  putZ(store, "2");
  store = await compactedAt(backend, 9);
  assert.equal((await store.hashKv(0)).hash, 633399845);
});
