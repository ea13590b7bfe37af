/**
 * HTTP as etcd serves it: one table of raw requests sent to a real etcd and to our edge with the HTTP worker, statuses,
 * headers and bodies compared. Each request reads or fails, so that both sides see one state.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { join } from "node:path";
import type { ServerState } from "../../src/api/http/index.js";
import {
  base64,
  etcdBinaries,
  freePorts,
  HttpClient,
  Member,
  temporaryFolder,
  type HttpReply,
  type HttpRequest,
} from "../support/index.js";
import { FakeMain } from "./fake-main.js";

const cache = await etcdBinaries();
const needsEtcd = { skip: cache.kind === "ready" ? false : cache.reason };
const state: ServerState = {
  hasLeader: true,
  isLearner: false,
  alarms: [],
  clusterVersion: "3.7.0",
  storageVersion: "3.7.0",
};

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let etcd: Member;
let probePort: number;
let main: FakeMain;
let clients: {
  theirs: HttpClient;
  ours: HttpClient;
  ownPort: HttpClient;
  theirProbes: HttpClient;
  ourProbes: HttpClient;
};

before(async () => {
  if (cache.kind !== "ready") return;
  folder = await temporaryFolder();
  const [clientPort, peerPort, metricsPort] = (await freePorts(3)) as [number, number, number];
  probePort = metricsPort;
  etcd = await Member.start({
    command: [cache.binaries.etcd],
    dataDir: join(folder.path, "etcd"),
    clientPort,
    peerPort,
    flags: [`--listen-metrics-urls=http://127.0.0.1:${probePort}`],
  });
  main = await FakeMain.start({ socketPath: join(folder.path, "http.sock"), etcdPort: clientPort, state });
  const [theirs, ours, ownPort] = [clientPort, main.port, main.httpPort].map((port) => new HttpClient(port));
  const [theirProbes, ourProbes] = [new HttpClient(probePort), new HttpClient(main.metricsPort)];
  clients = { theirs: theirs!, ours: ours!, ownPort: ownPort!, theirProbes, ourProbes };
  await clients.theirs.send(post("/v3/kv/put", { key: "YQ==", value: "Yg==" }));
  await clients.theirs.send(post("/v3/kv/put", { key: "YWI=", value: "_-8=" }));
});

after(async () => {
  if (cache.kind !== "ready") return;
  for (const client of Object.values(clients)) client.close();
  await main.stop();
  await etcd.stop();
  await folder.remove();
});

function post(path: string, body: unknown, headers: Record<string, string> = {}): HttpRequest {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return { method: "POST", path, body: Buffer.from(text, "latin1"), headers };
}

function plain(method: string, path: string, headers: Record<string, string> = {}): HttpRequest {
  return { method, path, headers };
}

/** Of transport, or told by one server alone. */
const headersAside = new Set(["date", "content-length", "transfer-encoding", "connection", "uwebsockets"]);

