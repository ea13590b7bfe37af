import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { silentLogger } from "../../base/index.js";
import type { HttpRequest, HttpResponse } from "./exchange.js";
import { HttpServer } from "./http-server.js";
import { UnsentBytes, unsentBytesDefaults } from "./unsent-bytes.js";
import { loadUws } from "./uws.js";

let folder: string;
let path: string;
let server: HttpServer;
const unsent = new UnsentBytes({ ...unsentBytesDefaults, bytesMax: 8 << 20 });
/** What a request is answered with, by its path. */
const answers = new Map<string, (request: HttpRequest) => HttpResponse>();

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "etcd-ts-http-"));
  path = join(folder, "s");
  const handlers = {
    handle: (request: HttpRequest) => answers.get(request.path)!(request),
    bodyOf: ({ path }: { path: string }) => (path.startsWith("/pieces") ? ("pieces" as const) : ("whole" as const)),
    takesWebSocket: () => false,
  };
  const limits = { bodyBytesMax: 1 << 20, messageBytesMax: 1 << 20 };
  server = new HttpServer({ uws: loadUws(), handlers, logger: silentLogger, unsent, ...limits });
  await server.listen(path);
});

after(async () => {
  server.close();
  await rm(folder, { recursive: true });
});

/** What hangs has failed. */
const within = { timeout: 60_000 };

/** A client that keeps all it reads. */
class Reader {
  readonly socket: Socket;
  readonly #pieces: Buffer[] = [];
  #wake: () => void = () => {};
  isClosed = false;
  length = 0;

  constructor(request: string) {
    this.socket = connect(path);
    this.socket.write(request);
    this.socket.on("data", (piece) => {
      this.#pieces.push(piece);
      this.length += piece.length;
      this.#wake();
    });
    this.socket.on("close", () => {
      this.isClosed = true;
      this.#wake();
    });
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#pieces);
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      assert.ok(!this.isClosed, "the connection was closed");
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

/** The body of a chunked answer, read strictly; undefined: it has not come to its end. */
function chunkedBody(bytes: Buffer): Buffer | undefined {
  const parts: Buffer[] = [];
  for (let at = bytes.indexOf("\r\n\r\n") + 4; ;) {
    const lineEnd = bytes.indexOf("\r\n", at);
    if (lineEnd < 0) return undefined;
    const line = bytes.subarray(at, lineEnd).toString("latin1");
    assert.match(line, /^[0-9a-f]+$/i, `no chunk begins at ${at}`);
    const end = lineEnd + 2 + Number.parseInt(line, 16);
    if (bytes.length < end + 2) return undefined;
    assert.equal(bytes.subarray(end, end + 2).toString("latin1"), "\r\n", `no chunk ends at ${end}`);
    if (end === lineEnd + 2) return Buffer.concat(parts);
    parts.push(bytes.subarray(lineEnd + 2, end));
    at = end + 2;
  }
}

/** Lines of many lengths, among them ones that end where a socket's buffer does. */
function lineOf(index: number): Buffer {
  const line = Buffer.alloc(1 + ((index * 37_633) % 300_000), 97 + (index % 26));
  line[line.length - 1] = 0x0a;
  return line;
}

test("a stream's reader that stops and goes on gets every byte, and is asked before more is sent", within, async () => {
  const lines = Array.from({ length: 80 }, (_, index) => lineOf(index));
  let asked = 0;
  answers.set("/lines", () => ({
    status: 200,
    headers: [],
    body: (sink) => {
      let next = 0;
      const step = (): void => {
        while (next < lines.length) if (!sink.write(lines[next++]!)) return;
        sink.end();
      };
      sink.onDrain(() => {
        asked++;
        // As when the owner lives in another thread: not within the callback.
        setImmediate(step);
      });
      step();
    },
  }));
  const reader = new Reader("GET /lines HTTP/1.1\r\nHost: x\r\n\r\n");
  reader.socket.on("data", () => {
    reader.socket.pause();
    setImmediate(() => setImmediate(() => reader.socket.resume()));
  });
  const whole = lines.reduce((sum, line) => sum + line.length, 0);
  await reader.until(() => reader.length > whole && chunkedBody(reader.bytes) !== undefined);
  assert.ok(chunkedBody(reader.bytes)!.equals(Buffer.concat(lines)));
  assert.ok(asked > 10, `${asked} times`);
  reader.socket.destroy();
});

test(
  "the last piece of a stream reaches a reader that had stopped, though no further piece follows",
  within,
  async () => {
    const line = Buffer.alloc(1 << 20, "x");
    answers.set("/line", () => ({ status: 200, headers: [], body: (sink) => void sink.write(line) }));
    const reader = new Reader("GET /line HTTP/1.1\r\nHost: x\r\n\r\n");
    reader.socket.pause();
    await new Promise((resolve) => setTimeout(resolve, 50));
    reader.socket.resume();
    await reader.until(() => reader.length > line.length);
    reader.socket.destroy();
  },
);

test("a long answer reaches a reader that stops and goes on, and the connection goes on", within, async () => {
  const body = Buffer.alloc(3 << 20, "abcdefg");
  answers.set("/long", () => ({ status: 200, headers: [], body }));
  const request = "GET /long HTTP/1.1\r\nHost: x\r\n\r\n";
  const reader = new Reader(request);
  reader.socket.on("data", () => {
    reader.socket.pause();
    setImmediate(() => reader.socket.resume());
  });
  for (let round = 1; round <= 3; round++) {
    await reader.until(
      () => reader.length >= round * body.length && reader.bytes.subarray(-7).equals(body.subarray(-7)),
    );
    if (round < 3) reader.socket.write(request);
  }
  reader.socket.destroy();
  const head = reader.bytes.indexOf("\r\n\r\n") + 4;
  assert.equal(reader.length, 3 * (head + body.length));
  assert.ok(reader.bytes.subarray(head, head + body.length).equals(body));
});

test(
  "of long answers that are not read only so much is kept, and short ones are given nevertheless",
  within,
  async () => {
    const body = Buffer.alloc(3 << 20, "x");
    answers.set("/kept", () => ({ status: 200, headers: [], body }));
    answers.set("/short", () => ({ status: 200, headers: [], body: "short" }));
    const readers: Reader[] = [];
    let refused = 0;
    while (refused === 0) {
      const reader = new Reader("GET /kept HTTP/1.1\r\nHost: x\r\n\r\n");
      readers.push(reader);
      await reader.until(() => reader.length > 0);
      reader.socket.pause();
      if (reader.bytes.includes("too many requests")) refused++;
      assert.ok(readers.length < 10);
    }
    assert.ok(unsent.total > 4 << 20 && unsent.total <= 8 << 20, `${unsent.total}`);
    const short = new Reader("GET /short HTTP/1.1\r\nHost: x\r\n\r\n");
    await short.until(() => short.bytes.includes("short"));
    readers[0]!.socket.resume();
    await readers[0]!.until(() => readers[0]!.length > body.length);
    for (const { socket } of [...readers, short]) socket.destroy();
    while (unsent.total > 0) await new Promise((resolve) => setImmediate(resolve));
  },
);

/** More than uWebSockets.js waits by itself. */
const longMs = 14_000;
const passed = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, longMs));

