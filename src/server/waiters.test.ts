import assert from "node:assert/strict";
import { test } from "node:test";
import { Waiters } from "./waiters.js";

test("each proposal is resolved once, in any order", () => {
  const waiters = new Waiters();
  waiters.add(100, Uint32Array.of(11, 12, 13), 0, 50);
  waiters.add(200, Uint32Array.of(21), 0, 60);
  assert.equal(waiters.open, 4);
  assert.equal(waiters.resolve(200), 21);
  assert.equal(waiters.resolve(101), 12);
  assert.equal(waiters.resolve(101), 0);
  assert.equal(waiters.resolve(103), 0);
  assert.equal(waiters.resolve(100), 11);
  assert.equal(waiters.resolve(102), 13);
  assert.equal(waiters.open, 0);
});

test("what is overdue is given up once and resolves to nobody afterwards", () => {
  const waiters = new Waiters();
  waiters.add(1, Uint32Array.of(5, 0, 6), 3, 50);
  waiters.add(4, Uint32Array.of(7), 4, 60);
  assert.equal(waiters.resolve(1), 5);
  const given: number[][] = [];
  waiters.expire(55, (callId, startMs) => given.push([callId, startMs]));
  assert.deepEqual(given, [[6, 3]]);
  assert.equal(waiters.open, 1);
  assert.equal(waiters.resolve(3), 0);
  assert.equal(waiters.resolve(4), 7);
});

test("many groups come and go", () => {
  const waiters = new Waiters();
  let next = 1;
  let resolved = 1;
  for (let round = 0; round < 1000; round++) {
    waiters.add(
      next,
      Uint32Array.from({ length: 3 }, (_, i) => next + i),
      0,
      1e9,
    );
    next += 3;
    if (round % 3 === 2) for (; resolved < next - 30; resolved++) assert.equal(waiters.resolve(resolved), resolved);
  }
  assert.equal(waiters.open, next - resolved);
});
