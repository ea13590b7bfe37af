/**
 * Snapshots of the store in etcd's own form, a bbolt file, and the store built anew beside the one in use.
 *
 * Thread: `SnapshotClient` belongs to main; the snapshots themselves are made in a thread of their own. A rebuild is
 * asked for by apply and done in a thread of its own.
 * Invariants: a snapshot is the store at one commit, pinned for a bounded time; its memory is bounded by windows that
 * the client takes; nothing else waits for it. The store in use is whole until another takes its place by one rename.
 */
export { checkOnThread, startRebuildThread } from "./rebuild-client.js";
export { SnapshotFileError, snapshotIndexOf, snapshotPath, type SnapshotPosition } from "./snapshot-file.js";
export { OutgoingSnapshot } from "./outgoing-snapshot.js";
export { type SnapshotState } from "./messages.js";
export { SnapshotClient, type SnapshotClientOptions } from "./snapshot-client.js";
