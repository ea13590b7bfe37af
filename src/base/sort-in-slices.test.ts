/** Against the array's own sort, and that it pauses as often as it must. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ascending, SeededPrng, sortInSlices } from "./index.js";

test("sorts as a stable sort does, whatever the length", () => {
  const prng = new SeededPrng(7);
  for (let length = 0; length < 70; length++) {
    const keys = Array.from({ length }, () => prng.below(20));
    const steps = sortInSlices(ascending(length), (a, b) => keys[a]! < keys[b]!, 5);
    let step = steps.next();
    while (step.done !== true) step = steps.next();
    const expected = [...ascending(length)].sort((a, b) => keys[a]! - keys[b]! || a - b);
    assert.deepEqual([...step.value], expected);
  }
});

test("pauses after so many moves", () => {
  const length = 1024;
  let compared = 0;
  let worst = 0;
  const before = (a: number, b: number): boolean => {
    compared++;
    return (a * 7919) % length < (b * 7919) % length;
  };
  for (const _ of sortInSlices(ascending(length), before, 100)) {
    worst = Math.max(worst, compared);
    compared = 0;
  }
  assert.ok(worst > 0 && worst <= 100, `${worst} comparisons in a slice`);
});
