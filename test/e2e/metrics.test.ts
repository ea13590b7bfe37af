/**
 * /metrics beside etcd's, after the same requests: whatever ours exports under etcd's names has
 * etcd's kind, labels and buckets, and the counters of those requests stand at the same number.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeMessage, etcdBinaries, GrpcClient, HttpClient, ourCommand, type JsonObject } from "../support/index.js";
import { startPair, type PairMember } from "./pair.js";

interface Family {
  readonly kind: string;
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
  const families = new Map<string, { kind: string; labels: Set<string>; buckets: Set<string> }>();
  const samples = new Map<string, number>();
  for (const line of text.split("\n")) {
    const type = /^# TYPE (\S+) (\S+)$/.exec(line);
    if (type !== null) families.set(type[1] ?? "", { kind: type[2] ?? "", labels: new Set(), buckets: new Set() });
    const sample = line.startsWith("#") ? null : sampleLine.exec(line);
    if (sample === null) continue;
    const [, name = "", labels = "", value = ""] = sample;
    samples.set(
      `${name}{${[...labels.matchAll(labelPair)]
        .map(([pair]) => pair)
        .toSorted()
        .join(",")}}`,
      Number(value),
    );
    const family = families.get(name) ?? families.get(name.replace(/_(bucket|sum|count|total)$/, ""));
    for (const [, label = "", content = ""] of labels.matchAll(labelPair)) {
      if (label === "le") family?.buckets.add(String(Number(content.replace("+Inf", "Infinity"))));
      else family?.labels.add(label);
    }
  }
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

const base64 = (text: string): string => Buffer.from(text).toString("base64");

/** 3 puts (1 refused), 2 ranges, 1 delete, 2 txns (1 refused), 1 call to an unknown method. */
const work = async ({ member }: PairMember): Promise<void> => {
  const client = new GrpcClient(member.port);
  const call = async (method: string, request: JsonObject): Promise<void> => {
    await client.unary(`/etcdserverpb.KV/${method}`, encodeMessage(`etcdserverpb.${method}Request`, request));
  };
  const key = base64("k");
  await call("Put", { key, value: base64("v") });
  await call("Put", { key, value: base64("w") });
  await call("Put", {});
  await call("Range", { key });
  await call("Range", { key, serializable: true });
  await call("DeleteRange", { key });
  await call("Txn", { success: [{ request_put: { key } }, { request_range: { key } }] });
  await call("Txn", { success: [{ request_put: { key } }, { request_put: { key } }] });
  await client.unary("/etcdserverpb.KV/Nothing", Buffer.alloc(0));
  client.close();
  await gatewayWork(member.port);
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

/** Must be there, as this much of the server exists. */
const required = [
  "etcd_disk_wal_fsync_duration_seconds",
  "etcd_disk_backend_commit_duration_seconds",
  "etcd_server_has_leader",
  "etcd_server_is_leader",
  "etcd_server_leader_changes_seen_total",
  "etcd_server_proposals_committed_total",
  "etcd_server_proposals_applied_total",
  "etcd_server_proposals_pending",
  "etcd_server_proposals_failed_total",
  "etcd_server_version",
  "etcd_mvcc_db_total_size_in_bytes",
  "etcd_mvcc_db_total_size_in_use_in_bytes",
  "etcd_mvcc_put_total",
  "etcd_mvcc_delete_total",
  "etcd_mvcc_txn_total",
  "etcd_mvcc_range_total",
  "grpc_server_handled_total",
  "grpc_server_started_total",
  "process_resident_memory_bytes",
] as const;

/** What etcd exports and we do not, and why. A name that we do export may not stand here. */
const absent: Readonly<Record<string, string>> = {
  etcd_debugging_auth_revision: "there is no auth yet",
  etcd_debugging_disk_backend_commit_rebalance_duration_seconds: "a phase of bbolt's commits",
  etcd_debugging_disk_backend_commit_spill_duration_seconds: "a phase of bbolt's commits",
  etcd_debugging_disk_backend_commit_write_duration_seconds: "a phase of bbolt's commits",
  etcd_debugging_server_watch_send_loop_control_stream_duration_seconds: "of etcd's send loop, which is none here",
  etcd_debugging_server_watch_send_loop_progress_duration_seconds: "of etcd's send loop, which is none here",
  etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds: "of etcd's send loop",
  etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds: "of etcd's send loop, which is none here",
  etcd_debugging_snap_save_marshalling_duration_seconds: "no .snap file is written",
  etcd_debugging_snap_save_total_duration_seconds: "no .snap file is written",
  etcd_debugging_store_expires_total: "of the v2 store, 0 in etcd",
  etcd_debugging_store_watch_requests_total: "of the v2 store, 0 in etcd",
  etcd_debugging_store_watchers: "of the v2 store, 0 in etcd",
  etcd_grpc_proxy_cache_hits_total: "of the proxy, 0 in a member",
  etcd_grpc_proxy_cache_keys_total: "of the proxy, 0 in a member",
  etcd_grpc_proxy_cache_misses_total: "of the proxy, 0 in a member",
  etcd_grpc_proxy_events_coalescing_total: "of the proxy, 0 in a member",
  etcd_grpc_proxy_watchers_coalescing_total: "of the proxy, 0 in a member",
  etcd_mvcc_db_open_read_transactions: "LMDB's readers are slots of threads, always the same number",
  etcd_server_go_version: "there is no Go",
  etcd_server_request_duration_seconds: "shortfall: grpc_server_handling_seconds has the time from request to answer",
  etcd_snap_fsync_duration_seconds: "no .snap file is written",
};

/** Counters and gauges that the same requests bring to the same number. */
const equalPrefixes = [
  "etcd_mvcc_put_total",
  "etcd_mvcc_delete_total",
  "etcd_mvcc_txn_total",
  "etcd_mvcc_range_total",
  "etcd_debugging_mvcc_keys_total",
  "etcd_debugging_mvcc_current_revision",
  "etcd_server_has_leader",
  "etcd_server_is_leader",
  "etcd_server_version",
  "etcd_server_quota_backend_bytes",
  'grpc_server_handled_total{grpc_code="OK",grpc_method="Put"',
  'grpc_server_handled_total{grpc_code="InvalidArgument",grpc_method="Put"',
  'grpc_server_handled_total{grpc_code="OK",grpc_method="Range"',
  'grpc_server_handled_total{grpc_code="OK",grpc_method="DeleteRange"',
  'grpc_server_handled_total{grpc_code="OK",grpc_method="Txn"',
  'grpc_server_handled_total{grpc_code="InvalidArgument",grpc_method="Txn"',
  'grpc_server_handled_total{grpc_code="InvalidArgument",grpc_method="Range"',
  'grpc_server_handled_total{grpc_code="OK",grpc_method="Snapshot"',
  'grpc_server_handled_total{grpc_code="OK",grpc_method="LeaseKeepAlive"',
  'grpc_server_msg_received_total{grpc_method="Put"',
  'grpc_server_msg_received_total{grpc_method="LeaseKeepAlive"',
  'grpc_server_msg_sent_total{grpc_method="LeaseKeepAlive"',
  'grpc_server_handling_seconds_count{grpc_method="Put"',
  'grpc_server_handling_seconds_count{grpc_method="Txn"',
  'grpc_server_handling_seconds_count{grpc_method="LeaseKeepAlive"',
  'etcd_server_client_requests_total{client_api_version="3.9"',
  "etcd_disk_backend_snapshot_duration_seconds_count",
  "etcd_server_feature_enabled",
  "etcd_server_healthcheck",
  "etcd_server_health_success",
] as const;

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
    if (!isEtcds(name)) continue;
    const theirs = etcd.families.get(name);
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

test("metrics have etcd's names, kinds, labels, buckets and numbers", { skip }, async (t) => {
  if (cache.kind === "skipped") return;
  const pair = await startPair(cache.binaries.etcd, ours, ["--metrics=extensive"]);
  try {
    await work(pair.etcd);
    await work(pair.ours);
    const [etcd, other] = [await scrape(pair.etcd), await scrape(pair.ours)];
    const names = [...other.families.keys()].filter(isEtcds);
    t.diagnostic(`${names.length} of etcd's ${[...etcd.families.keys()].filter(isEtcds).length} families`);
    const missing = required.filter((name) => !other.families.has(name)).map((name) => `${name} is missing`);
    missing.push(...compareNames(etcd, other));
    assert.deepEqual([...missing, ...compareFamilies(etcd, other), ...compareSamples(etcd, other)], []);
  } finally {
    await pair.stop();
  }
});
