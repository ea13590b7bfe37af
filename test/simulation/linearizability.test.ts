import assert from "node:assert/strict";
import { test } from "node:test";
import { SeededPrng } from "../../src/base/index.js";
import { checkKvHistory, type KeyValue, type KvCall } from "./kv-model.js";
import { checkLinearizable, type Call, type Model } from "./linearizability.js";

interface RegisterOp {
  readonly write: number | null;
  /** null of a read: its answer never came. */
  readonly read: number | null;
}

const register: Model<number, RegisterOp> = {
  initial: 0,
  step: (state, { write, read }) => (write !== null ? write : read === null || read === state ? state : null),
  key: String,
};

const write = (value: number, begin: number, end: number): Call<RegisterOp> => ({
  op: { write: value, read: null },
  begin,
  end,
});
const read = (value: number, begin: number, end: number): Call<RegisterOp> => ({
  op: { write: null, read: value },
  begin,
  end,
});

const resultOf = (calls: readonly Call<RegisterOp>[]): string => checkLinearizable(register, calls).result;

test("an empty history and one call after another", () => {
  assert.equal(resultOf([]), "linearizable");
  assert.equal(resultOf([write(1, 0, 1), read(1, 2, 3), write(2, 4, 5), read(2, 6, 7)]), "linearizable");
});

test("concurrent calls may act in either order", () => {
  assert.equal(resultOf([write(1, 0, 10), read(0, 1, 9)]), "linearizable");
  assert.equal(resultOf([write(1, 0, 10), read(1, 1, 9)]), "linearizable");
  assert.equal(resultOf([write(1, 0, 10), write(2, 0, 10), read(1, 11, 12), read(1, 13, 14)]), "linearizable");
});

test("a stale read fails", () => {
  assert.equal(resultOf([write(1, 0, 1), read(0, 2, 3)]), "violation");
});

test("a read of what was never written fails", () => {
  assert.equal(resultOf([write(1, 0, 1), read(5, 2, 3)]), "violation");
});

test("two reads that see a concurrent write come and go fail", () => {
  assert.equal(resultOf([write(1, 0, 10), read(1, 1, 2), read(0, 3, 4)]), "violation");
});

test("two readers that see two concurrent writes in opposite orders fail", () => {
  const writes = [write(1, 0, 100), write(2, 0, 100)];
  assert.equal(resultOf([...writes, read(1, 10, 11), read(2, 20, 21), read(2, 10, 11), read(1, 20, 21)]), "violation");
});

test("a write without an end may act late, or never, but once", () => {
  const unknown = write(1, 0, Infinity);
  assert.equal(resultOf([unknown, read(0, 1, 2)]), "linearizable");
  assert.equal(resultOf([unknown, read(0, 1, 2), read(1, 3, 4)]), "linearizable");
  assert.equal(resultOf([unknown, write(2, 5, 6), read(2, 7, 8), read(1, 9, 10)]), "linearizable");
  assert.equal(
    resultOf([unknown, read(1, 3, 4), write(2, 5, 6), read(2, 7, 8), read(1, 9, 10)]),
    "violation",
    "it would act twice",
  );
  assert.equal(resultOf([write(1, 5, Infinity), read(1, 1, 2)]), "violation", "before it began");
});

test("calls that touch at one moment are concurrent", () => {
  assert.equal(resultOf([write(1, 0, 5), read(0, 5, 6)]), "linearizable");
});

test("the verdict names the longest order found and what cannot follow", () => {
  const verdict = checkLinearizable(register, [write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)]);
  assert.ok(verdict.result === "violation");
  assert.deepEqual(
    verdict.order.map(({ op }) => op.write),
    [1, 2],
  );
  assert.deepEqual(
    verdict.stuck.map(({ op }) => op.read),
    [1],
  );
});

/** All orders, one after another: slow and obvious. */
function slowly(calls: readonly Call<RegisterOp>[], state = 0): boolean {
  const known = calls.filter(({ end }) => end !== Infinity);
  if (known.length === 0) return true;
  const firstEnd = Math.min(...known.map(({ end }) => end));
  return calls.some((call) => {
    if (call.begin > firstEnd) return false;
    const next = register.step(state, call.op);
    return (
      next !== null &&
      slowly(
        calls.filter((other) => other !== call),
        next,
      )
    );
  });
}

test("agrees with a search through all orders", () => {
  const prng = new SeededPrng(7);
  let violations = 0;
  for (let i = 0; i < 3000; i++) {
    const calls = Array.from({ length: 2 + prng.below(5) }, (): Call<RegisterOp> => {
      const begin = prng.below(12);
      const end = prng.below(8) === 0 ? Infinity : begin + 1 + prng.below(5);
      const value = prng.below(3);
      return prng.below(2) === 0 ? write(value, begin, end) : read(value, begin, end);
    });
    const { result } = checkLinearizable(register, calls);
    assert.equal(result === "linearizable", slowly(calls), JSON.stringify(calls));
    if (result === "violation") violations++;
  }
  assert.ok(violations > 300 && violations < 2700, `${violations} violations`);
});

