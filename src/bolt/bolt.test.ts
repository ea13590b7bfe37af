import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SeededPrng } from "../base/index.js";
import { BoltFile } from "./bolt-file.js";
import { checkBolt } from "./check.js";
import { BoltError } from "./errors.js";
import { pageBytes, PageFlag, readMeta, writeMeta } from "./format.js";
import { bytesSource, databaseOf, fileOf, randomEntries, type Database, type Manner } from "./rig.test-support.js";

const seed = Number(process.env["SEED"] ?? 7);

const manners: Readonly<Record<string, Manner>> = {
  empty: { entries: 0, keyBytesMax: 1, valueBytesMax: 0 },
  inline: { entries: 5, keyBytesMax: 20, valueBytesMax: 60 },
  "short values": { entries: 20_000, keyBytesMax: 17, valueBytesMax: 40 },
  "long values": { entries: 60, keyBytesMax: 17, valueBytesMax: 100_000 },
  "long keys": { entries: 400, keyBytesMax: 3000, valueBytesMax: 10 },
  "keys longer than pages": { entries: 60, keyBytesMax: 32_768, valueBytesMax: 5000 },
};

const databaseIn = (manner: Manner, ofSeed = seed): Database => [
  ["a", randomEntries(new SeededPrng(ofSeed), manner)],
  ["empty", []],
  ["z", randomEntries(new SeededPrng(ofSeed + 1), { entries: 3, keyBytesMax: 8, valueBytesMax: 8 })],
];

const open = (bytes: Uint8Array): BoltFile => new BoltFile(bytesSource(bytes));

describe("what is written is read again, and is sound", () => {
  for (const [name, manner] of Object.entries(manners)) {
    for (const freeList of [false, true]) {
      test(`${name}, ${freeList ? "with" : "without"} a free list (seed ${seed})`, () => {
        const database = databaseIn(manner);
        const bytes = fileOf(database, { freeList, txid: 9n });
        const file = open(bytes);
        assert.equal(bytes.length, file.meta.highWater * pageBytes);
        assert.equal(file.meta.txid, 9n);
        assert.deepEqual(checkBolt(file), []);
        assert.deepEqual(databaseOf(file), database);
      });
    }
  }

  test("a file without buckets, and one of many", () => {
    for (const count of [0, 1, 1000]) {
      const database: Database = Array.from({ length: count }, (_, i) => [`bucket ${1000 + i}`, []]);
      const file = open(fileOf(database));
      assert.deepEqual(databaseOf(file), database);
      assert.deepEqual(checkBolt(file), []);
    }
  });

  test("every number of entries around the ends of pages", () => {
    const entries = randomEntries(new SeededPrng(seed), { entries: 700, keyBytesMax: 900, valueBytesMax: 4 });
    for (let count = 0; count < entries.length; count++) {
      const database: Database = [["a", entries.slice(0, count)]];
      const file = open(fileOf(database));
      assert.deepEqual(checkBolt(file), [], `${count} entries`);
      assert.equal([...file.entries(file.bucket("a")!)].length, count);
    }
  });
});

test("a branch has two children at least: bbolt panics below a lone one", () => {
  for (const manner of Object.values(manners)) {
    const bytes = fileOf(databaseIn(manner));
    const file = open(bytes);
    for (let id = 2; id < file.meta.highWater;) {
      const { page, header } = file.page(id);
      if (!page.isLeaf) assert.ok(page.count >= 2, `branch ${id} has ${page.count} children`);
      id += 1 + header.overflow;
    }
  }
});

test("pages are nine tenths full", () => {
  const entries = randomEntries(new SeededPrng(seed), manners["short values"]!);
  const content = entries.reduce((sum, [key, value]) => sum + key.length + value.length + 16, 0);
  const filled = content / fileOf([["key", entries]]).length;
  assert.ok(filled > 0.85 && filled < 0.92, `${filled} of the file is content`);
});

test("two values of a little more than a page share three pages", () => {
  const entries = Array.from({ length: 1000 }, (_, i) => [Buffer.from(String(i + 1000)), Buffer.alloc(4096)] as const);
  const pages = fileOf([["key", entries]]).length / pageBytes;
  assert.ok(pages >= 1500 && pages < 1520, `${pages} pages`);
});

