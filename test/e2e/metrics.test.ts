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
] as const;

const cache = await etcdBinaries();
const ours = ourCommand();
const skip = cache.kind === "skipped" ? cache.reason : false;

const isEtcds = (name: string): boolean => /^(etcd|grpc_server)_/.test(name);

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
  const pair = await startPair(cache.binaries.etcd, ours);
  try {
    await work(pair.etcd);
    await work(pair.ours);
    const [etcd, other] = [await scrape(pair.etcd), await scrape(pair.ours)];
    const names = [...other.families.keys()].filter(isEtcds);
    t.diagnostic(`${names.length} of etcd's ${[...etcd.families.keys()].filter(isEtcds).length} families`);
    const missing = required.filter((name) => !other.families.has(name)).map((name) => `${name} is missing`);
    assert.deepEqual([...missing, ...compareFamilies(etcd, other), ...compareSamples(etcd, other)], []);
  } finally {
    await pair.stop();
  }
});
