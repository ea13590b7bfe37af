import assert from "node:assert/strict";
import { test } from "node:test";
import { KeyBytes } from "./key-bytes.js";

test("names short and long are kept, and the addresses of those removed are given out again", () => {
  const names = new KeyBytes();
  const lengths = [0, 1, 8, 9, 1024, 1025, 5000];
  const nameOf = (length: number, fill: string): Buffer => Buffer.alloc(length, fill);
  const add = (fill: string): number[] => lengths.map((length) => names.add(nameOf(length, fill), 0, length));
  const kept = add("a");
  const first = add("b");
  first.forEach((address, i) => names.remove(address, lengths[i]!));
  const second = add("c");
  assert.deepEqual(second.toSorted(), first.toSorted());
  lengths.forEach((length, i) => {
    for (const [address, fill] of [
      [kept[i]!, "a"],
      [second[i]!, "c"],
    ] as const) {
      assert.ok(names.equals(address, length, nameOf(length, fill), 0));
      assert.equal(names.text(address, 0, length), fill.repeat(length));
    }
  });
});
