/** What hostile clients send, for `hostile-clients.test.ts`; runs in a thread of its own (`hostile-attacker.worker.ts`). */
import { randomBytes } from "node:crypto";
import net from "node:net";
import { setImmediate } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import {
  frame,
  FrameFlag,
  FrameKind,
  hpackField,
  hpackString,
  RawHttp2,
  rawFrame,
  requestBlock,
  setting,
  uint32,
} from "../support/index.js";

const putPath = "/etcdserverpb.KV/Put";
const { Data, Headers, Priority, RstStream, Settings, Ping, WindowUpdate, Continuation } = FrameKind;
const { EndHeaders, EndStream } = FrameFlag;

/** One flood: what opens a connection, and what is sent on it again and again, with ever new stream numbers. */
interface Flood {
  readonly opening?: () => Buffer;
  readonly next: (stream: () => number) => Buffer;
}

const many = (count: number, make: (index: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, index) => make(index)));

const put = frame(Buffer.from("\n\u0001a\u0012\u0001b"));
const putBlock = requestBlock(putPath);
const watchOpening = (): Buffer => rawFrame(Headers, EndHeaders, 1, requestBlock("/etcdserverpb.Watch/Watch"));
const bomb = frame(gzipSync(Buffer.alloc(2_000_000)), 1);
const longText = Buffer.alloc(3900, 0xff);
const zeros = Buffer.alloc(8);

/** A block that spells out a name of 3,900 bytes sixty times. */
const longNames = Buffer.concat([
  putBlock,
  Buffer.of(0x40),
  hpackString(Buffer.alloc(3900, "a")),
  hpackString(""),
  many(60, () => Buffer.of(0x7e, 0)),
]);

const http2Floods = {
  "rapid resets": {
    next: (stream) =>
      many(100, () => {
        const id = stream();
        return Buffer.concat([
          rawFrame(Headers, EndHeaders, id, putBlock),
          rawFrame(Data, EndStream, id, put),
          rawFrame(RstStream, 0, id, uint32(8)),
        ]);
      }),
  },
  settings: { next: () => many(500, (index) => rawFrame(Settings, 0, 0, setting(4, index % 2 === 0 ? 0 : 1 << 20))) },
  pings: { next: () => many(1000, () => rawFrame(Ping, 0, 0, zeros)) },
  priorities: { next: () => many(1000, () => rawFrame(Priority, 0, 3, Buffer.of(0, 0, 0, 1, 1))) },
  "windows opened a byte at a time": { next: () => many(1000, () => rawFrame(WindowUpdate, 0, 0, uint32(1))) },
  "empty DATA frames": { opening: watchOpening, next: () => many(2000, () => rawFrame(Data, 0, 1)) },
  "CONTINUATION without end": {
    opening: () => rawFrame(Headers, 0, 1, putBlock),
    next: () => many(500, () => rawFrame(Continuation, 0, 1, hpackField("x", "y"))),
  },
  "header blocks that spell out long names": {
    next: (stream) => many(20, () => rawFrame(Headers, EndHeaders | EndStream, stream(), longNames)),
  },
  "requests whose refusals are long": {
    opening: () =>
      rawFrame(
        Headers,
        EndHeaders | EndStream,
        1,
        Buffer.concat([
          Buffer.of(0x83, 0x86, 0x44),
          hpackString(longText),
          Buffer.of(0x5f),
          hpackString("application/grpc"),
        ]),
      ),
    next: (stream) =>
      many(500, () => rawFrame(Headers, EndHeaders | EndStream, stream(), Buffer.of(0x83, 0x86, 0xbf, 0xbe))),
  },
  "gzip bombs": {
    next: (stream) =>
      many(10, () => {
        const id = stream();
        const block = requestBlock(putPath, { "grpc-encoding": "gzip" });
        return Buffer.concat([rawFrame(Headers, EndHeaders, id, block), rawFrame(Data, EndStream, id, bomb)]);
      }),
  },
  "messages that never end": {
    next: (stream) =>
      many(200, () => {
        const id = stream();
        const start = Buffer.from([0, 0, 0x10, 0, 0, 0]);
        return Buffer.concat([rawFrame(Headers, EndHeaders, id, putBlock), rawFrame(Data, 0, id, start)]);
      }),
  },
  "random bytes": { next: () => randomBytes(16_384) },
} satisfies Readonly<Record<string, Flood>>;

const httpBody = "an endless body of HTTP/1.1";
type FloodName = keyof typeof http2Floods;
export type AttackName = FloodName | typeof httpBody;
// The keys of the literal above.
export const attackNames: readonly AttackName[] = [...(Object.keys(http2Floods) as FloodName[]), httpBody];

export interface AttackReport {
  readonly connections: number;
  readonly bytes: number;
}

/** Attacks until `stopped`, making a new connection whenever the server has closed one. `going` is called once. */
export async function attack(
  name: AttackName,
  { port, stopped, going }: { readonly port: number; readonly stopped: () => boolean; readonly going: () => void },
): Promise<AttackReport> {
  let connections = 0;
  let bytes = 0;
  while (!stopped()) {
    connections += 1;
    const sent = name === httpBody ? await bodyFlood(port, stopped, going) : await flood(name, port, stopped, going);
    bytes += sent;
  }
  return { connections, bytes };
}

async function flood(name: FloodName, port: number, stopped: () => boolean, going: () => void): Promise<number> {
  const { opening, next }: Flood = http2Floods[name];
  const client = new RawHttp2(port);
  let [bytes, stream] = [0, 1];
  if (opening) client.send(opening());
  while (!client.closed && !stopped()) {
    const chunk = next(() => (stream += 2));
    await client.sendSlowly(chunk);
    bytes += chunk.length;
    client.frames.length = 0;
    going();
    await setImmediate();
  }
  client.destroy();
  return bytes;
}

async function bodyFlood(port: number, stopped: () => boolean, going: () => void): Promise<number> {
  const socket = net.connect(port, "127.0.0.1");
  let isOpen = true;
  socket.on("error", () => {});
  socket.on("close", () => (isOpen = false));
  socket.resume();
  socket.write("POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000000\r\n\r\n");
  const chunk = Buffer.alloc(256 << 10, " ");
  let bytes = 0;
  while (isOpen && !stopped()) {
    if (socket.writableLength < 4 << 20) {
      socket.write(chunk);
      bytes += chunk.length;
    }
    going();
    await setImmediate();
  }
  socket.destroy();
  return bytes;
}
