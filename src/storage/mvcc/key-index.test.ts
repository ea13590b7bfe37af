import assert from "node:assert/strict";
import { test } from "node:test";
import {
  cursorEnd,
  cursorItem,
  cursorMore,
  KeyIndex,
  KeyIndexCursor,
  RevisionSet,
  type KeyIndexScan,
} from "./key-index.js";
import { ModelIndex, type ModelItem } from "./key-index-model.test-support.js";

const seed = Number(process.env["SEED"] ?? 20261);
/** mulberry32 */
function prng(from: number): (below: number) => number {
  let state = from >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below);
  };
}

/** The key's bytes inside a larger buffer, so that start and end matter. */
const frame = 3;
function framed(key: string): Buffer {
  return Buffer.from("\xff\x00\xff" + key + "\x00\xff", "latin1");
}
function put(index: KeyIndex, key: string, main: number, sub = 0): void {
  index.put(framed(key), frame, frame + key.length, main, sub);
}
function tombstone(index: KeyIndex, key: string, main: number, sub = 0): boolean {
  return index.tombstone(framed(key), frame, frame + key.length, main, sub);
}
function get(index: KeyIndex, key: string, atRevision: number): ModelItem | undefined {
  if (!index.get(framed(key), frame, frame + key.length, atRevision)) return undefined;
  const { modMain, modSub, createMain, version } = index;
  return { key, modMain, modSub, createMain, version };
}
function seek(cursor: KeyIndexCursor, key: string, end: string, atRevision: number): void {
  cursor.seek(framed(key), frame, frame + key.length, framed(end), frame, frame + end.length, atRevision);
}
function item(cursor: KeyIndexCursor): ModelItem {
  const { modMain, modSub, createMain, version } = cursor;
  const key = Buffer.from(cursor.keyBytes.subarray(cursor.keyStart, cursor.keyEnd)).toString("latin1");
  return { key, modMain, modSub, createMain, version };
}
function drain(cursor: KeyIndexCursor): ModelItem[] {
  const items: ModelItem[] = [];
  while (cursor.next(Infinity) === cursorItem) items.push(item(cursor));
  return items;
}
function range(index: KeyIndex, key: string, end: string, atRevision: number): ModelItem[] {
  const cursor = new KeyIndexCursor(index);
  seek(cursor, key, end, atRevision);
  return drain(cursor);
}
function finish(scan: KeyIndexScan, keysMax: number): KeyIndexScan {
  while (scan.step(keysMax));
  return scan;
}
function sameSet(scan: KeyIndexScan, expected: Set<string>): void {
  assert.equal(scan.available.size, expected.size);
  for (const revision of expected) {
    const [main, sub] = revision.split(".").map(Number);
    assert.ok(scan.available.has(main!, sub!), `${revision} is missing`);
  }
}
/** Everything that can be asked of the two indexes at a revision. */
function sameAt(index: KeyIndex, model: ModelIndex, atRevision: number): void {
  assert.deepEqual(range(index, "", "\0", atRevision), model.range("", "", atRevision));
}
function same(index: KeyIndex, model: ModelIndex, revisions: number[]): void {
  assert.equal(index.keys, model.keys.size);
  assert.equal(index.liveKeys, [...model.keys.keys()].filter((key) => model.alive(key)).length);
  for (const atRevision of revisions) {
    sameAt(index, model, atRevision);
    for (const key of model.keys.keys()) assert.deepEqual(get(index, key, atRevision), model.get(key, atRevision));
  }
}

/** put 2, 4.1 and 4.3, delete 6, put 8, delete 9.2, put 12: the lives of one key. */
function lives(index: KeyIndex): void {
  put(index, "foo", 2);
  put(index, "foo", 4, 1);
  put(index, "foo", 4, 3);
  assert.ok(tombstone(index, "foo", 6));
  put(index, "foo", 8);
  assert.ok(tombstone(index, "foo", 9, 2));
  put(index, "foo", 12);
}

