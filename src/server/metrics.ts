/**
 * The server's metrics on main, filled in when they are read: what they count is counted where it happens.
 */
import { featureGateStates } from "../config/index.js";
import { registry, type Registry } from "../metrics/index.js";
import { memberIdText, serverVersionText } from "../membership/index.js";
import { none } from "../raft/index.js";
import type { EtcdServer } from "./etcd-server.js";

/** What etcd's server exports and never moves: of its v2 store, and of its proxy. */
const alwaysZero = {
  counters: [
    "etcd_debugging_store_expires_total",
    "etcd_debugging_store_watch_requests_total",
    "etcd_grpc_proxy_events_coalescing_total",
  ],
  gauges: [
    "etcd_debugging_store_watchers",
    "etcd_grpc_proxy_cache_hits_total",
    "etcd_grpc_proxy_cache_keys_total",
    "etcd_grpc_proxy_cache_misses_total",
    "etcd_grpc_proxy_watchers_coalescing_total",
  ],
} as const;

/** Adds the metrics of `server` to this thread's registry. */
export function addServerMetrics(server: EtcdServer): void {
  addConstants(registry, server);
  addRaftMetrics(registry, server);
  addWalMetrics(registry, server);
  addLeaseMetrics(registry, server);
}

function addLeaseMetrics(to: Registry, server: EtcdServer): void {
  const renewed = to.counter("etcd_debugging_lease_renewed_total");
  const expired = to.counter("etcd_debugging_server_lease_expired_total");
  to.onCollect(() => {
    renewed.value = server.core.leases.renewedCount;
    expired.value = server.core.leases.expiredCount;
  });
}

function addConstants(to: Registry, server: EtcdServer): void {
  to.gaugeVector("etcd_server_version").with({ server_version: serverVersionText }).set(1);
  to.gaugeVector("etcd_server_id")
    .with({ server_id: memberIdText(server.memberId) })
    .set(1);
  const features = to.gaugeVector("etcd_server_feature_enabled");
  for (const { name, stage, isOn } of featureGateStates(server.config.featureGates)) {
    features.with({ name, stage }).set(isOn ? 1 : 0);
  }
  for (const name of alwaysZero.counters) to.counter(name);
  for (const name of alwaysZero.gauges) to.gauge(name);
}

function addRaftMetrics(to: Registry, server: EtcdServer): void {
  const hasLeader = to.gauge("etcd_server_has_leader");
  const isLeader = to.gauge("etcd_server_is_leader");
  const promoted = to.counter("etcd_server_learner_promote_successes");
  const notPromoted = to.counterVector("etcd_server_learner_promote_failures");
  to.counter("etcd_server_heartbeat_send_failures_total");
  const leaderChanges = to.counter("etcd_server_leader_changes_seen_total");
  const committed = to.gauge("etcd_server_proposals_committed_total");
  const applied = to.gauge("etcd_server_proposals_applied_total");
  const pending = to.gauge("etcd_server_proposals_pending");
  const failed = to.counter("etcd_server_proposals_failed_total");
  const slowReads = to.counter("etcd_server_slow_read_indexes_total");
  const failedReads = to.counter("etcd_server_read_indexes_failed_total");
  to.onCollect(() => {
    const counters = server.core.counters;
    hasLeader.set(server.core.leader === none ? 0 : 1);
    isLeader.set(server.core.isLeader ? 1 : 0);
    leaderChanges.value = counters.leaderChanges;
    committed.set(server.core.commitIndex);
    applied.set(server.applied.appliedIndex);
    pending.set(counters.proposalsPending);
    failed.value = counters.proposalsFailed;
    slowReads.value = counters.slowReads;
    const { promotions } = server.core.cluster.reconfiguration;
    promoted.value = promotions.succeeded;
    for (const [reason, count] of promotions.failed) notPromoted.with({ Reason: reason }).value = count;
    failedReads.value = counters.failedReads;
  });
}

function addWalMetrics(to: Registry, server: EtcdServer): void {
  const fsync = to.histogram("etcd_disk_wal_fsync_duration_seconds");
  const write = to.histogram("etcd_disk_wal_write_duration_seconds");
  const bytes = to.gauge("etcd_disk_wal_write_bytes_total");
  to.onCollect(() => {
    const stats = server.walStats;
    fsync.load(stats.fsyncCounts, stats.fsyncSeconds);
    write.load(stats.writeCounts, stats.writeSeconds);
    bytes.set(stats.writtenBytes);
  });
}
