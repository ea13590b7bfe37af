import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { CallFlag, CallKind, MetadataTag } from "./call-batch.js";
import {
  bulkReplyBatch,
  EdgeListenError,
  edgeCounters,
  gatewaySubmit,
  replyBatch,
  setGatewayMailbox,
  startEdge,
} from "./edge.js";
import {
  echo,
  EdgeRig,
  framed,
  methods,
  outcome,
  putPath,
  receiveBytesMax,
  snapshotPath,
  unframed,
  watchPath,
  type Client,
} from "./edge-rig.test-support.js";
import { Mailbox } from "./mailbox.js";
import { ReplyBatchWriter, ReplyKind } from "./reply-batch.js";

const message = Buffer.from("hello");
const put = framed(message);

describe("calls that are answered at once", () => {
  let rig: EdgeRig;
  let client: Client;
  before(() => {
    rig = new EdgeRig(echo);
    client = rig.connect();
  });
  after(async () => {
    client.destroy();
    await rig.close();
  });

  test("a unary call gets headers, its message and trailers", async () => {
    const { http, trailersOnly, code, text, headers, data, resetCode } = await client.call(putPath, [put]);
    assert.deepEqual(
      { http, trailersOnly, code, text, resetCode },
      { http: 200, trailersOnly: false, code: 0, text: "", resetCode: 0 },
    );
    assert.equal(headers["content-type"], "application/grpc");
    assert.deepEqual(unframed(data), [message]);
  });

  test("HPACK's indices stay right over many calls and errors between them", async () => {
    for (let i = 0; i < 20; i++) {
      assert.equal((await client.call(putPath, [put])).code, 0);
      assert.equal((await client.call("/x.Y/Z", [put])).text, "unknown service x.Y");
      assert.equal(
        (await client.call(putPath, [put], { "content-type": "application/grpc+proto" })).headers["content-type"],
        "application/grpc+proto",
      );
    }
  });

  test("a client without a header table understands the answers", async () => {
    const small = rig.connect({ settings: { headerTableSize: 0 } });
    for (let i = 0; i < 3; i++) assert.equal((await small.call(putPath, [put])).code, 0);
    small.destroy();
  });

  test("an empty message and one at the receive limit", async () => {
    assert.deepEqual(unframed((await client.call(putPath, [framed(Buffer.alloc(0))])).data), [Buffer.alloc(0)]);
    const large = Buffer.alloc(receiveBytesMax, 7);
    const answer = unframed((await client.call(putPath, [framed(large)])).data);
    assert.ok(answer[0]?.equals(large));
  });

  test("a message in many pieces is put together", async () => {
    const stream = client.open(putPath);
    for (const byte of put) stream.write(Buffer.from([byte]));
    stream.end();
    assert.deepEqual(unframed((await outcome(stream)).data), [message]);
  });

  test("a gzip message is taken", async () => {
    const headers = { "grpc-encoding": "gzip" };
    const { data } = await client.call(putPath, [framed(gzipSync(message), 1)], headers);
    assert.deepEqual(unframed(data), [message]);
  });

  test("a large message waits for no other: many at once on one connection", async () => {
    const large = framed(Buffer.alloc(1_500_000, 1));
    const answers = await Promise.all(Array.from({ length: 40 }, () => client.call(putPath, [large])));
    for (const { code, data } of answers) assert.deepEqual([code, data.length], [0, large.length]);
  });

  test("many connections at once", async () => {
    const clients = Array.from({ length: 200 }, () => rig.connect());
    const answers = await Promise.all(
      clients.flatMap((other) => Array.from({ length: 5 }, () => other.call(putPath, [put]))),
    );
    assert.ok(answers.every(({ code }) => code === 0));
    for (const other of clients) other.destroy();
  });

  test("counters", async () => {
    const into = rig.edge.counterBuffer();
    rig.edge.counters(into);
    const base = 1 * edgeCounters.perMethod;
    const before = Array.from(into);
    await client.call(putPath, [put]);
    rig.edge.counters(into);
    const moved = (what: number): number => into[base + what]! - before[base + what]!;
    assert.equal(moved(edgeCounters.started), 1);
    assert.equal(moved(edgeCounters.messagesReceived), 1);
    assert.equal(moved(edgeCounters.messagesSent), 1);
    assert.equal(moved(edgeCounters.ended + 0), 1);
    const total = methods.length * edgeCounters.perMethod + edgeCounters.total.bytesReceived;
    assert.equal(into[total]! - before[total]!, message.length);
  });
});

