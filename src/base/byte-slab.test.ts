import assert from "node:assert/strict";
import { test } from "node:test";
import { copyOf } from "./copy-of.js";
import { ByteSlab } from "./byte-slab.js";
import { SeededPrng } from "./prng.js";

test("copies of any length keep their bytes, whatever is copied after them or happens to the source", () => {
  const slab = new ByteSlab();
  const prng = new SeededPrng(5);
  // What a socket or LMDB hands over is a Buffer, and used again.
  const source = Buffer.alloc(10_000);
  const kept: { copy: Uint8Array; wanted: Uint8Array }[] = [];
  for (let i = 0; i < 2000; i++) {
    const length = prng.below(prng.below(20) === 0 ? source.length : 500);
    for (let at = 0; at < length; at++) source[at] = prng.below(256);
    kept.push({ copy: slab.copy(source, length), wanted: copyOf(source, 0, length) });
  }
  source.fill(0);
  for (const { copy, wanted } of kept) assert.deepEqual(copy, wanted);
});

test("short copies share blocks, long ones hold no more than themselves", () => {
  const slab = new ByteSlab();
  const [a, b] = [slab.copy(new Uint8Array(100), 100), slab.copy(new Uint8Array(100), 50)];
  assert.equal(a.buffer, b.buffer);
  assert.equal(slab.copy(new Uint8Array(5000), 5000).buffer.byteLength, 5000);
});
