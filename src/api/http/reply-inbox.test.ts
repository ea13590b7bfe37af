import assert from "node:assert/strict";
import { test } from "node:test";
import { Mailbox } from "../../native/index.js";
import { ReplyInbox } from "./reply-inbox.js";

test("takes messages of any size whole and in order", () => {
  const mailbox = new Mailbox(64 << 20);
  const seen: string[] = [];
  const inbox = new ReplyInbox(mailbox, (bytes, start, end) =>
    seen.push(`${end - start}:${bytes[start]}:${bytes[end - 1]}`),
  );
  const message = (length: number, fill: number): Uint8Array => new Uint8Array(length).fill(fill);
  for (const [length, fill] of [
    [3, 1],
    [20 << 20, 2],
    [8, 3],
  ] as const) {
    assert.ok(mailbox.send(message(length, fill), length));
  }
  inbox.drain();
  assert.deepEqual(seen, ["3:1:1", `${20 << 20}:2:2`, "8:3:3"]);
  mailbox.close();
});
