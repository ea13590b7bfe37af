/**
 * What a client gets that breaks HTTP/2's rules, from the real etcd and from ours, frame by frame. Where the two differ
 * both are written down. In short: Go's library closes a connection that it cannot follow without a word, ours says
 * why (GOAWAY, as RFC 9113 §5.4.1 asks); Go overlooks some of what RFC 9113 calls an error of the connection.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  errorCodes,
  etcdBinaries,
  frame,
  FrameFlag,
  FrameKind,
  hpackField,
  ourCommand,
  RawHttp2,
  rawFrame,
  requestBlock,
  setting,
  uint32,
} from "../support/index.js";
import { startPair, type PairMember } from "./pair.js";

const rangePath = "/etcdserverpb.KV/Range";
const watchPath = "/etcdserverpb.Watch/Watch";
const { Data, Headers, Priority, RstStream, Settings, PushPromise, Ping, Goaway, WindowUpdate, Continuation } =
  FrameKind;
const body = frame(Buffer.from("\n\u0001a"));
const block = requestBlock(rangePath);
const endOfStream = FrameFlag.EndStream;

const open = (stream: number, path = rangePath): Buffer =>
  rawFrame(Headers, FrameFlag.EndHeaders, stream, requestBlock(path));
const call = (stream: number): Buffer => Buffer.concat([open(stream), rawFrame(Data, endOfStream, stream, body)]);
const blockOf = (stream: number, bytes: Buffer): Buffer => rawFrame(Headers, FrameFlag.EndHeaders, stream, bytes);
const withField = (name: string, value: string): Buffer =>
  blockOf(1, Buffer.concat([requestBlock(rangePath), hpackField(name, value)]));

const answered = (stream: number): string => `HEADERS ${stream}, DATA ${stream}, end ${stream}`;
const goaway = (code: string): string => `GOAWAY ${code}, closed`;
const reset = (stream: number, code: string): string => `RST_STREAM ${stream} ${code}`;
const protocol = "PROTOCOL_ERROR";
/** SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113 §6.5.2). */
const maxConcurrentStreams = 3;
/** --max-concurrent-streams of both members. */
const streamsMax = 8;

interface Case {
  readonly name: string;
  readonly frames: readonly Buffer[];
  readonly etcd: string;
  readonly ours: string;
}

const same = (name: string, outcome: string, ...frames: Buffer[]): Case => ({
  name,
  frames,
  etcd: outcome,
  ours: outcome,
});
/** Both close the connection; only ours says why. */
const closed = (name: string, code: string, ...frames: Buffer[]): Case => ({
  name,
  frames,
  etcd: "closed",
  ours: goaway(code),
});
/** Go takes no notice. */
const overlooked = (name: string, ours: string, ...frames: Buffer[]): Case => ({ name, frames, etcd: "open", ours });

const streams: readonly Case[] = [
  same(
    "a stream more than --max-concurrent-streams",
    `${reset(2 * streamsMax + 1, "REFUSED_STREAM")}, open`,
    ...Array.from({ length: streamsMax + 1 }, (_, i) => open(2 * i + 1, watchPath)),
  ),
  closed("HEADERS on stream 0", protocol, open(0)),
  same("HEADERS on an even stream", goaway(protocol), open(2)),
  same("stream numbers that go back", goaway(protocol), open(5, watchPath), open(3)),
  closed("DATA on stream 0", protocol, rawFrame(Data, 0, 0, body)),
  overlooked("DATA on an idle stream", goaway(protocol), rawFrame(Data, 0, 1, body)),
  same(
    "DATA after the end of the stream",
    `${reset(1, "STREAM_CLOSED")}, open`,
    open(1, watchPath),
    rawFrame(Data, endOfStream, 1),
    rawFrame(Data, 0, 1, body),
  ),
  overlooked("RST_STREAM on an idle stream", goaway(protocol), rawFrame(RstStream, 0, 1, uint32(8))),
  closed("RST_STREAM on stream 0", protocol, rawFrame(RstStream, 0, 0, uint32(8))),
  closed("RST_STREAM of 3 bytes", "FRAME_SIZE_ERROR", open(1, watchPath), rawFrame(RstStream, 0, 1, Buffer.alloc(3))),
  same(
    "a reset, and a call after it",
    `${answered(3)}, open`,
    open(1, watchPath),
    rawFrame(RstStream, 0, 1, uint32(8)),
    call(3),
  ),
  // Go's server knows no trailers of requests; by RFC 9113 §8.1 the first is an error of its stream, the second is none.
  {
    name: "HEADERS again on an open stream",
    frames: [open(1, watchPath), open(1, watchPath)],
    etcd: goaway(protocol),
    ours: `${reset(1, protocol)}, open`,
  },
  {
    name: "trailers of a request",
    frames: [
      open(1),
      rawFrame(Data, 0, 1, body),
      rawFrame(Headers, FrameFlag.EndHeaders | endOfStream, 1, hpackField("x", "y")),
    ],
    etcd: goaway(protocol),
    ours: `${answered(1)}, open`,
  },
  same(
    "a thousand empty DATA frames before the message",
    `${answered(1)}, open`,
    open(1),
    ...Array.from({ length: 1000 }, () => rawFrame(Data, 0, 1)),
    rawFrame(Data, endOfStream, 1, body),
  ),
  closed("padding longer than its frame", protocol, open(1, watchPath), rawFrame(Data, 8, 1, Buffer.of(9, 1, 2))),
  closed("padding without a length", "FRAME_SIZE_ERROR", open(1, watchPath), rawFrame(Data, 8, 1)),
  same(
    "padding",
    `${answered(1)}, open`,
    open(1),
    rawFrame(Data, FrameFlag.Padded | endOfStream, 1, Buffer.concat([Buffer.of(3), body, Buffer.alloc(3)])),
  ),
];

