import assert from "node:assert/strict";
import { test } from "node:test";
import { Slab } from "./slab.js";

test("records keep their fields as a slab grows, and are new again after it was trimmed", () => {
  const slab = new Slab();
  const fill = (count: number): void => {
    for (let record = 0; record < count; record++) {
      slab.reserve(record + 1);
      slab.setInt(record, 0, -record);
      slab.setInt(record, 15, record);
      slab.setDouble(record, 4, record * 2 ** 40);
    }
  };
  const check = (from: number, to: number, is: (record: number) => number): void => {
    for (let record = from; record < to; record++) {
      const value = is(record);
      const fields = [slab.int(record, 0) + 0, slab.int(record, 15), slab.double(record, 4)];
      assert.deepEqual(fields, [0 - value, value, value * 2 ** 40]);
    }
  };
  fill(5000);
  check(0, 5000, (record) => record);
  slab.trim(2000);
  slab.reserve(5000);
  check(0, 2048, (record) => record);
  check(2048, 5000, () => 0);
  fill(7000);
  check(0, 7000, (record) => record);
  slab.trim(0);
  check(0, 1024, (record) => record);
  slab.reserve(1025);
  check(1024, 1025, () => 0);
});
