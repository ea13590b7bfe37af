/** A stream of answers as lines: its status, and that a slow client is sent no more than it has room for. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CallBatchReader, CallKind, ReplyBatchWriter, ReplyKind } from "../../native/index.js";
import { encodeSnapshotResponse, methods } from "../../proto/index.js";
import { CallClient } from "./call-client.js";
import type { BodySink, HttpRequest, HttpResponse } from "./exchange.js";
import { GatewayStream } from "./gateway-stream.js";

const method = methods.find(({ path }) => path === "/etcdserverpb.Maintenance/Snapshot")!;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A call's two ends: what main hears and says, and what the client takes. */
class Rig implements BodySink {
  readonly heard: number[] = [];
  readonly lines: string[] = [];
  /** The client takes what it is sent. */
  takes = true;
  isEnded = false;
  drained: () => void = () => {};
  gone: () => void = () => {};
  readonly #client: CallClient;
  readonly stream: GatewayStream;

  constructor() {
    const submit = (bytes: Uint8Array, length: number): boolean => {
      const reader = new CallBatchReader();
      for (reader.reset(bytes, length); reader.next();) this.heard.push(reader.kind);
      return true;
    };
    this.#client = new CallClient(submit, { callsMax: 10 });
    const request: HttpRequest = {
      ...{ method: "POST", path: "/v3/maintenance/snapshot", query: "", body: new Uint8Array(0) },
      header: () => "",
      onBody: () => {},
      onGone: (callback) => void (this.gone = callback),
    };
    const call = { method: 3, flags: 2, metadata: [], message: new Uint8Array(0) };
    this.stream = new GatewayStream(this.#client, method, call, request);
  }

  write(piece: Uint8Array): boolean {
    this.lines.push(Buffer.from(piece).toString());
    return this.takes;
  }
  onDrain(callback: () => void): void {
    this.drained = callback;
  }
  end(): void {
    this.isEnded = true;
  }

  /** Main sends a message, and may ask to hear when it has been taken. */
  message(asks: boolean): void {
    const replies = new ReplyBatchWriter();
    const bytes = encodeSnapshotResponse({ version: "3.7.0" });
    const at = replies.begin(this.stream.call.id, ReplyKind.Message, bytes.length);
    replies.bytes.set(bytes, at);
    replies.finish(at + bytes.length, asks);
    this.#client.receive(replies.bytes, 0, replies.length);
  }
  ends(code: number, text: string): void {
    const replies = new ReplyBatchWriter();
    replies.status(this.stream.call.id, code, text);
    this.#client.receive(replies.bytes, 0, replies.length);
  }

  /** The answer's head is sent, and its body begins. */
  async answered(): Promise<HttpResponse> {
    const response = (await this.stream.answer)!;
    if (typeof response.body === "function") response.body(this);
    return response;
  }
}

const line = '{"result":{"version":"3.7.0"}}\n';

test("main is told of room only when the client has taken what it was sent", async () => {
  const rig = new Rig();
  await turn();
  assert.deepEqual(rig.heard.splice(0), [CallKind.Call]);
  rig.message(true);
  await turn();
  assert.deepEqual(rig.heard, [], "the answer has not begun");
  await rig.answered();
  await turn();
  assert.deepEqual([rig.lines.splice(0), rig.heard.splice(0)], [[line], [CallKind.Writable]]);
  rig.takes = false;
  rig.message(false);
  rig.message(true);
  await turn();
  assert.deepEqual([rig.lines.splice(0), rig.heard], [[line, line], []]);
  rig.drained();
  await turn();
  assert.deepEqual(rig.heard.splice(0), [CallKind.Writable]);
  rig.drained();
  await turn();
  assert.deepEqual(rig.heard, [], "nobody has asked");
});

test("an error before any message has a status of its own, one after it only its line", async () => {
  const early = new Rig();
  early.ends(14, "etcdserver: no leader");
  assert.equal((await early.answered()).status, 503);
  assert.deepEqual([early.lines, early.isEnded], [['{"error":{"code":14,"message":"etcdserver: no leader"}}\n'], true]);
  const late = new Rig();
  late.message(false);
  assert.equal((await late.answered()).status, 200);
  late.ends(14, "etcdserver: no leader");
  assert.deepEqual(late.lines, [line, ...early.lines]);
  const empty = new Rig();
  empty.ends(0, "");
  assert.equal((await empty.answered()).status, 200);
  assert.deepEqual([empty.lines, empty.isEnded], [[], true]);
});

test("the call of a client that goes is cancelled, and nothing more is written", async () => {
  const rig = new Rig();
  rig.message(false);
  await rig.answered();
  await turn();
  rig.heard.length = 0;
  rig.gone();
  await turn();
  assert.deepEqual(rig.heard, [CallKind.Cancel]);
  rig.message(true);
  assert.deepEqual(rig.lines, [line]);
});
