/**
 * HTTP/1.1 as clients should not speak it, byte for byte to the real etcd and to ours, the answers compared. Then many
 * such clients at once, while others work.
 */
import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { after, before, test } from "node:test";
import {
  etcdBinaries,
  freePorts,
  GrpcClient,
  HttpClient,
  LineStream,
  Member,
  ourCommand,
  readMetric,
  temporaryFolder,
} from "../support/index.js";
import { startPair } from "./pair.js";

const cache = await etcdBinaries();
const skip = cache.kind === "ready" ? false : cache.reason;
const timeout = 120_000;
let pair: Awaited<ReturnType<typeof startPair>>;

before(async () => {
  if (cache.kind === "ready") pair = await startPair(cache.binaries.etcd, ourCommand());
});

after(async () => {
  if (cache.kind === "ready") await pair.stop();
});

/** All that a server sends for these bytes until it closes. */
const exchange = (port: number, text: string): Promise<string> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const pieces: Buffer[] = [];
    socket.on("data", (piece) => pieces.push(piece));
    // One that closes on what is still on its way breaks the connection.
    socket.on("error", () => {});
    socket.on("end", () => socket.end());
    socket.on("close", () => resolve(Buffer.concat(pieces).toString("latin1")));
    socket.write(Buffer.from(text, "latin1"));
  });

/** Status and body of each answer, of interim ones the status. */
const answers = (text: string): string[] => {
  const all: string[] = [];
  for (let rest = text; rest !== "";) {
    const headEnd = rest.indexOf("\r\n\r\n");
    assert.ok(headEnd > 0, `no answer: ${JSON.stringify(rest.slice(0, 200))}`);
    const head = rest.slice(0, headEnd);
    const status = head.slice("HTTP/1.1 ".length, head.search(/\r\n|$/));
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? (status.startsWith("100") ? 0 : Infinity));
    all.push(`${status} ${rest.slice(headEnd + 4).slice(0, length)}`);
    rest = rest.slice(headEnd + 4).slice(length);
  }
  return all.map((answer) =>
    answer.replace(/"(cluster_id|member_id|raft_term)":"\d+"/g, '"$1":"n"').replaceAll(', "', ',"'),
  );
};

const get = "GET /version HTTP/1.1\r\nHost: x\r\n\r\n";
const last = "GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
const json = '{"key":"YQ=="}';
const post = (fields: string, body = json): string =>
  `POST /v3/kv/range HTTP/1.1\r\nHost: x\r\n${fields}\r\n\r\n${body}`;
const chunked = (body: string): string => post("Transfer-Encoding: chunked", body);
const field = (text: string): string => `GET /version HTTP/1.1\r\nHost: x\r\n${text}\r\n\r\n`;
const flood = (count: number): string => field(`A: ${"b".repeat(1000)}\r\n`.repeat(count).slice(0, -2));

/** After these the connection goes on. */
const goOn: readonly string[] = [
  // Sent before the answers have come.
  `${get}${post("Content-Length: 14")}${get}`,
  flood(1000),
  field("A: b\r\n c"),
  "GET /version HTTP/1.1\nHost: x\n\n",
  "GET /version HTTP/1.2\r\nHost: x\r\n\r\n",
  "GET http://x/version HTTP/1.1\r\nHost: y\r\n\r\n",
  "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
  "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
  "get /version HTTP/1.1\r\nHost: x\r\n\r\n",
  "BREW /v3/kv/range HTTP/1.1\r\nHost: x\r\n\r\n",
  "GET /ver\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n",
  field("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__"),
  post("Content-Length: 14\r\nContent-Length: 14"),
  // Chunks win: what a server that takes the length for true would see as another request is data.
  post("Content-Length: 3\r\nTransfer-Encoding: chunked", `e\r\n${json}\r\n0\r\n\r\n`),
  chunked(`5;a="b"\r\n${json.slice(0, 5)}\r\n09\r\n${json.slice(5)}\r\n0\r\nTrailer: x\r\n\r\n`),
  `GET /version HTTP/1.1\r\nHost: x\r\nContent-Length: ${get.length}\r\n\r\n${get}`,
  post("Content-Length: 14\r\nExpect: 100-continue", "") + json,
  post("Content-Length: 2", "{}"),
  post("Content-Length: 0", ""),
  post("Content-Length: 200006", `{"a":${"[".repeat(100_000)}${"]".repeat(100_000)}}`),
  post("Content-Length: 120006", `{"a":${'{"a":'.repeat(20_000)}1${"}".repeat(20_000)}}`.slice(0, 120_006)),
];

/** These end it. */
const endIt: readonly string[] = [
  flood(1100),
  "GET /version HTTP/1.1\r\n\r\n",
  "GET /version HTTP/2.0\r\nHost: x\r\n\r\n",
  "GET /version HTTX/1.1\r\nHost: x\r\n\r\n",
  "GET /version\r\n\r\n",
  "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
  `\r\n${get}`,
  "GET /version HTTP/1.0\r\n\r\n",
  "HEAD /v3/x HTTP/1.0\r\n\r\n",
  "GET /ver\x01sion HTTP/1.1\r\nHost: x\r\n\r\n",
  "GET version HTTP/1.1\r\nHost: x\r\n\r\n",
  ...["Host: y", "abc", "A : b", "A(: b", ": b", "A: b\x01"].map(field),
  ...["-1", "+14", "14, 14", "0xe", "14\r\nContent-Length: 15", "9223372036854775808"].map((length) =>
    post(`Content-Length: ${length}`),
  ),
  ...["gzip", "chunked\r\nTransfer-Encoding: chunked", "gzip, chunked", "chunked, identity"].map((encoding) =>
    post(`Transfer-Encoding: ${encoding}`, `e\r\n${json}\r\n0\r\n\r\n`),
  ),
  post("Expect: tea\r\nContent-Length: 14"),
  ...["xyz", "-1", "+e", "0xe", "fffffffffffffffff", ""].map((size) =>
    chunked(`${size}\r\n${json}\r\n0\r\n\r\n${last}`),
  ),
  chunked(`3\r\n${json}\r\n0\r\n\r\n${last}`),
  chunked(`e\n${json}\n0\n\n${last}`),
];