/** Go's no-break spaces and spaces after commas come and go with the build, by intention. */
function level(text: string): string {
  return text.replaceAll("\u00a0", " ").replace(/, (?=["{[\d])/g, ",");
}

/** What must be alike. Numbers that move by themselves are levelled. */
function essence(reply: HttpReply): object {
  const headers = Object.entries(reply.headers).filter(([name]) => !headersAside.has(name));
  const body = level(reply.body.toString("utf8")).replace(
    /"(dbSize|dbSizeInUse|raftIndex|raftAppliedIndex)":"[0-9]+"/g,
    '"$1":"n"',
  );
  return { status: reply.status, headers: Object.fromEntries(headers.toSorted()), body };
}

async function compare(request: HttpRequest, label = `${request.method} ${request.path}`): Promise<void> {
  const theirs = essence(await clients.theirs.send(request));
  assert.deepEqual(essence(await clients.ours.send(request)), theirs, label);
  assert.deepEqual(essence(await clients.ownPort.send(request)), theirs, `${label}, own port`);
}

const key = { key: "YQ==" };
const requests: readonly HttpRequest[] = [
  ...["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"].flatMap((method) =>
    ["/", "/v3", "/v3/", "/v3/kv/range", "/v3/kv/nope", "/v3beta/kv/range", "/health", "/version", "/nope"].map(
      (path) => plain(method, path),
    ),
  ),
  ...["/health/", "/health?serializable=true", "/health?exclude=NOSPACE&exclude=", "/healt%68", "/version?a=b"].map(
    (path) => plain("GET", path),
  ),
  ...[
    "//",
    "/v3?a=b&c=%41",
    "/v3//kv",
    "/v3/kv/..",
    "/v3/kv/.",
    "/a/./b",
    "/a/../..",
    "/a//",
    "/%zz",
    "/a%",
    "/v3/kv%2Frange",
  ].map((path) => plain("GET", path)),
  ...[
    "//v3/kv/range",
    "/v3/kv/../kv/range",
    "/v3/kv/range/",
    "/v3/kv%2Frange",
    "/v3%2Fkv/range",
    "/v3/kv/range?x=1",
  ].map((path) => post(path, key)),
  post("/v3beta/kv/range", key),
  post("/v3/kv/range", ""),
  post("/v3/kv/range", " \n"),
  post("/v3/kv/range", key, { Accept: "text/plain", "Content-Type": "application/x-www-form-urlencoded" }),
  post("/v3/kv/range", key, { Origin: "http://elsewhere" }),
  post("/v3/kv/range", key, { Authorization: "none" }),
  post("/v3/kv/range", key, { "Grpc-Timeout": "10S" }),
  post("/v3/kv/range", key, { "Grpc-Timeout": "0S" }),
  post("/v3/kv/range", key, { "Grpc-Timeout": "-1S" }),
  post("/v3/kv/range", key, { "Grpc-Timeout": "1x" }),
  post("/v3/kv/range", key, { "Grpc-Metadata-Hasleader": "true" }),
  post("/v3/kv/range", { key: "AA==", range_end: "AA==", limit: 1 }),
  post("/v3/kv/range", { key: "AA==", rangeEnd: "AA==", countOnly: true }),
  post("/v3/kv/range", { key: "AA==", rangeEnd: "AA==", sortOrder: "DESCEND", sortTarget: 3, keysOnly: true }),
  post("/v3/kv/range", { key: "YQ==", revision: 99 }),
  post("/v3/kv/range", { key: "YQ==", revision: "1" }),
  post("/v3/kv/range", { key: "YQ==", sort_order: 17 }),
  post("/v3/kv/put", { key: "" }),
  post("/v3/kv/put", { ...key, ignore_value: true, value: "YQ==" }),
  post("/v3/kv/put", { key: "Zm9v", ignore_value: true }),
  post("/v3/kv/put", { ...key, lease: "99" }),
  post("/v3/kv/deleterange", { key: "bm9uZQ==", prevKv: true }),
  post("/v3/kv/txn", {}),
  post("/v3/kv/txn", { compare: [{ target: "VALUE", key: "YQ==", value: "Yg==" }], success: [{ requestRange: key }] }),
  post("/v3/kv/txn", { compare: [{ key: "YQ==", version: "0" }], failure: [{ requestTxn: {} }] }),
  post("/v3/kv/txn", { success: [{ requestPut: key }, { requestPut: key }] }),
  post("/v3/kv/txn", { success: [{}] }),
  post("/v3/kv/txn", { success: [{ requestPut: key, requestRange: key }] }),
  post("/v3/maintenance/status", {}),
  post("/v3/maintenance/hashkv", {}),
  post("/v3/maintenance/hashkv", { revision: 99 }),
  post("/v3/maintenance/alarm", { action: "GET" }),
  post("/v3/cluster/member/list", { linearizable: true }),
  post("/v3/auth/status", "{}"),
];

test("every request is answered as etcd answers it", needsEtcd, async () => {
  for (const request of requests) await compare(request, `${request.method} ${request.path} ${String(request.body)}`);
});

test("bodies that are not the message get Go's texts", needsEtcd, async () => {
  const bodies = [
    ...[
      "{",
      '{"key"',
      '{"key":',
      "[",
      "tru",
      "nulll",
      "1.",
      "-x",
      '"abc',
      "{x",
      '{"a" 1}',
      '{"a":1 "b"}',
      "[1 2]",
      "{,}",
      "{a:'",
    ],
    ...[
      '{"key":"\n"}',
      '{"key":"\\x"}',
      '{"key":"\\u12g4"}',
      "\xff",
      "\0",
      "{}garbage",
      "{} {",
      "null",
      "[]",
      "7",
      "true",
    ],
    ...[
      '{"key":"YQ==","key":""}',
      '{"range_end":"","rangeEnd":""}',
      '{"key":1}',
      '{"key":{}}',
      '{"key":"!!"}',
      '{"key":"Y"}',
    ],
    ...[
      '{"limit":"5.5"}',
      '{"limit":9223372036854775808}',
      '{"limit":" 1"}',
      '{"limit":true}',
      '{"limit":[1]}',
      '{"limit":""}',
    ],
    ...[
      '{"sort_order":1.5}',
      '{"sort_order":99999999999}',
      '{"sort_order":true}',
      '{"serializable":1}',
      '{\n "é":1, "key":5}',
    ],
    ...['{"x":"\\ud800"}', '{"x":"\\ud83dabcdefgh"}', '{"x":"\xff"}', '{"key":null,"limit":null}', "[".repeat(10_001)],
  ];
  const nested = (levels: number): string => `${'{"success":[{"requestTxn":'.repeat(levels)}{}${"}]}".repeat(levels)}`;
  for (const levels of [100, 129, 3333, 3334]) await compare(post("/v3/kv/txn", nested(levels)), `${levels} txns`);
  for (const body of bodies) await compare(post("/v3/kv/range", body), JSON.stringify(body.slice(0, 100)));
});

test("sizes: the raft limit, the message limit, and beyond what is read at all", needsEtcd, async () => {
  const put = (bytes: number): HttpRequest =>
    post("/v3/kv/put", { key: "YQ==", value: Buffer.alloc(bytes).toString("base64") });
  await compare(put(1_600_000));
  await compare(put(2_097_143), "the largest message");
  await compare(put(2_097_144), "one byte more");
  await compare(put(3_000_000));
  const reply = await clients.ours.send(post("/v3/kv/put", " ".repeat(9_000_000)));
  assert.equal(reply.status, 429);
  assert.equal(reply.headers["access-control-allow-origin"], "*");
  assert.match(
    reply.body.toString(),
    /^\{"code":8, "message":"grpc: received message larger than max \([0-9]+ vs. 2097152\)"\}$/,
  );
});

test("a body that is not looked at may be of any length", needsEtcd, async () => {
  await compare({ ...post("/version", " ".repeat(9_000_000)) });
});

test("an RPC that is not there yet says so through the same path", needsEtcd, async () => {
  const reply = await clients.ours.send(post("/v3/lease/grant", { TTL: 60 }));
  assert.equal(reply.status, 501);
  assert.equal(
    reply.body.toString(),
    '{"code":12, "message":"unknown method LeaseGrant for service etcdserverpb.Lease"}',
  );
  const malformed = await clients.ours.send(post("/v3/lease/grant", "{"));
  assert.equal(malformed.status, 400);
});

/** Lines that say "ok" come in any order from etcd. */
function sortedLines(reply: HttpReply): object {
  const { body, ...rest } = essence(reply) as { body: string };
  return { ...rest, body: body.split("\n").toSorted() };
}

const probes: readonly HttpRequest[] = [
  ...["/livez", "/readyz", "/livez/serializable_read", "/readyz/linearizable_read", "/readyz/data_corruption"].flatMap(
    (path) => ["GET", "POST", "HEAD", "OPTIONS"].map((method) => plain(method, path)),
  ),
  ...[
    "/readyz/serializable_read",
    "/readyz/non_learner",
    "/readyz?verbose",
    "/readyz?verbose=false&exclude=non_learner",
    "/readyz?exclude=non_learner&exclude=nothing&exclude=&verbose",
    "/livez?verbose&exclude=serializable_read",
    "/livez?exclude=%22&verbose",
    "/readyz/non_learner?verbose&exclude=non_learner",
    "/readyz/nothing",
    "/livez/linearizable_read",
    "/livez/",
    "/livez//",
    "/readyz/../livez",
    "/health",
    "/health?serializable=true",
    "/version",
    "/v3/kv/range",
    "/config/local/log",
    "/v2/keys",
    "/debug/requests",
    "/",
    "/%zz",
  ].map((path) => plain("GET", path)),
];

test("the health checks are etcd's, on the client's port and on that of --listen-metrics-urls", needsEtcd, async () => {
  const { theirs, ours, theirProbes, ourProbes } = clients;
  for (const request of probes) {
    const label = `${request.method} ${request.path}`;
    assert.deepEqual(sortedLines(await ours.send(request)), sortedLines(await theirs.send(request)), label);
    const [expected, actual] = [await theirProbes.send(request), await ourProbes.send(request)];
    assert.deepEqual(sortedLines(actual), sortedLines(expected), `${label}, metrics port`);
  }
  const scrape = await ourProbes.send(plain("GET", "/metrics"));
  assert.match(scrape.body.toString(), /^etcd_server_healthcheck\{name="non_learner",type="readyz"\} 1$/m);
  assert.match(
    scrape.body.toString(),
    /^etcd_server_healthchecks_total\{name="serializable_read",status="success",type="livez"\} \d+$/m,
  );
});

/** All that comes back for `text` until the server closes the connection. */
function raw(port: number, text: string): Promise<{ status: string; body: string }> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(text));
    let answer = "";
    socket.setTimeout(10_000, () => socket.destroy(new Error(`${JSON.stringify(text)}: not closed in time`)));
    socket.on("data", (chunk) => (answer += chunk.toString()));
    socket.on("error", reject);
    socket.on("close", () => {
      const [head = "", ...body] = answer.split("\r\n\r\n");
      resolve({ status: head.slice("HTTP/1.x ".length).split("\r\n")[0]!, body: level(body.join("\r\n\r\n")) });
    });
  });
}

