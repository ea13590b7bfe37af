/**
 * Drives a pair through a sequence, gathers what differs, and shrinks a failing sequence to a
 * short one. A sequence goes on after a harmless difference, so that one run reports them all;
 * it ends when the stores themselves have come apart.
 */
import { isJsonList, isJsonObject } from "../support/index.js";
import type { Difference } from "./compare.js";
import { defaultLimits, Generator, opening, type Limits } from "./generator.js";
import { describe, type Operation, type Outcome } from "./operation.js";
import { Pair, type Mismatch } from "./session.js";

/** What a run found. */
export interface RunResult {
  readonly executed: number;
  /** Distinct ones: of many alike only the first is kept. */
  readonly mismatches: readonly Mismatch[];
  readonly operations: readonly Operation[];
  readonly counts: Readonly<Record<string, number>>;
  /** How often etcd gave each status: shows that every refusal came up. */
  readonly statuses: Readonly<Record<string, number>>;
}

const mismatchesMax = 30;

/** Both members are killed and started again after so many operations: what they then hold is compared on. */
const restartEvery = 2500;

const status: Operation = { kind: "grpc", rpc: "etcdserverpb.Maintenance/Status", request: {} };

const hashKv: Operation = { kind: "grpc", rpc: "etcdserverpb.Maintenance/HashKV", request: {} };

/** The store's revision as an answer's header tells it; 0 when it has none. */
const headerRevision = (outcome: Outcome): number => {
  const body = isJsonList(outcome.body) ? outcome.body[0] : outcome.body;
  const header = isJsonObject(body) ? body["header"] : undefined;
  return isJsonObject(header) ? Number(header["revision"] ?? 0) : 0;
};

const kindOf = (operation: Operation): string => {
  if (operation.kind === "restart") return "restart";
  if (operation.kind === "http") return `http ${operation.note}`;
  return operation.kind === "raw" ? `raw ${operation.note}` : `${operation.kind} ${operation.rpc}`;
};

const statusName = (operation: Operation, outcome: Outcome): string => {
  if (operation.kind === "restart") return "restart";
  const isGrpc = operation.kind !== "gateway" && operation.kind !== "http";
  return isGrpc ? `${outcome.status} ${outcome.message}` : `HTTP ${outcome.status}`;
};

const signature = (operation: Operation, differences: readonly Difference[]): string => {
  const paths = differences.map(({ path }) => path.replace(/\d+/g, "n"));
  const detail = operation.kind === "http" ? `${operation.method} ${operation.path} ${operation.body}` : "";
  const messages = differences
    .filter(({ path }) => path === "message")
    .map(({ etcd, ours }) => `${String(etcd)}|${String(ours)}`);
  return [kindOf(operation), detail, ...paths, ...messages].join("\n");
};

const failed = (error: unknown): Difference => ({
  path: "(no answer)",
  etcd: null,
  ours: error instanceof Error ? error.message : String(error),
});

/** One operation; a side that gives no answer at all is a difference too. */
const step = async (pair: Pair, operation: Operation): Promise<{ etcd: Outcome | null; differences: Difference[] }> => {
  try {
    return await pair.run(operation);
  } catch (error) {
    return { etcd: null, differences: [failed(error)] };
  }
};

class Findings {
  readonly mismatches: Mismatch[] = [];
  readonly #seen = new Set<string>();

  add(index: number, operation: Operation, differences: readonly Difference[]): void {
    const key = signature(operation, differences);
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    this.mismatches.push({ index, operation, differences });
  }
}

/** The operations that chance does not choose: restarts with a look at the store, and the last hash. */
const operationAt = (i: number, count: number): Operation | null => {
  if (i > 0 && i % restartEvery === 0) return { kind: "restart" };
  if (i === count - 1 || (i > 1 && i % restartEvery === 1)) return hashKv;
  return i > 2 && i % restartEvery === 2 ? status : null;
};

/** Runs the fixed opening and then random operations until `count` were executed. */
export const runSeed = async (
  pair: Pair,
  seed: number,
  count: number,
  limits: Limits = defaultLimits,
): Promise<RunResult> => {
  const generator = new Generator(seed, await pair.memberId(), limits);
  const fixed = opening();
  const operations: Operation[] = [];
  const findings = new Findings();
  const counts: Record<string, number> = {};
  const statuses: Record<string, number> = {};
  let current = 1;
  for (let i = 0; i < count; i++) {
    const planned = operationAt(i, count) ?? fixed[i];
    if (planned !== undefined) generator.interrupted(planned);
    const operation = planned ?? generator.next(current);
    operations.push(operation);
    const kind = operation.kind === "raw" || operation.kind === "http" ? operation.kind : kindOf(operation);
    counts[kind] = (counts[kind] ?? 0) + 1;
    const { etcd, differences } = await step(pair, operation);
    if (etcd !== null) {
      current = headerRevision(etcd) || current;
      const status = statusName(operation, etcd);
      statuses[status] = (statuses[status] ?? 0) + 1;
    }
    if (differences.length === 0) continue;
    findings.add(i, operation, differences);
    if (findings.mismatches.length >= mismatchesMax || (await haveComeApart(pair))) break;
  }
  return { executed: operations.length, mismatches: findings.mismatches, operations, counts, statuses };
};

const haveComeApart = async (pair: Pair): Promise<boolean> => (await step(pair, hashKv)).differences.length > 0;

/** Runs given operations to their end. */
export const runOperations = async (pair: Pair, operations: readonly Operation[]): Promise<Mismatch[]> => {
  const findings = new Findings();
  for (const [index, operation] of operations.entries()) {
    const { differences } = await step(pair, operation);
    if (differences.length > 0) findings.add(index, operation, differences);
  }
  return findings.mismatches;
};

/** The two programs to compare. */
export interface Programs {
  readonly etcd: readonly string[];
  readonly other: readonly string[];
}

const failsAtEnd = async (programs: Programs, operations: readonly Operation[]): Promise<boolean> => {
  const pair = await Pair.start(programs.etcd, programs.other);
  try {
    const last = operations.length - 1;
    return (await runOperations(pair, operations)).some(({ index }) => index === last);
  } finally {
    await pair.close();
  }
};

/**
 * Drops operations before the failing last one for as long as it still fails, within a time budget:
 * first tries the last one alone, then halves, quarters and so on of what is before it.
 */
export const shrink = async (
  programs: Programs,
  operations: readonly Operation[],
  budgetMs: number,
): Promise<readonly Operation[]> => {
  const end = performance.now() + budgetMs;
  const culprit = operations.slice(-1);
  if (await failsAtEnd(programs, culprit)) return culprit;
  let before = operations.slice(0, -1);
  for (let chunk = Math.ceil(before.length / 2); chunk >= 1; chunk = chunk === 1 ? 0 : Math.ceil(chunk / 2)) {
    for (let at = 0; at < before.length;) {
      if (performance.now() > end) return [...before, ...culprit];
      const fewer = [...before.slice(0, at), ...before.slice(at + chunk)];
      if (await failsAtEnd(programs, [...fewer, ...culprit])) before = fewer;
      else at += chunk;
    }
  }
  return [...before, ...culprit];
};

/** A mismatch as text: request, etcd's answer, ours. */
export const report = ({ index, operation, differences }: Mismatch): string => {
  const lines = differences.map(
    ({ path, etcd, ours }) => `    ${path}\n      etcd: ${JSON.stringify(etcd)}\n      ours: ${JSON.stringify(ours)}`,
  );
  return `#${index} ${describe(operation)}\n${lines.join("\n")}`;
};
