/**
 * /metrics beside etcd's, after the same requests: whatever ours exports under etcd's names has
 * etcd's kind, help text, labels and buckets, and the counters of those requests stand at the same number.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  base64,
  decodeMessage,
  encodeMessage,
  etcdBinaries,
  GrpcClient,
  GrpcStream,
  HttpClient,
  ourCommand,
  rpcTypes,
  type Decoded,
  type JsonObject,
} from "../support/index.js";
import { absent, equalPrefixes, unmoved } from "./metrics-expected.js";
import { startPair, type PairMember } from "./pair.js";

interface Family {
  readonly kind: string;
  readonly help: string;
  readonly labels: ReadonlySet<string>;
  readonly buckets: ReadonlySet<string>;
}

interface Exposition {
  readonly families: ReadonlyMap<string, Family>;
  readonly samples: ReadonlyMap<string, number>;
}

const sampleLine = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/;
const labelPair = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;

const parse = (text: string): Exposition => {
  const families = new Map<string, { kind: string; help: string; labels: Set<string>; buckets: Set<string> }>();
  const helps = new Map<string, string>();
  const samples = new Map<string, number>();
  const repeated: string[] = [];
  for (const line of text.split("\n")) {
    const comment = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line);
    if (comment !== null) {
      const [, what, name = "", text = ""] = comment;
      if (what === "HELP") helps.set(name, text);
      else families.set(name, { kind: text, help: helps.get(name) ?? "", labels: new Set(), buckets: new Set() });
    }
    const sample = line.startsWith("#") ? null : sampleLine.exec(line);
    if (sample === null) continue;
    const [, name = "", labels = "", value = ""] = sample;
    const pairs = [...labels.matchAll(labelPair)].map(([pair]) => pair);
    const series = `${name}{${pairs.toSorted().join(",")}}`;
    if (samples.has(series)) repeated.push(series);
    samples.set(series, Number(value));
    const family = families.get(name) ?? families.get(name.replace(/_(bucket|sum|count|total)$/, ""));
    for (const [, label = "", content = ""] of labels.matchAll(labelPair)) {
      if (label === "le") family?.buckets.add(String(Number(content.replace("+Inf", "Infinity"))));
      else family?.labels.add(label);
    }
  }
  assert.deepEqual(repeated, [], "samples that stand there twice");
  return { families, samples };
};

const scrape = async ({ member }: PairMember): Promise<Exposition> => {
  const client = new HttpClient(member.port);
  const reply = await client.send({ method: "GET", path: "/metrics" });
  client.close();
  assert.equal(reply.status, 200);
  assert.match(reply.headers["content-type"] ?? "", /^text\/plain; version=0\.0\.4/);
  return parse(reply.body.toString());
};

/** Calls of each kind, good and refused ones. */
const work = async ({ member }: PairMember): Promise<void> => {
  const client = new GrpcClient(member.port);
  const call = async (method: string, request: JsonObject): Promise<void> => {
    await client.unary(
      `/etcdserverpb.KV/${method}`,
      encodeMessage(rpcTypes("etcdserverpb.KV", method).request, request),
    );
  };
  const key = base64("k");
  const put = { request_put: { key } };
  const range = { request_range: { key } };
  await call("Put", { key, value: base64("v") });
  await call("Put", { key, value: base64("w"), prev_kv: true });
  await call("Put", { key, ignore_value: true });
  await call("Put", { key: base64("none"), ignore_lease: true });
  await call("Put", { key, lease: "99" });
  await call("Put", {});
  await call("Range", { key });
  await call("Range", { key, serializable: true });
  await call("Range", { key, revision: "1000" });
  await call("RangeStream", { key });
  await call("DeleteRange", { key });
  await call("DeleteRange", { key, prev_kv: true });
  await call("Txn", { success: [put, range] });
  await call("Txn", { success: [put, put] });
  await call("Txn", { success: [range, range] });
  await call("Txn", { success: [{ request_range: { key, revision: "1000" } }] });
  const isThere = { key, target: "VERSION", result: "GREATER", version: "0" };
  await call("Txn", { compare: [isThere, isThere, { ...isThere, result: "LESS" }, isThere], failure: [range] });
  const nested = { request_txn: { compare: [isThere], success: [{ request_put: { key, prev_kv: true } }] } };
  await call("Txn", { compare: [isThere], success: [nested, { request_delete_range: { key, prev_kv: true } }] });
  await client.unary("/etcdserverpb.KV/Nothing", Buffer.alloc(0));
  await watchWork(member.port, () => call("Put", { key, value: base64("x") }));
  await maintenanceWork(client);
  await call("Compact", { revision: "4", physical: true });
  await call("Compact", { revision: "4" });
  client.close();
  await gatewayWork(member.port);
};

