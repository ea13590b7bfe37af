/**
 * What the calls of a run say about keys, as a model for the linearizability checker: values, and etcd's revision,
 * which grows with every change and so orders the calls that tell it.
 */
import { checkLinearizable, type Call, type Model, type Verdict } from "./linearizability.js";

/** A key and its value; null: it is not there. */
export type KeyValue = readonly [key: string, value: string | null];

/** One call, and what came of it. */
export interface KvCall {
  /** The writes happen only if this key has this value; null: they always happen. */
  readonly guard: KeyValue | null;
  /** null deletes. */
  readonly writes: readonly KeyValue[];
  /** What it was answered; null: nothing, or an error that leaves it open whether it has acted. */
  readonly answer: {
    /** Whether the guard held. */
    readonly succeeded: boolean;
    /** What it saw of each of its keys before it acted. */
    readonly observed: readonly KeyValue[];
    readonly revision: number;
  } | null;
}

interface State {
  /** The revision is at least this. */
  readonly revision: number;
  readonly values: ReadonlyMap<string, string>;
}

function valueOf(state: State, key: string): string | null {
  return state.values.get(key) ?? null;
}

/** The values after the writes; the same map when they change nothing (a delete of what is not there). */
function written(values: ReadonlyMap<string, string>, writes: readonly KeyValue[]): ReadonlyMap<string, string> {
  if (!writes.some(([key, value]) => value !== null || values.has(key))) return values;
  const next = new Map(values);
  for (const [key, value] of writes) {
    if (value === null) next.delete(key);
    else next.set(key, value);
  }
  return next;
}

/** One copy of the data. */
export const kvModel: Model<State, KvCall> = {
  initial: { revision: 1, values: new Map() },

  step(state, { guard, writes, answer }) {
    const holds = guard === null || valueOf(state, guard[0]) === guard[1];
    const values = holds ? written(state.values, writes) : state.values;
    const changed = values !== state.values;
    if (answer === null) return changed ? { revision: state.revision + 1, values } : null;
    if (answer.succeeded !== holds) return null;
    if (answer.observed.some(([key, value]) => valueOf(state, key) !== value)) return null;
    if (answer.revision < (changed ? state.revision + 1 : state.revision)) return null;
    return { revision: answer.revision, values };
  },

  key({ revision, values }) {
    const sorted = [...values].sort(([a], [b]) => (a < b ? -1 : 1));
    return `${revision};${sorted.map(([key, value]) => `${key}=${value}`).join(";")}`;
  },
};

function keysOf({ guard, writes, answer }: KvCall): string[] {
  const pairs = [...(guard === null ? [] : [guard]), ...writes, ...(answer?.observed ?? [])];
  return [...new Set(pairs.map(([key]) => key))];
}

/** Calls in groups that share no key with each other; a history is linearizable if each group is. */
function partition(calls: readonly Call<KvCall>[]): Call<KvCall>[][] {
  const leaders = new Map<string, string>();
  const leaderOf = (key: string): string => {
    const above = leaders.get(key) ?? key;
    return above === key ? key : leaderOf(above);
  };
  for (const { op } of calls) {
    const [first, ...others] = keysOf(op);
    for (const other of others) leaders.set(leaderOf(other), leaderOf(first!));
  }
  const groups = new Map<string, Call<KvCall>[]>();
  for (const call of calls) {
    const [first] = keysOf(call.op);
    if (first === undefined) continue;
    const leader = leaderOf(first);
    groups.set(leader, [...(groups.get(leader) ?? []), call]);
  }
  return [...groups.values()];
}

/**
 * Leaves out calls without an answer that cannot matter: those that write nothing, and those whose values nobody saw
 * or asked for. (Every answer tells what it found, so what no answer tells of was not there when any of them acted;
 * but it may have let another call without an answer act.)
 */
function relevant(calls: readonly Call<KvCall>[]): Call<KvCall>[] {
  const named = calls.flatMap(({ op }) => [...(op.answer?.observed ?? []), ...(op.guard === null ? [] : [op.guard])]);
  const seen = new Set(named.map(([key, value]) => `${key}=${value}`));
  return calls.filter(({ op }) => op.answer !== null || op.writes.some(([key, value]) => seen.has(`${key}=${value}`)));
}

/** Checks a history of calls on keys; the first group that fails decides. */
export function checkKvHistory(calls: readonly Call<KvCall>[]): Verdict<KvCall> {
  let undecided = false;
  const order: Call<KvCall>[] = [];
  for (const group of partition(calls)) {
    const verdict = checkLinearizable(kvModel, relevant(group));
    if (verdict.result === "violation") return verdict;
    if (verdict.result === "undecided") undecided = true;
    else order.push(...verdict.order);
  }
  return undecided ? { result: "undecided" } : { result: "linearizable", order };
}

/** A call in one line. */
export function describeCall({ begin, end, op: { guard, writes, answer } }: Call<KvCall>): string {
  const pairs = (list: readonly KeyValue[]): string => list.map(([key, value]) => `${key}=${value ?? "-"}`).join();
  const when = guard === null ? "" : `if ${pairs([guard])} `;
  const said = answer === null ? "?" : `${answer.succeeded} saw ${pairs(answer.observed)} at ${answer.revision}`;
  return `[${begin.toFixed(1)}..${end.toFixed(1)}] ${when}set ${pairs(writes)}: ${said}`;
}
