import assert from "node:assert/strict";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import {
  echo,
  EdgeRig,
  framed,
  putPath,
  receiveBytesMax,
  snapshotPath,
  unframed,
  watchPath,
  type Client,
} from "./edge-rig.test-support.js";

const message = Buffer.from("hello");
const put = framed(message);

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
    const raw = net.connect(limited.port, "127.0.0.1");
    raw.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    const literal = (text: string): Buffer => Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]);
    const field = (name: string, value: string): Buffer => Buffer.concat([Buffer.of(0), literal(name), literal(value)]);
    const post = Buffer.of(0x83, 0x86);
    const headers = Buffer.concat([post, field(":path", putPath), field("content-type", "application/grpc")]);
    raw.write(Buffer.concat([frame(4, 0, 0), frame(1, 4, 1, headers), frame(1, 4, 3, headers)]));
    const refused = Buffer.concat([frame(3, 0, 3, Buffer.of(0, 0, 0, 7))]);
    let received = Buffer.alloc(0);
    for await (const chunk of raw) {
      received = Buffer.concat([received, chunk as Buffer]);
      if (received.includes(refused)) break;
    }
    assert.deepEqual([...received.subarray(15, 21)], [0, 3, 0, 0, 0, 1], "SETTINGS name the limit");
    await limited.close();
  });
});

/** One HTTP/2 frame. */
function frame(kind: number, flags: number, stream: number, payload = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(9);
  header.writeUInt16BE(payload.length, 1);
  header.set([kind, flags], 3);
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, payload]);
}
