import assert from "node:assert/strict";
import { test } from "node:test";
import { Column } from "./column.js";

test("a column is a list, also where one chunk ends and the next begins", () => {
  const column = new Column();
  for (const length of [10_000, 3, 4097]) {
    const list: number[] = [];
    for (let i = 0; i < length; i++) {
      column.push(i * 2 ** 20);
      list.push(i * 2 ** 20);
    }
    assert.equal(column.length, list.length);
    column.set(length - 1, 7.5);
    list[length - 1] = 7.5;
    assert.deepEqual(
      list.map((_, i) => column.get(i)),
      list,
    );
    column.clear();
    assert.equal(column.length, 0);
  }
});
