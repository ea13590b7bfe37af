/**
 * Streams over HTTP/JSON and over WebSocket, beside etcd's: the same requests, the answers line by line. Then what is
 * ours: requests answered while the client still sends, and what a client that goes or stops reading costs.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, test } from "node:test";
import { WebSocket } from "ws";
import {
  base64,
  etcdBinaries,
  HttpClient,
  LineStream,
  metricBecomes,
  ourCommand,
  readMetric,
} from "../support/index.js";
import { startPair, type PairMember } from "./pair.js";

const cache = await etcdBinaries();
const skip = cache.kind === "ready" ? false : cache.reason;

let pair: Awaited<ReturnType<typeof startPair>>;

before(async () => {
  if (cache.kind !== "ready") return;
  pair = await startPair(cache.binaries.etcd, ourCommand());
  for (const { member } of [pair.etcd, pair.ours]) {
    await post(member.port, "/v3/kv/put", { key: base64("a"), value: base64("1") });
    await post(member.port, "/v3/kv/put", { key: base64("a"), value: base64("2"), lease: "0" });
    await post(member.port, "/v3/lease/grant", { ID: "7", TTL: "1000" });
  }
});

after(async () => {
  if (cache.kind === "ready") await pair.stop();
});

const post = async (port: number, path: string, body: object): Promise<string> => {
  const client = new HttpClient(port);
  const reply = await client.send({ method: "POST", path, body: Buffer.from(JSON.stringify(body)) });
  client.close();
  assert.equal(reply.status, 200, `${path}: ${reply.body.toString()}`);
  return reply.body.toString();
};

/** What may differ between two members: who they are, how often they have voted, and spaces that come with a build. */
const level = (line: string): string =>
  line
    .replace(/"(cluster_id|member_id|raft_term)":"\d+"/g, '"$1":"n"')
    // etcd's gateway tells of a deadline by whichever of its two sides is first.
    .replace("stream terminated by RST_STREAM with error code: CANCEL", "context deadline exceeded")
    .replaceAll("\u00a0", " ")
    .replaceAll(', "', ',"');

interface Case {
  readonly name: string;
  readonly path: string;
  readonly body: string;
  readonly headers?: Record<string, string>;
  /** Lines to wait for; undefined: all, to the end. */
  readonly lines?: number;
}

const watch = (request: object): string => JSON.stringify({ create_request: request });
const soon = { "Grpc-Timeout": "300m" };
const cases: readonly Case[] = [
  { name: "history", path: "/v3/watch", body: watch({ key: base64("a"), start_revision: 1 }), lines: 2 },
  {
    name: "several requests in one body, spaces between them",
    path: "/v3/watch",
    body: `${watch({ key: base64("a") })}${watch({ key: base64("b") })} \n{"cancel_request":{"watch_id":0}}`,
    lines: 3,
  },
  {
    name: "options",
    path: "/v3/watch",
    body: watch({ key: base64("a"), startRevision: "3", prevKv: true, watch_id: "9", filters: ["NODELETE"] }),
    lines: 2,
  },
  { name: "the old path", path: "/v3beta/watch", body: watch({ key: base64("a") }), lines: 1 },
  { name: "a deadline", path: "/v3/watch", body: watch({ key: base64("a") }), headers: soon },
  { name: "a deadline that has passed", path: "/v3/watch", body: "", headers: { "Grpc-Timeout": "-1S" } },
  { name: "a malformed deadline", path: "/v3/watch", body: "", headers: { "Grpc-Timeout": "x" } },
  { name: "a body that is no JSON", path: "/v3/watch", body: '{"create_request":', headers: soon },
  { name: "an empty request", path: "/v3/watch", body: "{}", headers: soon },
  { name: "a token that nobody asks for", path: "/v3/watch", body: "{}", headers: { ...soon, Authorization: "x" } },
  { name: "an empty range", path: "/v3/watch", body: watch({ key: base64("b"), range_end: base64("a") }), lines: 1 },
  { name: "keepalive", path: "/v3/lease/keepalive", body: '{"ID":7}{"ID":"7"} {"ID":8}' },
  { name: "keepalive of nothing", path: "/v3/lease/keepalive", body: "" },
  { name: "keepalive, then nonsense", path: "/v3/lease/keepalive", body: '{"ID":7}nonsense{"ID":7}' },
  { name: "keepalive with a wrong type", path: "/v3/lease/keepalive", body: '{"ID":"x"}{"ID":7}' },
  { name: "keepalive of a list", path: "/v3/lease/keepalive", body: '[{"ID":7}]' },
  { name: "a snapshot that is no JSON", path: "/v3/maintenance/snapshot", body: "{x" },
];

