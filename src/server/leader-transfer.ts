/**
 * Leadership changes hands on purpose: a client asks for it, the leader stops, or the leader's disk stands still.
 *
 * A leader whose log cannot be written goes on sending heartbeats, and commits by its followers' disks, but applies
 * nothing and so answers nobody; before its disk hangs for good its followers should have another leader. So once a
 * write has taken longer than two election timeouts, leadership goes to the voter with the most of the log, then to the
 * next; when none takes it, the leader steps down. It stays if no quorum could do without it: then nobody could write.
 * While its disk stands still a member does not stand for election either.
 *
 * Thread: main.
 */
import type { Logger } from "../base/index.js";
import {
  ErrBadLeaderTransferee,
  ErrNotLeader,
  ErrTimeoutLeaderTransfer,
  ErrUnhealthy,
  type EtcdError,
} from "../errors/index.js";
import { memberIdText } from "../membership/index.js";
import type { ClusterView } from "./cluster-view.js";
import { longestConnected } from "./connections.js";
import type { Peers } from "./peers.js";

/** A leader's knowledge of another member. */
export interface Follower {
  readonly id: bigint;
  readonly match: number;
  readonly isLearner: boolean;
  /** It was heard of within the last election timeout. */
  readonly recentActive: boolean;
}

export interface LeaderTransferOptions {
  readonly localId: bigint;
  readonly view: ClusterView;
  readonly peers: Peers;
  readonly electionMs: number;
  /** How long a stopping leader waits for another one. */
  readonly timeoutMs: number;
  readonly nowMs: () => number;
  readonly logger: Logger;
  readonly leader: () => bigint;
  /** Of all members, when this one leads. */
  readonly followers: () => readonly Follower[];
  /** Raft's transfer; it gives up by itself after an election timeout. */
  readonly transfer: (to: bigint) => void;
  readonly stepDown: () => void;
}

/** Somebody who waits for `target` to lead. */
interface Move {
  readonly target: bigint;
  readonly startMs: number;
  readonly deadlineMs: number;
  readonly done: (error: EtcdError | null) => void;
}

export class LeaderTransfer {
  readonly #options: LeaderTransferOptions;
  readonly #moves = new Set<Move>();
  /** Voters that were asked to take over from a leader whose disk stands still, and until when the last one may. */
  readonly #asked = new Set<bigint>();
  #askedUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: LeaderTransferOptions) {
    this.#options = options;
  }

  /** Moves leadership from this member to another; returns what ends the wait. As in etcd, it has no limit of its own. */
  move(target: bigint, done: (error: EtcdError | null) => void): () => void {
    const { leader, localId, view } = this.#options;
    const member = view.members.get(target);
    if (leader() !== localId) done(new ErrNotLeader());
    else if (member === undefined || member.isLearner) done(new ErrBadLeaderTransferee());
    else return this.#begin(target, Number.POSITIVE_INFINITY, done);
    return () => {};
  }

  /** How long `leave` may take. */
  get leaveMsMax(): number {
    const { leader, localId, timeoutMs, view } = this.#options;
    return leader() === localId && view.voters.length > 1 ? timeoutMs : 0;
  }

  /** Before a stop: another voter should lead. `done` when one does, when there is none to, or when time is up. */
  leave(done: (error: EtcdError | null) => void): void {
    const { leader, localId, logger, nowMs, peers, timeoutMs, view } = this.#options;
    const ids = { "local-member-id": memberIdText(localId), "current-leader-member-id": memberIdText(leader()) };
    if (leader() !== localId) {
      logger.info("skipped leadership transfer; local server is not leader", ids);
      return done(null);
    }
    if (view.voters.length < 2) {
      logger.info("skipped leadership transfer for single voting member cluster", ids);
      return done(null);
    }
    const target = longestConnected(
      peers,
      view.voters.filter(({ id }) => id !== localId),
    );
    if (target === null) return done(new ErrUnhealthy());
    this.#begin(target, nowMs() + timeoutMs, done);
  }

  #begin(target: bigint, deadlineMs: number, done: (error: EtcdError | null) => void): () => void {
    const { localId, logger, leader, nowMs, transfer } = this.#options;
    const startMs = nowMs();
    logger.info("leadership transfer starting", {
      "local-member-id": memberIdText(localId),
      "current-leader-member-id": memberIdText(leader()),
      "transferee-member-id": memberIdText(target),
    });
    const move = { target, startMs, deadlineMs, done };
    this.#moves.add(move);
    transfer(target);
    this.leaderChanged();
    return () => void this.#moves.delete(move);
  }

  /** Somebody leads, or nobody does. */
  leaderChanged(): void {
    const lead = this.#options.leader();
    for (const move of this.#moves) if (move.target === lead) this.#finish(move);
  }

  /** `stalledMs`: how long the oldest write of the log has been under way; 0 when there is none. */
  tick(stalledMs: number): void {
    const now = this.#options.nowMs();
    for (const move of this.#moves) {
      if (move.deadlineMs > now) continue;
      this.#moves.delete(move);
      move.done(new ErrTimeoutLeaderTransfer());
    }
    if (this.#options.leader() !== this.#options.localId || !this.isStalled(stalledMs)) this.#asked.clear();
    else if (now >= this.#askedUntilMs || this.#asked.size === 0) this.#handOver(now, stalledMs);
  }

  /** The disk stands still. */
  isStalled(stalledMs: number): boolean {
    return stalledMs > 2 * this.#options.electionMs;
  }

  #finish(move: Move): void {
    const { localId, logger, nowMs } = this.#options;
    this.#moves.delete(move);
    logger.info("leadership transfer finished", {
      "local-member-id": memberIdText(localId),
      "old-leader-member-id": memberIdText(localId),
      "new-leader-member-id": memberIdText(move.target),
      took: `${Math.round(nowMs() - move.startMs)}ms`,
    });
    move.done(null);
  }

  #handOver(now: number, stalledMs: number): void {
    const { electionMs, followers, localId, logger, stepDown, transfer } = this.#options;
    const voters = followers().filter(({ isLearner }) => !isLearner);
    const active = voters.filter(({ id, recentActive }) => id !== localId && recentActive);
    if (active.length < Math.floor(voters.length / 2) + 1) return;
    const facts = { "local-member-id": memberIdText(localId), stalled: `${Math.round(stalledMs)}ms` };
    const heir = active
      .filter(({ id }) => !this.#asked.has(id))
      .reduce<Follower | null>((best, each) => (best === null || each.match > best.match ? each : best), null);
    if (heir === null) {
      logger.warn("the log's disk stands still, and nobody has taken the leadership: stepping down", facts);
      this.#asked.clear();
      stepDown();
      return;
    }
    logger.warn("the log's disk stands still: handing leadership over", { ...facts, to: memberIdText(heir.id) });
    this.#asked.add(heir.id);
    this.#askedUntilMs = now + electionMs;
    transfer(heir.id);
  }
}