const oldRequests = [
  "GET /health HTTP/1.0\r\n\r\n",
  "OPTIONS / HTTP/1.0\r\n\r\n",
  "GET /readyz?verbose&exclude=serializable_read&exclude=linearizable_read&exclude=non_learner HTTP/1.0\r\n\r\n",
  "GET /nope HTTP/1.0\r\nHost: a:1\r\nUser-Agent: x\r\n\r\n",
  `POST /v3/kv/range HTTP/1.0\r\nContent-Length: 14\r\n\r\n{"key":"YQ=="}`,
];

test("HTTP/1.0 is answered as by etcd, and the connection closed", needsEtcd, async () => {
  for (const text of oldRequests) {
    const theirs = await raw(etcd.port, text);
    assert.deepEqual(await raw(main.port, text), theirs, text);
    assert.deepEqual(await raw(main.httpPort, text), theirs, text);
  }
  const probe = oldRequests[0]!;
  assert.deepEqual(await raw(main.metricsPort, probe), await raw(probePort, probe));
});

/** What main tells the worker, and what apply has written before. */
function tell(told: ServerState, alarms: readonly number[]): void {
  main.alarmBoard.write(alarms);
  main.http.setState(told);
}

test("a check that fails is named", needsEtcd, async (t) => {
  t.after(() => tell(state, []));
  tell({ ...state, isLearner: true }, [2]);
  const failing =
    "[-]data_corruption failed: alarm activated: CORRUPT\n[+]serializable_read ok\n[+]linearizable_read ok\n" +
    "[-]non_learner failed: not supported for learner\n\n";
  let reply = await clients.ours.send(plain("GET", "/readyz"));
  for (let tries = 0; tries < 1000 && reply.status !== 503; tries++) {
    reply = await clients.ours.send(plain("GET", "/readyz"));
  }
  assert.deepEqual([reply.status, reply.body.toString()], [503, failing]);
  const some = await clients.ours.send(plain("GET", "/readyz?exclude=data_corruption&exclude=non_learner"));
  assert.deepEqual([some.status, some.body.toString()], [200, "ok\n"]);
});