test("get finds the revision, creation and version of each time", () => {
  const index = new KeyIndex();
  lives(index);
  const expected: [at: number, found: [main: number, sub: number, create: number, version: number] | undefined][] = [
    [1, undefined],
    [2, [2, 0, 2, 1]],
    [3, [2, 0, 2, 1]],
    [4, [4, 3, 2, 3]],
    [5, [4, 3, 2, 3]],
    [6, undefined],
    [7, undefined],
    [8, [8, 0, 8, 1]],
    [9, undefined],
    [11, undefined],
    [12, [12, 0, 12, 1]],
    [Infinity, [12, 0, 12, 1]],
  ];
  for (const [at, found] of expected) {
    const item = get(index, "foo", at);
    assert.deepEqual(item && [item.modMain, item.modSub, item.createMain, item.version], found, `at ${at}`);
  }
  assert.equal(get(index, "fo", Infinity), undefined);
  assert.equal(get(index, "foo\0", Infinity), undefined);
});

test("put and tombstone tell what they replaced", () => {
  const index = new KeyIndex();
  put(index, "a", 2);
  assert.deepEqual([index.createMain, index.version, index.previousMain, index.previousSub], [2, 1, 0, 0]);
  put(index, "a", 3, 7);
  assert.deepEqual([index.createMain, index.version, index.previousMain, index.previousSub], [2, 2, 2, 0]);
  assert.equal(tombstone(index, "a", 4), true);
  assert.deepEqual([index.previousMain, index.previousSub], [3, 7]);
  assert.equal(tombstone(index, "a", 5), false);
  assert.equal(tombstone(index, "b", 5), false);
  put(index, "a", 6);
  assert.deepEqual([index.createMain, index.version, index.previousMain, index.previousSub], [6, 1, 0, 0]);
  assert.throws(() => put(index, "a", 6), /does not grow/);
  assert.throws(() => tombstone(index, "a", 5), /does not grow/);
  assert.deepEqual([index.keys, index.liveKeys], [1, 1]);
});

test("compaction keeps the newest revision, and a tombstone exactly at it", () => {
  // For each compaction revision: the kept revision ≤ it, the same for HashKV, and the first revision still readable.
  const expected: [at: number, available: string[], keep: string[]][] = [
    [1, [], []],
    [2, ["2.0"], ["2.0"]],
    [3, ["2.0"], ["2.0"]],
    [4, ["4.3"], ["4.3"]],
    [5, ["4.3"], ["4.3"]],
    [6, ["6.0"], []],
    [7, [], []],
    [8, ["8.0"], ["8.0"]],
    [9, ["9.2"], []],
    [10, [], []],
    [12, ["12.0"], ["12.0"]],
    [13, ["12.0"], ["12.0"]],
  ];
  for (const [at, available, keep] of expected) {
    const whole = new KeyIndex();
    const index = new KeyIndex();
    lives(whole);
    lives(index);
    sameSet(finish(index.keep(at), 1), new Set(keep));
    sameSet(finish(index.compaction(at), 1), new Set(available));
    for (let read = at; read < 14; read++) {
      assert.deepEqual(get(index, "foo", read), get(whole, "foo", read), `compacted at ${at}, read at ${read}`);
    }
    assert.equal(index.keys, 1);
  }
});

test("a key leaves the index when compaction passes its last tombstone", () => {
  const index = new KeyIndex();
  put(index, "a", 2);
  tombstone(index, "a", 3);
  sameSet(finish(index.compaction(3), 10), new Set(["3.0"]));
  assert.equal(index.keys, 1);
  sameSet(finish(index.compaction(4), 10), new Set());
  assert.equal(index.keys, 0);
  put(index, "a", 5);
  assert.deepEqual([index.createMain, index.version, index.keys], [5, 1, 1]);
});

test("a put after a delete in the same transaction outlives compaction at that revision", () => {
  // etcd keeps the tombstone there and deletes the record of the living key.
  const index = new KeyIndex();
  put(index, "a", 2);
  tombstone(index, "a", 3, 0);
  put(index, "a", 3, 1);
  sameSet(finish(index.keep(3), 10), new Set());
  sameSet(finish(index.keep(4), 10), new Set(["3.1"]));
  sameSet(finish(index.compaction(3), 10), new Set(["3.1"]));
  assert.deepEqual(get(index, "a", 3), { key: "a", modMain: 3, modSub: 1, createMain: 3, version: 1 });
});

