import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import { Mailbox, mailboxPrefixBytes } from "./mailbox.js";

/** Runs `body` in a worker; it finds Mailbox and `handle` there. */
function worker(body: string, handle: number): Worker {
  const url = new URL("./mailbox.js", import.meta.url).href;
  const code = `
    const { workerData, parentPort } = require("node:worker_threads");
    import(${JSON.stringify(url)}).then(({ Mailbox }) => { const handle = workerData; ${body} });`;
  return new Worker(code, { eval: true, workerData: handle });
}

function ended(thread: Worker): Promise<number> {
  return new Promise((resolve, reject) => {
    thread.on("exit", resolve);
    thread.on("error", reject);
  });
}

/** The messages in `bytes[0, length)`. */
function messages(bytes: Uint8Array, length: number): string[] {
  const view = new DataView(bytes.buffer);
  const found: string[] = [];
  for (let at = 0; at < length;) {
    const count = view.getUint32(at, true);
    found.push(Buffer.from(bytes.subarray(at + mailboxPrefixBytes, at + mailboxPrefixBytes + count)).toString());
    at += mailboxPrefixBytes + Math.ceil(count / 8) * 8;
  }
  return found;
}

describe("a mailbox", () => {
  test("brings messages from one thread to another, with one wake-up for many", async () => {
    const mailbox = new Mailbox(1 << 20);
    const into = new Uint8Array(1 << 16);
    const received: string[] = [];
    let wakes = 0;
    const all = new Promise<void>((resolve) => {
      mailbox.onWake(() => {
        wakes++;
        for (let length; (length = mailbox.receive(into)) > 0;) received.push(...messages(into, length));
        if (received.length === 5000) resolve();
      });
    });
    const thread = worker(
      `const mailbox = Mailbox.attach(handle);
       for (let i = 0; i < 5000; i++) { const text = Buffer.from("message " + i); mailbox.send(text, text.length); }`,
      mailbox.handle,
    );
    await Promise.all([all, ended(thread)]);
    assert.deepEqual(
      received,
      Array.from({ length: 5000 }, (_, i) => `message ${i}`),
    );
    assert.ok(wakes < 5000, `${wakes} wake-ups`);
    mailbox.close();
  });

  test("is bounded", () => {
    const mailbox = new Mailbox(64);
    const message = new Uint8Array(24);
    assert.equal(mailbox.send(message, 24), true);
    assert.equal(mailbox.send(message, 24), true);
    assert.equal(mailbox.send(message, 1), false);
    const into = new Uint8Array(256);
    assert.equal(mailbox.receive(into), 64);
    assert.equal(mailbox.receive(into), 0);
    assert.equal(mailbox.send(message, 1), true);
    assert.equal(mailbox.receive(new Uint8Array(8)), -16);
    mailbox.close();
    assert.equal(mailbox.send(message, 1), false);
    assert.throws(() => Mailbox.attach(mailbox.handle), /it was closed/);
  });

  test("wakes a receiver that comes after the messages", async () => {
    const mailbox = new Mailbox(1024);
    mailbox.send(Buffer.from("early"), 5);
    await new Promise<void>((resolve) => mailbox.onWake(resolve));
    mailbox.close();
  });

  test("keeps its receiver's thread alive until it is closed", async () => {
    const mailbox = new Mailbox(1024);
    const thread = worker(
      `const mailbox = Mailbox.attach(handle);
       const into = new Uint8Array(1024);
       mailbox.onWake(() => { while (mailbox.receive(into) > 0); parentPort.postMessage("got it"); });
       parentPort.postMessage("ready");`,
      mailbox.handle,
    );
    const end = ended(thread);
    await new Promise((resolve) => thread.once("message", resolve));
    const got = new Promise((resolve) => thread.once("message", resolve));
    mailbox.send(new Uint8Array(8), 8);
    assert.equal(await got, "got it");
    mailbox.close();
    assert.equal(await end, 0);
  });

  test("outlives a receiver that ends or is terminated while messages come", async () => {
    for (let round = 0; round < 20; round++) {
      const mailbox = new Mailbox(1 << 16);
      const thread = worker(
        `const mailbox = Mailbox.attach(handle);
         const into = new Uint8Array(1024);
         mailbox.onWake(() => { while (mailbox.receive(into) > 0); });
         parentPort.postMessage("ready");
         ${round % 2 === 0 ? "setImmediate(() => process.exit(0));" : ""}`,
        mailbox.handle,
      );
      const end = ended(thread);
      await new Promise((resolve) => thread.once("message", resolve));
      if (round % 2 === 1) void thread.terminate();
      const into = new Uint8Array(1 << 17);
      let over = false;
      void end.then(() => (over = true));
      while (!over) {
        if (!mailbox.send(into, 8)) mailbox.receive(into);
        if (mailbox.send(into, 8)) await new Promise((resolve) => setImmediate(resolve));
      }
      for (let i = 0; i < 100; i++) mailbox.send(into, 8);
      mailbox.close();
    }
  });
});
