import assert from "node:assert/strict";
import http from "node:http";
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { CallFlag, CallKind, MetadataTag } from "./call-batch.js";
import { EdgeListenError, edgeCounters, gatewaySubmit, replyBatch, setGatewayMailbox, startEdge } from "./edge.js";
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

describe("calls that the edge refuses, as etcd 3.7.1 does", () => {
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

  type Case = [
    name: string,
    path: string,
    body: Buffer[],
    headers: Record<string, string>,
    http: number,
    code: number,
    text: string,
  ];
  const cardinality = "cardinality violation: received";
  const cases: Case[] = [
    [
      "a foreign content type",
      putPath,
      [put],
      { "content-type": "application/json" },
      415,
      3,
      'invalid gRPC request content-type "application/json"',
    ],
    [
      "a method other than POST",
      putPath,
      [put],
      { ":method": "PUT" },
      405,
      13,
      'Received a HEADERS frame with :method "PUT" which should be POST',
    ],
    ["an unknown service", "/foo.Bar/Baz", [put], {}, 200, 12, "unknown service foo.Bar"],
    ["an unknown method", "/etcdserverpb.KV/Baz", [put], {}, 200, 12, "unknown method Baz for service etcdserverpb.KV"],
    ["a path that is none", "/foo", [put], {}, 200, 12, 'malformed method name: "/foo"'],
    [
      "an unknown encoding",
      putPath,
      [put],
      { "grpc-encoding": "snappy" },
      200,
      12,
      'grpc: Decompressor is not installed for grpc-encoding "snappy"',
    ],
    [
      "a compressed message without encoding",
      putPath,
      [framed(message, 1)],
      {},
      200,
      13,
      "grpc: compressed flag set with identity or empty encoding",
    ],
    [
      "an unknown compression flag",
      putPath,
      [framed(message, 7)],
      {},
      200,
      13,
      "grpc: received unexpected payload format 7",
    ],
    ["no message", putPath, [], {}, 200, 2, "EOF"],
    ["a message cut short", putPath, [framed(message, 0, 20)], {}, 200, 2, "unexpected EOF"],
    [
      "a message too large",
      putPath,
      [framed(message, 0, receiveBytesMax + 1)],
      {},
      200,
      8,
      `grpc: received message larger than max (${receiveBytesMax + 1} vs. ${receiveBytesMax})`,
    ],
    ["a timeout of nothing", putPath, [put], { "grpc-timeout": "0S" }, 200, 4, "context deadline exceeded"],
    [
      "a timeout without unit",
      putPath,
      [put],
      { "grpc-timeout": "10" },
      400,
      13,
      'malformed grpc-timeout: transport: timeout unit is not recognized: "10"',
    ],
    [
      "binary metadata that is none",
      putPath,
      [put],
      { "x-bin": "!!!" },
      400,
      13,
      'malformed binary metadata "!!!" in header "x-bin": illegal base64 data at input byte 0',
    ],
    [
      "a server stream without request",
      snapshotPath,
      [],
      {},
      200,
      13,
      `${cardinality} no request message from non-client-streaming RPC`,
    ],
    [
      "a server stream with two requests",
      snapshotPath,
      [put, put],
      {},
      200,
      13,
      `${cardinality} multiple request messages for non-client-streaming RPC`,
    ],
    ["a bidi stream cut short", watchPath, [framed(message, 0, 20)], {}, 200, 13, "unexpected EOF"],
  ];
  for (const [name, path, body, headers, http, code, text] of cases) {
    test(name, async () => {
      const got = await client.call(path, body, headers);
      assert.deepEqual(
        { http: got.http, code: got.code, text: got.text, trailersOnly: got.trailersOnly },
        { http, code, text, trailersOnly: true },
      );
    });
  }

  test("a second message of a unary call is nobody's", async () => {
    const got = await client.call(putPath, [put, put]);
    assert.deepEqual(unframed(got.data), [message]);
  });

  test("a stream beyond the limit is refused", async () => {
    const limited = new EdgeRig(() => {}, { maxConcurrentStreams: 1 });
    const other = limited.connect();
    other.open(putPath).write(put);
    await limited.until(({ kind }) => kind === CallKind.Call);
    // The client knows the limit by now; this one does not keep to it.
    const raw = net.connect(limited.port, "127.0.0.1");
    const headers = Buffer.from("8386440a2f612e422f43", "hex");
    const frame = (stream: number): Buffer => {
      const head = Buffer.alloc(9);
      head[2] = headers.length;
      head.set([1, 4], 3);
      head.writeUInt32BE(stream, 5);
      return Buffer.concat([head, headers]);
    };
    raw.write(
      Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Buffer.alloc(9).fill(4, 3, 4), frame(1)]),
    );
    const [reply] = (await Promise.all([new Promise((resolve) => raw.once("data", resolve))])) as [Buffer];
    assert.equal(reply[3], 4, "its SETTINGS come first");
    assert.equal(reply.readUInt16BE(15), 3, "and name the limit");
    raw.destroy();
    other.destroy();
    await limited.close();
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

describe("the end of calls", () => {
  const silent = (): EdgeRig => new EdgeRig(() => {});

  test("a deadline ends the call with Go's text and cancels it", async () => {
    const rig = silent();
    const client = rig.connect();
    const got = await client.call(putPath, [put], { "grpc-timeout": "30m" });
    assert.deepEqual([got.code, got.text], [4, "context deadline exceeded"]);
    const call = await rig.until(({ kind }) => kind === CallKind.Call);
    await rig.until(({ kind, callId }) => kind === CallKind.Cancel && callId === call.callId);
    rig.writer.message(call.callId, ReplyKind.MessageAndEnd, message);
    rig.flush();
    assert.equal((await client.call("/x.Y/Z", [])).code, 12, "the late reply met nobody");
    const counters = rig.edge.counterBuffer();
    rig.edge.counters(counters);
    assert.equal(counters[edgeCounters.perMethod + edgeCounters.ended + 4], 1);
    client.destroy();
    await rig.close();
  });

  test("a reset cancels; a lost connection cancels and disconnects", async () => {
    const rig = silent();
    const client = rig.connect();
    const first = client.open(putPath);
    first.write(put);
    const call = await rig.until(({ kind }) => kind === CallKind.Call);
    first.close(8);
    await rig.until(({ kind, callId }) => kind === CallKind.Cancel && callId === call.callId);
    const second = client.open(watchPath);
    second.write(put);
    const watch = await rig.until(({ kind }) => kind === CallKind.Message);
    client.destroy();
    await rig.until(({ kind, connectionId }) => kind === CallKind.Disconnect && connectionId === watch.connectionId);
    assert.deepEqual(
      rig.seen.slice(-2).map(({ kind, callId }) => [kind, callId]),
      [
        [CallKind.Cancel, watch.callId],
        [CallKind.Disconnect, 0],
      ],
    );
    await rig.close();
  });

  test("an error's text is percent-encoded", async () => {
    const text = "etcdserver: 100% ümlaut\n";
    const rig = new EdgeRig((seen, { writer }) => {
      if (seen.kind === CallKind.Call) writer.status(seen.callId, 3, text);
    });
    const client = rig.connect();
    const got = await client.call(putPath, [put]);
    assert.deepEqual([got.trailersOnly, got.code, got.text], [true, 3, text]);
    assert.equal(got.headers["grpc-message"], "etcdserver: 100%25 %C3%BCmlaut%0A");
    client.destroy();
    await rig.close();
  });

  test("closing lets calls end, and refuses connections", async () => {
    const rig = silent();
    const client = rig.connect();
    const ended = client.call(putPath, [put]);
    const call = await rig.until(({ kind }) => kind === CallKind.Call);
    const closed = rig.edge.close(10_000);
    const sent = new Promise((resolve) => client.session.once("goaway", resolve));
    await sent;
    rig.writer.message(call.callId, ReplyKind.MessageAndEnd, message);
    rig.flush();
    assert.equal((await ended).code, 0);
    await closed;
    await assert.rejects(
      new Promise((resolve, reject) => net.connect(rig.port, "127.0.0.1", () => resolve(1)).on("error", reject)),
      /ECONNREFUSED/,
    );
  });

  test("closing cuts off what does not end in time", async () => {
    const rig = silent();
    const client = rig.connect();
    const ended = client.call(putPath, [put]);
    await rig.until(({ kind }) => kind === CallKind.Call);
    await rig.edge.close(20);
    assert.equal((await ended).code, undefined);
    client.destroy();
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

describe("a client that is a nuisance", () => {
  test("pings too often are answered with GOAWAY", async () => {
    const rig = new EdgeRig(echo);
    const client = rig.connect();
    await client.call(putPath, [put]);
    const gone = new Promise<number>((resolve) => client.session.once("goaway", resolve));
    for (let i = 0; i < 5; i++) client.session.ping(() => {});
    assert.equal(await gone, 11);
    client.destroy();
    await rig.close();
  });

  test("a silent client that answers no ping is closed", async () => {
    const rig = new EdgeRig(echo, { keepalive: { intervalMs: 50, timeoutMs: 100 } });
    const raw = net.connect(rig.port, "127.0.0.1");
    raw.write(Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Buffer.alloc(9).fill(4, 3, 4)]));
    raw.resume();
    await new Promise((resolve) => raw.once("close", resolve));
    const polite = rig.connect();
    await polite.call(putPath, [put]);
    await new Promise((resolve) => setTimeout(resolve, 400));
    assert.equal((await polite.call(putPath, [put])).code, 0, "one that answers pings stays");
    polite.destroy();
    await rig.close();
  });

  test("one that takes no replies is not given more work, and memory stays bounded", async () => {
    const answer = Buffer.alloc(100_000, 1);
    const rig = new EdgeRig((seen, { writer }) => {
      if (seen.kind === CallKind.Call) writer.message(seen.callId, ReplyKind.MessageAndEnd, answer);
    });
    const client = rig.connect({ settings: { initialWindowSize: 0 } });
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 3000; i++) client.open(putPath).end(put);
    const other = rig.connect();
    for (let i = 0; i < 50; i++) assert.equal((await other.call(putPath, [put])).code, 0, "others are served");
    const first = rig.seen.find(({ kind }) => kind === CallKind.Call)?.connectionId;
    const given = rig.seen.filter(({ kind, connectionId }) => kind === CallKind.Call && connectionId === first).length;
    assert.ok(given <= 1100, `${given} calls of a client that takes nothing were passed on`);
    const grown = (process.memoryUsage().rss - before) / (1 << 20);
    assert.ok(grown < 300, `memory grew by ${grown} MiB`);
    client.destroy();
    other.destroy();
    await rig.close();
  });

  test("while calls are not drained, clients are not read; later nothing is missing", async () => {
    const rig = new EdgeRig(echo);
    rig.paused = true;
    const client = rig.connect();
    const body = framed(Buffer.alloc(1 << 20, 9));
    const answers = Array.from({ length: 80 }, () => client.call(putPath, [body]));
    const counters = rig.edge.counterBuffer();
    let received = -1;
    for (let before = -2; received < 5 || received !== before;) {
      before = received;
      await new Promise((resolve) => setTimeout(resolve, 200));
      rig.edge.counters(counters);
      received = counters[edgeCounters.perMethod + edgeCounters.messagesReceived]!;
    }
    // The queue's 8 MiB, and what a connection may have been granted to complete by then.
    assert.ok(received <= 8 + 22, `${received} MiB were taken in`);
    rig.paused = false;
    rig.drain();
    for (const { code } of await Promise.all(answers)) assert.equal(code, 0);
    client.destroy();
    await rig.close();
  });
});

describe("HTTP/1.1 on the same port", () => {
  const folder = mkdtempSync(join(tmpdir(), "EDGE-"));
  const httpSocketPath = join(folder, "http");
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => response.end(`${request.method} ${request.url} ${Buffer.concat(chunks).length}`));
  });
  let rig: EdgeRig;
  before(async () => {
    await new Promise<void>((resolve) => server.listen(httpSocketPath, resolve));
    rig = new EdgeRig(echo, { httpSocketPath });
  });
  after(async () => {
    server.closeAllConnections();
    server.close();
    await rig.close();
    rmSync(folder, { recursive: true });
  });

  const get = async (agent: http.Agent, method: string, path: string, body: Buffer): Promise<string> =>
    await new Promise((resolve, reject) => {
      const request = http.request({ port: rig.port, host: "127.0.0.1", method, path, agent }, (response) => {
        let text = "";
        response.on("data", (chunk: Buffer) => (text += chunk.toString()));
        response.on("end", () => resolve(text));
      });
      request.on("error", reject);
      request.end(body);
    });

  test("requests and large bodies pass, on kept connections too", async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    assert.equal(await get(agent, "GET", "/health", Buffer.alloc(0)), "GET /health 0");
    assert.equal(await get(agent, "POST", "/v3/kv/put", Buffer.alloc(3_000_000)), "POST /v3/kv/put 3000000");
    assert.equal(await get(agent, "GET", "/version", Buffer.alloc(0)), "GET /version 0");
    agent.destroy();
  });

  test("a request whose first bytes come one at a time", async () => {
    const raw = net.connect(rig.port, "127.0.0.1");
    const answer = new Promise<string>((resolve) => raw.once("data", (chunk) => resolve(chunk.toString())));
    for (const character of "PRX /a HTTP/1.1\r\nhost: x\r\n\r\n") {
      raw.write(character);
      await new Promise((resolve) => setImmediate(resolve));
    }
    // "PR" could have begun the preface of HTTP/2.
    assert.match(await answer, /^HTTP\/1\.1 400/);
    raw.destroy();
  });

  test("gRPC works beside it", async () => {
    const client = rig.connect();
    assert.equal((await client.call(putPath, [put])).code, 0);
    client.destroy();
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
