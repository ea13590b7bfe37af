/**
 * Compares two outcomes of one operation. Everything must be equal but the order of ties in a
 * sorted range: Go's sort is unstable, so keys whose sort key is equal are compared as a set.
 */
import { decodeMessage, isJsonList, isJsonObject, rpcTypes, type Json, type JsonObject } from "../support/index.js";
import type { Outcome, RequestOperation } from "./operation.js";

/** One difference: where, what etcd answered, what the other did. */
export interface Difference {
  readonly path: string;
  readonly etcd: Json;
  readonly ours: Json;
}

const differencesMax = 8;
const absent = "(absent)";

const diff = (path: string, etcd: Json | undefined, ours: Json | undefined, into: Difference[]): void => {
  if (into.length >= differencesMax) return;
  if (isJsonList(etcd) && isJsonList(ours)) {
    if (etcd.length !== ours.length) into.push({ path: `${path}.length`, etcd: etcd.length, ours: ours.length });
    for (let i = 0; i < Math.min(etcd.length, ours.length); i++) diff(`${path}[${i}]`, etcd[i], ours[i], into);
    return;
  }
  if (isJsonObject(etcd) && isJsonObject(ours)) {
    for (const name of new Set([...Object.keys(etcd), ...Object.keys(ours)])) {
      diff(path === "" ? name : `${path}.${name}`, etcd[name], ours[name], into);
    }
    return;
  }
  if (etcd !== ours) into.push({ path, etcd: etcd ?? absent, ours: ours ?? absent });
};

const asList = (value: Json | undefined): readonly Json[] => (isJsonList(value) ? value : []);

const enumNumber = (value: Json | undefined): number => (typeof value === "number" ? value : 0);

const sortFields = ["key", "version", "create_revision", "mod_revision", "value"] as const;

/** The field a range was sorted by, or null when its order is fixed (by key). */
const sortField = (request: JsonObject): (typeof sortFields)[number] | null => {
  const target = enumNumber(request["sort_target"]);
  return target === 0 ? null : (sortFields[target] ?? null);
};

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/**
 * Puts each group of ties in a range's answer into one order. The last group of a cut answer may
 * hold any of its ties, and values that were dropped cannot be told apart: those keep only their count.
 */
const withoutTieOrder = (request: JsonObject, response: JsonObject): JsonObject => {
  const field = sortField(request);
  const kvs = asList(response["kvs"]).filter(isJsonObject);
  if (field === null) return response;
  const cut = response["more"] === true;
  if (field === "value" && request["keys_only"] === true) {
    const texts = kvs.map((kv) => JSON.stringify(kv)).toSorted(compareText);
    return { ...response, kvs: cut ? kvs.length : texts };
  }
  // A map keeps the order in which its keys came first: a group out of place stays out of place.
  const groups = new Map<string, string[]>();
  for (const kv of kvs) {
    const value = String(kv[field] ?? "");
    const members = groups.get(value);
    if (members === undefined) groups.set(value, [JSON.stringify(kv)]);
    else members.push(JSON.stringify(kv));
  }
  const lastValue = String(kvs.at(-1)?.[field] ?? "");
  const settled = [...groups].map(([value, members]) => ({
    value,
    members: cut && value === lastValue ? members.length : members.toSorted(compareText),
  }));
  return { ...response, kvs: settled };
};

const settleTxn = (request: JsonObject, response: JsonObject): JsonObject => {
  const ops = asList(response["succeeded"] === true ? request["success"] : request["failure"]);
  const responses = asList(response["responses"]).map((item, i) => {
    const op = ops[i];
    if (!isJsonObject(op) || !isJsonObject(item)) return item;
    if (isJsonObject(op["request_range"]) && isJsonObject(item["response_range"])) {
      return { ...item, response_range: withoutTieOrder(op["request_range"], item["response_range"]) };
    }
    if (isJsonObject(op["request_txn"]) && isJsonObject(item["response_txn"])) {
      return { ...item, response_txn: settleTxn(op["request_txn"], item["response_txn"]) };
    }
    return item;
  });
  return response["responses"] === undefined ? response : { ...response, responses };
};

/**
 * What a watch is told of history is one list of events: etcd cuts it after 1,000 revisions, ours at 256 KiB as well, so
 * that no reader is owed more; such short ones need no fragments. (watch.test.ts compares the responses of short
 * histories and of changes as they come.)
 */