test("revisions up to 2^53 − 1 and subs up to 2^31 − 1", () => {
  const index = new KeyIndex();
  const huge = Number.MAX_SAFE_INTEGER;
  const subMax = 2 ** 31 - 1;
  put(index, "a", huge - 2, subMax);
  put(index, "a", huge - 1, subMax - 1);
  tombstone(index, "a", huge, subMax);
  put(index, "b", 2 ** 32, 1);
  put(index, "b", 2 ** 32 + 1, 0);
  const found = { key: "a", modMain: huge - 2, modSub: subMax, createMain: huge - 2, version: 1 };
  assert.deepEqual(get(index, "a", huge - 2), found);
  assert.deepEqual(get(index, "a", huge - 1), { ...found, modMain: huge - 1, modSub: subMax - 1, version: 2 });
  assert.equal(get(index, "a", huge), undefined);
  assert.equal(get(index, "b", 2 ** 32)!.modMain, 2 ** 32);
  const scan = finish(index.compaction(huge), 10);
  assert.ok(scan.available.has(huge, subMax));
  assert.ok(scan.available.has(2 ** 32 + 1, 0));
  assert.ok(!scan.available.has(1, 0));
});

test("a revision set filled to its bound, and opened again from its arrays", () => {
  const random = prng(seed);
  const set = new RevisionSet(5000);
  while (set.prepare(700));
  const members = new Set<string>();
  while (members.size < 5000) {
    const [main, sub] = [1 + random(2 ** 20) * 2 ** random(30), random(3) === 0 ? random(2 ** 31) : 0];
    set.add(main, sub);
    set.add(main, sub);
    members.add(`${main}.${sub}`);
  }
  const opened = RevisionSet.from(structuredClone(set.parts()));
  assert.equal(opened.size, 5000);
  for (const member of members) {
    const [main, sub] = member.split(".").map(Number);
    assert.ok(opened.has(main!, sub!));
    assert.equal(opened.has(main! + 0.5, sub!), false);
  }
  assert.equal(new RevisionSet(0).has(1, 0), false);
});

test("a single key and ranges with odd ends", () => {
  const index = new KeyIndex();
  for (const key of ["\0", "a", "a\0", "a\xff", "b", "\xff", "\xff\xff"]) put(index, key, 2);
  const names = (key: string, end: string): string[] => range(index, key, end, Infinity).map((found) => found.key);
  assert.deepEqual(names("a", ""), ["a"]);
  assert.deepEqual(names("aa", ""), []);
  assert.deepEqual(names("a", "b"), ["a", "a\0", "a\xff"]);
  assert.deepEqual(names("a", "a"), []);
  assert.deepEqual(names("b", "a"), []);
  assert.deepEqual(names("b", "\0"), ["b", "\xff", "\xff\xff"]);
  assert.deepEqual(names("\0", "\0\0"), ["\0"]);
  assert.deepEqual(names("\xff", "\xff\xff"), ["\xff"]);
  assert.deepEqual(range(new KeyIndex(), "\0", "\0", Infinity), []);
});

test("very long keys, also longer than a chunk of the arena", () => {
  const index = new KeyIndex();
  const model = new ModelIndex();
  const base = "k".repeat(1_500_000);
  const keys = [base, `${base}a`, `${base}b`, `${base}\0`, "k".repeat(4 << 20), "k".repeat((4 << 20) + 1), "k", "l"];
  let main = 2;
  for (let round = 0; round < 3; round++) {
    for (const key of keys) {
      put(index, key, main);
      model.put(key, main++, 0);
    }
    for (const key of keys) {
      assert.equal(tombstone(index, key, main), model.tombstone(key, main, 0));
      main++;
    }
    const names = (items: ModelItem[]): string =>
      items.map((i) => `${i.key.length}:${i.key.at(-1)}:${i.modMain}`).join();
    const before = main - keys.length - 1;
    assert.equal(names(range(index, "", "\0", before)), names(model.range("", "", before)));
    model.compact(main);
    finish(index.compaction(main), 3);
    assert.equal(index.keys, 0);
  }
  assert.ok(index.memoryBytes < 64 << 20, "released keys are not reused");
});