describe("streams", () => {
  test("a bidi stream: its opening, messages both ways, half-close, end", async () => {
    const rig = new EdgeRig((seen, { writer }) => {
      if (seen.kind === CallKind.Message) writer.message(seen.callId, ReplyKind.Message, seen.message);
      if (seen.kind === CallKind.HalfClose) writer.status(seen.callId, 1, "etcdserver: watch canceled");
    });
    const client = rig.connect();
    const got = await client.call(watchPath, [framed(Buffer.from("a")), framed(Buffer.from("b"))]);
    assert.deepEqual(unframed(got.data).map(String), ["a", "b"]);
    assert.deepEqual([got.trailersOnly, got.code, got.text], [false, 1, "etcdserver: watch canceled"]);
    const kinds = rig.seen.filter(({ callId }) => callId !== 0).map(({ kind }) => kind);
    assert.deepEqual(kinds, [CallKind.Call, CallKind.Message, CallKind.Message, CallKind.HalfClose]);
    client.destroy();
    await rig.close();
  });

  test("a server stream is one Call with its whole message, once the client has ended", async () => {
    const rig = new EdgeRig((seen, { writer }) => {
      if (seen.kind !== CallKind.Call) return;
      for (const part of ["x", "y", "z"]) writer.message(seen.callId, ReplyKind.Message, Buffer.from(part));
      writer.status(seen.callId, 0, "");
    });
    const client = rig.connect();
    const got = await client.call(snapshotPath, [put]);
    assert.deepEqual(unframed(got.data).map(String), ["x", "y", "z"]);
    assert.equal(got.code, 0);
    assert.deepEqual(rig.seen.find(({ kind }) => kind === CallKind.Call)?.message, message);
    client.destroy();
    await rig.close();
  });

  test("many messages beyond the stream's window", async () => {
    const rig = new EdgeRig((seen, { writer }) => {
      if (seen.kind === CallKind.HalfClose) writer.status(seen.callId, 0, "");
    });
    const client = rig.connect();
    const chunk = framed(Buffer.alloc(70_000, 3));
    const large = framed(Buffer.alloc(1_000_000, 4));
    const chunks = Array.from({ length: 60 }, (_, i) => (i % 20 === 19 ? large : chunk));
    assert.equal((await client.call(watchPath, chunks)).code, 0);
    assert.equal(rig.seen.filter(({ kind }) => kind === CallKind.Message).length, 60);
    client.destroy();
    await rig.close();
  });

  test("what a client does not take waits, and Writable comes when it has been taken", async () => {
    const part = Buffer.alloc(64 << 10, 5);
    let sent = 0;
    const rig = new EdgeRig((seen, { writer }) => {
      if (seen.kind !== CallKind.Call && seen.kind !== CallKind.Writable) return;
      // Four messages a turn, the last of which asks to be told.
      for (let i = 0; i < 4; i++, sent++) {
        const at = writer.begin(seen.callId, ReplyKind.Message, part.length);
        writer.bytes.set(part, at);
        writer.finish(at + part.length, i === 3);
      }
      if (sent === 400) writer.status(seen.callId, 0, "");
    });
    const client = rig.connect();
    const stream = client.open(snapshotPath);
    stream.end(put);
    stream.pause();
    await new Promise((resolve) => stream.once("response", resolve));
    const probe = await client.call("/x.Y/Z", [put]);
    assert.equal(probe.code, 12, "other calls go on");
    assert.ok(sent < 40, `${sent} messages were sent to a client that takes none`);
    const ended = outcome(stream);
    stream.resume();
    assert.equal((await ended).data.length, 400 * (part.length + 5));
    client.destroy();
    await rig.close();
  });
});

describe("replies in bulk", () => {
  test("come whole and in order, of whatever sizes, while other calls are answered", async () => {
    // A record has 16 bytes before its message: 64 of the second size make just what the edge takes in a turn.
    const sizes = [100, (16 << 10) - 16, 300_000, 0, 70_000];
    const batches = 120;
    const writer = new ReplyBatchWriter();
    const rig = new EdgeRig((seen, edge) => {
      if (seen.method !== 2 || seen.kind !== CallKind.Call) return echo(seen, edge);
      for (let batch = 0; batch < batches; batch++) {
        const size = sizes[batch % sizes.length]!;
        const message = Buffer.alloc(size, batch);
        for (let i = 0; i < Math.max(1, Math.floor((1 << 20) / (size + 16) / 4)); i++) {
          writer.message(seen.callId, ReplyKind.Message, message);
        }
        if (batch === batches - 1) writer.status(seen.callId, 0, "");
        bulkReplyBatch(writer.bytes, writer.length);
        writer.clear();
      }
    });
    const client = rig.connect();
    const other = rig.connect();
    const stream = outcome(client.open(watchPath));
    for (let i = 0; i < 50; i++) assert.equal((await other.call(putPath, [put])).code, 0);
    const { code, data } = await stream;
    assert.equal(code, 0);
    let at = 0;
    for (let batch = 0; batch < batches; batch++) {
      const size = sizes[batch % sizes.length]!;
      const count = Math.max(1, Math.floor((1 << 20) / (size + 16) / 4));
      for (let i = 0; i < count; i++, at += size + 5) {
        assert.equal(data.readUInt32BE(at + 1), size);
        if (size > 0) assert.equal(data[at + 5 + size - 1], batch);
      }
    }
    assert.equal(at, data.length);
    client.destroy();
    other.destroy();
    await rig.close();
  });
});

