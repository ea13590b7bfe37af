/**
 * Metrics of the apply thread. Series are made when first needed, as etcd's vectors print only what has happened, and
 * kept: on the hot path an observation is one look-up in a Map and a few additions.
 * What is counted elsewhere (store, backend) is read when the text is asked for.
 */
import { memberIdText, type Member, type MembershipStore } from "../membership/index.js";
import type { Histogram, Metric, Registry, Value } from "../metrics/index.js";
import type { Backend, CommitReport } from "../storage/backend/index.js";
import type { MvccStore } from "../storage/mvcc/index.js";
import type { KvCounts } from "./kv-writer.js";
import { defaultQuotaBytes } from "./quota.js";

/** Names of ops in etcd's label `op`. */
export type ApplyOp =
  | "Put"
  | "DeleteRange"
  | "Txn"
  | "Range"
  | "Compaction"
  | "LeaseGrant"
  | "LeaseRevoke"
  | "LeaseCheckpoint"
  | "Alarm"
  | "ClusterVersionSet"
  | "ClusterMemberAttrSet"
  | "DowngradeInfoSet"
  | "DowngradeVersionTest";

/** Kinds of requests in etcd's label `type`. */
export type RequestType = ApplyOp | "ReadonlyTxn";

/** What the metrics are read from. */
export interface MeasuredState {
  readonly store: MvccStore;
  readonly backend: Backend;
  readonly membership: MembershipStore;
  readonly counts: KvCounts;
  readonly leasesRevoked: () => number;
  readonly localId: bigint;
  readonly quotaBackendBytes: number;
}

const alarmNames: Readonly<Record<number, string>> = { 1: "NOSPACE", 2: "CORRUPT" };

export class ApplyMetrics {
  readonly #registry: Registry;
  readonly #apply: Metric<Histogram>;
  readonly #range: Metric<Histogram>;
  readonly #succeeded = new Map<ApplyOp, Histogram>();
  readonly #failed = new Map<ApplyOp, Histogram>();
  readonly #requests: Metric<Histogram>;
  readonly #requestsSucceeded = new Map<RequestType, Histogram>();
  readonly #requestsFailed = new Map<RequestType, Histogram>();
  /** What, added to a time by main's clock, gives the time by this thread's. */
  mainClockOffsetMs = 0;
  readonly #alarms: Metric<Value>;
  readonly #slowApplies: Value;
  readonly #commits: Histogram;
  readonly #commitSpills: Histogram;
  readonly #commitWrites: Histogram;
  readonly #hashes: Histogram;
  readonly #leasesGranted: Value;
  readonly #leaseTtls: Histogram;
  readonly #storeHashes: Histogram;
  readonly #compactionPauses: Histogram;
  readonly #indexCompactions: Histogram;
  readonly #compactions: Histogram;
  readonly #compactedKeys: Value;
  readonly #lastCompaction: Value;
  readonly #defragmenting: Value;
  readonly #installing: Value;
  readonly #defragmentations: Histogram;
  #rangeSucceeded: Histogram | undefined;
  #rangeFailed: Histogram | undefined;

  constructor(registry: Registry) {
    this.#registry = registry;
    this.#apply = registry.histogramVector("etcd_server_apply_duration_seconds");
    this.#range = registry.histogramVector("etcd_server_range_duration_seconds");
    this.#requests = registry.histogramVector("etcd_server_request_duration_seconds");
    this.#alarms = registry.gaugeVector("etcd_debugging_server_alarms");
    this.#slowApplies = registry.counter("etcd_server_slow_apply_total");
    this.#commits = registry.histogram("etcd_disk_backend_commit_duration_seconds");
    this.#commitSpills = registry.histogram("etcd_debugging_disk_backend_commit_spill_duration_seconds");
    this.#commitWrites = registry.histogram("etcd_debugging_disk_backend_commit_write_duration_seconds");
    this.#hashes = registry.histogram("etcd_mvcc_hash_rev_duration_seconds");
    this.#leasesGranted = registry.counter("etcd_debugging_lease_granted_total");
    this.#leaseTtls = registry.histogram("etcd_debugging_lease_ttl_total");
    this.#storeHashes = registry.histogram("etcd_mvcc_hash_duration_seconds");
    this.#compactionPauses = registry.histogram("etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds");
    this.#indexCompactions = registry.histogram("etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds");
    this.#compactions = registry.histogram("etcd_debugging_mvcc_db_compaction_total_duration_milliseconds");
    this.#compactedKeys = registry.counter("etcd_debugging_mvcc_db_compaction_keys_total");
    this.#lastCompaction = registry.gauge("etcd_debugging_mvcc_db_compaction_last");
    this.#installing = registry.gauge("etcd_server_snapshot_apply_in_progress_total");
    this.#defragmenting = registry.gauge("etcd_disk_defrag_inflight");
    this.#defragmentations = registry.histogram("etcd_disk_backend_defrag_duration_seconds");
  }

  applied(op: ApplyOp, success: boolean, milliseconds: number): void {
    const known = success ? this.#succeeded : this.#failed;
    let series = known.get(op);
    if (series === undefined) {
      series = this.#apply.with({ version: "v3", op, success: String(success) });
      known.set(op, series);
    }
    series.observe(milliseconds / 1000);
  }