test("health and version follow what main tells", needsEtcd, async (t) => {
  t.after(() => tell(state, []));
  // The state and the requests take different ways to the worker, so the first answers may still show the old one.
  const shows = async (path: string, wanted: [number, string]): Promise<void> => {
    let seen: [number, string] = [0, ""];
    for (let tries = 0; tries < 1000 && seen[1] !== wanted[1]; tries++) {
      const reply = await clients.ours.send(plain("GET", path));
      seen = [reply.status, reply.body.toString()];
    }
    assert.deepEqual(seen, wanted);
  };
  tell({ ...state, hasLeader: false }, [1]);
  await shows("/health", [503, '{"health":"false","reason":"ALARM NOSPACE"}\n']);
  await shows("/health?exclude=NOSPACE", [503, '{"health":"false","reason":"RAFT NO LEADER"}\n']);
  await shows("/health?exclude=NOSPACE&serializable=true", [200, '{"health":"true","reason":""}']);
  tell(state, [1, 2]);
  const { status, body } = await clients.ours.send(plain("GET", "/health?exclude=NOSPACE"));
  assert.deepEqual([status, body.toString()], [503, '{"health":"false","reason":"ALARM CORRUPT"}\n'], "at once");
  tell({ ...state, alarms: [31] }, []);
  await shows("/health", [503, '{"health":"false","reason":"ALARM UNKNOWN"}\n']);
  tell({ ...state, clusterVersion: undefined, storageVersion: undefined }, []);
  await shows("/version", [200, '{"etcdserver":"3.7.1","etcdcluster":"not_decided","storage":"unknown"}']);
});

