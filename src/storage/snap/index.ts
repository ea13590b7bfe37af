/**
 * Snapshots of the store in etcd's own form, a bbolt file.
 *
 * Thread: `SnapshotClient` belongs to main; the snapshots themselves are made in a thread of their own.
 * Invariants: a snapshot is the store at one commit, pinned for a bounded time; its memory is bounded by windows that
 * the client takes; nothing else waits for it.
 */
export { SnapshotClient, type SnapshotClientOptions } from "./snapshot-client.js";
