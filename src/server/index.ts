/**
 * One member: the Ready loop, proposals and those who wait for them, linearizable reads, the data folder.
 * Thread: main. Invariants: an answer leaves only after its entry is durable here and committed; what cannot go
 * on ends the process; nothing that was acknowledged is dropped.
 */
export { BootstrapError, encodeLogMetadata, firstEntries, ReplayedLog, type MemberIdentity } from "./bootstrap.js";
export { DataDirError } from "./data-access.js";
export { pairIdBytes } from "./data-dir.js";
export { EtcdServer, type ServerSurroundings } from "./etcd-server.js";
export type { ConfChangeDone, ConfChangeOutcome } from "./conf-changes.js";
export { MemberCore } from "./member-core.js";
export {
  type ErrorSink,
  type MemberApply,
  type MemberState,
  type MemberSurroundings,
  type RaftLimits,
} from "./member-surroundings.js";
export { addServerMetrics } from "./metrics.js";
export { anonymous, type Identity } from "./proposal-builder.js";
export { noPeers, type LeaderAnswer, type LeaseStatus, type MemberVersions, type Peers } from "./peers.js";
export { Defragmentations } from "./defragmentations.js";
export { Replies } from "./replies.js";
