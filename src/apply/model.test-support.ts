/**
 * A slow, obvious store with etcd's KV semantics, to hold the real one against: every revision keeps a whole copy
 * of all keys; requests are decoded objects; nothing is clever. Keys are latin1 strings, so that their order is bytewise.
 */
import {
  CompareResult,
  CompareTarget,
  SortOrder,
  SortTarget,
  type Compare,
  type DeleteRangeRequest,
  type KeyValueInit,
  type PutRequest,
  type RangeRequest,
  type RequestOp,
  type ResponseOpInit,
  type TxnRequest,
} from "../proto/index.js";

interface ModelKv {
  readonly key: string;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly version: number;
  readonly value: string;
  readonly lease: bigint;
}
type Keys = ReadonlyMap<string, ModelKv>;

export class ModelError extends Error {}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
const bytes = (value: string): Uint8Array => new Uint8Array(Buffer.from(value, "latin1"));
const order = <T>(a: T, b: T): number => (a < b ? -1 : a > b ? 1 : 0);

function toMessage(kv: ModelKv): KeyValueInit {
  const { key, value, ...rest } = kv;
  return { ...rest, key: bytes(key), value: bytes(value) };
}

export class Model {
  /** State after each revision; revision 1 is the empty one. */
  readonly #history: Keys[] = [new Map(), new Map()];
  /** The state that a transaction is changing, and whether it has. */
  #keys: Map<string, ModelKv> = new Map();
  #changed = false;
  compactRevision = -1;
  readonly leases = new Set<bigint>();

  get revision(): number {
    return this.#history.length - 1;
  }

  get #visible(): number {
    return this.revision + (this.#changed ? 1 : 0);
  }

