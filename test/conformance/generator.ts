/**
 * The random sequence of one run. What it makes depends on the seed and on the store's revision
 * alone, so a seed gives the same requests again for as long as etcd answers the same.
 */
import { base64, Prng, type Json, type JsonObject } from "../support/index.js";
import { someHttp } from "./generate-http.js";
import { bulkTxn, someDelete, somePut, someRange, someTxn, type Context } from "./generate-kv.js";
import {
  CompactionPoints,
  everyTimeToLive,
  lookAtWatches,
  someLeaseCall,
  someLiveWatches,
  someWatch,
} from "./generate-history.js";
import { someRaw } from "./generate-raw.js";
import { spell } from "./json-style.js";
import type { GatewayOperation, Operation, RpcName } from "./operation.js";
import { int64Max, int64Min, someKey, someRevision } from "./vocabulary.js";

const gatewayPaths: Readonly<Partial<Record<RpcName, string>>> = {
  "etcdserverpb.KV/Range": "/v3/kv/range",
  "etcdserverpb.KV/Put": "/v3/kv/put",
  "etcdserverpb.KV/DeleteRange": "/v3/kv/deleterange",
  "etcdserverpb.KV/Txn": "/v3/kv/txn",
  "etcdserverpb.KV/Compact": "/v3/kv/compaction",
  "etcdserverpb.Lease/LeaseGrant": "/v3/lease/grant",
  "etcdserverpb.Lease/LeaseRevoke": "/v3/lease/revoke",
  "etcdserverpb.Lease/LeaseLeases": "/v3/lease/leases",
  "etcdserverpb.Lease/LeaseTimeToLive": "/v3/lease/timetolive",
  "etcdserverpb.Maintenance/Status": "/v3/maintenance/status",
  "etcdserverpb.Maintenance/HashKV": "/v3/maintenance/hashkv",
  "etcdserverpb.Maintenance/Alarm": "/v3/maintenance/alarm",
  "etcdserverpb.Cluster/MemberList": "/v3/cluster/member/list",
};

/** The limits that the members were started with. */
export interface Limits {
  readonly requestBytes: number;
  readonly txnOps: number;
}

/** etcd's defaults. */
export const defaultLimits: Limits = { requestBytes: 1_572_864, txnOps: 128 };

/** What gRPC receives above the limit of a request. */
const receiveExtraBytes = 524_288;

/** So often the watches that stay are looked at: few enough operations that real etcd keeps what those gave rise to. */
const lookEvery = 20;

interface AlarmPair {
  readonly memberID: string;
  readonly alarm: number;
}

/**
 * A range to be streamed. Without an order but with a target, real etcd 3.7.1 sorts each message and goes on behind the
 * key that is then last: keys are lost, or come for ever. Ours streams in the order of keys.
 */
const someStreamed = (context: Context): JsonObject => {
  const { sort_target, ...rest } = someRange(context) as JsonObject & { sort_target?: Json };
  const hasOrder = rest["sort_order"] !== undefined && rest["sort_order"] !== 0;
  return hasOrder && sort_target !== undefined ? { ...rest, sort_target } : rest;
};

/** Makes one operation after another. */
export class Generator {
  readonly #prng: Prng;
  readonly #memberId: string;
  readonly #limits: Limits;
  readonly #active: AlarmPair[] = [];
  #sinceAlarm = 0;
  readonly #compactions = new CompactionPoints();
  /** Operations that are to follow the last one. */
  #queued: Operation[] = [];
  #last: Operation | null = null;
  /** The members have just been started. */
  #isNew = true;
  #sinceLook = 0;

  /** `memberId`: the member's ID, for alarms about itself. */
  constructor(seed: number, memberId: string, limits: Limits) {
    this.#limits = limits;
    this.#prng = new Prng(seed);
    this.#memberId = memberId;
  }

