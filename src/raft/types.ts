/**
 * The values that pass between Raft and its host: persistent and soft state, snapshots, configurations.
 * All are plain, immutable data. Field names are those of raftpb.
 */

/** "No member": no leader known, no vote cast. */
export const none = 0n;

/** What a member is at present. Numbers as in etcd's metrics and logs. */
export const Role = { Follower: 0, Candidate: 1, Leader: 2, PreCandidate: 3 } as const;
export type Role = (typeof Role)[keyof typeof Role];

/** etcd's names of the roles, by number. */
export const roleNames = ["StateFollower", "StateCandidate", "StateLeader", "StatePreCandidate"] as const;

/** What must be on disk before any message that depends on it is sent (paper, figure 2: persistent state). */
export interface HardState {
  readonly term: number;
  readonly vote: bigint;
  /** Need not be durable: it is found again from the log and the leader. */
  readonly commit: number;
}

/** What is only known in memory and need not survive a restart. */
export interface SoftState {
  readonly lead: bigint;
  readonly role: Role;
}

/**
 * The members and their parts. Joint while `votersOutgoing` is not empty (thesis §4.3).
 * Invariants: every list is sorted and without duplicates; no learner is a voter of either half;
 * `learnersNext` is a part of `votersOutgoing`; a configuration that is not joint has neither
 * `learnersNext` nor `autoLeave`.
 */
export interface ConfState {
  readonly voters: readonly bigint[];
  readonly learners: readonly bigint[];
  readonly votersOutgoing: readonly bigint[];
  readonly learnersNext: readonly bigint[];
  readonly autoLeave: boolean;
}

/** A state machine's image that replaces the log up to `index`. `data` is the host's business. */
export interface Snapshot {
  readonly index: number;
  readonly term: number;
  readonly confState: ConfState;
  readonly data: Uint8Array;
}

/** The answer to a ReadIndex: whoever has applied `index` may serve the read (thesis §6.4). */
export interface ReadState {
  readonly index: number;
  /** The context that was given with the request. */
  readonly context: Uint8Array;
}

/** Terms and indexes above this are refused on arrival, so that adding to them stays exact. */
export const positionMax = 2 ** 52;

/** Orders IDs as unsigned numbers. */
export function compareIds(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
