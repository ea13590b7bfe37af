/**
 * The same random requests to a real etcd 3.7.1 and to ours, every field of every answer compared.
 * SEED=<n> replays a run, OPERATIONS=<n> sets its length (10,000), OURS=<command> compares another
 * program than ours: the real etcd against itself is this suite's own test.
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { chooseSeed, etcdBinaries, ourCommand, packageRoot, Prng, type JsonObject } from "../support/index.js";
import { report, runOperations, runSeed, shrink, type Programs, type RunResult } from "./drive.js";
import { everyHttp } from "./generate-http.js";
import { everyRaw } from "./generate-raw.js";
import type { Operation, RpcName } from "./operation.js";
import { Pair } from "./session.js";

interface RegressionSeed {
  readonly seed: number;
  readonly operations: number;
}

const operationsDefault = 10_000;
const shrinkBudgetMs = 90_000;
const seedsFile = join(packageRoot, "test", "conformance", "regression-seeds.json");

const cache = await etcdBinaries();
const ours = ourCommand();
const skip = cache.kind === "skipped" ? cache.reason : false;

const programs = (): Programs => {
  if (cache.kind === "skipped") throw new Error(cache.reason);
  return { etcd: [cache.binaries.etcd], other: ours };
};

const withPair = async <T>(body: (pair: Pair) => Promise<T>, flags: readonly string[] = []): Promise<T> => {
  const { etcd, other: command } = programs();
  const pair = await Pair.start(etcd, command, flags);
  try {
    return await body(pair);
  } finally {
    await pair.close();
  }
};

const readSeeds = (): RegressionSeed[] => JSON.parse(readFileSync(seedsFile, "utf8")) as RegressionSeed[];

/** Keeps a seed that ours failed: it runs first from now on. */
const keepSeed = (seed: number, operations: number): void => {
  if (process.env["OURS"] !== undefined) return;
  const seeds = readSeeds().filter((one) => one.seed !== seed);
  writeFileSync(seedsFile, `${JSON.stringify([...seeds, { seed, operations }], null, 2)}\n`);
};

const writeShrunk = async (seed: number, result: RunResult, t: TestContext): Promise<void> => {
  const first = result.mismatches[0];
  if (first === undefined || process.env["NO_SHRINK"] !== undefined) return;
  const short = await shrink(programs(), result.operations.slice(0, first.index + 1), shrinkBudgetMs);
  const file = join(tmpdir(), `etcd-ts-conformance-${seed}.json`);
  writeFileSync(file, JSON.stringify(short, null, 2));
  t.diagnostic(`the first mismatch needs ${short.length} operations: ${file}`);
};

const checkSeed = async (t: TestContext, seed: number, operations: number): Promise<void> => {
  const result = await withPair((pair) => runSeed(pair, seed, operations));
  t.diagnostic(`seed ${seed}: ${result.executed} operations, ${JSON.stringify(result.counts)}`);
  t.diagnostic(`etcd answered ${JSON.stringify(result.statuses)}`);
  if (result.mismatches.length === 0) return;
  keepSeed(seed, result.executed);
  const text = result.mismatches.map(report).join("\n");
  process.stdout.write(`SEED=${seed}: ${result.mismatches.length} distinct mismatches\n${text}\n`);
  await writeShrunk(seed, result, t);
  assert.fail(`SEED=${seed} OPERATIONS=${operations}: ${result.mismatches.length} distinct mismatches, listed above`);
};

/** Writes over the quota of one byte, by every path, with the alarm that they raise and its end. */
const quotaOperations = async (pair: Pair): Promise<Operation[]> => {
  const memberID = await pair.memberId();
  const call = (rpc: RpcName, request: JsonObject): Operation => ({ kind: "grpc", rpc, request });
  const get = (path: string): Operation => ({
    kind: "http",
    method: "GET",
    path,
    headers: {},
    body: "",
    note: "quota",
  });
  const key = "YQ==";
  const writes = [
    call("etcdserverpb.KV/Txn", { success: [{ request_delete_range: { key } }] }),
    call("etcdserverpb.KV/Txn", { success: [{ request_range: { key } }] }),
    call("etcdserverpb.KV/Put", { key }),
    call("etcdserverpb.KV/Put", {}),
    call("etcdserverpb.KV/Txn", { failure: [{ request_put: { key } }] }),
    call("etcdserverpb.KV/Txn", { success: [{ request_txn: { success: [{ request_put: { key } }] } }] }),
    call("etcdserverpb.KV/DeleteRange", { key }),
    call("etcdserverpb.KV/Range", { key }),
    call("etcdserverpb.Maintenance/Alarm", {}),
    call("etcdserverpb.Maintenance/Status", {}),
    call("etcdserverpb.Maintenance/HashKV", {}),
    get("/health"),
    get("/health?exclude=NOSPACE"),
  ];
  const disarm = call("etcdserverpb.Maintenance/Alarm", { action: 2, memberID, alarm: 1 });
  // Whoever is refused finds the alarm on at once.
  const refused = [call("etcdserverpb.KV/Put", { key }), call("etcdserverpb.Lease/LeaseGrant", { ID: 5, TTL: 60 })];
  const raised = refused.flatMap((write) => [disarm, write, call("etcdserverpb.Maintenance/Status", {})]);
  const repeated = [...raised, ...raised, ...raised];
  const restart = { kind: "restart" } as const;
  return [...writes.slice(0, 2), get("/health"), ...writes, ...repeated, disarm, ...writes, restart, ...writes];
};

test("every kind of bad input is answered as etcd does", { skip }, async () => {
  const operations = [...everyHttp(), ...everyRaw({ prng: new Prng(1), current: 1 })];
  const mismatches = await withPair((pair) => runOperations(pair, operations));
  assert.equal(mismatches.length, 0, mismatches.map(report).join("\n"));
});

test("other limits are kept as etcd keeps them", { skip }, async (t) => {
  const limits = { requestBytes: 20_000, txnOps: 5 };
  const seed = chooseSeed();
  process.stdout.write(`conformance, other limits: SEED=${seed}\n`);
  const flags = [`--max-request-bytes=${limits.requestBytes}`, `--max-txn-ops=${limits.txnOps}`];
  const result = await withPair((pair) => runSeed(pair, seed, 1000, limits), flags);
  t.diagnostic(`etcd answered ${JSON.stringify(result.statuses)}`);
  assert.equal(result.mismatches.length, 0, `SEED=${seed}\n${result.mismatches.map(report).join("\n")}`);
});

test("a quota that is used up is refused, raised and lifted as by etcd", { skip }, async () => {
  const mismatches = await withPair(
    (pair) => quotaOperations(pair).then((operations) => runOperations(pair, operations)),
    ["--quota-backend-bytes=1"],
  );
  assert.equal(mismatches.length, 0, mismatches.map(report).join("\n"));
});

if (process.env["SEED"] === undefined) {
  for (const { seed, operations } of readSeeds()) {
    test(`regression seed ${seed}`, { skip }, (t) => checkSeed(t, seed, operations));
  }
}

test("a random sequence is answered as etcd does", { skip }, async (t) => {
  const seed = chooseSeed();
  process.stdout.write(`conformance: SEED=${seed}\n`);
  await checkSeed(t, seed, Number(process.env["OPERATIONS"] ?? operationsDefault));
});
