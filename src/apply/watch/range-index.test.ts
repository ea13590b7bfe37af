/** The index of ranges against a list that is walked whole. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SeededPrng } from "../../base/index.js";
import { RangeIndices, type RangeIndex } from "./range-index.js";
import { WatchStream } from "./watch-stream.js";
import { WatcherTable, type Watcher } from "./watcher-table.js";

/** A range as the test knows it. */
interface Item {
  readonly start: string;
  readonly end: string | null | undefined;
}

function holds({ start, end }: Item, key: string): boolean {
  return end === undefined ? key === start : key >= start && (end === null || key < end);
}

const latin1 = (text: string): Uint8Array => Buffer.from(text, "latin1");

class Rig {
  readonly table = new WatcherTable(0x1234_5678);
  readonly indices: RangeIndices;
  readonly #stream = new WatchStream(1, this.table);

  constructor(prng: SeededPrng) {
    this.indices = new RangeIndices(this.table, prng);
    this.table.addStream(this.#stream);
  }

  watcher({ start, end }: Item): Watcher {
    const flags = { noPut: false, noDelete: false, prevKv: false, fragment: false, progressNotify: false };
    const range = { start: latin1(start), end: typeof end === "string" ? latin1(end) : end };
    return this.table.add(this.#stream, { id: 1, ...range, ...flags, minRevision: 1, isLater: false });
  }

  found(index: RangeIndex, key: string): Set<Watcher> {
    const watchers: Watcher[] = [];
    const bytes = latin1(`-${key}-`);
    index.match(bytes, 1, bytes.length - 1, { matched: (watcher) => void watchers.push(watcher) });
    assert.equal(new Set(watchers).size, watchers.length, "a watcher was told of twice");
    return new Set(watchers);
  }
}

const seed = Number(process.env["SEED"] ?? 7_311);

test(`random adds and deletes match as a list does (SEED=${seed})`, () => {
  const prng = new SeededPrng(seed);
  const key = (): string => String.fromCharCode(...Array.from({ length: 1 + prng.below(3) }, () => prng.below(4) * 85));
  const rig = new Rig(prng);
  const index = rig.indices.open();
  const list = new Map<Watcher, Item>();
  for (let step = 0; step < 20_000; step++) {
    const drain = Math.floor(step / 2000) % 2 === 1;
    if (prng.below(10) < (drain ? 3 : 6)) {
      const item = { start: key(), end: prng.below(3) === 0 ? undefined : prng.below(8) === 0 ? null : key() };
      const watcher = rig.watcher(item);
      index.add(watcher);
      assert.equal(rig.indices.of(watcher), index);
      list.set(watcher, item);
    } else if (list.size > 0) {
      const watcher = [...list.keys()][prng.below(Math.min(list.size, 50))]!;
      index.delete(watcher);
      rig.table.remove(watcher);
      list.delete(watcher);
    }
    assert.equal(index.size, list.size);
    if (step % 8 !== 0) continue;
    const probe = key();
    const expected = [...list].filter(([, item]) => holds(item, probe)).map(([watcher]) => watcher);
    assert.deepEqual(rig.found(index, probe), new Set(expected), `at ${step}`);
  }
  assert.deepEqual(new Set(index.all()), new Set(list.keys()));
});

test("many keys: each is found in its bucket while the buckets become more, and when half of the keys have gone", () => {
  const rig = new Rig(new SeededPrng(1));
  const index = rig.indices.open();
  const watchers = Array.from({ length: 20_000 }, (_, i) => {
    const watcher = rig.watcher({ start: `key-${i % 15_000}`, end: undefined });
    index.add(watcher);
    return watcher;
  });
  for (let i = 0; i < 15_000; i += 2) index.delete(watchers[i]!);
  for (let i = 0; i < 15_000; i++) {
    const expected = i % 2 === 0 ? [] : [watchers[i]!];
    if (i < 5000) expected.push(watchers[15_000 + i]!);
    assert.deepEqual(rig.found(index, `key-${i}`), new Set(expected), `key-${i}`);
  }
  assert.equal(rig.found(index, "key").size, 0);
});

test("bytes compare as bytes, to the last one", () => {
  const rig = new Rig(new SeededPrng(1));
  const index = rig.indices.open();
  index.add(rig.watcher({ start: "\x7f", end: "\xff\xff" }));
  assert.equal(rig.found(index, "\x80").size, 1);
  assert.equal(rig.found(index, "\xff\xfe\xff").size, 1);
  assert.equal(rig.found(index, "\xff\xff").size, 0);
  assert.equal(rig.found(index, "\x7e\xff").size, 0);
});

test("a table's numbers are given out again, IDs are int64, and what belongs to a number is its own", () => {
  const { table } = new Rig(new SeededPrng(1));
  const stream = new WatchStream(2, table);
  table.addStream(stream);
  const options = { start: latin1("a"), end: latin1("b"), noPut: false, noDelete: true, prevKv: false };
  const more = { fragment: true, progressNotify: false, minRevision: 2 ** 50, isLater: true };
  const ids = [0, 1, -1, 2 ** 40, -(2 ** 53) + 1, -(2n ** 63n), 2n ** 63n - 1n];
  const watchers = ids.map((id) => table.add(stream, { id, ...options, ...more }));
  assert.deepEqual(
    watchers.map((watcher) => table.id(watcher)),
    ids,
  );
  const [first, second] = [watchers[0]!, watchers[1]!];
  assert.ok(!table.wants(first, true) && table.fragment(first) && table.isLater(first) && table.progressDue(first));
  assert.ok(table.wants(first, false) && !table.prevKv(first) && !table.progressNotify(first));
  assert.equal(table.minRevision(first), 2 ** 50);
  assert.equal(table.stream(first), stream);
  assert.deepEqual([table.startText(first), table.endText(first), table.isSingle(first)], ["a", "b", false]);
  table.remove(first);
  const again = table.add(stream, { id: 9, ...options, ...more, end: undefined, noDelete: false });
  assert.equal(again, first);
  assert.ok(table.isSingle(again) && table.wants(again, true) && !table.wants(second, true));
  assert.equal(table.count, ids.length);
});