describe("what travels with a call", () => {
  test("metadata and flags", async () => {
    const rig = new EdgeRig(echo);
    const client = rig.connect();
    await client.call(putPath, [put], {
      authorization: "Bearer abc.1",
      hasleader: "true",
      "client-api-version": "3.7",
      "grpcgateway-accept": "application/json",
      "x-other": "y",
    });
    await client.call(putPath, [put], { token: "def.2", hasleader: "false", "client-api-version": "\u00fc" });
    const [first, second] = rig.seen.filter(({ kind }) => kind === CallKind.Call);
    assert.equal(first?.flags, CallFlag.RequireLeader | CallFlag.Gateway);
    assert.equal(first?.metadata(MetadataTag.Token), "abc.1");
    assert.equal(first?.metadata(MetadataTag.ClientApiVersion), "3.7");
    assert.equal(second?.flags, CallFlag.BadClientApiVersion);
    assert.equal(second?.metadata(MetadataTag.Token), "def.2");
    assert.equal(first?.method, 1);
    const connected = rig.seen.find(({ kind }) => kind === CallKind.Connect);
    assert.equal(connected?.connectionId, first?.connectionId);
    assert.match(connected?.metadata(MetadataTag.RemoteAddress) ?? "", /^127\.0\.0\.1:\d+$/);
    assert.deepEqual(rig.edge.clientVersions(), [{ version: "3.7", unary: 1, stream: 0 }]);
    client.destroy();
    await rig.close();
  });
});

describe("listeners", () => {
  test("an address in use is told by name, in Go's words", async () => {
    const rig = new EdgeRig(echo);
    const options = {
      listeners: [{ host: "127.0.0.1", port: rig.port }],
      methods,
      receiveBytesMax,
      maxConcurrentStreams: 1,
    };
    assert.throws(
      () => startEdge(options, () => {}),
      (error) =>
        error instanceof EdgeListenError &&
        error.code === "EADDRINUSE" &&
        error.message === `listen tcp 127.0.0.1:${rig.port}: bind: address already in use`,
    );
    await rig.close();
  });

  test("an edge that has just begun ends when it is asked to", async () => {
    for (let i = 0; i < 100; i++) await new EdgeRig(echo).close();
  });

  test("a port is shared with others who share it", async () => {
    const rig = new EdgeRig(echo, { reusePort: true });
    const another = (reusePort: boolean): Promise<void> => {
      const listeners = [{ host: "127.0.0.1", port: rig.port }];
      return new EdgeRig(echo, { listeners, reusePort }).close();
    };
    await another(true);
    assert.throws(() => another(false), EdgeListenError);
    await rig.close();
  });

  test("several listeners, a Unix socket among them", async () => {
    const path = join(mkdtempSync(join(tmpdir(), "EDGE-")), "s");
    const rig = new EdgeRig(echo, {
      listeners: [{ host: "127.0.0.1", port: 0 }, { host: "localhost", port: 0 }, { path }],
    });
    assert.equal(rig.edge.addresses.length, 3);
    assert.equal(rig.edge.addresses[2], path);
    const raw = net.connect(path);
    raw.write(Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Buffer.alloc(9).fill(4, 3, 4)]));
    await rig.until(({ kind }) => kind === CallKind.Connect);
    raw.destroy();
    await rig.close();
  });
});

describe("the gateway's calls", () => {
  test("go to the drain, and their replies to its mailbox", async () => {
    const rig = new EdgeRig(echo);
    const mailbox = new Mailbox(1 << 16);
    setGatewayMailbox(mailbox.handle);
    const record = new DataView(new ArrayBuffer(40));
    record.setUint32(0, 40, true);
    record.setUint32(4, 0x8000_0007, true);
    record.setUint32(8, CallKind.Call | (1 << 16), true);
    record.setUint32(12, message.length, true);
    const bytes = new Uint8Array(record.buffer);
    bytes.set(message, 32);
    const woken = new Promise<void>((resolve) => mailbox.onWake(resolve));
    assert.equal(gatewaySubmit(bytes, 40), true);
    await woken;
    const into = new Uint8Array(1024);
    assert.equal(mailbox.receive(into), 8 + 24);
    const view = new DataView(into.buffer);
    assert.equal(view.getUint32(8 + 4, true), 0x8000_0007);
    assert.deepEqual(Buffer.from(into.subarray(8 + 16, 8 + 21)), message);
    setGatewayMailbox(null);
    mailbox.close();
    await rig.close();
  });

  test("replies of both kinds in one batch find their way", async () => {
    const mailbox = new Mailbox(1 << 16);
    setGatewayMailbox(mailbox.handle);
    const writer = new ReplyBatchWriter();
    const rig = new EdgeRig((seen) => {
      if (seen.kind !== CallKind.Call) return;
      writer.status(0x8000_0001, 0, "");
      writer.message(seen.callId, ReplyKind.MessageAndEnd, seen.message);
      writer.status(0x8000_0002, 5, "no");
      replyBatch(writer.bytes, writer.length);
      writer.clear();
    });
    const client = rig.connect();
    assert.equal((await client.call(putPath, [put])).code, 0);
    assert.equal(mailbox.receive(new Uint8Array(256)), 8 + 16 + 8 + 24);
    setGatewayMailbox(null);
    mailbox.close();
    client.destroy();
    await rig.close();
  });
});