const connection: readonly Case[] = [
  closed("a frame longer than allowed", "FRAME_SIZE_ERROR", rawFrame(Data, 0, 1, Buffer.alloc(0), 16_385)),
  same("a frame of an unknown kind", `${answered(1)}, open`, rawFrame(0x77, 0, 1, Buffer.alloc(20)), call(1)),
  overlooked("WINDOW_UPDATE on an idle stream", goaway(protocol), rawFrame(WindowUpdate, 0, 1, uint32(5))),
  closed("WINDOW_UPDATE of 0", protocol, rawFrame(WindowUpdate, 0, 0, uint32(0))),
  same(
    "WINDOW_UPDATE of 0 on a stream",
    `${reset(1, protocol)}, open`,
    open(1, watchPath),
    rawFrame(WindowUpdate, 0, 1, uint32(0)),
  ),
  closed("WINDOW_UPDATE of 5 bytes", "FRAME_SIZE_ERROR", rawFrame(WindowUpdate, 0, 0, Buffer.alloc(5))),
  overlooked("a window too large", goaway("FLOW_CONTROL_ERROR"), rawFrame(WindowUpdate, 0, 0, uint32(0x7fff_ffff))),
  overlooked(
    "a stream's window too large",
    `${reset(1, "FLOW_CONTROL_ERROR")}, open`,
    open(1, watchPath),
    rawFrame(WindowUpdate, 0, 1, uint32(0x7fff_ffff)),
  ),
  closed("SETTINGS on a stream", protocol, rawFrame(Settings, 0, 1)),
  closed("SETTINGS of 5 bytes", "FRAME_SIZE_ERROR", rawFrame(Settings, 0, 0, Buffer.alloc(5))),
  closed("an acknowledgement with settings", "FRAME_SIZE_ERROR", rawFrame(Settings, 1, 0, Buffer.alloc(6))),
  closed("INITIAL_WINDOW_SIZE of 2^31", "FLOW_CONTROL_ERROR", rawFrame(Settings, 0, 0, setting(4, 0x8000_0000))),
  overlooked("MAX_FRAME_SIZE of 100", goaway(protocol), rawFrame(Settings, 0, 0, setting(5, 100))),
  overlooked("ENABLE_PUSH of 2", goaway(protocol), rawFrame(Settings, 0, 0, setting(2, 2))),
  same("an unknown setting", `${answered(1)}, open`, rawFrame(Settings, 0, 0, setting(99, 2)), call(1)),
  closed("PING of 7 bytes", "FRAME_SIZE_ERROR", rawFrame(Ping, 0, 0, Buffer.alloc(7))),
  closed("PING on a stream", protocol, rawFrame(Ping, 0, 1, Buffer.alloc(8))),
  same(
    "PING again and again",
    goaway("ENHANCE_YOUR_CALM"),
    ...Array.from({ length: 6 }, () => rawFrame(Ping, 0, 0, Buffer.alloc(8))),
  ),
  closed("PRIORITY on stream 0", protocol, rawFrame(Priority, 0, 0, Buffer.alloc(5))),
  // RFC 9113 §6.3 makes it an error of the stream.
  {
    name: "PRIORITY of 4 bytes",
    frames: [rawFrame(Priority, 0, 1, Buffer.alloc(4))],
    etcd: "closed",
    ours: `${reset(1, "FRAME_SIZE_ERROR")}, open`,
  },
  overlooked(
    "a stream that depends on itself",
    `${reset(1, protocol)}, open`,
    rawFrame(Priority, 0, 1, Buffer.of(0, 0, 0, 1, 1)),
  ),
  overlooked("PUSH_PROMISE", goaway(protocol), rawFrame(PushPromise, 0, 1, Buffer.alloc(8))),
  closed("GOAWAY on a stream", protocol, rawFrame(Goaway, 0, 1, Buffer.alloc(8))),
  same("GOAWAY, and a call after it", `${answered(1)}, open`, rawFrame(Goaway, 0, 0, Buffer.alloc(8)), call(1)),
];