const joinHistory = (responses: readonly Json[]): Json => {
  const joined: JsonObject[] = [];
  for (const response of responses.filter(isJsonObject)) {
    const { events, fragment, ...rest } = response;
    const before = joined.at(-1);
    if (before !== undefined && isJsonList(events) && isJsonList(before["events"])) {
      const { events: former, fragment: _, ...others } = before;
      if (JSON.stringify(others) === JSON.stringify(rest)) {
        const isCut = fragment === undefined ? {} : { fragment };
        joined[joined.length - 1] = { ...rest, ...isCut, events: [...former, ...events] };
        continue;
      }
    }
    joined.push(response);
  }
  return joined;
};

/** One watch's responses, or several watches' by their IDs. */
const settleWatch = (body: Json): Json =>
  isJsonObject(body)
    ? Object.fromEntries(Object.entries(body).map(([watch, responses]) => [watch, settleWatch(responses)]))
    : joinHistory(asList(body));

const settleBody = (rpc: string, request: JsonObject, body: Json): Json => {
  if (rpc === "etcdserverpb.Watch/Watch") return settleWatch(body);
  if (isJsonList(body)) return body.map((message) => settleBody(rpc, request, message));
  if (!isJsonObject(body)) return body;
  if (rpc === "etcdserverpb.KV/Range") return withoutTieOrder(request, body);
  return rpc === "etcdserverpb.KV/Txn" ? settleTxn(request, body) : body;
};

/** What a raw operation asked for, if it asked for anything readable. */
const rawRequest = (rpc: string, body: string): JsonObject => {
  const [service = "", method = ""] = rpc.split("/");
  try {
    return decodeMessage(rpcTypes(service, method).request, Buffer.from(body, "base64").subarray(5)).plain;
  } catch {
    return {};
  }
};

const requestOf = (operation: RequestOperation): JsonObject => {
  switch (operation.kind) {
    case "http":
    case "live":
      return {};
    case "raw":
      return operation.rpc === undefined ? {} : rawRequest(operation.rpc, operation.body);
    default:
      return operation.request;
  }
};

const settle = (operation: RequestOperation, outcome: Outcome): JsonObject => {
  const rpc = operation.kind === "http" ? "" : (operation.rpc ?? "");
  return {
    status: outcome.status,
    message: outcome.message,
    httpStatus: outcome.httpStatus,
    headers: outcome.headers,
    body: settleBody(rpc, requestOf(operation), outcome.body),
  };
};

/** Seconds by which the two may differ in what is left of a lease: they take unlike times to start. */
const leftSecondsDiffer = 20;

/** A lease's TTL in our answer is etcd's when it is near it; -1 says that there is no such lease. */
const withNearTtl = (etcd: Json, ours: Json): Json => {
  if (isJsonList(etcd) && isJsonList(ours)) return ours.map((message, i) => withNearTtl(etcd[i] ?? null, message));
  if (!isJsonObject(etcd) || !isJsonObject(ours) || etcd["TTL"] === undefined) return ours;
  const [left, ourLeft] = [Number(etcd["TTL"]), Number(ours["TTL"])];
  const isNear = left >= 0 && ourLeft >= 0 && Math.abs(left - ourLeft) <= leftSecondsDiffer;
  return isNear ? { ...ours, TTL: etcd["TTL"] } : ours;
};

const isTimeToLive = (operation: RequestOperation): boolean =>
  operation.kind !== "http" && operation.rpc === "etcdserverpb.Lease/LeaseTimeToLive";

/** All differences between what etcd and ours answered; empty when they agree. */
export const compareOutcomes = (operation: RequestOperation, etcd: Outcome, ours: Outcome): Difference[] => {
  const differences: Difference[] = [];
  // Where etcd's own bytes are not in the usual form (a map), ours are free as well.
  if (etcd.canonical && !ours.canonical) differences.push({ path: "(order of the fields)", etcd: true, ours: false });
  const comparable = isTimeToLive(operation) ? { ...ours, body: withNearTtl(etcd.body, ours.body) } : ours;
  diff("", settle(operation, etcd), settle(operation, comparable), differences);
  return differences;
};
