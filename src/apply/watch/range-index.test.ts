/** The index of ranges against a list that is walked whole. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SeededPrng } from "../../base/index.js";
import { RangeIndex, type Ranged } from "./range-index.js";

class Item implements Ranged<Item> {
  readonly start: string;
  readonly end: string | null | undefined;
  next: Item | null = null;
  previous: Item | null = null;

  constructor(start: string, end: string | null | undefined) {
    this.start = start;
    this.end = end;
  }

  holds(key: string): boolean {
    if (this.end === undefined) return key === this.start;
    return key >= this.start && (this.end === null || key < this.end);
  }
}

function found(index: RangeIndex<Item>, key: string): Set<Item> {
  const items: Item[] = [];
  index.match(key, { matched: (item) => void items.push(item) });
  assert.equal(new Set(items).size, items.length, "an item was told of twice");
  return new Set(items);
}

const seed = Number(process.env["SEED"] ?? 7_311);

test(`random adds and deletes match as a list does (SEED=${seed})`, () => {
  const prng = new SeededPrng(seed);
  const key = (): string => String.fromCharCode(...Array.from({ length: 1 + prng.below(3) }, () => prng.below(4) * 85));
  const index = new RangeIndex<Item>(prng);
  const list = new Set<Item>();
  for (let step = 0; step < 20_000; step++) {
    const drain = Math.floor(step / 2000) % 2 === 1;
    if (prng.below(10) < (drain ? 3 : 6)) {
      const item = new Item(key(), prng.below(3) === 0 ? undefined : prng.below(8) === 0 ? null : key());
      index.add(item);
      list.add(item);
    } else if (list.size > 0) {
      const item = [...list][prng.below(Math.min(list.size, 50))]!;
      index.delete(item);
      list.delete(item);
    }
    assert.equal(index.size, list.size);
    if (step % 8 !== 0) continue;
    const probe = key();
    assert.deepEqual(found(index, probe), new Set([...list].filter((item) => item.holds(probe))), `at ${step}`);
  }
  assert.deepEqual(new Set(index.items()), list);
});

test("bytes compare as bytes, to the last one", () => {
  const index = new RangeIndex<Item>(new SeededPrng(1));
  const item = new Item("\x7f", "\xff\xff");
  index.add(item);
  assert.equal(found(index, "\x80").size, 1);
  assert.equal(found(index, "\xff\xfe\xff").size, 1);
  assert.equal(found(index, "\xff\xff").size, 0);
  assert.equal(found(index, "\x7e\xff").size, 0);
});
