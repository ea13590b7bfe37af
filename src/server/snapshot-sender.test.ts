import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../base/index.js";
import { MessageType, type Message } from "../raft/index.js";
import { SnapshotSender } from "./snapshot-sender.js";

interface Sending {
  readonly to: bigint;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

function rig() {
  const sending: Sending[] = [];
  const reports: [bigint, boolean][] = [];
  let now = 0;
  const sender = new SnapshotSender({
    sendSnapshot: ({ to }) => new Promise((resolve, reject) => sending.push({ to, resolve, reject })),
    report: (id, delivered) => reports.push([id, delivered]),
    nowMs: () => now,
    logger: silentLogger,
  });
  const send = (to: bigint): void => sender.send({ type: MessageType.Snap, to } as Message);
  return { sender, sending, reports, send, pass: (ms: number) => (now += ms) };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("Raft hears of what has become of a snapshot, and the log is kept for 30 s after one has arrived", async () => {
  const { sender, sending, reports, send, pass } = rig();
  assert.equal(sender.underWay, false);
  send(2n);
  send(3n);
  assert.equal(sender.underWay, true);
  sending[0]!.reject(new Error("connection reset"));
  await settled();
  assert.deepEqual([reports, sender.underWay], [[[2n, false]], true]);
  sending[1]!.resolve();
  await settled();
  assert.deepEqual(reports.at(-1), [3n, true]);
  pass(29_999);
  assert.equal(sender.underWay, true);
  pass(1);
  assert.equal(sender.underWay, false);
});

test("one that was never delivered keeps nothing", async () => {
  const { sender, sending, send } = rig();
  send(2n);
  sending[0]!.reject(new Error("no way"));
  await settled();
  assert.equal(sender.underWay, false);
});

test("beyond sixteen at a time a snapshot is dropped, and Raft is told once its Ready is done", async () => {
  const { sending, reports, send } = rig();
  for (let to = 1n; to <= 17n; to++) send(to);
  assert.equal(sending.length, 16);
  assert.deepEqual(reports, []);
  await settled();
  assert.deepEqual(reports, [[17n, false]]);
  sending[0]!.resolve();
  await settled();
  send(17n);
  assert.equal(sending.at(-1)!.to, 17n);
});