/** A watch that hears of a put and, when nothing happens, of progress. */
const watchWork = async (port: number, put: () => Promise<void>): Promise<void> => {
  const stream = new GrpcStream(port, "/etcdserverpb.Watch/Watch");
  const hears = async (what: (response: Decoded) => boolean): Promise<void> => {
    for (const deadline = Date.now() + 30_000; Date.now() < deadline; await stream.changed(1000)) {
      for (const message of stream.take()) if (what(decodeMessage("etcdserverpb.WatchResponse", message))) return;
    }
    assert.fail("the watch hears nothing");
  };
  const create = { key: base64("k"), progress_notify: true, prev_kv: true };
  stream.send(encodeMessage("etcdserverpb.WatchRequest", { create_request: create }));
  await hears(({ plain }) => plain["created"] === true);
  await put();
  await hears(({ plain }) => plain["events"] !== undefined);
  await hears(({ plain }) => plain["events"] === undefined);
  stream.close();
};

const maintenanceWork = async (client: GrpcClient): Promise<void> => {
  const call = async (path: string, request: JsonObject = {}): Promise<void> => {
    const [service = "", method = ""] = path.split("/");
    const type = rpcTypes(`etcdserverpb.${service}`, method).request;
    await client.unary(`/etcdserverpb.${path}`, encodeMessage(type, request));
  };
  await call("Lease/LeaseGrant", { TTL: "1", ID: "5" });
  await call("Lease/LeaseGrant", { TTL: "100", ID: "6" });
  await call("Lease/LeaseTimeToLive", { ID: "6", keys: true });
  await call("Lease/LeaseLeases");
  await call("Lease/LeaseRevoke", { ID: "6" });
  await call("Maintenance/Status");
  await call("Maintenance/Hash");
  await call("Maintenance/HashKV");
  await call("Maintenance/Alarm", { action: "ACTIVATE", memberID: "9", alarm: "NOSPACE" });
  await call("Maintenance/Alarm", { action: "DEACTIVATE", memberID: "9", alarm: "NOSPACE" });
  await call("Maintenance/Defragment");
  await call("Maintenance/Downgrade", { action: "VALIDATE", version: "3.6" });
  await call("Cluster/MemberList");
};

/** Calls by way of the gateway, which count as gRPC calls, and health checks. */
const gatewayWork = async (port: number): Promise<void> => {
  const client = new HttpClient(port);
  const post = async (path: string, body: object, headers: Record<string, string> = {}): Promise<void> => {
    await client.send({ method: "POST", path, body: Buffer.from(JSON.stringify(body)), headers });
  };
  await post("/v3/kv/put", { key: base64("k") }, { "Grpc-Metadata-client-api-version": "3.9" });
  await post("/v3/kv/range", { key: base64("k"), sort_order: 17 });
  await post("/v3/maintenance/snapshot", {});
  await post("/v3/lease/grant", { TTL: 100, ID: 7 });
  await post("/v3/lease/keepalive", { ID: 7 });
  for (const path of ["/livez", "/readyz", "/health"]) await client.send({ method: "GET", path });
  client.close();
};

const cache = await etcdBinaries();
const ours = ourCommand();
const skip = cache.kind === "skipped" ? cache.reason : false;

const isEtcds = (name: string): boolean => /^(etcd|grpc_server)_/.test(name);
/** Go's own names aside. */
const isWanted = (name: string): boolean => /^(etcd|grpc_server|process|os|promhttp)_/.test(name);

const compareNames = (etcd: Exposition, other: Exposition): string[] => {
  const missing = [...etcd.families.keys()].filter(
    (name) => isWanted(name) && !other.families.has(name) && absent[name] === undefined,
  );
  const there = Object.keys(absent).filter((name) => other.families.has(name));
  return [...missing.map((name) => `${name} is missing`), ...there.map((name) => `${name} is there after all`)];
};

