/** Metrics of snapshots, on main. */
import { registry } from "../../metrics/index.js";

/** From the start of a snapshot for a client to its end, however it ended. */
export const snapshotSeconds = registry.histogram("etcd_disk_backend_snapshot_duration_seconds");
