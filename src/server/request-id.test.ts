import assert from "node:assert/strict";
import { test } from "node:test";
import { SeededPrng } from "../base/index.js";
import { RequestIdGenerator, requestIdVarintBytesMax } from "./request-id.js";

function varintOf(value: bigint): number[] {
  const out: number[] = [];
  while (value >= 0x80n) {
    out.push(Number(value & 0x7fn) | 0x80);
    value >>= 7n;
  }
  return [...out, Number(value)];
}

test("an ID is member, time and counter, and counts up through all three parts", () => {
  const ids = new RequestIdGenerator(0x1234_abcdn, 0x12_3456_789a);
  const first = ids.next();
  assert.equal(ids.idOf(first), (0xabcdn << 48n) | (0x12_3456_789an << 8n) | 1n);
  for (let i = 0; i < 255; i++) ids.next();
  assert.equal(ids.idOf(ids.next()), (0xabcdn << 48n) | (0x12_3456_789bn << 8n) | 1n);
});

test("the varint equals that of the whole 64-bit ID", () => {
  const members = [0n, 1n, 0x7fn, 0x80n, 0xffn, 0x100n, 0x7fffn, 0x8000n, 0xffffn];
  const times = [0, 1, 2 ** 19, 2 ** 20, 2 ** 40 - 2, 1_790_000_000_000];
  for (const member of members) {
    for (const time of times) {
      const ids = new RequestIdGenerator(member, time);
      const sequence = ids.next();
      const buffer = new Uint8Array(requestIdVarintBytesMax + 2);
      const end = ids.writeVarint(sequence, buffer, 1);
      assert.deepEqual([...buffer.subarray(1, end)], varintOf(ids.idOf(sequence)), `member ${member}, time ${time}`);
    }
  }
});

test("IDs go on well above those of a former run, even after the clock was set back", () => {
  const former = new RequestIdGenerator(1n, 5_000);
  for (let i = 0; i < 1000; i++) former.next();
  const last = former.next();
  const starts = [1, 2].map((seed) => {
    const ids = new RequestIdGenerator(1n, 4_000);
    ids.startAbove(last, new SeededPrng(seed));
    return ids.next();
  });
  for (const start of starts) {
    assert.ok(start > last + 1_000_000, "entries that only others hold have IDs above the last known one");
  }
  assert.ok(Math.abs(starts[0]! - starts[1]!) > 1_000_000, "two runs that know the same begin apart");
  const later = new RequestIdGenerator(1n, 6_000);
  const begin = later.peek();
  later.startAbove(last, new SeededPrng(1));
  assert.equal(later.next(), begin, "a clock that went on needs no help");
});
