import assert from "node:assert/strict";
import { test } from "node:test";
import { SeededPrng } from "./prng.js";

test("one seed gives one stream, another seed another", () => {
  const draw = (seed: number): number[] => {
    const prng = new SeededPrng(seed);
    return Array.from({ length: 8 }, () => prng.uint32());
  };
  assert.deepEqual(draw(81247), draw(81247));
  assert.notDeepEqual(draw(81247), draw(81248));
  assert.notDeepEqual(draw(1), draw(1 + 2 ** 32));
});

test("below is in range and close to uniform", () => {
  const prng = new SeededPrng(0);
  const counts = new Array<number>(10).fill(0);
  for (let i = 0; i < 100_000; i++) counts[prng.below(10)]! += 1;
  for (const count of counts) assert.ok(count > 9_500 && count < 10_500, String(counts));
});

test("a bound out of range is a programmer's error", () => {
  const prng = new SeededPrng(1);
  assert.throws(() => prng.below(0));
  assert.throws(() => prng.below(2 ** 32 + 1));
  assert.ok(prng.below(2 ** 32) < 2 ** 32);
});