test("a key of very many revisions and generations", () => {
  const index = new KeyIndex();
  const model = new ModelIndex();
  const random = prng(seed);
  let main = 2;
  let compacted = 0;
  for (let round = 0; round < 60; round++) {
    for (let left = random(300); left > 0; left--, main++) {
      put(index, "hot", main);
      model.put("hot", main, 0);
    }
    if (random(3) > 0) {
      for (let life = random(20); life >= 0; life--, main += 2) {
        assert.equal(tombstone(index, "hot", main), model.tombstone("hot", main, 0));
        put(index, "hot", main + 1);
        model.put("hot", main + 1, 0);
      }
    }
    if (random(4) === 0) {
      compacted += random(main - compacted);
      sameSet(finish(index.compaction(compacted), 1 + random(9)), model.compact(compacted));
    }
    for (let i = 0; i < 200; i++) {
      const at = compacted + random(main - compacted + 2);
      assert.deepEqual(get(index, "hot", at), model.get("hot", at));
    }
  }
});

const alphabets = ["ab", "\0\x01\xff", "a\0\xff", "0123456789"];
function randomKey(random: (below: number) => number, alphabet: string): string {
  const kind = random(40);
  const length = kind === 0 ? 200 + random(800) : kind < 10 ? 1 + random(3) : 1 + random(9);
  let key = kind % 3 === 0 ? "/registry/pods/default/" : "";
  for (let i = 0; i < length; i++) key += alphabet[random(alphabet.length)]!;
  return key;
}

/** One random transaction on both indexes; returns its revision. */
function randomTxn(index: KeyIndex, model: ModelIndex, main: number, random: (below: number) => number): void {
  const alphabet = alphabets[main % alphabets.length]!;
  const known = [...model.keys.keys()];
  for (let sub = 0, ops = 1 + random(4); sub < ops; sub++) {
    const key = random(2) === 0 && known.length > 0 ? known[random(known.length)]! : randomKey(random, alphabet);
    if (random(3) === 0) {
      assert.equal(tombstone(index, key, main, sub), model.tombstone(key, main, sub));
    } else {
      put(index, key, main, sub);
      model.put(key, main, sub);
      assert.equal(index.version, model.get(key, main)!.version);
    }
  }
}

test("any sequence of operations equals the model's", () => {
  for (let round = 0; round < 12; round++) {
    const random = prng(seed + round);
    const index = new KeyIndex();
    const model = new ModelIndex();
    let compacted = 1;
    let main = 2;
    for (; main < 900; main++) {
      randomTxn(index, model, main, random);
      if (random(30) === 0) {
        const [a, b] = [randomKey(random, alphabets[random(4)]!), randomKey(random, alphabets[random(4)]!)];
        const at = compacted + random(main - compacted + 1);
        assert.deepEqual(range(index, a, b, at), model.range(a, b === "\0" ? "" : b, at), `seed ${seed + round}`);
        sameSet(finish(index.keep(at), 1 + random(50)), model.keep(at));
      }
      if (random(150) === 0) {
        compacted += random(main - compacted + 1);
        sameSet(finish(index.compaction(compacted), 1 + random(200)), model.compact(compacted));
      }
    }
    same(index, model, [compacted, compacted + random(main - compacted), main]);
    finish(index.compaction(main), 1000);
    model.compact(main);
    same(index, model, [main]);
  }
});

