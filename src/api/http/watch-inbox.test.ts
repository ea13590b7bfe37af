import assert from "node:assert/strict";
import { test } from "node:test";
import { ErrStopped } from "../../errors/index.js";
import { WatchInbox } from "./watch-inbox.js";

const texts = (list: readonly Uint8Array[] | undefined): string[] | undefined =>
  list?.map((bytes) => Buffer.from(bytes).toString());

test("what came is taken together, then what comes later, then the end", async () => {
  const inbox = new WatchInbox();
  const buffer = Buffer.from("a");
  inbox.message(buffer, false);
  buffer[0] = 0x62;
  inbox.message(buffer, true);
  assert.deepEqual(texts(await inbox.next()), ["a", "b"]);
  const later = inbox.next();
  inbox.message(Buffer.from("c"), false);
  inbox.end(undefined);
  assert.deepEqual(texts(await later), ["c"]);
  assert.equal(await inbox.next(), undefined);
});

test("a sender that asks is told once", () => {
  const inbox = new WatchInbox();
  inbox.message(Buffer.from("a"), true);
  inbox.message(Buffer.from("b"), false);
  assert.deepEqual([inbox.takeAsked(), inbox.takeAsked()], [true, false]);
});

test("an error comes after what came before it", async () => {
  const inbox = new WatchInbox();
  inbox.message(Buffer.from("a"), false);
  inbox.end(new ErrStopped());
  assert.deepEqual(texts(await inbox.next()), ["a"]);
  await assert.rejects(inbox.next(), ErrStopped);
});
