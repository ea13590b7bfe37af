/** Clients that ask for much and do not read: memory stays bounded, others are served, and nothing is lost. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import http2 from "node:http2";
import { test } from "node:test";
import {
  frame,
  freePorts,
  Member,
  ourCommand,
  temporaryFolder,
  unframe,
  waitForStorageVersion,
} from "../support/index.js";

const readers = 50;
const keys = 16;
const valueBytes = 1 << 20;
/** Replies that wait (256 MiB), what is being made, and as much again for buffers on their way. */
const growthMax = 700 << 20;

const field = (number: number, bytes: Uint8Array): Buffer => {
  const head: number[] = [(number << 3) | 2];
  let length = bytes.length;
  for (; length > 127; length = Math.floor(length / 128)) head.push((length % 128) | 128);
  return Buffer.concat([Buffer.from([...head, length]), bytes]);
};

const residentBytes = (pid: number): number => {
  const pages = readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1];
  return Number(pages) * 4096;
};

class Client {
  readonly #session: http2.ClientHttp2Session;

  constructor(port: number, window = 65_535) {
    this.#session = http2.connect(`http://127.0.0.1:${port}`, { settings: { initialWindowSize: window } });
    this.#session.on("error", () => {});
  }

  /** Sends a request; its stream, of which nothing is read yet. */
  ask(path: string, message: Uint8Array): http2.ClientHttp2Stream {
    const stream = this.#session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
    });
    stream.on("error", () => {});
    stream.end(frame(message));
    return stream;
  }

  close(): void {
    this.#session.destroy();
  }
}

const bodyOf = (stream: http2.ClientHttp2Stream): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => resolve(Buffer.concat(chunks)));
    stream.on("close", () => reject(new Error("the stream was closed")));
  });

/** How many bytes a stream brings from now on to its end; nothing of them is kept. */
const bytesOf = (stream: http2.ClientHttp2Stream): Promise<number> =>
  new Promise((resolve, reject) => {
    let bytes = 0;
    stream.on("data", (chunk: Buffer) => (bytes += chunk.length));
    stream.on("end", () => resolve(bytes));
    stream.on("close", () => reject(new Error(`the stream was closed after ${bytes} bytes`)));
  });

const put = async (client: Client, key: string, value: Uint8Array): Promise<number> => {
  const began = performance.now();
  const body = await bodyOf(
    client.ask("/etcdserverpb.KV/Put", Buffer.concat([field(1, Buffer.from(key)), field(2, value)])),
  );
  assert.equal(unframe(body).length, 1, `put ${key}`);
  return performance.now() - began;
};

test("50 clients that do not read what they asked for", { timeout: 110_000 }, async (t) => {
  const folder = await temporaryFolder();
  t.after(folder.remove);
  const [clientPort = 0, peerPort = 0] = await freePorts(2);
  const dataDir = `${folder.path}/data`;
  const member = await Member.start({ command: ourCommand(), dataDir, clientPort, peerPort });
  t.after(() => member.kill());
  await waitForStorageVersion(clientPort);
  const other = new Client(clientPort);
  t.after(() => other.close());
  for (let i = 0; i < keys; i++) await put(other, `big/${i}`, Buffer.alloc(valueBytes, `${i} `));
  const before = residentBytes(member.pid);
  const slow = Array.from({ length: readers }, () => new Client(clientPort));
  t.after(() => slow.forEach((client) => client.close()));
  const range = Buffer.concat([field(1, Buffer.from("big/")), field(2, Buffer.from("big0"))]);
  const streams = slow.map((client) => client.ask("/etcdserverpb.KV/Range", range));
  let peak = 0;
  const latencies: number[] = [];
  for (let i = 0; i < 300; i++) {
    latencies.push(await put(other, "small", Buffer.from(`${i}`)));
    peak = Math.max(peak, residentBytes(member.pid) - before);
  }
  latencies.sort((a, b) => a - b);
  t.diagnostic(
    `memory grew by ${peak >> 20} MiB; a put took ${latencies[150]!.toFixed(1)} ms, at most ${latencies.at(-1)!.toFixed(1)}`,
  );
  assert.ok(peak < growthMax, `memory grew by ${peak >> 20} MiB`);
  assert.ok(latencies[285]! < 500, `a put took ${latencies[285]} ms`);
  // They read on, all of them: whose turn comes first is the server's choice. Each gets all of it.
  for (const bytes of await Promise.all(streams.map(bytesOf)))
    assert.ok(bytes > keys * valueBytes, `${bytes} bytes came`);
});
