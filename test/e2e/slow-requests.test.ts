/** The lines `request stats` beside etcd's. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeMessage, etcdBinaries, GrpcClient, HttpClient, type JsonObject, ourCommand } from "../support/index.js";
import { startPair, type PairMember } from "./pair.js";

const cache = await etcdBinaries();
const skip = cache.kind === "ready" ? false : cache.reason;
const base64 = (text: string): string => Buffer.from(text, "latin1").toString("base64");
const key = base64("k");
const putRequest = encodeMessage("etcdserverpb.PutRequest", { key, value: key });
type Line = Readonly<Record<string, unknown>>;

/** The line about a put. */
const lineOfPut = async ({ member }: PairMember): Promise<Line> => {
  const client = new GrpcClient(member.port);
  await client.unary("/etcdserverpb.KV/Put", putRequest);
  client.close();
  return JSON.parse(await member.waitForLog('"response type":"/etcdserverpb.KV/Put"')) as Line;
};

const odd = base64("\x00\xff\t\n'\"\\ \xc3\xa9\xc2\x85\xe2\x82\x7f~");
const op = {
  put: { request_put: { key, value: odd, lease: 0, prev_kv: true } },
  range: { request_range: { key: odd, range_end: base64("\x00"), limit: 3 } },
  nothing: {},
};
/** Method and request; the calls of KV last. */
const calls: readonly (readonly [string, JsonObject])[] = [
  ["Cluster/MemberList", {}],
  ["Lease/LeaseGrant", { TTL: 60 }],
  ["Lease/LeaseRevoke", { ID: 77 }],
  ["KV/Put", { key, value: base64("hello") }],
  ["KV/Put", { key: odd, value: base64("x"), prev_kv: true }],
  ["KV/Put", { key: base64("none"), ignore_value: true, ignore_lease: true }],
  ["KV/Put", { key, lease: -5 }],
  ["KV/Put", {}],
  ["KV/Range", { key }],
  ["KV/Range", { key: odd, range_end: base64("\x00"), limit: 5, sort_order: "DESCEND", sort_target: "MOD" }],
  ["KV/Range", { key: base64("\x00"), range_end: base64("\x00"), count_only: true, serializable: true }],
  ["KV/Range", { key, revision: 1000, keys_only: true, min_mod_revision: -3, max_create_revision: 9 }],
  ["KV/Range", { key, sort_order: 9 }],
  ["KV/DeleteRange", { key: base64("a"), range_end: base64("z"), prev_kv: true }],
  ["KV/Txn", {}],
  [
    "KV/Txn",
    {
      compare: [
        { target: "VALUE", key, value: base64("hello"), result: "NOT_EQUAL", range_end: odd },
        { target: "VALUE", key, value: "" },
        { target: "VERSION", key: odd, version: 0 },
        { target: "LEASE", key, lease: -1, result: "LESS" },
        { target: "MOD", key, mod_revision: 5, result: "GREATER", range_end: base64("l") },
      ],
      success: [op.put, op.range],
      failure: [
        op.range,
        { request_delete_range: { key: base64("gone"), range_end: base64("h") } },
        { request_txn: { success: [op.put], failure: [] } },
      ],
    },
  ],
  ["KV/Txn", { compare: [{ target: "CREATE", key, create_revision: 0 }], success: [op.put, op.range] }],
  ["KV/Txn", { success: [op.nothing] }],
  ["KV/Compact", {}],
];

/** Makes all calls, one after another; the lines about them. */
const linesOf = async ({ member }: PairMember): Promise<readonly Line[]> => {
  const client = new GrpcClient(member.port);
  const from = member.log.length;
  for (const [method, request] of calls) {
    const [service = "", name = ""] = method.split("/");
    await client.unary(
      `/etcdserverpb.${service}/${name}`,
      encodeMessage(`etcdserverpb.${name === "Compact" ? "Compaction" : name}Request`, request),
    );
  }
  const last = encodeMessage("etcdserverpb.PutRequest", { key: base64("the last") });
  await client.unary("/etcdserverpb.KV/Put", last);
  client.close();
  await member.waitForLog("the last");
  const isStats = (line: string): boolean => line.includes('"msg":"request stats"');
  return member.log.slice(from).flatMap((line) => (isStats(line) ? [JSON.parse(line) as Line] : []));
};

/** What must be equal. protobuf-go writes one space or two between fields, as the build has it. */
const comparable = (line: Line): Line => ({
  level: line["level"],
  type: line["response type"],
  requestCount: line["request count"],
  requestSize: line["request size"],
  responseCount: line["response count"],
  hasResponse: Math.sign(Number(line["response size"])),
  content: String(line["request content"]).replaceAll("  ", " "),
});

for (const [name, flags, level] of [
  ["at level debug every call is", ["--log-level=debug"], "debug"],
  ["a slow call is", ["--warning-unary-request-duration=1ns"], "warn"],
] as const) {
  test(`${name} logged as by etcd`, { skip }, async () => {
    if (cache.kind !== "ready") return;
    const pair = await startPair(cache.binaries.etcd, ourCommand(), flags);
    try {
      const [etcd, ours] = [await linesOf(pair.etcd), await linesOf(pair.ours)];
      assert.deepEqual(ours.map(comparable), etcd.map(comparable));
      assert.ok(ours.length >= calls.length && ours.every((line) => line["level"] === level));
      for (const line of ours) {
        assert.match(String(line["remote"]), /^127\.0\.0\.1:\d+$/);
        assert.match(String(line["time spent"]), /^\d+(\.\d+)?(µs|ms|s)$/);
        assert.match(String(line["start time"]), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
        assert.ok(Math.abs(Date.parse(String(line["start time"])) - Date.now()) < 60_000);
      }
    } finally {
      await pair.stop();
    }
  });
}

test("a slow call of the gateway is logged", { skip }, async () => {
  if (cache.kind !== "ready") return;
  const pair = await startPair(cache.binaries.etcd, ourCommand(), ["--warning-unary-request-duration=1us"]);
  try {
    const { member } = pair.ours;
    await lineOfPut(pair.ours);
    const http = new HttpClient(member.port);
    await http.send({ method: "POST", path: "/v3/kv/range", body: Buffer.from(JSON.stringify({ key })) });
    http.close();
    const line = JSON.parse(
      await member.waitForLog('"remote":"gateway","response type":"/etcdserverpb.KV/Range"'),
    ) as Line;
    assert.deepEqual(comparable(line), {
      level: "warn",
      type: "/etcdserverpb.KV/Range",
      requestCount: 0,
      requestSize: 3,
      responseCount: 1,
      hasResponse: 1,
      content: 'key:"k"',
    });
  } finally {
    await pair.stop();
  }
});

test("a long request is shown in part", { skip }, async () => {
  if (cache.kind !== "ready") return;
  const pair = await startPair(cache.binaries.etcd, ourCommand(), ["--log-level=debug"]);
  try {
    const client = new GrpcClient(pair.ours.member.port);
    const long = encodeMessage("etcdserverpb.PutRequest", {
      key,
      value: Buffer.alloc(1_000_000, 1).toString("base64"),
    });
    await client.unary("/etcdserverpb.KV/Put", long);
    client.close();
    const line = JSON.parse(await pair.ours.member.waitForLog("value_size:1000000")) as Line;
    assert.equal(line["request size"], long.length);
    assert.equal(line["request content"], 'key:"k" value_size:1000000 ');
  } finally {
    await pair.stop();
  }
});
