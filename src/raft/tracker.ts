/**
 * The active configuration, what is known of each of its members, and the votes of the present election.
 * Invariant: there is exactly one Progress for every voter of either half and every learner.
 */
import { assert } from "../base/index.js";
import { confStateFault, emptyConfState, isJoint, type ChangedConf } from "./conf-change.js";
import { Progress } from "./progress.js";
import { jointIndex, jointVote, majorityIndex, type Ballot, type VoteResult } from "./quorum.js";
import { compareIds, type ConfState } from "./types.js";

export interface TrackerLimits {
  readonly inflightMessagesMax: number;
  readonly inflightBytesMax: number;
}

export class Tracker {
  readonly #limits: TrackerLimits;
  #confState: ConfState = emptyConfState;
  #progress = new Map<bigint, Progress>();
  /** All of `#progress`, by ascending ID. */
  #ordered: readonly Progress[] = [];
  #incoming: readonly Progress[] = [];
  #outgoing: readonly Progress[] = [];
  #votes = new Map<bigint, boolean>();
  // Reused by every count, so that counting allocates nothing.
  readonly #incomingIndexes: number[] = [];
  readonly #outgoingIndexes: number[] = [];

  constructor(limits: TrackerLimits) {
    this.#limits = limits;
  }

  get confState(): ConfState {
    return this.#confState;
  }

  /** Every member's progress, by ascending ID. */
  get members(): readonly Progress[] {
    return this.#ordered;
  }

  progressOf(id: bigint): Progress | undefined {
    return this.#progress.get(id);
  }

  /** Whether `id` is the only voter. A leader that was removed is not, although one voter may be left. */
  isOnlyVoter(id: bigint): boolean {
    return this.#outgoing.length === 0 && this.#incoming.length === 1 && this.#incoming[0]!.id === id;
  }

  isVoter(id: bigint): boolean {
    return this.#confState.voters.includes(id) || this.#confState.votersOutgoing.includes(id);
  }

  /** The voters of both halves, by ascending ID. */
  voterIds(): bigint[] {
    const { voters, votersOutgoing } = this.#confState;
    return [...new Set([...voters, ...votersOutgoing])].sort(compareIds);
  }

  /** Puts a configuration in force. New members are probed from `lastIndex`. */
  switchTo(changed: ChangedConf, lastIndex: number): void {
    const { confState, fresh } = changed;
    const fault = confStateFault(confState);
    assert(fault === null, `configuration: ${fault ?? ""}`);
    const progress = new Map<bigint, Progress>();
    const { voters, votersOutgoing, learners } = confState;
    for (const id of [...voters, ...votersOutgoing, ...learners].sort(compareIds)) {
      if (progress.has(id)) continue;
      const known = fresh.has(id) ? undefined : this.#progress.get(id);
      const member = known ?? this.#newProgress(id, lastIndex);
      member.isLearner = learners.includes(id);
      progress.set(id, member);
    }
    this.#confState = confState;
    this.#progress = progress;
    this.#ordered = [...progress.values()];
    this.#incoming = voters.map((id) => progress.get(id)!);
    this.#outgoing = votersOutgoing.map((id) => progress.get(id)!);
  }

  #newProgress(id: bigint, lastIndex: number): Progress {
    const member = new Progress({ id, next: Math.max(lastIndex, 1), ...this.#limits });
    // Otherwise a quorum check before it could answer would count it as lost.
    member.recentActive = true;
    return member;
  }

  /** The highest index that a quorum has (paper §5.3, figure 2: leaders). */
  committedIndex(): number {
    const incoming = fillMatches(this.#incomingIndexes, this.#incoming);
    if (!isJoint(this.#confState)) return majorityIndex(incoming);
    return jointIndex(incoming, fillMatches(this.#outgoingIndexes, this.#outgoing));
  }

  /** The highest of the given numbers, one a voter, that a quorum has reached. */
  quorumOf(valueOf: (id: bigint) => number): number {
    return jointIndex(
      this.#incoming.map((member) => valueOf(member.id)),
      this.#outgoing.map((member) => valueOf(member.id)),
    );
  }

  /** Whether a quorum has been heard from since the last check (thesis §6.2). */
  quorumActive(): VoteResult {
    const active = (member: Progress): Ballot => member.recentActive;
    return jointVote(this.#incoming.map(active), this.#outgoing.map(active));
  }

  resetVotes(): void {
    this.#votes.clear();
  }

  /** The first answer counts; a repeated or contradicting one does not (paper §5.2). */
  recordVote(id: bigint, granted: boolean): void {
    if (!this.#votes.has(id)) this.#votes.set(id, granted);
  }

  electionResult(): VoteResult {
    const ballot = (member: Progress): Ballot => this.#votes.get(member.id);
    return jointVote(this.#incoming.map(ballot), this.#outgoing.map(ballot));
  }
}

function fillMatches(indexes: number[], members: readonly Progress[]): number[] {
  indexes.length = members.length;
  for (let i = 0; i < members.length; i++) indexes[i] = members[i]!.match;
  return indexes;
}
