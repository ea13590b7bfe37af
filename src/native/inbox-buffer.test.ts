import assert from "node:assert/strict";
import { test } from "node:test";
import { InboxBuffer, inboxBytesUsual } from "./inbox-buffer.js";

/** One record of `length` bytes waits. */
const record =
  (length: number) =>
  (into: Uint8Array): number => {
    if (into.length < length) return -length;
    into.fill(7, 0, length);
    return length;
  };

/** Receives a record; how large the buffer is then, and once it is done with. */
function take(inbox: InboxBuffer, length: number): [number, number] {
  assert.equal(inbox.receive(record(length)), length);
  assert.equal(inbox.view.buffer, inbox.bytes.buffer);
  const size = inbox.bytes.length;
  inbox.done(length);
  return [size, inbox.bytes.length];
}

test("the buffer grows to the usual size while it is filled, and stays small else", () => {
  const inbox = new InboxBuffer();
  const least = inbox.bytes.length;
  assert.deepEqual(take(inbox, 100), [least, least]);
  for (let i = 0; i < 20; i++) take(inbox, Math.min(inbox.bytes.length, inboxBytesUsual));
  assert.equal(inbox.bytes.length, inboxBytesUsual);
});

test("a record that needs more gets it, and the memory goes with it", () => {
  const inbox = new InboxBuffer();
  const length = 3 * inboxBytesUsual;
  const [size, after] = take(inbox, length);
  assert.ok(size >= length);
  assert.equal(after, size, "more of that kind may follow");
  assert.deepEqual(take(inbox, 0), [size, inboxBytesUsual]);
});

test("a buffer that is read on is replaced by another one", () => {
  const inbox = new InboxBuffer();
  inbox.receive(record(3 * inboxBytesUsual));
  const { bytes } = inbox;
  inbox.renew();
  assert.notEqual(inbox.bytes.buffer, bytes.buffer);
  assert.equal(inbox.bytes.length, inboxBytesUsual);
});