test("a long history with many concurrent calls is decided fast", () => {
  const calls: Call<RegisterOp>[] = [];
  for (let i = 1; i <= 1000; i++) calls.push(write(i, 10 * i, 10 * i + 45), read(i, 10 * i + 44, 10 * i + 46));
  for (let i = 0; i < 10; i++) calls.push(write(-1 - i, 50 * i, Infinity));
  const began = performance.now();
  assert.notEqual(resultOf(calls), "undecided");
  assert.ok(performance.now() - began < 5000);
});

// Keys.

interface Answered {
  readonly guard?: KeyValue;
  readonly writes?: readonly KeyValue[];
  readonly observed?: readonly KeyValue[];
  readonly succeeded?: boolean;
  readonly revision: number;
}

function answered(begin: number, end: number, fields: Answered): Call<KvCall> {
  const { guard = null, writes = [], observed = [], succeeded = true, revision } = fields;
  return { begin, end, op: { guard, writes, answer: { succeeded, observed, revision } } };
}
function unanswered(begin: number, writes: readonly KeyValue[], guard: KeyValue | null = null): Call<KvCall> {
  return { begin, end: Infinity, op: { guard, writes, answer: null } };
}
const kvResult = (...calls: readonly Call<KvCall>[]): string => checkKvHistory(calls).result;

test("puts, deletes and gets of one key", () => {
  assert.equal(
    kvResult(
      answered(0, 1, { writes: [["a", "1"]], observed: [["a", null]], revision: 2 }),
      answered(2, 3, { observed: [["a", "1"]], revision: 2 }),
      answered(4, 5, { writes: [["a", null]], observed: [["a", "1"]], revision: 3 }),
      answered(6, 7, { writes: [["a", null]], observed: [["a", null]], revision: 3 }),
      answered(8, 9, { observed: [["a", null]], revision: 3 }),
    ),
    "linearizable",
  );
});

test("a lost update fails", () => {
  assert.equal(
    kvResult(
      answered(0, 1, { writes: [["a", "1"]], observed: [["a", null]], revision: 2 }),
      answered(2, 3, { writes: [["a", "2"]], observed: [["a", null]], revision: 2 }),
    ),
    "violation",
  );
});

test("two compare-and-swaps from one value cannot both succeed", () => {
  const swap = (value: string, begin: number, succeeded: boolean, revision: number): Call<KvCall> =>
    answered(begin, 20, { guard: ["a", "0"], writes: [["a", value]], observed: [["a", "0"]], succeeded, revision });
  const put = answered(0, 1, { writes: [["a", "0"]], observed: [["a", null]], revision: 2 });
  assert.equal(kvResult(put, swap("1", 2, true, 3), swap("2", 2, true, 4)), "violation");
  assert.equal(
    kvResult(
      put,
      swap("1", 2, true, 3),
      answered(2, 20, {
        guard: ["a", "0"],
        writes: [["a", "2"]],
        observed: [["a", "1"]],
        succeeded: false,
        revision: 3,
      }),
    ),
    "linearizable",
  );
});

test("a revision that does not grow fails", () => {
  assert.equal(
    kvResult(
      answered(0, 1, { writes: [["a", "1"]], revision: 5 }),
      answered(2, 3, { writes: [["a", "2"]], revision: 5 }),
    ),
    "violation",
  );
  assert.equal(
    kvResult(
      answered(0, 1, { writes: [["a", "1"]], revision: 5 }),
      answered(2, 3, { observed: [["a", "1"]], revision: 4 }),
    ),
    "violation",
  );
});

test("a write with an unknown outcome explains what is seen later, once", () => {
  const lost = unanswered(0, [["a", "x"]]);
  const get = (begin: number, value: string, revision: number): Call<KvCall> =>
    answered(begin, begin + 1, { observed: [["a", value]], revision });
  const put = answered(10, 11, { writes: [["a", "1"]], observed: [["a", "x"]], revision: 3 });
  assert.equal(kvResult(lost, get(5, "x", 2), put, get(12, "1", 3)), "linearizable");
  assert.equal(kvResult(lost, get(5, "x", 2), put, get(12, "1", 3), get(14, "x", 4)), "violation", "twice");
  assert.equal(kvResult(unanswered(0, [["a", "x"]], ["a", "9"]), get(5, "x", 2)), "violation", "its guard failed");
});

test("a write that nobody saw may have let another one act", () => {
  const put = answered(0, 1, { writes: [["a", "1"]], observed: [["a", null]], revision: 2 });
  const lost = unanswered(2, [["a", null]]);
  const create = unanswered(3, [["a", "x"]], ["a", null]);
  const get = answered(10, 11, { observed: [["a", "x"]], revision: 4 });
  assert.equal(kvResult(put, lost, create, get), "linearizable");
  assert.equal(kvResult(put, create, get), "violation");
});

test("a transaction over two keys is seen whole or not at all", () => {
  const both = answered(0, 10, {
    writes: [
      ["a", "1"],
      ["b", "1"],
    ],
    revision: 2,
  });
  const seen = (a: string | null, b: string | null): Call<KvCall> =>
    answered(20, 21, {
      observed: [
        ["a", a],
        ["b", b],
      ],
      revision: 2,
    });
  assert.equal(kvResult(both, seen("1", "1")), "linearizable");
  assert.equal(kvResult(both, seen("1", null)), "violation");
});