test("metrics: headers as etcd's, texts of all threads", needsEtcd, async () => {
  const theirs = await clients.theirs.send(plain("GET", "/metrics"));
  const ours = await clients.ours.send(plain("GET", "/metrics"));
  assert.equal(ours.headers["content-type"], theirs.headers["content-type"]);
  for (const line of ["fake_metric 1", "promhttp_metric_handler_requests_in_flight 1"]) {
    assert.ok(ours.body.toString().split("\n").includes(line), line);
  }
  const packed = await clients.ours.send(plain("GET", "/metrics", { "Accept-Encoding": "deflate, gzip;q=0.5" }));
  assert.equal(packed.headers["content-encoding"], "gzip");
  const head = await clients.ours.send(plain("HEAD", "/metrics"));
  assert.deepEqual([head.status, head.body.length], [200, 0]);
});

test("replies larger than any buffer", needsEtcd, async () => {
  const value = Buffer.alloc(1_400_000, 7).toString("base64");
  for (let i = 0; i < 5; i++) await clients.theirs.send(post("/v3/kv/put", { key: base64(`big${i}`), value }));
  const body = JSON.stringify({ key: base64("big"), range_end: base64("bih") });
  const ask = async (port: number): Promise<string> => {
    const reply = await fetch(`http://127.0.0.1:${port}/v3/kv/range`, { method: "POST", body });
    return createHash("sha256")
      .update(level(await reply.text()))
      .digest("hex");
  };
  const theirs = await ask(etcd.port);
  assert.equal(await ask(main.port), theirs);
  assert.equal(await ask(main.httpPort), theirs);
});

test("many requests at once, over many connections", needsEtcd, async () => {
  const many = Array.from({ length: 40 }, () => new HttpClient(main.port));
  const answers = many.map(async (client) => {
    for (let i = 0; i < 25; i++) {
      const reply = await client.send(post("/v3/kv/range", key));
      assert.equal(reply.status, 200);
    }
    client.close();
  });
  await Promise.all(answers);
});
