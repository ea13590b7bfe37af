/** The request that a WebSocket stands for: its token, its body, its end; the socket is a stand-in. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { BodySink, HttpRequest, HttpResponse } from "./exchange.js";
import type { UwsWebSocket } from "./uws.js";
import { webSocketBehavior, type SocketData } from "./web-socket.js";

class Socket implements UwsWebSocket<SocketData> {
  readonly sent: string[] = [];
  /** Bytes that the client has not taken. */
  buffered = 0;
  isClosed = false;
  readonly #data: SocketData;

  constructor(headers: Readonly<Record<string, string>>, bodyUse: SocketData["bodyUse"]) {
    const head: HttpRequest = {
      method: "GET",
      path: "/v3/watch",
      query: "a=b",
      body: new Uint8Array(0),
      header: (name) => headers[name] ?? "",
      onBody: () => {},
      onGone: () => {},
    };
    this.#data = { head, bodyUse };
  }

  getUserData(): SocketData {
    return this.#data;
  }
  send(message: string | Uint8Array): number {
    this.sent.push(Buffer.from(message as Uint8Array).toString());
    return 1;
  }
  getBufferedAmount(): number {
    return this.buffered;
  }
  close(): void {
    this.isClosed = true;
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Opens a socket; its request, once it is asked, is answered with `answer`. */
function open(
  headers: Readonly<Record<string, string>>,
  { bodyUse = "pieces", answer }: { bodyUse?: SocketData["bodyUse"]; answer?: HttpResponse } = {},
) {
  const socket = new Socket(headers, bodyUse);
  const requests: HttpRequest[] = [];
  const behavior = webSocketBehavior({
    bodyBytesMax: 100,
    handle: (request) => {
      requests.push(request);
      return Promise.resolve(answer);
    },
  });
  behavior.open(socket);
  const feed = (text: string): void =>
    behavior.message(socket, new Uint8Array(Buffer.from(text)).buffer as ArrayBuffer, false);
  return { socket, requests, behavior, feed };
}

test("the token comes in the sub-protocols or in a cookie, which counts more; other headers stay behind", () => {
  const authorization = (headers: Readonly<Record<string, string>>): string =>
    open(headers).requests[0]!.header("authorization");
  assert.equal(authorization({}), "");
  assert.equal(authorization({ authorization: "Bearer x" }), "");
  assert.equal(authorization({ "sec-websocket-protocol": "Bearer, abc.17" }), "Bearer abc.17");
  assert.equal(authorization({ "sec-websocket-protocol": "Bearer,abc.17  " }), "Bearer abc.17");
  assert.equal(authorization({ "sec-websocket-protocol": "other, Bearer, abc" }), "Bearer abc");
  assert.equal(authorization({ "sec-websocket-protocol": "Bearer" }), "");
  assert.equal(authorization({ cookie: "a=1; token=abc; b=2" }), "Bearer abc");
  assert.equal(authorization({ cookie: 'token="abc"' }), "Bearer abc");
  assert.equal(authorization({ cookie: "mytoken=abc" }), "");
  assert.equal(authorization({ cookie: "token=abc", "sec-websocket-protocol": "Bearer, x" }), "Bearer abc");
  const [request] = open({ origin: "o", referer: "r", "grpc-metadata-token": "t" }).requests;
  assert.deepEqual(
    ["origin", "referer", "grpc-metadata-token"].map((name) => request!.header(name)),
    ["o", "r", ""],
  );
  assert.deepEqual([request!.method, request!.path, request!.query], ["POST", "/v3/watch", "a=b"]);
});

test("messages are pieces of the body, lines of the answer are messages without their end", async () => {
  let sink: BodySink | undefined;
  const answer = { status: 200, headers: [], body: (given: BodySink) => void (sink = given) };
  const { socket, requests, behavior, feed } = open({}, { answer });
  const pieces: string[] = [];
  requests[0]!.onBody((piece, isLast) => pieces.push(`${Buffer.from(piece).toString()} ${isLast}`));
  feed('{"a":');
  feed("1}");
  assert.deepEqual(pieces, ['{"a": false', "1} false"]);
  await turn();
  let drains = 0;
  sink!.onDrain(() => drains++);
  assert.equal(sink!.write(Buffer.from("one\n")), true);
  socket.buffered = 10;
  assert.equal(sink!.write(Buffer.from("two")), false);
  assert.deepEqual(socket.sent, ["one", "two"]);
  behavior.drain(socket);
  assert.equal(drains, 0, "there is still something to take");
  sink!.end();
  await turn();
  assert.equal(socket.isClosed, false, "what was sent would be lost");
  socket.buffered = 0;
  behavior.drain(socket);
  assert.equal(socket.isClosed, true);
});

test("a client that closes is gone, for those who ask later, too", async () => {
  const { socket, requests, behavior } = open({}, { answer: { status: 200, headers: [], body: "late" } });
  let gone = 0;
  requests[0]!.onGone(() => gone++);
  behavior.close(socket, 1000, new ArrayBuffer(0));
  requests[0]!.onGone(() => gone++);
  assert.equal(gone, 2);
  await turn();
  assert.deepEqual(socket.sent, []);
});

test("a call with one request gets the first object, or what is none", async () => {
  for (const [messages, body] of [
    [['{"key":', '"a"}{"key":"b"}'], '{"key":"a"}'],
    [["nonsense"], "nonsense"],
  ] as const) {
    const answer = { status: 200, headers: [], body: "line\nother\n" };
    const { socket, requests, feed } = open({}, { bodyUse: "whole", answer });
    assert.equal(requests.length, 0);
    for (const message of messages) feed(message);
    assert.deepEqual(
      requests.map((request) => Buffer.from(request.body).toString()),
      [body],
    );
    await turn();
    await turn();
    assert.deepEqual([socket.sent, socket.isClosed], [["line", "other"], true]);
  }
});
