/**
 * Random requests to KV, as plain messages. Most are valid, and every option and every refusal of
 * one comes up. `current` is the store's revision, so that revisions of the past and future are near it.
 */
import { base64, isJsonList, isJsonObject, type Json, type JsonObject, type Prng } from "../support/index.js";
import {
  bulkKey,
  someInterval,
  someKey,
  someLease,
  someLimit,
  someOperand,
  someRevision,
  someValue,
  withOptions,
} from "./vocabulary.js";

const openEnd = base64(Buffer.of(0));

/** What random requests depend on. */
export interface Context {
  readonly prng: Prng;
  readonly current: number;
}

const someFilter = ({ prng, current }: Context): JsonObject => {
  const name = prng.pick(["min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision"]);
  return { [name]: someOperand(prng, current) };
};

const sortOrder = (prng: Prng): number => (prng.oneIn(60) ? prng.pick([3, -1, 99]) : prng.below(3));
const sortTarget = (prng: Prng): number => (prng.oneIn(60) ? prng.pick([5, -1, 99]) : prng.below(5));

/** A RangeRequest. */
export const someRange = (context: Context): JsonObject => {
  const { prng, current } = context;
  const base: JsonObject = prng.oneIn(80) ? { range_end: someKey(prng) } : { ...someInterval(prng) };
  return withOptions(base, [
    [prng.oneIn(3), () => ({ limit: someLimit(prng) })],
    [prng.oneIn(4), () => ({ revision: someRevision(prng, current) })],
    [prng.oneIn(3), () => ({ sort_order: sortOrder(prng) })],
    [prng.oneIn(3), () => ({ sort_target: sortTarget(prng) })],
    [prng.oneIn(3), () => ({ serializable: true })],
    [prng.oneIn(6), () => ({ keys_only: true })],
    [prng.oneIn(8), () => ({ count_only: true })],
    [prng.oneIn(5), () => someFilter(context)],
    [prng.oneIn(8), () => someFilter(context)],
  ]);
};

/** A PutRequest to `key`, or to any. */
export const somePut = ({ prng }: Context, key = someKey(prng)): JsonObject => {
  const keepsValue = prng.oneIn(12);
  const value = keepsValue && !prng.oneIn(6) ? "" : someValue(prng);
  const base: JsonObject = value === "" ? { key } : { key, value };
  return withOptions(base, [
    [keepsValue, () => ({ ignore_value: true })],
    [prng.oneIn(4), () => ({ prev_kv: true })],
    [prng.oneIn(14), () => ({ ignore_lease: true })],
    [prng.oneIn(6), () => ({ lease: someLease(prng) })],
    [prng.oneIn(80), () => ({ key: "" })],
  ]);
};

/** A DeleteRangeRequest; whole-store ones are rare, or nothing would ever grow. */
export const someDelete = ({ prng }: Context): JsonObject => {
  const interval = someInterval(prng);
  const isWide = interval.range_end === base64(Buffer.of(0)) && !prng.oneIn(10);
  const base: JsonObject = isWide ? { key: interval.key } : { ...interval };
  return withOptions(base, [
    [prng.oneIn(3), () => ({ prev_kv: true })],
    [prng.oneIn(80), () => ({ key: "" })],
  ]);
};

const targetNames = ["version", "create_revision", "mod_revision", "value", "lease"] as const;

const someTargetUnion = ({ prng, current }: Context, name: (typeof targetNames)[number]): JsonObject => {
  if (name === "value") return { value: someValue(prng) };
  if (name === "lease") return { lease: prng.oneIn(3) ? someLease(prng) : "0" };
  return { [name]: someOperand(prng, current) };
};

const someCompare = (context: Context): JsonObject => {
  const { prng } = context;
  const target = prng.below(targetNames.length);
  const unionOf = prng.oneIn(15) ? prng.pick(targetNames) : (targetNames[target] ?? "version");
  const { key, range_end } = someInterval(prng);
  return withOptions({ key, target, result: prng.below(4) }, [
    [!prng.oneIn(15), () => someTargetUnion(context, unionOf)],
    [range_end !== undefined && prng.oneIn(2), () => ({ range_end: range_end ?? "" })],
    [prng.oneIn(60), () => ({ result: prng.pick([4, -1, 77]) })],
    [prng.oneIn(60), () => ({ target: prng.pick([5, -1, 77]) })],
    [prng.oneIn(100), () => ({ key: "" })],
  ]);
};