  /** The next operation, for a store at revision `current`. */
  next(current: number): Operation {
    this.#compactions.seen(this.#last, current);
    if (this.#isNew) this.#queued = [...everyTimeToLive(), someLiveWatches(this.#prng, current)];
    this.#isNew = false;
    this.#last = this.#queued.shift() ?? this.#choose(current);
    return this.#last;
  }

  /** `operation`, which is none of this one's, has been run meanwhile. */
  interrupted(operation: Operation): void {
    this.#last = null;
    this.#isNew ||= operation.kind === "restart";
  }

  #choose(current: number): Operation {
    const context: Context = { prng: this.#prng, current };
    // Alarms refuse most writes: the time under one is short.
    if (this.#active.length > 0 && this.#sinceAlarm++ > 12) return this.#disarm();
    if (this.#sinceLook++ >= lookEvery) return this.#look();
    switch (
      this.#prng.weighted({
        kv: 760,
        hash: 40,
        status: 12,
        members: 10,
        alarm: 12,
        health: 12,
        raw: 90,
        http: 70,
        oversize: 2,
        lease: 60,
        compaction: 5,
        watch: 12,
        live: 1,
        stream: 15,
      })
    ) {
      case "kv":
        return this.#kv(context);
      case "hash":
        return this.#call("etcdserverpb.Maintenance/HashKV", this.#hashRequest(context));
      case "status":
        return this.#call("etcdserverpb.Maintenance/Status", {});
      case "members":
        return this.#call("etcdserverpb.Cluster/MemberList", this.#prng.oneIn(2) ? { linearizable: true } : {});
      case "alarm":
        return this.#alarm();
      case "health":
        return this.#health();
      case "raw":
        return someRaw(context);
      case "http":
        return this.#withoutAmbiguousHealth(someHttp(context));
      case "oversize":
        return this.#oversize();
      case "lease":
        return this.#call(...someLeaseCall(this.#prng));
      case "compaction":
        // With prev_kv a watch is told less once its revisions are compacted.
        this.#queued = this.#compactions.some(this.#prng);
        return this.#look();
      case "watch":
        return someWatch(this.#prng, current);
      case "live":
        return someLiveWatches(this.#prng, current);
      case "stream":
        return this.#call("etcdserverpb.KV/RangeStream", someStreamed(context));
    }
  }

  #look(): Operation {
    this.#sinceLook = 0;
    return lookAtWatches;
  }

  #kv(context: Context): Operation {
    switch (this.#prng.weighted({ put: 340, range: 340, remove: 100, txn: 260, bulk: 12 })) {
      case "put":
        return this.#call("etcdserverpb.KV/Put", somePut(context));
      case "range":
        return this.#call("etcdserverpb.KV/Range", someRange(context));
      case "remove":
        return this.#call("etcdserverpb.KV/DeleteRange", someDelete(context));
      case "txn":
        return this.#call("etcdserverpb.KV/Txn", someTxn(context));
      case "bulk":
        return this.#call("etcdserverpb.KV/Txn", bulkTxn(context, this.#limits.txnOps));
    }
  }

  /** Over gRPC, or, one time in three, through the gateway. */
  #call(rpc: RpcName, request: JsonObject): Operation {
    const path = gatewayPaths[rpc];
    if (path === undefined || !this.#prng.oneIn(3)) return { kind: "grpc", rpc, request };
    const gateway: GatewayOperation = { kind: "gateway", rpc, request, path, json: spell(this.#prng, request) };
    return gateway;
  }

  #hashRequest({ prng, current }: Context): JsonObject {
    return prng.oneIn(2) ? {} : { revision: someRevision(prng, current) };
  }

  #alarm(): Operation {
    const action = this.#prng.pick([0, 0, 1, 1, 2]);
    const memberID = this.#prng.pick([this.#memberId, this.#memberId, "0", "12345", "18446744073709551615"]);
    const alarm = this.#prng.oneIn(20) ? 7 : this.#prng.pick([0, 1, 1, 2]);
    if (action === 1 && alarm !== 0) this.#noteActivated({ memberID, alarm });
    return this.#call("etcdserverpb.Maintenance/Alarm", { action, memberID, alarm });
  }

  #noteActivated(pair: AlarmPair): void {
    this.#sinceAlarm = 0;
    if (!this.#active.some((one) => one.memberID === pair.memberID && one.alarm === pair.alarm))
      this.#active.push(pair);
  }

  #disarm(): Operation {
    const { memberID = "0", alarm = 1 } = this.#active.pop() ?? {};
    return this.#call("etcdserverpb.Maintenance/Alarm", { action: 2, memberID, alarm });
  }

  #health(): Operation {
    const service = this.#prng.oneIn(4) ? { service: this.#prng.pick(["x", "etcdserverpb.KV"]) } : {};
    switch (this.#prng.weighted({ check: 6, list: 2, watch: 2 })) {
      case "check":
        return { kind: "grpc", rpc: "grpc.health.v1.Health/Check", request: service };
      case "list":
        return { kind: "grpc", rpc: "grpc.health.v1.Health/List", request: {} };
      case "watch":
        return { kind: "grpc", rpc: "grpc.health.v1.Health/Watch", request: service };
    }
  }

  /** With alarms of two kinds /health names one of them by chance: then it is not asked. */
  #withoutAmbiguousHealth(operation: Operation): Operation {
    const kinds = new Set(this.#active.map(({ alarm }) => alarm));
    const isHealth = operation.kind === "http" && operation.path.startsWith("/health");
    return isHealth && kinds.size > 1 ? this.#call("etcdserverpb.Maintenance/Status", {}) : operation;
  }

  /** Values around the limit of a request and of what gRPC receives, and far beyond. */
  #oversize(): Operation {
    const prng = this.#prng;
    const requestLimit = this.#limits.requestBytes;
    const receiveLimit = requestLimit + receiveExtraBytes;
    const padValue = prng.pick([
      requestLimit - prng.below(80),
      requestLimit + prng.between(1, 1000),
      receiveLimit - prng.below(40),
      receiveLimit + prng.between(1, 1000),
      2 * receiveLimit,
    ]);
    const request = { key: someKey(prng) };
    if (!prng.oneIn(3)) return { kind: "grpc", rpc: "etcdserverpb.KV/Put", request, padValue };
    const json = `{"key":${JSON.stringify(request.key)},"value":"PAD"}`;
    return { kind: "gateway", rpc: "etcdserverpb.KV/Put", request, path: "/v3/kv/put", json, padValue };
  }
}

/** A few fixed operations that every run starts with: the empty store, and the ends of int64. */
export const opening = (): Operation[] => {
  const range = (request: JsonObject): Operation => ({ kind: "grpc", rpc: "etcdserverpb.KV/Range", request });
  const all = base64(Buffer.of(0));
  return [
    { kind: "grpc", rpc: "etcdserverpb.Maintenance/HashKV", request: {} },
    { kind: "grpc", rpc: "etcdserverpb.Maintenance/Status", request: {} },
    { kind: "grpc", rpc: "etcdserverpb.Cluster/MemberList", request: {} },
    { kind: "grpc", rpc: "etcdserverpb.Maintenance/Alarm", request: {} },
    range({ key: all, range_end: all }),
    range({ key: all, range_end: all, revision: "1" }),
    range({ key: all, range_end: all, revision: "2" }),
    range({ key: all, range_end: all, limit: int64Max }),
    range({ key: all, range_end: all, limit: int64Min }),
    { kind: "grpc", rpc: "etcdserverpb.KV/DeleteRange", request: { key: all, range_end: all } },
    { kind: "grpc", rpc: "etcdserverpb.KV/Txn", request: {} },
  ];
};
