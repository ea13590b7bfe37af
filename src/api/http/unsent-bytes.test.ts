import assert from "node:assert/strict";
import { test } from "node:test";
import { UnsentBytes } from "./unsent-bytes.js";

const options = { bytesMax: 100, stallBytesMin: 10, stallMs: 30_000 };

/** An answer that takes this much between two looks. */
const answer = (takes: number) => ({
  isCut: false,
  takes,
  takenBytes(): number {
    return this.takes;
  },
  cutOff(): void {
    this.isCut = true;
  },
});

test("above the bound nothing more is kept, but for an answer that is alone", () => {
  const unsent = new UnsentBytes(options);
  assert.ok(unsent.hasRoom(1000));
  unsent.change(60);
  assert.ok(unsent.hasRoom(40));
  assert.ok(!unsent.hasRoom(41));
  unsent.change(-60);
  assert.ok(unsent.hasRoom(1000));
});

test("who takes too little is cut off after a while, if much is kept", () => {
  const unsent = new UnsentBytes(options);
  const [idle, slow, quick, late] = [answer(0), answer(1), answer(10), answer(0)];
  const look = (seconds: number, answers = [idle, slow, quick]): boolean[] => {
    unsent.check(answers, seconds * 1000);
    return answers.map(({ isCut }) => isCut);
  };
  unsent.change(50);
  for (let seconds = 0; seconds < 100; seconds += 4) assert.deepEqual(look(seconds), [false, false, false]);
  unsent.change(1);
  for (let seconds = 100; seconds < 130; seconds += 4) assert.deepEqual(look(seconds), [false, false, false]);
  assert.deepEqual(look(132), [true, true, false]);
  assert.deepEqual(look(136, [quick, late]), [false, false]);
  assert.deepEqual(look(160, [quick, late]), [false, false]);
  // What was slow while little was kept does not count.
  unsent.change(-51);
  assert.deepEqual(look(164, [quick, late]), [false, false]);
  unsent.change(51);
  assert.deepEqual(look(190, [quick, late]), [false, false]);
  assert.deepEqual(look(222, [quick, late]), [false, true]);
});