  ranged(success: boolean, milliseconds: number): void {
    if (success) (this.#rangeSucceeded ??= this.#range.with({ success: "true" })).observe(milliseconds / 1000);
    else (this.#rangeFailed ??= this.#range.with({ success: "false" })).observe(milliseconds / 1000);
  }

  /**
   * A request is answered that came at `startMs`, by main's clock; it is now `nowMs`, by this one's. As in etcd an entry
   * has succeeded once it is applied, whatever its outcome.
   */
  requested(type: RequestType, success: boolean, startMs: number, nowMs: number): void {
    const known = success ? this.#requestsSucceeded : this.#requestsFailed;
    let series = known.get(type);
    if (series === undefined) {
      series = this.#requests.with({ type, success: String(success) });
      known.set(type, series);
    }
    series.observe(Math.max(0, nowMs - startMs - this.mainClockOffsetMs) / 1000);
  }

  slowApply(): void {
    this.#slowApplies.inc();
  }

  hashed(milliseconds: number): void {
    this.#hashes.observe(milliseconds / 1000);
  }

  storeHashed(milliseconds: number): void {
    this.#storeHashes.observe(milliseconds / 1000);
  }

  /** One step of a compaction's removal has held this thread for so long. */
  compactionPaused(milliseconds: number): void {
    this.#compactionPauses.observe(Math.floor(milliseconds));
  }

  /** The index is compacted; the time is that of all steps. */
  indexCompacted(milliseconds: number): void {
    this.#indexCompactions.observe(Math.floor(milliseconds));
  }

  /** A compaction is done. */
  compacted(milliseconds: number, removed: number, unixSeconds: number): void {
    this.#compactions.observe(Math.floor(milliseconds));
    this.#compactedKeys.inc(removed);
    this.#lastCompaction.set(unixSeconds);
  }

  /** A snapshot from another member is being installed. */
  installing(isActive: boolean): void {
    this.#installing.set(isActive ? 1 : 0);
  }

  defragmenting(isActive: boolean): void {
    this.#defragmenting.set(isActive ? 1 : 0);
  }

  /** One is done. */
  defragmented(milliseconds: number): void {
    this.#defragmentations.observe(milliseconds / 1000);
  }

  leaseGranted(ttlSeconds: number): void {
    this.#leasesGranted.inc();
    this.#leaseTtls.observe(ttlSeconds);
  }

  /** bbolt's step "spill" puts changes into pages, its "write" brings those to the disk. */
  committed({ seconds, writeSeconds }: CommitReport): void {
    this.#commits.observe(seconds);
    this.#commitSpills.observe(writeSeconds);
    this.#commitWrites.observe(seconds - writeSeconds);
  }

  /** Each activation that is applied counts, also of an alarm that is active. */
  alarm(memberId: bigint, alarm: number, by: 1 | -1): void {
    const labels = { server_id: memberIdText(memberId), alarm_type: alarmNames[alarm] ?? String(alarm) };
    this.#alarms.with(labels).inc(by);
  }

  /** From now on the text tells of this state. */
  attach(state: MeasuredState): void {
    const registry = this.#registry;
    const { quotaBackendBytes } = state;
    registry
      .gauge("etcd_server_quota_backend_bytes")
      .set(quotaBackendBytes === 0 ? defaultQuotaBytes : quotaBackendBytes);
    const puts = registry.counter("etcd_mvcc_put_total");
    const deletes = registry.counter("etcd_mvcc_delete_total");
    const ranges = registry.counter("etcd_mvcc_range_total");
    const txns = registry.counter("etcd_mvcc_txn_total");
    const revoked = registry.counter("etcd_debugging_lease_revoked_total");
    const putBytes = registry.gauge("etcd_debugging_mvcc_total_put_size_in_bytes");
    registry.onCollect(() => {
      puts.set(state.counts.puts);
      deletes.set(state.counts.deletes);
      ranges.set(state.counts.ranges);
      txns.set(state.counts.txns);
      putBytes.set(state.counts.putBytes);
      revoked.set(state.leasesRevoked());
    });
    this.#attachStore(state);
    this.#attachCluster(state);
  }

  #attachStore({ store, backend }: MeasuredState): void {
    const registry = this.#registry;
    const size = registry.gauge("etcd_mvcc_db_total_size_in_bytes");
    const inUse = registry.gauge("etcd_mvcc_db_total_size_in_use_in_bytes");
    const readers = registry.gauge("etcd_mvcc_db_open_read_transactions");
    const revision = registry.gauge("etcd_debugging_mvcc_current_revision");
    const compacted = registry.gauge("etcd_debugging_mvcc_compact_revision");
    const keys = registry.gauge("etcd_debugging_mvcc_keys_total");
    registry.onCollect(() => {
      const sizes = backend.sizes();
      size.set(sizes.total);
      inUse.set(sizes.inUse);
      readers.set(backend.openReads);
      revision.set(store.currentRevision);
      compacted.set(store.compactRevision);
      keys.set(store.liveKeys);
    });
  }

  #attachCluster({ membership, localId }: MeasuredState): void {
    const registry = this.#registry;
    const version = registry.gaugeVector("etcd_cluster_version");
    const learner = registry.gauge("etcd_server_is_learner");
    const known = registry.gaugeVector("etcd_network_known_peers");
    registry.onCollect(() => {
      version.clear();
      const [major, minor] = membership.clusterVersion?.split(".") ?? [];
      if (minor !== undefined) version.with({ cluster_version: `${major}.${minor}` }).set(1);
      learner.set(membership.localIsLearner ? 1 : 0);
      const local = memberIdText(localId);
      const mark = (ids: Iterable<Member["id"]>, value: number): void => {
        for (const id of ids) known.with({ Local: local, Remote: memberIdText(id) }).set(value);
      };
      mark(membership.members.keys(), 1);
      mark(membership.removed, 0);
    });
  }
}
