/**
 * Every metric of an etcd 3.7 server: kind, help, labels and buckets as etcd has them (reference/metrics.md).
 * A metric is made by its name, so that no module can misspell one.
 */

export type MetricKind = "counter" | "gauge" | "histogram";

export interface MetricDefinition {
  readonly kind: MetricKind;
  readonly help: string;
  readonly labels?: readonly string[];
  /** Upper bounds, ascending, without +Inf. */
  readonly buckets?: readonly number[];
}

/** `count` bounds from `first` on, each twice the one before. */
function doubling(first: number, count: number): readonly number[] {
  return Array.from({ length: count }, (_, i) => Number((first * 2 ** i).toPrecision(15)));
}

const B14 = doubling(0.001, 14);
const A20 = doubling(0.0001, 20);
const P16 = doubling(0.0001, 16);

/** The bucket sets that several metrics share, in seconds: 1 ms to 8 s, 0.1 ms to 52 s, 0.1 ms to 3.3 s. */
export const bucketSets = { B14, A20, P16 } as const;

export const definitions = {
  etcd_cluster_version: {
    kind: "gauge",
    help: "Which version is running. 1 for 'cluster_version' label with current cluster version",
    labels: ["cluster_version"],
  },
  etcd_debugging_auth_revision: { kind: "gauge", help: "The current revision of auth store." },
  etcd_debugging_disk_backend_commit_rebalance_duration_seconds: {
    kind: "histogram",
    help: "The latency distributions of commit.rebalance called by bboltdb backend.",
    buckets: B14,
  },
  etcd_debugging_disk_backend_commit_spill_duration_seconds: {
    kind: "histogram",
    help: "The latency distributions of commit.spill called by bboltdb backend.",
    buckets: B14,
  },
  etcd_debugging_disk_backend_commit_write_duration_seconds: {
    kind: "histogram",
    help: "The latency distributions of commit.write called by bboltdb backend.",
    buckets: B14,
  },
  etcd_debugging_lease_granted_total: { kind: "counter", help: "The total number of granted leases." },
  etcd_debugging_lease_renewed_total: { kind: "counter", help: "The number of renewed leases seen by the leader." },
  etcd_debugging_lease_revoked_total: { kind: "counter", help: "The total number of revoked leases." },
  etcd_debugging_lease_ttl_total: {
    kind: "histogram",
    help: "Bucketed histogram of lease TTLs.",
    buckets: doubling(1, 24),
  },
  etcd_debugging_mvcc_compact_revision: { kind: "gauge", help: "The revision of the last compaction in store." },
  etcd_debugging_mvcc_current_revision: { kind: "gauge", help: "The current revision of store." },
  etcd_debugging_mvcc_db_compaction_keys_total: { kind: "counter", help: "Total number of db keys compacted." },
  etcd_debugging_mvcc_db_compaction_last: {
    kind: "gauge",
    help: "The unix time of the last db compaction. Resets to 0 on start.",
  },
  etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds: {
    kind: "histogram",
    help: "Bucketed histogram of db compaction pause duration.",
    buckets: doubling(1, 13),
  },
  etcd_debugging_mvcc_db_compaction_total_duration_milliseconds: {
    kind: "histogram",
    help: "Bucketed histogram of db compaction total duration.",
    buckets: doubling(100, 14),
  },
  etcd_debugging_mvcc_events_total: { kind: "counter", help: "Total number of events sent by this member." },
  etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds: {
    kind: "histogram",
    help: "Bucketed histogram of index compaction pause duration.",
    buckets: doubling(0.5, 14),
  },
  etcd_debugging_mvcc_keys_total: { kind: "gauge", help: "Total number of keys." },
  etcd_debugging_mvcc_pending_events_total: { kind: "gauge", help: "Total number of pending events to be sent." },
  etcd_debugging_mvcc_slow_watcher_total: { kind: "gauge", help: "Total number of unsynced slow watchers." },
  etcd_debugging_mvcc_total_put_size_in_bytes: {
    kind: "gauge",
    help: "The total size of put kv pairs seen by this member.",
  },
  etcd_debugging_mvcc_watch_stream_total: { kind: "gauge", help: "Total number of watch streams." },
  etcd_debugging_mvcc_watcher_total: { kind: "gauge", help: "Total number of watchers." },
  etcd_debugging_server_alarms: {
    kind: "gauge",
    help: "Alarms for every member in cluster. 1 for 'server_id' label with current ID. 2 for 'alarm_type' label with type of this alarm",
    labels: ["server_id", "alarm_type"],
  },
  etcd_debugging_server_lease_expired_total: { kind: "counter", help: "The total number of expired leases." },
  etcd_debugging_server_watch_send_loop_control_stream_duration_seconds: {
    kind: "histogram",
    help: "The total duration in seconds of running through the send loop control stream response.",
    buckets: B14,
  },
  etcd_debugging_server_watch_send_loop_progress_duration_seconds: {
    kind: "histogram",
    help: "The total duration in seconds of running through the progress loop control stream response.",
    buckets: B14,
  },
  etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds: {
    kind: "histogram",
    help: "The average duration in seconds of running through the send loop watch stream response, per event.",
    buckets: B14,
  },
  etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds: {
    kind: "histogram",
    help: "The total duration in seconds of running through the send loop watch stream response all events.",
    buckets: B14,
  },
  etcd_debugging_snap_save_marshalling_duration_seconds: {
    kind: "histogram",
    help: "The marshalling cost distributions of save called by snapshot.",
    buckets: B14,
  },
  etcd_debugging_snap_save_total_duration_seconds: {
    kind: "histogram",
    help: "The total latency distributions of save called by snapshot.",
    buckets: B14,
  },
  etcd_debugging_store_expires_total: { kind: "counter", help: "Total number of expired keys." },
  etcd_debugging_store_reads_failed_total: {
    kind: "counter",
    help: "Failed read actions by (get/getRecursive), local to this member.",
    labels: ["action"],
  },
  etcd_debugging_store_reads_total: {
    kind: "counter",
    help: "Total number of reads action by (get/getRecursive), local to this member.",
    labels: ["action"],
  },
  etcd_debugging_store_watch_requests_total: {
    kind: "counter",
    help: "Total number of incoming watch requests (new or reestablished).",
  },
  etcd_debugging_store_watchers: { kind: "gauge", help: "Count of currently active watchers." },
  etcd_debugging_store_writes_failed_total: {
    kind: "counter",
    help: "Failed write actions (e.g. set/compareAndDelete), seen by this member.",
    labels: ["action"],
  },
  etcd_debugging_store_writes_total: {
    kind: "counter",
    help: "Total number of writes (e.g. set/compareAndDelete) seen by this member.",
    labels: ["action"],
  },
  etcd_disk_backend_commit_duration_seconds: {
    kind: "histogram",
    help: "The latency distributions of commit called by backend.",
    buckets: B14,
  },
  etcd_disk_backend_defrag_duration_seconds: {
    kind: "histogram",
    help: "The latency distribution of backend defragmentation.",
    buckets: doubling(0.1, 13),
  },
  etcd_disk_backend_snapshot_duration_seconds: {
    kind: "histogram",
    help: "The latency distribution of backend snapshots.",
    buckets: doubling(0.01, 17),
  },
  etcd_disk_defrag_inflight: {
    kind: "gauge",
    help: "Whether or not defrag is active on the member. 1 means active, 0 means not.",
  },
  etcd_disk_wal_fsync_duration_seconds: {
    kind: "histogram",
    help: "The latency distributions of fsync called by WAL.",
    buckets: B14,
  },
  etcd_disk_wal_write_bytes_total: { kind: "gauge", help: "Total number of bytes written in WAL." },
  etcd_disk_wal_write_duration_seconds: {
    kind: "histogram",
    help: "The latency distributions of write called by WAL.",
    buckets: B14,
  },
  etcd_grpc_proxy_cache_hits_total: { kind: "gauge", help: "Total number of cache hits" },
  etcd_grpc_proxy_cache_keys_total: { kind: "gauge", help: "Total number of keys/ranges cached" },
  etcd_grpc_proxy_cache_misses_total: { kind: "gauge", help: "Total number of cache misses" },
  etcd_grpc_proxy_events_coalescing_total: { kind: "counter", help: "Total number of events coalescing" },
  etcd_grpc_proxy_watchers_coalescing_total: { kind: "gauge", help: "Total number of current watchers coalescing" },
  etcd_mvcc_db_open_read_transactions: { kind: "gauge", help: "The number of currently open read transactions" },
  etcd_mvcc_db_total_size_in_bytes: {
    kind: "gauge",
    help: "Total size of the underlying database physically allocated in bytes.",
  },
  etcd_mvcc_db_total_size_in_use_in_bytes: {
    kind: "gauge",
    help: "Total size of the underlying database logically in use in bytes.",
  },
  etcd_mvcc_delete_total: { kind: "counter", help: "Total number of deletes seen by this member." },
  etcd_mvcc_hash_duration_seconds: {
    kind: "histogram",
    help: "The latency distribution of storage hash operation.",
    buckets: doubling(0.01, 15),
  },
  etcd_mvcc_hash_rev_duration_seconds: {
    kind: "histogram",
    help: "The latency distribution of storage hash by revision operation.",
    buckets: doubling(0.01, 15),
  },
  etcd_mvcc_put_total: { kind: "counter", help: "Total number of puts seen by this member." },
  etcd_mvcc_range_total: { kind: "counter", help: "Total number of ranges seen by this member." },
  etcd_mvcc_txn_total: { kind: "counter", help: "Total number of txns seen by this member." },
  etcd_network_active_peers: {
    kind: "gauge",
    help: "The current number of active peer connections.",
    labels: ["Local", "Remote"],
  },
  etcd_network_client_grpc_received_bytes_total: {
    kind: "counter",
    help: "The total number of bytes received from grpc clients.",
  },
  etcd_network_client_grpc_sent_bytes_total: {
    kind: "counter",
    help: "The total number of bytes sent to grpc clients.",
  },
  etcd_network_disconnected_peers_total: {
    kind: "counter",
    help: "The total number of disconnected peers.",
    labels: ["Local", "Remote"],
  },
  etcd_network_known_peers: { kind: "gauge", help: "The current number of known peers.", labels: ["Local", "Remote"] },
  etcd_network_peer_received_bytes_total: {
    kind: "counter",
    help: "The total number of bytes received from peers.",
    labels: ["From"],
  },
  etcd_network_peer_received_failures_total: {
    kind: "counter",
    help: "The total number of receive failures from peers.",
    labels: ["From"],
  },
  etcd_network_peer_round_trip_time_seconds: {
    kind: "histogram",
    help: "Round-Trip-Time histogram between peers",
    labels: ["To"],
    buckets: P16,
  },
  etcd_network_peer_sent_bytes_total: {
    kind: "counter",
    help: "The total number of bytes sent to peers.",
    labels: ["To"],
  },
  etcd_network_peer_sent_failures_total: {
    kind: "counter",
    help: "The total number of send failures from peers.",
    labels: ["To"],
  },
  etcd_network_server_stream_failures_total: {
    kind: "counter",
    help: "The total number of stream failures from the local server.",
    labels: ["Type", "API"],
  },
  etcd_network_snapshot_receive_failures: {
    kind: "counter",
    help: "Total number of snapshot receive failures",
    labels: ["From"],
  },
  etcd_network_snapshot_receive_inflights_total: {
    kind: "gauge",
    help: "Total number of inflight snapshot receives",
    labels: ["From"],
  },
  etcd_network_snapshot_receive_success: {
    kind: "counter",
    help: "Total number of successful snapshot receives",
    labels: ["From"],
  },
  etcd_network_snapshot_receive_total_duration_seconds: {
    kind: "histogram",
    help: "Total latency distributions of v3 snapshot receives",
    labels: ["From"],
    buckets: doubling(0.1, 10),
  },
  etcd_network_snapshot_send_failures: {
    kind: "counter",
    help: "Total number of snapshot send failures",
    labels: ["To"],
  },
  etcd_network_snapshot_send_inflights_total: {
    kind: "gauge",
    help: "Total number of inflight snapshot sends",
    labels: ["To"],
  },
  etcd_network_snapshot_send_success: {
    kind: "counter",
    help: "Total number of successful snapshot sends",
    labels: ["To"],
  },
  etcd_network_snapshot_send_total_duration_seconds: {
    kind: "histogram",
    help: "Total latency distributions of v3 snapshot sends",
    labels: ["To"],
    buckets: doubling(0.1, 10),
  },
  etcd_server_apply_duration_seconds: {
    kind: "histogram",
    help: "The latency distributions of v2 apply called by backend.",
    labels: ["version", "op", "success"],
    buckets: A20,
  },
  etcd_server_client_requests_total: {
    kind: "counter",
    help: "The total number of client requests per client version.",
    labels: ["type", "client_api_version"],
  },
  etcd_server_feature_enabled: {
    kind: "gauge",
    help: "Whether or not a feature is enabled. 1 is enabled, 0 is not.",
    labels: ["name", "stage"],
  },
  etcd_server_go_version: {
    kind: "gauge",
    help: "Which Go version server is running with. 1 for 'server_go_version' label with current version.",
    labels: ["server_go_version"],
  },
  etcd_server_has_leader: { kind: "gauge", help: "Whether or not a leader exists. 1 is existence, 0 is not." },
  etcd_server_health_failures: { kind: "counter", help: "The total number of failed health checks" },
  etcd_server_health_success: { kind: "counter", help: "The total number of successful health checks" },
  etcd_server_healthcheck: { kind: "gauge", help: "The result of each kind of healthcheck.", labels: ["type", "name"] },
  etcd_server_healthchecks_total: {
    kind: "counter",
    help: "The total number of each kind of healthcheck.",
    labels: ["type", "name", "status"],
  },
  etcd_server_heartbeat_send_failures_total: {
    kind: "counter",
    help: "The total number of leader heartbeat send failures (likely overloaded from slow disk).",
  },
  etcd_server_id: {
    kind: "gauge",
    help: "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.",
    labels: ["server_id"],
  },
  etcd_server_is_leader: { kind: "gauge", help: "Whether or not this member is a leader. 1 if is, 0 otherwise." },
  etcd_server_is_learner: { kind: "gauge", help: "Whether or not this member is a learner. 1 if is, 0 otherwise." },
  etcd_server_leader_changes_seen_total: { kind: "counter", help: "The number of leader changes seen." },
  etcd_server_learner_promote_failures: {
    kind: "counter",
    help: "The total number of failed learner promotions (likely learner not ready) while this member is leader.",
    labels: ["Reason"],
  },
  etcd_server_learner_promote_successes: {
    kind: "counter",
    help: "The total number of successful learner promotions while this member is leader.",
  },
  etcd_server_proposals_applied_total: { kind: "gauge", help: "The total number of consensus proposals applied." },
  etcd_server_proposals_committed_total: { kind: "gauge", help: "The total number of consensus proposals committed." },
  etcd_server_proposals_failed_total: { kind: "counter", help: "The total number of failed proposals seen." },
  etcd_server_proposals_pending: { kind: "gauge", help: "The current number of pending proposals to commit." },
  etcd_server_quota_backend_bytes: { kind: "gauge", help: "Current backend storage quota size in bytes." },
  etcd_server_range_duration_seconds: {
    kind: "histogram",
    help: "The latency distributions of txn.Range",
    labels: ["success"],
    buckets: A20,
  },
  etcd_server_read_indexes_failed_total: { kind: "counter", help: "The total number of failed read indexes seen." },
  etcd_server_request_duration_seconds: {
    kind: "histogram",
    help: "Response latency distribution in seconds for each type.",
    labels: ["type", "success"],
    buckets: B14,
  },
  etcd_server_slow_apply_total: {
    kind: "counter",
    help: "The total number of slow apply requests (likely overloaded from slow disk).",
  },
  etcd_server_slow_read_indexes_total: {
    kind: "counter",
    help: "The total number of pending read indexes not in sync with leader's or timed out read index requests.",
  },
  etcd_server_snapshot_apply_in_progress_total: {
    kind: "gauge",
    help: "1 if the server is applying the incoming snapshot. 0 if none.",
  },
  etcd_server_version: {
    kind: "gauge",
    help: "Which version is running. 1 for 'server_version' label with current version.",
    labels: ["server_version"],
  },
  etcd_snap_db_fsync_duration_seconds: {
    kind: "histogram",
    help: "The latency distributions of fsyncing .snap.db file",
    buckets: B14,
  },
  etcd_snap_db_save_total_duration_seconds: {
    kind: "histogram",
    help: "The total latency distributions of v3 snapshot save",
    buckets: doubling(0.1, 10),
  },
  etcd_snap_fsync_duration_seconds: {
    kind: "histogram",
    help: "The latency distributions of fsync called by snap.",
    buckets: B14,
  },
  grpc_server_handled_total: {
    kind: "counter",
    help: "Total number of RPCs completed on the server, regardless of success or failure.",
    labels: ["grpc_type", "grpc_service", "grpc_method", "grpc_code"],
  },
  grpc_server_handling_seconds: {
    kind: "histogram",
    help: "Histogram of response latency (seconds) of gRPC that had been application-level handled by the server.",
    labels: ["grpc_type", "grpc_service", "grpc_method"],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  },
  grpc_server_msg_received_total: {
    kind: "counter",
    help: "Total number of RPC stream messages received on the server.",
    labels: ["grpc_type", "grpc_service", "grpc_method"],
  },
  grpc_server_msg_sent_total: {
    kind: "counter",
    help: "Total number of gRPC stream messages sent by the server.",
    labels: ["grpc_type", "grpc_service", "grpc_method"],
  },
  grpc_server_started_total: {
    kind: "counter",
    help: "Total number of RPCs started on the server.",
    labels: ["grpc_type", "grpc_service", "grpc_method"],
  },
  os_fd_limit: { kind: "gauge", help: "The file descriptor limit." },
  os_fd_used: { kind: "gauge", help: "The number of used file descriptors." },
  process_cpu_seconds_total: { kind: "counter", help: "Total user and system CPU time spent in seconds." },
  process_max_fds: { kind: "gauge", help: "Maximum number of open file descriptors." },
  process_network_receive_bytes_total: {
    kind: "counter",
    help: "Number of bytes received by the process over the network.",
  },
  process_network_transmit_bytes_total: {
    kind: "counter",
    help: "Number of bytes sent by the process over the network.",
  },
  process_open_fds: { kind: "gauge", help: "Number of open file descriptors." },
  process_resident_memory_bytes: { kind: "gauge", help: "Resident memory size in bytes." },
  process_start_time_seconds: { kind: "gauge", help: "Start time of the process since unix epoch in seconds." },
  process_virtual_memory_bytes: { kind: "gauge", help: "Virtual memory size in bytes." },
  process_virtual_memory_max_bytes: { kind: "gauge", help: "Maximum amount of virtual memory available in bytes." },
  promhttp_metric_handler_requests_in_flight: { kind: "gauge", help: "Current number of scrapes being served." },
  promhttp_metric_handler_requests_total: {
    kind: "counter",
    help: "Total number of scrapes by HTTP status code.",
    labels: ["code"],
  },
} as const satisfies Readonly<Record<string, MetricDefinition>>;

export type MetricName = keyof typeof definitions;

/** The names of one kind. */
export type NameOf<Kind extends MetricKind> = {
  [Name in MetricName]: (typeof definitions)[Name]["kind"] extends Kind ? Name : never;
}[MetricName];