const times = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make);

const someCount = (prng: Prng): number =>
  prng.oneIn(150) ? prng.between(126, 130) : prng.pick([0, 1, 1, 1, 2, 2, 3, 5]);

/** Keys that no put of this branch has used yet, mostly: a txn may put each key once. */
const freshKey = (prng: Prng, used: Set<string>): string => {
  let key = someKey(prng);
  for (let tries = 0; used.has(key) && tries < 8 && !prng.oneIn(12); tries++) key = someKey(prng);
  used.add(key);
  return key;
};

const someTxnOp = (context: Context, depth: number, used: Set<string>): JsonObject => {
  const { prng } = context;
  if (prng.oneIn(150)) return {};
  switch (prng.weighted({ range: 40, put: 38, delete: 14, txn: depth > 0 ? 8 : 0 })) {
    case "range":
      return { request_range: someTxnRange(context) };
    case "put":
      return { request_put: somePut(context, freshKey(prng, used)) };
    case "delete":
      return { request_delete_range: someDelete(context) };
    case "txn":
      return { request_txn: someTxnBody(context, depth - 1, used) };
  }
};

/** Inside a txn most revisions must be good, or every txn would be refused. */
const someTxnRange = (context: Context): JsonObject => {
  const { revision, ...rest } = someRange(context) as { revision?: Json } & JsonObject;
  return revision === undefined || !context.prng.oneIn(3) ? rest : { ...rest, revision };
};

const someBranch = (context: Context, depth: number, used: Set<string>): JsonObject[] =>
  times(someCount(context.prng), () => someTxnOp(context, depth, used));

const someTxnBody = (context: Context, depth: number, used: Set<string>): JsonObject => {
  const isReadonly = context.prng.oneIn(6);
  const branch = (): JsonObject[] =>
    isReadonly
      ? times(someCount(context.prng), () => ({ request_range: someTxnRange(context) }))
      : someBranch(context, depth, new Set(used));
  const compare = times(context.prng.pick([0, 1, 1, 2, 3]), () => someCompare(context));
  const [success, failure] = [branch(), branch()];
  return {
    ...(compare.length === 0 ? {} : { compare }),
    ...(success.length === 0 ? {} : { success }),
    ...(failure.length === 0 ? {} : { failure }),
  };
};

/** Many puts at once, so that ranges, and what a lease holds, get long enough to be read in parts. */
export const bulkTxn = ({ prng }: Context, operationsMax: number): JsonObject => {
  const from = prng.below(3000);
  const value = someValue(prng);
  const base = { value, ...(prng.oneIn(4) ? { lease: someLease(prng) } : {}) };
  // As JSON no longer than what the gateway looks at (8 MiB): of a longer body ours tells another length than etcd.
  const count = Math.min(prng.between(operationsMax >> 1, operationsMax), Math.floor(7_000_000 / (value.length + 100)));
  return { success: times(count, () => ({})).map((_op, i) => ({ request_put: { key: bulkKey(from + i), ...base } })) };
};

/** Whether any delete of a txn has an open end: etcd's check for duplicate keys overlooks those. */
const hasOpenDelete = (value: Json): boolean => {
  if (isJsonList(value)) return value.some(hasOpenDelete);
  if (!isJsonObject(value)) return false;
  const removal = value["request_delete_range"];
  if (isJsonObject(removal)) return removal["range_end"] === openEnd;
  return Object.values(value).some(hasOpenDelete);
};

const withoutIgnore = (value: Json): Json => {
  if (isJsonList(value)) return value.map(withoutIgnore);
  if (!isJsonObject(value)) return value;
  const kept = Object.entries(value).filter(([name]) => !name.startsWith("ignore_"));
  return Object.fromEntries(kept.map(([name, field]) => [name, withoutIgnore(field)]));
};

/**
 * A TxnRequest, nested up to three deep. A put that keeps the value of a key which the same txn has
 * deleted ends the real etcd in a panic (its checks look at the state before): such are not made.
 */
export const someTxn = (context: Context): JsonObject => {
  const txn = someTxnBody(context, context.prng.pick([0, 1, 2, 3]), new Set());
  return hasOpenDelete(txn) ? (withoutIgnore(txn) as JsonObject) : txn;
};