const headerBlocks: readonly Case[] = [
  closed("CONTINUATION alone", protocol, rawFrame(Continuation, 4, 1, Buffer.alloc(3))),
  closed("a block that is interrupted", protocol, rawFrame(Headers, 0, 1, block), call(3)),
  closed("a block that another stream continues", protocol, rawFrame(Headers, 0, 1, block), rawFrame(9, 4, 3)),
  same(
    "a block that is continued",
    `${answered(1)}, open`,
    rawFrame(Headers, 0, 1, block.subarray(0, 10)),
    rawFrame(Continuation, FrameFlag.EndHeaders, 1, block.subarray(10)),
    rawFrame(Data, endOfStream, 1, body),
  ),
  closed("HPACK: index 0", "COMPRESSION_ERROR", blockOf(1, Buffer.of(0x80))),
  closed("HPACK: an index beyond the table", "COMPRESSION_ERROR", blockOf(1, Buffer.of(0xff, 0x20))),
  closed("HPACK: a field cut short", "COMPRESSION_ERROR", blockOf(1, Buffer.of(0x40, 5, 0x61))),
  closed("HPACK: a table larger than allowed", "COMPRESSION_ERROR", blockOf(1, Buffer.of(0x3f, 0xe2, 0x7f))),
  ...[
    same("a name in capitals", "", withField("X-A", "b")),
    same("a value with a line end", "", withField("a", "b\n")),
    same("a connection field", "", withField("connection", "close")),
    same("an unknown pseudo-field", "", withField(":x", "b")),
    same("a pseudo-field after others", "", blockOf(1, Buffer.concat([hpackField("a", "b"), block]))),
  ].map(({ name, frames }) => same(name, `${reset(1, protocol)}, ${answered(3)}, open`, ...frames, call(3))),
];

const mark = Buffer.from("the end ");

/** What has come so far, in words. */
function outcomeOf(client: RawHttp2): string {
  const words: string[] = [];
  for (const { kind, flags, stream, payload } of client.frames) {
    const code = (at: number): string => errorCodes[payload.readUInt32BE(at)] ?? "?";
    if (kind === Goaway) words.push(`GOAWAY ${code(4)}`);
    else if (kind === RstStream) words.push(`RST_STREAM ${stream} ${code(0)}`);
    else if (kind === Headers) words.push(`${(flags & endOfStream) !== 0 ? "end" : "HEADERS"} ${stream}`);
    else if (kind === Data) words.push(`DATA ${stream}`);
  }
  const isOpen = client.frames.some(({ kind, payload }) => kind === Ping && payload.equals(mark));
  if (client.closed) words.push("closed");
  else if (isOpen) words.push("open");
  return words.join(", ");
}

/** Sends the frames and waits for what is expected; after a time, whatever has come. */
async function observe(port: number, frames: readonly Buffer[], expected: string): Promise<string> {
  const client = new RawHttp2(port);
  await client.until(() => client.frames.some(({ kind }) => kind === Settings));
  client.send(...frames, rawFrame(Ping, 0, 0, mark));
  const timer = setTimeout(() => client.destroy(), 30_000);
  await client.until(() => outcomeOf(client) === expected);
  clearTimeout(timer);
  const outcome = outcomeOf(client);
  client.destroy();
  return outcome;
}

/** What the server's first SETTINGS say under `id`; undefined: nothing. */
async function settingOf(port: number, id: number): Promise<number | undefined> {
  const client = new RawHttp2(port);
  await client.until(() => client.closed || client.frames.some(({ kind }) => kind === Settings));
  client.destroy();
  const { payload } = client.frames.find(({ kind }) => kind === Settings) ?? { payload: Buffer.alloc(0) };
  const entries = Array.from({ length: payload.length / 6 }, (_, i) => payload.subarray(6 * i));
  return entries.find((entry) => entry.readUInt16BE(0) === id)?.readUInt32BE(2);
}

const cache = await etcdBinaries();

describe(
  "clients that break HTTP/2's rules",
  { timeout: 120_000, skip: cache.kind === "skipped" ? cache.reason : false },
  () => {
    let pair: { etcd: PairMember; ours: PairMember; stop: () => Promise<void> };
    before(async () => {
      if (cache.kind === "ready") {
        const flags = [`--max-concurrent-streams=${streamsMax}`];
        pair = await startPair(cache.binaries.etcd, ourCommand(), flags);
      }
    });
    after(() => pair.stop());
    test("--max-concurrent-streams is told to clients", async () => {
      for (const { name, member } of [pair.etcd, pair.ours])
        assert.equal(await settingOf(member.port, maxConcurrentStreams), streamsMax, name);
    });
    for (const { name, frames, etcd, ours } of [...streams, ...connection, ...headerBlocks]) {
      test(name, async () => {
        const [theirs, our] = await Promise.all([
          observe(pair.etcd.member.port, frames, etcd),
          observe(pair.ours.member.port, frames, ours),
        ]);
        assert.deepEqual({ etcd: theirs, ours: our }, { etcd, ours });
      });
    }
  },
);
