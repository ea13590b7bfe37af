/** The comparison itself: it must see what differs and nothing else. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Json, JsonObject } from "../support/index.js";
import { compareOutcomes } from "./compare.js";
import type { Outcome, RequestOperation } from "./operation.js";

const outcome = (body: Json): Outcome => ({
  status: 0,
  message: "",
  httpStatus: 200,
  headers: {},
  body,
  canonical: true,
});

const rangeOf = (request: JsonObject): RequestOperation => ({ kind: "grpc", rpc: "etcdserverpb.KV/Range", request });

const kv = (key: string, version: string): JsonObject => ({ key, version });

const differ = (request: JsonObject, etcd: JsonObject, ours: JsonObject): boolean =>
  compareOutcomes(rangeOf(request), outcome([etcd]), outcome([ours])).length > 0;

test("an absent field differs from a default one, and a wrong status, message or header is seen", () => {
  const operation = rangeOf({});
  const base = outcome([{ count: "1" }]);
  assert.equal(compareOutcomes(operation, base, outcome([{ count: "1" }])).length, 0);
  assert.equal(compareOutcomes(operation, base, outcome([{ count: "1", more: false }])).length, 1);
  assert.equal(compareOutcomes(operation, base, { ...base, status: 3 }).length, 1);
  assert.equal(compareOutcomes(operation, base, { ...base, message: "x" }).length, 1);
  assert.equal(compareOutcomes(operation, base, { ...base, headers: { "content-type": "x" } }).length, 1);
  assert.equal(compareOutcomes(operation, base, { ...base, canonical: false }).length, 1);
});

test("ties of a sorted range are a set, the order of the groups is not", () => {
  const byVersion = { sort_target: 1, sort_order: 2 };
  const etcd = { kvs: [kv("a", "2"), kv("b", "1"), kv("c", "1")] };
  assert.equal(differ(byVersion, etcd, { kvs: [kv("a", "2"), kv("c", "1"), kv("b", "1")] }), false);
  assert.equal(differ(byVersion, etcd, { kvs: [kv("b", "1"), kv("c", "1"), kv("a", "2")] }), true);
  assert.equal(differ(byVersion, etcd, { kvs: [kv("a", "2"), kv("b", "1"), kv("d", "1")] }), true);
  assert.equal(differ({}, etcd, { kvs: [kv("a", "2"), kv("c", "1"), kv("b", "1")] }), true);
});

test("of a cut answer only the last group may hold other ties", () => {
  const byVersion = { sort_target: 1, limit: "3" };
  const etcd = { more: true, kvs: [kv("a", "1"), kv("b", "2"), kv("c", "2")] };
  assert.equal(differ(byVersion, etcd, { more: true, kvs: [kv("a", "1"), kv("d", "2"), kv("b", "2")] }), false);
  assert.equal(differ(byVersion, etcd, { more: true, kvs: [kv("e", "1"), kv("b", "2"), kv("c", "2")] }), true);
  assert.equal(differ(byVersion, etcd, { kvs: [kv("a", "1"), kv("b", "2"), kv("c", "2")] }), true);
});

test("an answer cut to one key may hold any of the ties", () => {
  const byVersion = { sort_target: 1, limit: "1" };
  const etcd = { more: true, kvs: [kv("a", "1")] };
  assert.equal(differ(byVersion, etcd, { more: true, kvs: [kv("b", "1")] }), false);
  assert.equal(differ(byVersion, etcd, { more: true, kvs: [kv("b", "2")] }), true);
  assert.equal(differ(byVersion, { kvs: [kv("a", "1")] }, { kvs: [kv("b", "1")] }), true);
});

test("ties inside a txn are found by the branch that was taken", () => {
  const range = (kvs: JsonObject[]): JsonObject => ({ succeeded: true, responses: [{ response_range: { kvs } }] });
  const operation: RequestOperation = {
    kind: "grpc",
    rpc: "etcdserverpb.KV/Txn",
    request: { success: [{ request_range: { sort_target: 3 } }], failure: [{ request_range: {} }] },
  };
  const etcd = range([kv("a", "1"), kv("b", "1")]);
  assert.equal(compareOutcomes(operation, outcome([etcd]), outcome([range([kv("b", "1"), kv("a", "1")])])).length, 0);
  assert.notEqual(compareOutcomes(operation, outcome([etcd]), outcome([range([kv("b", "1")])])).length, 0);
});

test("a watch's history is one list, wherever it is cut; what is told otherwise keeps its place", () => {
  const operation: RequestOperation = { kind: "watch", rpc: "etcdserverpb.Watch/Watch", request: {} };
  const created = { created: true };
  const events = (...keys: string[]): JsonObject => ({
    header: { revision: "9" },
    events: keys.map((key) => ({ key })),
  });
  const etcd = outcome([created, events("a", "b", "c")]);
  const differences = (...ours: JsonObject[]): number => compareOutcomes(operation, etcd, outcome(ours)).length;
  assert.equal(differences(created, events("a"), events("b", "c")), 0);
  assert.notEqual(differences(created, events("a"), events("c", "b")), 0);
  assert.notEqual(differences(created, events("a"), events("b")), 0);
  assert.notEqual(differences(events("a"), created, events("b", "c")), 0);
  assert.equal(differences(created, { ...events("a"), fragment: true }, events("b", "c")), 0);
  assert.notEqual(differences(created, events("a"), { ...events("b", "c"), fragment: true }), 0);
});

test("of watches that stay each one's events are compared, in order", () => {
  const operation: RequestOperation = { kind: "live", rpc: "etcdserverpb.Watch/Watch", creates: [] };
  const events = (...keys: string[]): JsonObject => ({ header: {}, events: keys.map((key) => ({ key })) });
  const etcd = outcome({ "0": [events("a", "b")], "1": [events("c")] });
  const differences = (ours: JsonObject): number => compareOutcomes(operation, etcd, outcome(ours)).length;
  assert.equal(differences({ "1": [events("c")], "0": [events("a"), events("b")] }), 0);
  assert.notEqual(differences({ "0": [events("b", "a")], "1": [events("c")] }), 0);
  assert.notEqual(differences({ "0": [events("a", "b", "c")] }), 0);
  assert.notEqual(differences({ "0": [events("a", "b")], "1": [events("c"), { canceled: true }] }), 0);
});

test("what is left of a lease may differ a little, that there is none, and its keys, may not", () => {
  const operation: RequestOperation = { kind: "grpc", rpc: "etcdserverpb.Lease/LeaseTimeToLive", request: {} };
  const answer = (TTL: string, ...keys: string[]): Outcome => outcome([{ TTL, grantedTTL: "3000", keys }]);
  const differences = (ours: Outcome): number => compareOutcomes(operation, answer("2990", "a", "b"), ours).length;
  assert.equal(differences(answer("2985", "a", "b")), 0);
  assert.equal(differences(answer("2900", "a", "b")), 1);
  assert.equal(differences(answer("-1", "a", "b")), 1);
  assert.equal(differences(answer("2990", "a", "c")), 1);
  assert.equal(compareOutcomes(operation, answer("-1"), answer("0")).length, 1);
});
