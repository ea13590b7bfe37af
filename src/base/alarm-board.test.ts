import assert from "node:assert/strict";
import { test } from "node:test";
import { AlarmBoard } from "./alarm-board.js";

test("what one writes, another reads at once, each alarm once and in order", () => {
  const writer = new AlarmBoard();
  const reader = new AlarmBoard(writer.memory);
  assert.deepEqual(reader.read(), []);
  writer.write([30, 2, 1, 2, 31, -1]);
  assert.deepEqual(reader.read(), [1, 2, 30]);
  assert.deepEqual([31, -1, 30, 0].map(AlarmBoard.holds), [false, false, true, true]);
  writer.write([1]);
  assert.deepEqual(reader.read(), [1]);
  writer.write([]);
  assert.deepEqual(reader.read(), []);
});