test("an index restored from the records equals the one they came from", () => {
  const random = prng(seed);
  const index = new KeyIndex();
  const model = new ModelIndex();
  for (let main = 2; main < 600; main++) randomTxn(index, model, main, random);
  for (const compacted of [1, 300, 450, 599]) {
    finish(index.compaction(compacted), 100);
    model.compact(compacted);
    const restored = new KeyIndex();
    const restoredModel = new ModelIndex();
    for (const { key, modMain, modSub, createMain, version, tombstone: dead } of model.records()) {
      const bytes = framed(key);
      const end = frame + key.length;
      if (dead) restored.restoreTombstone(bytes, frame, end, modMain, modSub);
      else restored.restorePut(bytes, frame, end, createMain, modMain, modSub, version);
      if (dead) restoredModel.restoreTombstone(key, modMain, modSub);
      else restoredModel.put(key, modMain, modSub, createMain, version);
    }
    same(restored, restoredModel, [compacted, 500, 600]);
    same(restored, model, [compacted, 500, 600]);
  }
});

test("a paused cursor goes on while keys come, go and are compacted", () => {
  for (let round = 0; round < 20; round++) {
    const random = prng(seed + 1000 + round);
    const index = new KeyIndex();
    const model = new ModelIndex();
    let main = 2;
    for (; main < 500; main++) randomTxn(index, model, main, random);
    const at = 400 + random(100);
    const [key, end] = random(3) === 0 ? ["\0", "\0"] : [randomKey(random, "a0"), "\xff"];
    const expected = model.range(key, end === "\0" ? "" : end, at);
    const cursor = new KeyIndexCursor(index);
    seek(cursor, key, end, at);
    const got: ModelItem[] = [];
    let compaction: KeyIndexScan | undefined;
    for (let state: number = cursorMore; state !== cursorEnd;) {
      for (let slice = random(20); slice > 0 && state !== cursorEnd; slice--) {
        state = cursor.next(1 + random(5));
        if (state === cursorItem) got.push(item(cursor));
      }
      cursor.pause();
      for (let txns = random(6); txns > 0; txns--) randomTxn(index, model, main++, random);
      compaction ??= index.compaction(random(at + 1));
      compaction.step(1 + random(30));
      if (state !== cursorEnd && random(10) === 0) {
        while (cursor.countRest(1 + random(40)) === cursorMore) cursor.pause();
        break;
      }
    }
    assert.deepEqual(got, expected.slice(0, got.length), `seed ${seed + 1000 + round}`);
    assert.equal(cursor.count, expected.length);
  }
});

test("a cursor that was not paused refuses to go on after keys were added", () => {
  const index = new KeyIndex();
  put(index, "a", 2);
  put(index, "c", 3);
  const cursor = new KeyIndexCursor(index);
  seek(cursor, "a", "\0", Infinity);
  assert.equal(cursor.next(1), cursorItem);
  tombstone(index, "a", 4);
  put(index, "c", 5);
  assert.equal(cursor.next(1), cursorItem);
  assert.equal(cursor.modMain, 5);
  put(index, "d", 6);
  assert.throws(() => cursor.next(1), /not paused/);
});

test("a deep tree grows, shrinks to nothing and grows again", () => {
  const random = prng(seed);
  const index = new KeyIndex();
  const key = (i: number): string => `/registry/${i % 7}/${((i * 7919) % 40009).toString(36)}/${i}`;
  let main = 2;
  let bytesMax = 0;
  for (let round = 0; round < 3; round++) {
    const alive = new Set<string>();
    for (let i = 0; i < 40000; i++) {
      put(index, key(i), main++);
      alive.add(key(i));
    }
    for (const left of [20000, 1000, 3, 0]) {
      const compaction = index.compaction(main - 1);
      for (const name of alive) {
        if (alive.size === left) break;
        if (random(alive.size) < left / 4) continue;
        alive.delete(name);
        tombstone(index, name, main++);
        if (random(500) === 0) compaction.step(20);
      }
      finish(compaction, 500);
      finish(index.compaction(main), 500);
      assert.equal(index.keys, alive.size);
      const names = range(index, "\0", "\0", main).map((found) => found.key);
      assert.deepEqual(names, [...alive].sort());
      for (const name of alive) assert.ok(get(index, name, main));
    }
    if (round === 0) bytesMax = index.memoryBytes;
    assert.ok(index.memoryBytes <= bytesMax, "memory grows though all keys went");
  }
});