  #begin(): void {
    this.#keys = new Map(this.#history[this.revision]);
    this.#changed = false;
  }

  #end(): number {
    if (this.#changed) this.#history.push(this.#keys);
    this.#changed = false;
    return this.revision;
  }

  #select(keys: Keys, key: Uint8Array, rangeEnd: Uint8Array): ModelKv[] {
    const low = text(key);
    const high = text(rangeEnd);
    const inRange = (name: string): boolean => {
      if (high === "") return name === low;
      return name >= low && (high === "\0" || name < high);
    };
    return [...keys.values()].filter((kv) => inRange(kv.key)).sort((a, b) => order(a.key, b.key));
  }

  #at(revision: number): Keys {
    if (revision > this.#visible) throw new ModelError("etcdserver: mvcc: required revision is a future revision");
    if (revision <= 0) return this.#keys;
    if (revision < this.compactRevision) throw new ModelError("etcdserver: mvcc: required revision has been compacted");
    return revision === this.#visible ? this.#keys : this.#history[revision]!;
  }

  range(request: RangeRequest): { kvs: KeyValueInit[]; more: boolean; count: number; revision: number } {
    if (!this.#changed) this.#keys = new Map(this.#history[this.revision]);
    return this.#range(request);
  }

  #range(request: RangeRequest): { kvs: KeyValueInit[]; more: boolean; count: number; revision: number } {
    const { limit, sortOrder, sortTarget } = request;
    const all = this.#select(this.#at(request.revision), request.key, request.rangeEnd);
    const count = all.length;
    if (request.countOnly) return { kvs: [], more: false, count, revision: this.#visible };
    const filters =
      request.minModRevision !== 0 ||
      request.maxModRevision !== 0 ||
      request.minCreateRevision !== 0 ||
      request.maxCreateRevision !== 0;
    const usual = sortOrder === SortOrder.NONE || (sortTarget === SortTarget.KEY && sortOrder === SortOrder.ASCEND);
    let kvs = usual && !filters && limit > 0 ? all.slice(0, limit + 1) : all;
    if (request.keysOnly && sortTarget !== SortTarget.VALUE) kvs = kvs.map((kv) => ({ ...kv, value: "", lease: 0n }));
    if (request.maxModRevision !== 0) kvs = kvs.filter((kv) => kv.modRevision <= request.maxModRevision);
    if (request.minModRevision !== 0) kvs = kvs.filter((kv) => kv.modRevision >= request.minModRevision);
    if (request.maxCreateRevision !== 0) kvs = kvs.filter((kv) => kv.createRevision <= request.maxCreateRevision);
    if (request.minCreateRevision !== 0) kvs = kvs.filter((kv) => kv.createRevision >= request.minCreateRevision);
    const target = (kv: ModelKv): string | number =>
      [kv.key, kv.version, kv.createRevision, kv.modRevision, kv.value][sortTarget]!;
    const sign = sortOrder === SortOrder.DESCEND ? -1 : 1;
    if (sortTarget !== SortTarget.KEY || sortOrder === SortOrder.DESCEND) {
      kvs = kvs.toSorted((a, b) => sign * order(target(a), target(b)));
    }
    const more = limit > 0 && kvs.length > limit;
    if (more) kvs = kvs.slice(0, limit);
    if (request.keysOnly) kvs = kvs.map((kv) => ({ ...kv, value: "" }));
    return { kvs: kvs.map(toMessage), more, count, revision: this.#visible };
  }

  #refusePut(request: PutRequest): void {
    if (request.lease !== 0n && !this.leases.has(request.lease))
      throw new ModelError("etcdserver: requested lease not found");
    if ((request.ignoreValue || request.ignoreLease) && !this.#keys.has(text(request.key)))
      throw new ModelError("etcdserver: key not found");
  }

  #put(request: PutRequest): { prevKv: KeyValueInit | undefined; revision: number } {
    const key = text(request.key);
    const before = this.#keys.get(key);
    const modRevision = this.revision + 1;
    this.#changed = true;
    this.#keys.set(key, {
      key,
      createRevision: before?.createRevision ?? modRevision,
      modRevision,
      version: (before?.version ?? 0) + 1,
      value: request.ignoreValue ? (before?.value ?? "") : text(request.value),
      lease: request.ignoreLease ? (before?.lease ?? 0n) : request.lease,
    });
    return { prevKv: request.prevKv && before ? toMessage(before) : undefined, revision: modRevision };
  }

  put(request: PutRequest): { prevKv: KeyValueInit | undefined; revision: number } {
    this.#begin();
    this.#refusePut(request);
    const answer = this.#put(request);
    this.#end();
    return answer;
  }

  #delete(request: DeleteRangeRequest): { deleted: number; prevKvs: KeyValueInit[]; revision: number } {
    const gone = this.#select(this.#keys, request.key, request.rangeEnd);
    for (const kv of gone) this.#keys.delete(kv.key);
    this.#changed ||= gone.length > 0;
    return { deleted: gone.length, prevKvs: request.prevKv ? gone.map(toMessage) : [], revision: this.#visible };
  }

  deleteRange(request: DeleteRangeRequest): { deleted: number; prevKvs: KeyValueInit[]; revision: number } {
    this.#begin();
    const answer = this.#delete(request);
    this.#end();
    return answer;
  }

  #compares(compare: Compare): boolean {
    const kvs = this.#select(this.#keys, compare.key, compare.rangeEnd);
    const missing = { key: "", createRevision: 0, modRevision: 0, version: 0, value: "", lease: 0n };
    if (kvs.length === 0) return compare.target !== CompareTarget.VALUE && this.#holds(compare, missing);
    return kvs.every((kv) => this.#holds(compare, kv));
  }

  #holds(compare: Compare, kv: ModelKv): boolean {
    const names = ["version", "createRevision", "modRevision", "value", "lease"] as const;
    const name = names[compare.target];
    let result = 0;
    if (name !== undefined) {
      const union = compare.targetUnion?.case === name ? compare.targetUnion.value : undefined;
      if (name === "value") result = order(kv.value, text((union as Uint8Array | undefined) ?? bytes("")));
      else if (name === "lease") result = order(kv.lease, (union as bigint | undefined) ?? 0n);
      else result = order(kv[name], (union as number | undefined) ?? 0);
    }
    switch (compare.result) {
      case CompareResult.EQUAL:
        return result === 0;
      case CompareResult.GREATER:
        return result > 0;
      case CompareResult.LESS:
        return result < 0;
      case CompareResult.NOT_EQUAL:
        return result !== 0;
      default:
        return true;
    }
  }

  /** The branches taken, nested transactions in order. */
  #path(request: TxnRequest): boolean[] {
    const succeeded = request.compare.every((compare) => this.#compares(compare));
    const ops = succeeded ? request.success : request.failure;
    return [succeeded, ...ops.flatMap((op) => (op.request?.case === "requestTxn" ? this.#path(op.request.value) : []))];
  }

  #check(request: TxnRequest, path: boolean[]): void {
    for (const { request: op } of path.shift() ? request.success : request.failure) {
      if (op?.case === "requestPut") this.#refusePut(op.value);
      if (op?.case === "requestTxn") this.#check(op.value, path);
      if (op?.case !== "requestRange" || op.value.revision === 0) continue;
      if (op.value.revision > this.revision)
        throw new ModelError("etcdserver: mvcc: required revision is a future revision");
      if (op.value.revision < this.compactRevision)
        throw new ModelError("etcdserver: mvcc: required revision has been compacted");
    }
  }

  #execute(request: TxnRequest, path: boolean[]): { succeeded: boolean; responses: ResponseOpInit[] } {
    const succeeded = path.shift() === true;
    const responses = (succeeded ? request.success : request.failure).map((op) => this.#executeOp(op, path));
    return { succeeded, responses };
  }

  #executeOp({ request }: RequestOp, path: boolean[]): ResponseOpInit {
    switch (request?.case) {
      case "requestRange": {
        const { revision, ...rest } = this.#range(request.value);
        return { response: { case: "responseRange", value: { header: { revision }, ...rest } } };
      }
      case "requestPut": {
        const { revision, prevKv } = this.#put(request.value);
        return { response: { case: "responsePut", value: { header: { revision }, prevKv } } };
      }
      case "requestDeleteRange": {
        const { revision, ...rest } = this.#delete(request.value);
        return { response: { case: "responseDeleteRange", value: { header: { revision }, ...rest } } };
      }
      case "requestTxn":
        return { response: { case: "responseTxn", value: { header: {}, ...this.#execute(request.value, path) } } };
      default:
        return {};
    }
  }

  txn(request: TxnRequest): { succeeded: boolean; responses: ResponseOpInit[]; revision: number } {
    this.#begin();
    const path = this.#path(request);
    this.#check(request, [...path]);
    const answer = this.#execute(request, path);
    return { ...answer, revision: this.#end() };
  }
}
