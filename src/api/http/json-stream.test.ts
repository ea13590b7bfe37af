import assert from "node:assert/strict";
import { test } from "node:test";
import { JsonStream } from "./json-stream.js";

/** The objects of a text that comes in pieces of `size`, and how it ended. */
function cut(text: string, size: number, bytesMax = 1000): { objects: string[]; state: string } {
  const objects: string[] = [];
  const stream = new JsonStream(bytesMax, (json) => objects.push(Buffer.from(json).toString()));
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) {
    // The memory of a piece is used again.
    const piece = Uint8Array.from(bytes.subarray(at, at + size));
    stream.push(piece);
    piece.fill(0x21);
  }
  stream.end();
  return { objects, state: stream.state };
}

const cases: readonly (readonly [text: string, objects: readonly string[], state: string])[] = [
  ["", [], "open"],
  [" \r\n\t", [], "open"],
  ['{"a":1}', ['{"a":1}'], "open"],
  ['{}{}\n {"b":[{"c":{}}]}', ["{}", "{}", '{"b":[{"c":{}}]}'], "open"],
  ['{"}":"{\\"}"}{}', ['{"}":"{\\"}"}', "{}"], "open"],
  ['{"\\\\":"]"}{}', ['{"\\\\":"]"}', "{}"], "open"],
  ['{"é":"€𝄞"}', ['{"é":"€𝄞"}'], "open"],
  ['{"a":1}x{}', ['{"a":1}'], "broken"],
  ["{},{}", ["{}"], "broken"],
  ["[{}]", [], "broken"],
  ["null", [], "broken"],
  ['{"a":', [], "broken"],
  ['{}{"a', ["{}"], "broken"],
];

test("objects are cut out alike however they come", () => {
  for (const [text, objects, state] of cases) {
    for (const size of [1, 2, 3, 7, 1000]) assert.deepEqual(cut(text, size), { objects, state }, `${text} by ${size}`);
  }
});

test("an object that is too long ends it, whether it ends itself or not", () => {
  const long = JSON.stringify({ a: "x".repeat(20) });
  assert.deepEqual(cut(`{}${long}{}`, 1000, long.length), { objects: ["{}", long, "{}"], state: "open" });
  for (const size of [1, 5, 1000]) {
    assert.deepEqual(cut(`{}${long}{}`, size, long.length - 1), { objects: ["{}"], state: "tooLarge" });
    assert.deepEqual(cut(`{}${long.slice(0, -2)}`, size, 10), { objects: ["{}"], state: "tooLarge" });
  }
});

test("what a taker throws ends it", () => {
  let taken = 0;
  const stream = new JsonStream(100, () => {
    taken++;
    throw new Error("not for me");
  });
  assert.throws(() => stream.push(Buffer.from("{}{}")), /not for me/);
  stream.push(Buffer.from("{}"));
  assert.deepEqual([stream.state, taken], ["broken", 1]);
});