const outcome = async ({ member }: PairMember, one: Case): Promise<object> => {
  const { path, body, headers = {} } = one;
  const stream = new LineStream({ port: member.port, path, body, headers });
  const head = await stream.head();
  const lines: (string | undefined)[] = [];
  let whole: boolean | undefined;
  if (one.lines === undefined) {
    const rest = await stream.rest();
    lines.push(...rest.lines);
    ({ whole } = rest);
  } else for (let i = 0; i < one.lines; i++) lines.push(level((await stream.line()) ?? "the end"));
  stream.close();
  const {
    "content-type": type,
    "grpc-metadata-content-type": inner,
    "access-control-allow-origin": cors,
  } = head.headers;
  return { status: head.status, type, inner, cors, whole, lines: lines.map((line) => level(line ?? "")) };
};

test("streams over HTTP are answered line by line as etcd answers them", { skip }, async () => {
  for (const one of cases) {
    const [theirs, ours] = await Promise.all([outcome(pair.etcd, one), outcome(pair.ours, one)]);
    assert.deepEqual(ours, theirs, one.name);
  }
});

test("a snapshot over HTTP is the file and its checksum", { skip }, async () => {
  const stream = new LineStream({ port: pair.ours.member.port, path: "/v3/maintenance/snapshot", body: "{}" });
  const { lines, whole } = await stream.rest();
  assert.ok(whole);
  const parts = lines.map((line) => (JSON.parse(line) as { result: { blob?: string; version?: string } }).result);
  const bytes = Buffer.concat(parts.map(({ blob = "" }) => Buffer.from(blob, "base64")));
  const sum = createHash("sha256").update(bytes.subarray(0, -32)).digest();
  assert.ok(sum.equals(bytes.subarray(-32)), "the last 32 bytes are the SHA-256 of the rest");
  assert.equal(parts.at(-1)?.version, "3.7.0");
});

/** What a WebSocket client sees: its sub-protocol, the messages, how it ended. */
const socketOutcome = async (
  { member }: PairMember,
  one: { path: string; protocols?: string[]; messages: (string | Buffer)[]; count?: number; headers?: object },
): Promise<object> => {
  const socket = new WebSocket(`ws://127.0.0.1:${member.port}${one.path}`, one.protocols ?? [], {
    headers: { ...one.headers },
  });
  const seen: string[] = [];
  socket.on("error", () => {});
  socket.on("open", () => {
    for (const message of one.messages) socket.send(message);
  });
  socket.on("message", (data: Buffer, isBinary) => {
    seen.push(`${isBinary ? "binary" : "text"} ${level(data.toString())}`);
    if (seen.length === one.count) socket.close(1000);
  });
  // One that is not closed in time is cut off, with the code of that.
  const guard = setTimeout(() => socket.terminate(), 5000);
  const code = await new Promise((resolve) => socket.once("close", resolve));
  clearTimeout(guard);
  return { protocol: socket.protocol, seen, code };
};

const socketCases = [
  { path: "/v3/watch", messages: [watch({ key: base64("a"), start_revision: 1 })], count: 2 },
  { path: "/v3/watch", messages: [watch({ key: base64("a") }) + watch({ key: base64("b") })], count: 2 },
  { path: "/v3/watch", messages: ['{"create_request":', `{"key":"${base64("a")}"}}`], count: 1 },
  { path: "/v3/watch", messages: [Buffer.from(watch({ key: base64("a") }))], count: 1 },
  { path: "/v3beta/watch", messages: [watch({ key: base64("a") })], count: 1 },
  { path: "/v3/watch?method=GET", messages: [watch({ key: base64("a") })], count: 1 },
  { path: "/v3/watch", protocols: ["Bearer", "token"], messages: [watch({ key: base64("a") })], count: 1 },
  { path: "/v3/watch", headers: { Cookie: "token=x" }, messages: [watch({ key: base64("a") })], count: 1 },
  { path: "/v3/watch", protocols: ["other"], messages: [] },
  { path: "/v3/lease/keepalive", messages: ['{"ID":7}', '{"ID":8}'], count: 2 },
  { path: "/v3/lease/keepalive", messages: ["x"] },
  { path: "/v3/kv/range", messages: ['{"key":7}'] },
  { path: "/v3/nope", messages: [] },
];

test("streams over WebSocket are answered message by message as etcd's proxy answers them", { skip }, async () => {
  for (const one of socketCases) {
    const [theirs, ours] = await Promise.all([socketOutcome(pair.etcd, one), socketOutcome(pair.ours, one)]);
    assert.deepEqual(ours, theirs, JSON.stringify(one));
  }
});

