/** What the test of /metrics expects beside equality with etcd's. */

/** What etcd exports and we do not, and why. A name that we do export may not stand here. */
export const absent: Readonly<Record<string, string>> = {
  etcd_debugging_auth_revision: "there is no auth yet",
  etcd_debugging_disk_backend_commit_rebalance_duration_seconds: "a step of bbolt's that LMDB does within others",
  etcd_debugging_snap_save_marshalling_duration_seconds: "no .snap file is written",
  etcd_debugging_snap_save_total_duration_seconds: "no .snap file is written",
  etcd_server_go_version: "there is no Go",
  etcd_snap_fsync_duration_seconds: "no .snap file is written",
};

/** Series that etcd moves in this test and we do not, or not always, and why. */
export const unmoved: Readonly<Record<string, string>> = {
  etcd_mvcc_db_open_read_transactions: "bbolt's holds one at all times; LMDB's are open while something is read",
};

/** Counters and gauges that the same requests bring to the same number. */
export const equalPrefixes = [
  "etcd_mvcc_put_total",
  "etcd_mvcc_delete_total",
  "etcd_mvcc_txn_total",
  "etcd_mvcc_range_total",
  "etcd_debugging_mvcc_keys_total",
  "etcd_debugging_mvcc_current_revision",
  "etcd_server_has_leader",
  "etcd_server_is_leader",
  "etcd_server_version",
  "etcd_server_quota_backend_bytes",
  'grpc_server_handled_total{grpc_code="OK",grpc_method="Put"',
  'grpc_server_handled_total{grpc_code="InvalidArgument",grpc_method="Put"',
  'grpc_server_handled_total{grpc_code="OK",grpc_method="Range"',
  'grpc_server_handled_total{grpc_code="OK",grpc_method="DeleteRange"',
  'grpc_server_handled_total{grpc_code="OK",grpc_method="Txn"',
  'grpc_server_handled_total{grpc_code="InvalidArgument",grpc_method="Txn"',
  'grpc_server_handled_total{grpc_code="InvalidArgument",grpc_method="Range"',
  'grpc_server_handled_total{grpc_code="OK",grpc_method="Snapshot"',
  'grpc_server_handled_total{grpc_code="OK",grpc_method="LeaseKeepAlive"',
  'grpc_server_msg_received_total{grpc_method="Put"',
  'grpc_server_msg_received_total{grpc_method="LeaseKeepAlive"',
  'grpc_server_msg_sent_total{grpc_method="LeaseKeepAlive"',
  'grpc_server_handling_seconds_count{grpc_method="Put"',
  'grpc_server_handling_seconds_count{grpc_method="Txn"',
  'grpc_server_handling_seconds_count{grpc_method="LeaseKeepAlive"',
  'etcd_server_client_requests_total{client_api_version="3.9"',
  "etcd_disk_backend_snapshot_duration_seconds_count",
  "etcd_server_feature_enabled",
  "etcd_server_healthcheck",
  "etcd_server_health_success",
  "etcd_server_request_duration_seconds_count",
  "etcd_server_apply_duration_seconds_count",
  "etcd_debugging_server_watch_send_loop_control_stream_duration_seconds_count",
  "etcd_debugging_mvcc_events_total",
  "etcd_debugging_mvcc_watcher_total",
  "etcd_debugging_mvcc_compact_revision",
  "etcd_debugging_mvcc_db_compaction_keys_total",
  "etcd_debugging_lease_granted_total",
  "etcd_debugging_lease_revoked_total",
  "etcd_debugging_lease_ttl_total_sum",
  "etcd_debugging_server_alarms",
] as const;