test("what is no proper request is answered as etcd answers it", { skip, timeout }, async () => {
  for (const text of [...goOn.map((text) => text + last), ...endIt]) {
    const { etcd, ours } = pair;
    const [theirs, own] = await Promise.all([etcd, ours].map(({ member }) => exchange(member.port, text)));
    assert.deepEqual(answers(own!), answers(theirs!), JSON.stringify(text.slice(0, 300)));
  }
});

/** A connection that sends this and stays, whatever the server does. */
const stays = (port: number, text: string): Socket => {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  socket.on("data", () => {});
  socket.write(Buffer.from(text, "latin1"));
  return socket;
};

test("many hostile clients at once hold up nobody, and cost bounded memory", { skip, timeout }, async () => {
  const { port } = pair.ours.member;
  const client = new HttpClient(port);
  const stream = new LineStream({
    port,
    path: "/v3/watch",
    body: JSON.stringify({ create_request: { key: Buffer.from("h").toString("base64") } }),
  });
  await stream.line();
  const before = await readMetric(port, "process_resident_memory_bytes");
  const changes = await readMetric(port, "etcd_server_leader_changes_seen_total");
  const sockets = [
    // Nothing at all, and one answer each.
    ...Array.from({ length: 1000 }, () => stays(port, "")),
    ...Array.from({ length: 1000 }, () => stays(port, get)),
    // Heads that do not end: long ones, and ones that come a byte at a time.
    ...Array.from({ length: 40 }, () => stays(port, flood(1000).slice(0, -4))),
    ...Array.from({ length: 100 }, () => stays(port, "GET /version HTTP/1.1\r\nHost: x\r\n")),
    // Bodies that do not come, that are too long, that nest, that are no chunks.
    ...Array.from({ length: 100 }, () => stays(port, post("Content-Length: 1000000"))),
    ...Array.from({ length: 8 }, () => stays(port, post("Content-Length: 20000000", "[".repeat(20_000_000)))),
    ...Array.from({ length: 20 }, () => stays(port, post("Content-Length: 1000006", `{"a":${"[".repeat(1_000_000)}}`))),
    ...Array.from({ length: 100 }, () => stays(port, chunked("nonsense"))),
  ];
  const dribbling = setInterval(() => {
    for (const socket of sockets.slice(2040, 2140)) socket.write("x");
  }, 20);
  const tookMs: number[] = [];
  for (let i = 0; i < 200; i++) {
    const started = performance.now();
    const body = Buffer.from(JSON.stringify({ key: Buffer.from("h").toString("base64"), value: "eA==" }));
    const reply = await client.send({ method: "POST", path: "/v3/kv/put", body });
    assert.equal(reply.status, 200);
    tookMs.push(performance.now() - started);
  }
  let events = 0;
  while (events < 200) {
    const { result } = JSON.parse((await stream.line())!) as { result: { events: unknown[] } };
    events += result.events.length;
  }
  const grown = (await readMetric(port, "process_resident_memory_bytes")) - before;
  assert.equal(await readMetric(port, "etcd_server_leader_changes_seen_total"), changes);
  clearInterval(dribbling);
  for (const socket of sockets) socket.destroy();
  stream.close();
  client.close();
  tookMs.sort((a, b) => a - b);
  assert.ok(tookMs[100]! < 1000, `half of the puts took ${tookMs[100]} ms and more`);
  assert.ok(tookMs.at(-1)! < 10_000, `a put took ${tookMs.at(-1)} ms`);
  assert.ok(grown < 500 << 20, `${Math.round(grown / 2 ** 20)} MiB more`);
});

test("with --listen-client-http-urls each port speaks its own protocol, as in etcd", { skip, timeout }, async () => {
  if (cache.kind !== "ready") return;
  const seen = [];
  for (const command of [[cache.binaries.etcd], ourCommand()]) {
    const folder = await temporaryFolder();
    const [clientPort = 0, peerPort = 0, httpPort = 0] = await freePorts(3);
    const flags = [`--listen-client-http-urls=http://127.0.0.1:${httpPort}`];
    const member = await Member.start({ command, dataDir: `${folder.path}/data`, clientPort, peerPort, flags });
    const statuses = [];
    for (const port of [clientPort, httpPort]) {
      const text = await exchange(port, last.replace("/version", "/health"));
      const client = new GrpcClient(port);
      const reply = await client.unary("/etcdserverpb.KV/Range", Buffer.from([0x0a, 1, 97])).catch(() => null);
      client.close();
      // A port for gRPC alone closes; Go's server says hello first.
      statuses.push({
        http: text.startsWith("HTTP/") ? answers(text) : [],
        grpc: reply === null ? "none" : reply.status,
      });
    }
    seen.push(statuses);
    await member.kill();
    await folder.remove();
  }
  assert.deepEqual(seen[1], seen[0]);
});