test("handshakes that are none are refused as etcd refuses them", { skip }, async () => {
  const key = "AAAAAAAAAAAAAAAAAAAAAA==";
  const good = { Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key };
  const bad: readonly (readonly [method: string, path: string, headers: Record<string, string>])[] = [
    ["GET", "/v3/watch", { "Sec-WebSocket-Version": "8" }],
    ["GET", "/v3/watch", { "Sec-WebSocket-Key": "abc" }],
    ["GET", "/v3/watch", { "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAAA=" }],
    ["GET", "/v3/watch", { Upgrade: "h2c" }],
    ["GET", "/v3/watch", { Connection: "keep-alive" }],
    ["POST", "/v3/watch", {}],
    ["GET", "/v3//watch", {}],
    ["GET", "/health", {}],
    ["GET", "/nope", {}],
  ];
  for (const [method, path, headers] of bad) {
    const replies = [];
    for (const { member } of [pair.etcd, pair.ours]) {
      const client = new HttpClient(member.port);
      const reply = await client.send({ method, path, headers: { ...good, ...headers } });
      client.close();
      replies.push({ status: reply.status, body: reply.body.toString().replace(/, "/g, ',"') });
    }
    assert.deepEqual(replies[1], replies[0], `${method} ${path} ${JSON.stringify(headers)}`);
  }
});

test("a call with one request over WebSocket is answered after it", { skip }, async () => {
  const message = JSON.stringify({ key: base64("a") });
  const outcome = await socketOutcome(pair.ours, { path: "/v3/kv/range", messages: [message] });
  const { seen, code } = outcome as { seen: string[]; code: number };
  assert.match(seen[0] ?? "", /"kvs":\[\{"key":"YQ=="/);
  assert.equal(code, 1006);
});

test("requests are answered while the client still sends", { skip }, async () => {
  const stream = new LineStream({ port: pair.ours.member.port, path: "/v3/watch", body: '{"crea', keepsOpen: true });
  stream.send(`te_request":{"key":"${base64("open")}"}}`);
  assert.match((await stream.line()) ?? "", /"created":true/);
  await post(pair.ours.member.port, "/v3/kv/put", { key: base64("open"), value: base64("x") });
  assert.match((await stream.line()) ?? "", /"events":\[\{"kv":\{"key":"b3Blbg=="/);
  stream.send('{"cancel_request":{}}');
  assert.match((await stream.line()) ?? "", /"canceled":true/);
  stream.close();
});

test("the watches of a client that goes, go with it", { skip }, async () => {
  const { port } = pair.ours.member;
  const before = await readMetric(port, "etcd_debugging_mvcc_watcher_total");
  const stream = new LineStream({ port, path: "/v3/watch", body: watch({ key: base64("gone") }) });
  await stream.line();
  const socket = new WebSocket(`ws://127.0.0.1:${port}/v3/watch`);
  socket.on("open", () => socket.send(watch({ key: base64("gone") })));
  await new Promise((resolve) => socket.once("message", resolve));
  assert.equal(await readMetric(port, "etcd_debugging_mvcc_watcher_total"), before + 2);
  stream.close();
  socket.terminate();
  await metricBecomes(port, "etcd_debugging_mvcc_watcher_total", before);
});

test("a reader that stops costs bounded memory, delays nobody, and gets every event in the end", { skip }, async () => {
  const { port } = pair.ours.member;
  const stream = new LineStream({ port, path: "/v3/watch", body: watch({ key: base64("slow") }) });
  await stream.line();
  await stream.pause(true);
  const resident = await readMetric(port, "process_resident_memory_bytes");
  const value = "v".repeat(256 << 10);
  const count = 400;
  const started = performance.now();
  for (let i = 0; i < count; i++) {
    await post(port, "/v3/kv/put", { key: base64("slow"), value: base64(i % 2 === 0 ? value : `${i}`) });
  }
  const tookMs = performance.now() - started;
  const grown = (await readMetric(port, "process_resident_memory_bytes")) - resident;
  await stream.pause(false);
  let events = 0;
  let version = 0;
  while (events < count) {
    const line = await stream.line();
    assert.ok(line !== undefined, "the stream has ended");
    const { result } = JSON.parse(line) as { result: { events: { kv: { version: string } }[] } };
    for (const { kv } of result.events) {
      assert.equal(Number(kv.version), ++version);
      events++;
    }
  }
  stream.close();
  assert.ok(tookMs < 60_000, `${count} puts took ${Math.round(tookMs)} ms`);
  // 50 MiB of values went by, which the store itself keeps for a while.
  assert.ok(grown < 400 << 20, `${Math.round(grown / 2 ** 20)} MiB more`);
});