describe("a client may pause for long", { ...within, concurrency: true }, () => {
  test("in its body, or while it takes the answer", async () => {
    const long = Buffer.alloc(4 << 20, "y");
    answers.set("/echo", ({ body }) => ({ status: 200, headers: [], body }));
    answers.set("/slow", () => ({ status: 200, headers: [], body: long }));
    const sender = new Reader("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello");
    const taker = new Reader("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
    await taker.until(() => taker.length > 0);
    taker.socket.pause();
    await passed();
    sender.socket.write("world");
    taker.socket.resume();
    await sender.until(() => sender.bytes.includes("helloworld"));
    await taker.until(() => taker.length > long.length);
    for (const { socket } of [sender, taker]) socket.destroy();
  });

  test("in a stream of requests, or while it reads one of answers", async () => {
    const taken: string[] = [];
    const long = Buffer.alloc(4 << 20, "y");
    answers.set("/pieces/answers", () => ({ status: 200, headers: [], body: (sink) => void sink.write(long) }));
    // Part by part, until one has to wait: what is left is kept by uWebSockets.js alone.
    answers.set("/pieces/parts", () => ({
      status: 200,
      headers: [],
      body: (sink) => {
        const step = (): void => void (sink.write(Buffer.alloc(12 << 10, "z")) && setImmediate(step));
        step();
      },
    }));
    answers.set("/pieces/requests", (request) => ({
      status: 200,
      headers: [],
      body: (sink) =>
        request.onBody((piece) => {
          taken.push(Buffer.from(piece).toString());
          sink.write(Buffer.from("answer"));
        }),
    }));
    const head = "HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    const sender = new Reader(`POST /pieces/requests ${head}1\r\na\r\n`);
    const taker = new Reader(`POST /pieces/answers ${head}`);
    const sated = new Reader(`POST /pieces/parts ${head}0\r\n\r\n`);
    sated.socket.pause();
    await taker.until(() => taker.length > 0);
    taker.socket.pause();
    await passed();
    assert.ok(!sated.isClosed);
    sated.socket.resume();
    await sated.until(() => sated.length > 12 << 10);
    sender.socket.write("1\r\nb\r\n");
    taker.socket.resume();
    await sender.until(() => sender.bytes.toString().split("answer").length === 3);
    assert.equal(taken.join(""), "ab");
    await taker.until(() => taker.length > long.length);
    for (const { socket } of [sender, taker, sated]) socket.destroy();
  });
});
