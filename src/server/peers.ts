/**
 * The other members, as a member's core uses them: connections, and what it asks of them beside Raft's messages.
 * The real ones are reached by HTTP on their peer URLs; a simulation has its own.
 * Thread: main. Each `done` is called at most once, and later, never from within the call.
 */
import type { EtcdError } from "../errors/index.js";
import type { Member } from "../membership/index.js";
import type { ConfChangeOutcome } from "./conf-changes.js";

/** What GET /version tells. */
export interface MemberVersions {
  /** "3.7.1". */
  readonly server: string;
  /** "3.7.0"; "not_decided" before there is one. */
  readonly cluster: string;
}

/** A lease as its leader sees it; null: there is none. */
export interface LeaseStatus {
  /** Seconds. */
  readonly ttl: number;
  readonly grantedTtl: number;
  readonly keys: readonly Uint8Array[];
}

/** What a leader says to a call passed on to it; null: no answer came, or the member does not lead. */
export type LeaderAnswer<T> = { readonly value: T } | { readonly error: EtcdError } | null;

/** What a member's store hashes to up to a revision. */
export interface PeerHash {
  readonly hash: number;
  readonly compactRevision: number;
  /** The member's own revision then. */
  readonly currentRevision: number;
}

/** An error is the member's own; null: no answer came in the time of a request. */
export type HashAnswer = PeerHash | EtcdError | null;

export interface Peers {
  /** Since when there is a connection with `id` without a break, by the member's clock; null: there is none. */
  activeSince(id: bigint): number | null;
  /** Whom there is to connect with from now on; said at the start and after each change. */
  membersChanged(others: readonly Member[]): void;
  /** null: it cannot be reached. */
  version(of: Member, done: (versions: MemberVersions | null) => void): void;
  /** HashKV at a revision. */
  hashKv(of: Member, revision: number, done: (answer: HashAnswer) => void): void;
  /** Renews a lease at the leader; the value is its TTL in seconds, 0 when there is no such lease. */
  renewLease(leader: Member, id: bigint, done: (answer: LeaderAnswer<number>) => void): void;
  leaseTimeToLive(
    leader: Member,
    id: bigint,
    withKeys: boolean,
    done: (answer: LeaderAnswer<LeaseStatus | null>) => void,
  ): void;
  promote(leader: Member, id: bigint, done: (answer: LeaderAnswer<ConfChangeOutcome>) => void): void;
}

/** Nobody can be reached: a member alone. */
export const noPeers: Peers = {
  activeSince: () => null,
  membersChanged: () => {},
  version: (_of, done) => queueMicrotask(() => done(null)),
  hashKv: (_of, _revision, done) => queueMicrotask(() => done(null)),
  renewLease: (_leader, _id, done) => queueMicrotask(() => done(null)),
  leaseTimeToLive: (_leader, _id, _withKeys, done) => queueMicrotask(() => done(null)),
  promote: (_leader, _id, done) => queueMicrotask(() => done(null)),
};
