import assert from "node:assert/strict";
import { test } from "node:test";
import { copyOf } from "../../base/index.js";
import { ErrContextCanceled, EtcdError } from "../../errors/index.js";
import { CallBatchReader, CallKind, MetadataTag, ReplyBatchWriter, ReplyKind } from "../../native/index.js";
import { type Call, CallClient } from "./call-client.js";

interface Sent {
  readonly id: number;
  readonly kind: number;
  readonly method: number;
  readonly flags: number;
  readonly message: string;
  readonly token: string | undefined;
}

/** A main that keeps what it gets, batch by batch. */
class FakeMain {
  readonly batches: Sent[][] = [];
  accepts = true;
  readonly #arrived: (() => void)[] = [];

  submit = (bytes: Uint8Array, length: number): boolean => {
    if (!this.accepts) return false;
    const reader = new CallBatchReader();
    reader.reset(bytes, length);
    const batch: Sent[] = [];
    while (reader.next()) {
      const message = Buffer.from(copyOf(bytes, reader.messageStart, reader.messageEnd)).toString();
      const value = reader.metadata(MetadataTag.Token);
      const token = value && Buffer.from(value).toString();
      batch.push({ id: reader.callId, kind: reader.kind, method: reader.method, flags: reader.flags, message, token });
    }
    this.batches.push(batch);
    for (const resolve of this.#arrived.splice(0)) resolve();
    return true;
  };

  next(): Promise<void> {
    return new Promise((resolve) => this.#arrived.push(resolve));
  }
}

const call = (message: string, token?: string): Call => ({
  method: 3,
  flags: 2,
  metadata: token === undefined ? [] : [{ tag: MetadataTag.Token, value: Buffer.from(token) }],
  message: Buffer.from(message),
});

test("calls of one turn go in one batch and are told apart by their IDs", async () => {
  const main = new FakeMain();
  const client = new CallClient(main.submit, { callsMax: 10 });
  const [one, two] = [client.start(call("one")), client.start(call("longer", "token"))];
  await main.next();
  assert.equal(main.batches.length, 1);
  assert.deepEqual(
    main.batches[0]!.map(({ kind, method, flags, message, token }) => ({ kind, method, flags, message, token })),
    [
      { kind: CallKind.Call, method: 3, flags: 2, message: "one", token: undefined },
      { kind: CallKind.Call, method: 3, flags: 2, message: "longer", token: "token" },
    ],
  );
  assert.deepEqual(
    main.batches[0]!.map(({ id }) => id),
    [one.id, two.id],
  );
  assert.ok(one.id > 0x8000_0000 && two.id < 0xffff_ffff);
  const replies = new ReplyBatchWriter();
  replies.status(two.id, 5, "not hére");
  replies.message(7, ReplyKind.MessageAndEnd, Buffer.from("another's"));
  replies.message(one.id, ReplyKind.MessageAndEnd, Buffer.from("fine"));
  client.receive(replies.bytes, 0, replies.length);
  assert.equal(Buffer.from(await one.reply).toString(), "fine");
  await assert.rejects(
    two.reply,
    (error) => error instanceof EtcdError && error.code === 5 && error.message === "not hére",
  );
  assert.equal(client.waiting, 0);
});

test("a cancelled call is told to main and settled once", async () => {
  const main = new FakeMain();
  const client = new CallClient(main.submit, { callsMax: 10 });
  const { id, reply } = client.start(call("slow"));
  await main.next();
  client.cancel(id, new ErrContextCanceled());
  client.cancel(id, new ErrContextCanceled());
  await assert.rejects(reply, ErrContextCanceled);
  await main.next();
  assert.deepEqual(
    main.batches[1]!.map(({ id: canceled, kind }) => [canceled, kind]),
    [[id, CallKind.Cancel]],
  );
});

test("bounds: too many calls, a full queue, a stopped server", async () => {
  const main = new FakeMain();
  const client = new CallClient(main.submit, { callsMax: 2 });
  const tooMany = { message: "etcdserver: too many requests" };
  client.start(call("a")).reply.catch(() => {});
  main.accepts = false;
  const refused = client.start(call("b"));
  assert.throws(() => client.start(call("c")), tooMany);
  await assert.rejects(refused.reply, tooMany);
  main.accepts = true;
  const last = client.start(call("d"));
  client.close();
  await assert.rejects(last.reply, { message: "etcdserver: server stopped" });
  assert.throws(() => client.start(call("e")), { message: "etcdserver: server stopped" });
});

test("a stream's messages come in order, and its end once", async () => {
  const main = new FakeMain();
  const client = new CallClient(main.submit, { callsMax: 10 });
  const heard: string[] = [];
  const stream = client.open(call(""), {
    message: (bytes, asks) => heard.push(`${Buffer.from(bytes).toString()}${asks ? " asks" : ""}`),
    end: (error) => heard.push(error === undefined ? "end" : `end ${error.code} ${error.message}`),
  });
  stream.send(Buffer.from("one"));
  stream.halfClose();
  await main.next();
  stream.writable();
  await main.next();
  const kinds = main.batches.flat().map(({ id, kind, method, message }) => [id, kind, method, message]);
  assert.deepEqual(kinds, [
    [stream.id, CallKind.Call, 3, ""],
    [stream.id, CallKind.Message, 3, "one"],
    [stream.id, CallKind.HalfClose, 3, ""],
    [stream.id, CallKind.Writable, 3, ""],
  ]);
  const replies = new ReplyBatchWriter();
  replies.message(stream.id, ReplyKind.Message, Buffer.from("a"));
  replies.finish(replies.begin(stream.id, ReplyKind.Message, 0), true);
  replies.message(stream.id, ReplyKind.Part, Buffer.from("dropped"));
  replies.dropParts(stream.id);
  for (const part of ["b", "c"]) replies.message(stream.id, ReplyKind.Part, Buffer.from(part));
  replies.message(stream.id, ReplyKind.Message, Buffer.from("before"));
  replies.message(stream.id, ReplyKind.LastPart, Buffer.from("d"));
  replies.status(stream.id, 11, "over");
  replies.message(stream.id, ReplyKind.Message, Buffer.from("late"));
  client.receive(replies.bytes, 0, replies.length);
  stream.cancel(new ErrContextCanceled());
  assert.deepEqual(heard, ["a", " asks", "before", "bcd", "end 11 over"]);
});

test("when main's queue is full a stream fails, and main hears of its end once there is room", async () => {
  const main = new FakeMain();
  const client = new CallClient(main.submit, { callsMax: 10 });
  const ends: string[] = [];
  const listener = { message: () => {}, end: (error?: EtcdError) => void ends.push(error?.message ?? "") };
  const [one, two] = [client.open(call(""), listener), client.open(call(""), listener)];
  await main.next();
  main.accepts = false;
  one.send(Buffer.from("refused"));
  two.cancel(new ErrContextCanceled());
  assert.deepEqual(ends, ["context canceled"]);
  while (ends.length < 2) await new Promise(setImmediate);
  main.accepts = true;
  await main.next();
  assert.equal(ends[1], "etcdserver: too many requests");
  assert.deepEqual(
    main.batches.at(-1)!.map(({ id, kind }) => [id, kind]),
    [
      [one.id, CallKind.Cancel],
      [two.id, CallKind.Cancel],
    ],
  );
  assert.equal(client.waiting, 0);
});

test("large messages go at once", async () => {
  const main = new FakeMain();
  const client = new CallClient(main.submit, { callsMax: 10 });
  client.start(call("x".repeat(2 << 20))).reply.catch(() => {});
  assert.equal(main.batches[0]![0]!.message.length, 2 << 20);
  client.start(call("small")).reply.catch(() => {});
  await main.next();
  assert.deepEqual(
    main.batches.map((batch) => batch.length),
    [1, 1],
  );
  client.close();
});

test("internal calls are not counted, and take nobody's place", async () => {
  const main = new FakeMain();
  let started = 0;
  const counter = { started: () => void started++, received: () => {}, sent: () => {}, ended: () => {} };
  const client = new CallClient(main.submit, { callsMax: 1, counter });
  const internal = { ...call("internal"), isInternal: true, connectionId: 9 } as const;
  const own = [client.start(internal), client.start(internal)];
  const theirs = client.start(call("theirs"));
  assert.throws(() => client.start(call("theirs")), { message: "etcdserver: too many requests" });
  assert.equal(started, 1);
  for (const { id, reply } of [...own, theirs]) {
    client.cancel(id, new ErrContextCanceled());
    await assert.rejects(reply);
  }
  const { id, reply } = client.start(call("theirs"));
  client.cancel(id, new ErrContextCanceled());
  await assert.rejects(reply);
});
