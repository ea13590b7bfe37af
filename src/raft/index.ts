/**
 * Raft as a pure state machine: messages, proposals and ticks in, work out (`RawNode`). Paper: Ongaro and
 * Ousterhout, "In Search of an Understandable Consensus Algorithm" (extended); thesis: Ongaro, "Consensus:
 * Bridging Theory and Practice". Wire-compatible with go.etcd.io/raft 3.7.
 *
 * Thread: main. Purpose: agree on one log of EntryBatches, whatever the network, disks and members do.
 * Invariants (asserted where they are kept): one leader a term; logs that agree on an entry agree on all before it;
 * committed entries never change; nothing is promised to others before it is durable here.
 * No I/O, clock, promise or randomness of its own: time is `tick()`, chance a passed `Prng`.
 */
export {
  ConfChangeError,
  ConfChangeTransition,
  ConfChangeType,
  emptyConfState,
  enterJoint,
  leaveJoint,
  simple,
  type ChangedConf,
  type ConfChangeSingle,
  type ConfChangeV2,
} from "./conf-change.js";
export { RaftConfigError, RaftStateError, type InitialState, type RawNodeConfig } from "./config.js";
export { entryCount } from "./entry-size.js";
export { localAppendThread, localApplyThread, message, MessageType, type Message } from "./message.js";
export { Progress, ProgressState, progressStateNames } from "./progress.js";
export { jointIndex, jointVote, majorityIndex, majorityVote, VoteResult, type Ballot } from "./quorum.js";
export { type StepResult } from "./raft.js";
export { RawNode, type Ready, type Status } from "./raw-node.js";
export { Tracker } from "./tracker.js";
export {
  none,
  Role,
  roleNames,
  type ConfState,
  type HardState,
  type ReadState,
  type Snapshot,
  type SoftState,
} from "./types.js";
