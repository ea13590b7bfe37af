/**
 * Random leases, compactions and watches of history, for the same sequence as all else.
 *
 * Leases last longer than any run. A compaction is never at
 * a revision that a transaction made: real etcd 3.7.1 ends at the next read of a key that was deleted and put in it.
 */
import { base64, type JsonObject, type Prng } from "../support/index.js";
import type { Operation, RpcName, WatchOperation } from "./operation.js";
import { leaseIds, someInterval, someKey } from "./vocabulary.js";

const call = (rpc: RpcName, request: JsonObject): Operation => ({ kind: "grpc", rpc, request });

const everyKey = base64(Buffer.of(0));

/** Each its own, so that the order of leases is clear. */
const ttls = ["3000", "4000", "5000", "6000", "9000000000", "9000000001", "9223372036854775807"];

/** A call about leases, or one that puts several keys on one. */
export const someLeaseCall = (prng: Prng): [RpcName, JsonObject] => {
  const ID = prng.pick(leaseIds);
  switch (prng.weighted({ grant: 8, revoke: 2, keepAlive: 3, list: 2, attach: 4, timeToLive: 6 })) {
    case "grant":
      return ["etcdserverpb.Lease/LeaseGrant", { ID, TTL: prng.pick(ttls) }];
    case "revoke":
      return ["etcdserverpb.Lease/LeaseRevoke", { ID }];
    case "keepAlive":
      return ["etcdserverpb.Lease/LeaseKeepAlive", { ID }];
    case "list":
      return ["etcdserverpb.Lease/LeaseLeases", {}];
    case "attach": {
      const keys = new Set(Array.from({ length: prng.between(1, 8) }, () => someKey(prng)));
      return ["etcdserverpb.KV/Txn", { success: Array.from(keys, (key) => ({ request_put: { key, lease: ID } })) }];
    }
    case "timeToLive":
      return ["etcdserverpb.Lease/LeaseTimeToLive", prng.oneIn(4) ? { ID } : { ID, keys: true }];
  }
};

/** What every lease holds. */
export const everyTimeToLive = (): Operation[] =>
  leaseIds.map((ID) => call("etcdserverpb.Lease/LeaseTimeToLive", { ID, keys: true }));

/** A watch from now or from a revision that has been, with every option. */
export const someWatch = (prng: Prng, current: number): WatchOperation => ({
  kind: "watch",
  rpc: "etcdserverpb.Watch/Watch",
  request: {
    ...someInterval(prng),
    start_revision: prng.oneIn(20)
      ? "-1"
      : String(prng.oneIn(4) ? 0 : prng.between(Math.max(1, current - 300), current)),
    filters: prng.pick([[], [], [0], [1], [0, 1]]),
    prev_kv: prng.oneIn(2),
    fragment: prng.oneIn(2),
    progress_notify: prng.oneIn(3),
    watch_id: prng.pick(["0", "0", "7", "-3"]),
  },
});

const live = (creates: readonly JsonObject[]): Operation => ({
  kind: "live",
  rpc: "etcdserverpb.Watch/Watch",
  creates,
});

/** What the watches that stay have been told. */
export const lookAtWatches = live([]);

/** Watches that stay: of everything, so that progress is always answered, and of ranges from now or from the past. */
export const someLiveWatches = (prng: Prng, current: number): Operation => {
  const flags = (): JsonObject => ({ prev_kv: prng.oneIn(2), fragment: prng.oneIn(2) });
  const ranges = Array.from({ length: 3 }, (): JsonObject => {
    const { request } = someWatch(prng, current);
    const start_revision = prng.oneIn(2) ? "0" : (request["start_revision"] ?? "0");
    return { ...request, start_revision, progress_notify: false, watch_id: "0" };
  });
  return live([{ key: everyKey, range_end: everyKey, ...flags() }, ...ranges]);
};

/** Which revisions a compaction may be at, as the store grows. */
export class CompactionPoints {
  /** Revisions that a put or a delete made alone; the newest last. */
  readonly #points: number[] = [];
  #current = 1;

  /** What `operation` brought the store to. */
  seen(operation: Operation | null, current: number): void {
    const isPlain =
      (operation?.kind === "grpc" || operation?.kind === "gateway") && /\/(Put|DeleteRange)$/.test(operation.rpc);
    if (isPlain && current === this.#current + 1) this.#points.push(current);
    this.#current = current;
    if (this.#points.length > 1000) this.#points.splice(0, 500);
  }

  /** A compaction, and one that is refused once that one is done: until then hashes are a matter of time. */
  some(prng: Prng): Operation[] {
    const revision = prng.oneIn(8)
      ? prng.pick([0, -1, this.#current + 1, 1])
      : prng.pick(this.#points.length === 0 ? [1] : this.#points.slice(-60));
    return [
      call("etcdserverpb.KV/Compact", { revision: String(revision), ...(prng.oneIn(2) ? { physical: true } : {}) }),
      call("etcdserverpb.KV/Compact", { revision: "1", physical: true }),
    ];
  }
}