describe("damage is found", () => {
  const database = databaseIn({ entries: 3000, keyBytesMax: 20, valueBytesMax: 300 });
  const whole = fileOf(database, { freeList: true, txid: 5n });

  const faultOf = (bytes: Uint8Array): string => {
    try {
      return checkBolt(open(bytes))[0]?.fault ?? "none";
    } catch (error) {
      assert.ok(error instanceof BoltError, String(error));
      return error.fault;
    }
  };
  const changed = (change: (bytes: Buffer, view: DataView) => void): Buffer => {
    const bytes = Buffer.from(whole);
    change(bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.length));
    return bytes;
  };
  const withMeta = (bytes: Buffer, change: object): void => {
    const meta = { ...readMeta(bytes)!, ...change };
    writeMeta(bytes, 0, meta);
  };
  const firstLeaf = 3 * pageBytes;

  const cases: Readonly<Record<string, readonly [string, (bytes: Buffer, view: DataView) => void]>> = {
    "both meta pages": ["meta", (bytes) => bytes.fill(0, 0, 2 * pageBytes)],
    "a root outside": ["pointer", (bytes) => withMeta(bytes, { root: 1e9 })],
    "a root in the metas": ["pointer", (bytes) => withMeta(bytes, { root: 1 })],
    "a page that says it is another": ["page", (_, view) => view.setUint32(firstLeaf, 77, true)],
    flags: ["page", (_, view) => view.setUint16(firstLeaf + 8, PageFlag.Meta, true)],
    "more elements than fit": ["page", (_, view) => view.setUint16(firstLeaf + 10, 60_000, true)],
    "an overflow beyond the file": ["pointer", (_, view) => view.setUint32(firstLeaf + 12, 1 << 30, true)],
    "an element outside of its page": ["page", (_, view) => view.setUint32(firstLeaf + 16 + 4, 1 << 30, true)],
    "a value longer than its page": ["page", (_, view) => view.setUint32(firstLeaf + 16 + 12, 1 << 30, true)],
    "a key that is too long": ["page", (_, view) => view.setUint32(firstLeaf + 16 + 8, 32_769, true)],
    "keys out of order": ["order", (_, view) => view.setUint32(firstLeaf + 16 + 8, 0, true)],
  };
  for (const [name, [fault, change]] of Object.entries(cases)) {
    test(name, () => assert.equal(faultOf(changed(change)), fault));
  }

  test("a file cut short, at any length", () => {
    for (let length = 0; length < whole.length; length += 1789) {
      assert.match(faultOf(whole.subarray(0, length)), /^(meta|short)$/);
    }
  });

  test("one meta page lost: the other one counts", () => {
    for (const at of [0, pageBytes]) {
      const file = open(changed((bytes) => bytes.fill(0xff, at, at + pageBytes)));
      assert.equal(file.meta.txid, at === 0 ? 4n : 5n);
      assert.deepEqual(databaseOf(file), database);
    }
  });

  test("a branch that leads to itself ends", () => {
    const file = open(whole);
    const { root } = file.bucket("a")!;
    assert.equal(file.page(root).page.isLeaf, false);
    const looped = changed((_, view) => view.setUint32(root * pageBytes + 16 + 8, root, true));
    assert.match(faultOf(looped), /^(twice|order)$/);
    assert.throws(() => databaseOf(open(looped)), BoltError);
  });

  test("a page that is free and reachable, and one that is neither", () => {
    const list = 2 * pageBytes;
    const free = changed((_, view) => {
      view.setUint16(list + 10, 1, true);
      view.setUint32(list + 16, 5, true);
    });
    assert.equal(faultOf(free), "twice");
    const longer = Buffer.concat([whole, Buffer.alloc(pageBytes)]);
    withMeta(longer, { highWater: whole.length / pageBytes + 1 });
    assert.equal(faultOf(longer), "unreachable");
  });
});

test(`no file makes the reader fail otherwise, or go on for ever (seed ${seed})`, () => {
  const prng = new SeededPrng(seed);
  const whole = fileOf(databaseIn({ entries: 900, keyBytesMax: 20, valueBytesMax: 400 }), { freeList: true });
  const interesting = [0, 1, 2, 0x7f, 0x80, 0xff];
  for (let round = 0; round < 3000; round++) {
    const bytes = Buffer.from(whole);
    const page = prng.below(bytes.length / pageBytes);
    for (let i = 1 + prng.below(4); i > 0; i--) {
      // Headers and elements rather than values; both metas stay, for what lies behind them is to be met.
      const at = Math.max(2, page) * pageBytes + prng.below(prng.below(2) === 0 ? 64 : pageBytes);
      if (at < bytes.length) bytes[at] = prng.below(2) === 0 ? interesting[prng.below(6)]! : prng.below(256);
    }
    let read = 0;
    try {
      const file = open(bytes);
      checkBolt(file);
      for (const { header } of file.buckets()) for (const _ of file.entries(header)) read++;
    } catch (error) {
      if (!(error instanceof BoltError)) throw error;
    }
    assert.ok(read < 100_000, `${read} entries were read`);
  }
});