const compareFamilies = (etcd: Exposition, other: Exposition): string[] => {
  const problems: string[] = [];
  for (const [name, family] of other.families) {
    const theirs = etcd.families.get(name);
    if (theirs !== undefined && theirs.help !== family.help)
      problems.push(`${name}: help "${family.help}", etcd "${theirs.help}"`);
    if (!isEtcds(name)) continue;
    if (theirs === undefined) problems.push(`${name}: etcd has none`);
    else if (theirs.kind !== family.kind) problems.push(`${name}: ${family.kind}, etcd ${theirs.kind}`);
    else if (theirs.labels.size > 0 && family.labels.size > 0) {
      const [a, b] = [[...theirs.labels].toSorted().join(), [...family.labels].toSorted().join()];
      if (a !== b) problems.push(`${name}: labels ${b}, etcd ${a}`);
    }
    const [a, b] = [[...(theirs?.buckets ?? [])].join(), [...family.buckets].join()];
    if (a !== b && a !== "" && b !== "") problems.push(`${name}: buckets ${b}, etcd ${a}`);
  }
  return problems;
};

/** Series that etcd has moved from 0 and we have not. Sizes and times differ; that they move at all must not. */
const compareMoved = (etcd: Exposition, other: Exposition): string[] => {
  const problems: string[] = [];
  for (const [series, value] of etcd.samples) {
    const name = series.slice(0, series.indexOf("{"));
    if (value === 0 || !isWanted(name) || /_(bucket|sum)$/.test(name)) continue;
    const family = name.replace(/_count$/, "");
    if (absent[family] !== undefined || unmoved[family] !== undefined || unmoved[series] !== undefined) continue;
    if ((other.samples.get(series) ?? 0) === 0) problems.push(`${series}: ${other.samples.get(series)}, etcd ${value}`);
  }
  return problems;
};

const compareSamples = (etcd: Exposition, other: Exposition): string[] => {
  const problems: string[] = [];
  for (const [name, value] of etcd.samples) {
    if (!equalPrefixes.some((prefix) => name.startsWith(prefix))) continue;
    const actual = other.samples.get(name);
    // etcd shows every method from the start; one that never ran may be absent.
    if (actual !== value && !(actual === undefined && value === 0)) problems.push(`${name}: ${actual}, etcd ${value}`);
  }
  return problems;
};

const expired = "etcd_debugging_server_lease_expired_total{}";

/** Once the lease of the shortest TTL has ended. */
const scrapeAtEnd = async (member: PairMember): Promise<Exposition> => {
  const deadline = Date.now() + 30_000;
  // A scrape counts itself when it is done.
  await scrape(member);
  for (;;) {
    const exposition = await scrape(member);
    if ((exposition.samples.get(expired) ?? 0) > 0) return exposition;
    assert.ok(Date.now() < deadline, "the lease does not end");
    await sleep(100);
  }
};

/** /debug/vars: its variables, and what it tells of Raft; the members have the same IDs and have done the same. */
const varsOf = async ({ member }: PairMember): Promise<unknown> => {
  const client = new HttpClient(member.port);
  const { status, headers, body } = await client.send({ method: "GET", path: "/debug/vars" });
  client.close();
  const { ["raft.status"]: raft, ...vars } = JSON.parse(body.toString()) as Record<string, object>;
  // How many entries there were hangs on when a lease has ended.
  const shape = JSON.stringify(raft).replace(/"(commit|applied|match|next)":\d+/g, '"$1":0');
  return { status, type: headers["content-type"], names: Object.keys(vars), shape };
};

test("metrics have etcd's names, kinds, labels, buckets and numbers", { skip }, async (t) => {
  if (cache.kind === "skipped") return;
  const pair = await startPair(cache.binaries.etcd, ours, [
    "--metrics=extensive",
    "--watch-progress-notify-interval=100ms",
  ]);
  try {
    await work(pair.etcd);
    await work(pair.ours);
    const [etcd, other] = [await scrapeAtEnd(pair.etcd), await scrapeAtEnd(pair.ours)];
    const names = [...other.families.keys()].filter(isEtcds);
    t.diagnostic(`${names.length} of etcd's ${[...etcd.families.keys()].filter(isEtcds).length} families`);
    const problems = [...compareNames(etcd, other), ...compareFamilies(etcd, other), ...compareMoved(etcd, other)];
    assert.deepEqual([...problems, ...compareSamples(etcd, other)], []);
    assert.deepEqual(await varsOf(pair.ours), await varsOf(pair.etcd));
  } finally {
    await pair.stop();
  }
});
