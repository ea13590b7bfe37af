/**
 * The state of one member's Raft, and the transitions between its roles (paper figure 4).
 * What each role does with a message is in follower.ts, candidate.ts and leader.ts; this file only keeps the
 * state whole. Nothing here waits, reads a clock or does I/O.
 *
 * Invariants: the term never goes back; the vote is cast once a term; a leader's log only grows.
 */
import { assert, silentLogger, type EntryBatch, type Logger, type Prng } from "../base/index.js";
import { restoreConfState } from "./conf-change.js";
import { RaftStateError, type RawNodeConfig } from "./config.js";
import { RaftLog } from "./log.js";
import { messageFrom, MessageType, type Message, type MessageFields } from "./message.js";
import { ReadOnly } from "./read-only.js";
import { Tracker } from "./tracker.js";
import { none, Role, type HardState, type ReadState, type SoftState } from "./types.js";

/** What became of a message or proposal. Everything but "ok" and "commitBeyondLog" left the state as it was. */
export type StepResult =
  | "ok"
  /** A proposal and no leader to take it. */
  | "noLeader"
  /** A proposal at a leader that is no longer in the configuration. */
  | "notMember"
  /** A proposal while leadership is being handed over. */
  | "leaderTransfer"
  /** A proposal beyond the limit on uncommitted data. */
  | "uncommittedLimit"
  /** A proposal at a follower that does not pass proposals on. */
  | "forwardingDisabled"
  /** A type that must not come from the network. */
  | "localMessage"
  /** An answer from a member that is not in the configuration. */
  | "unknownPeer"
  /** Fields that contradict each other or the type. */
  | "invalidMessage"
  /** The leader believes that this member holds entries which it does not: its disk has lost some. It must stop. */
  | "commitBeyondLog";

export class Raft {
  readonly id: bigint;
  readonly config: RawNodeConfig;
  readonly logger: Logger;
  readonly log: RaftLog;
  readonly tracker: Tracker;
  readonly readOnly = new ReadOnly();
  readonly #prng: Prng;

  #term = 0;
  #vote = none;
  #role: Role = Role.Follower;
  lead = none;

  /** May be sent at once, before anything is durable. Never to this member. */
  messages: Message[] = [];
  /** May be sent when all that is unstable now is durable (paper §5.1; thesis §3.8, §10.2.1). */
  messagesAfterAppend: Message[] = [];
  readStates: ReadState[] = [];
  /** ReadIndex requests that wait for this leader's first commit (thesis §6.4, step 1). */
  earlyReads: Message[] = [];

  /** To whom leadership is being handed (thesis §3.10). */
  leadTransferee = none;
  /** No configuration change above this index is in the log, so none may be proposed until it is applied. */
  pendingConfIndex = 0;
  /** The configuration in force holds all changes up to this entry. */
  confIndex = 0;
  /** About how many bytes of data of this leader's log are not applied yet. */
  uncommittedSize = 0;

  electionElapsed = 0;
  heartbeatElapsed = 0;
  randomizedElectionTimeout = 0;

  constructor(config: RawNodeConfig) {
    const { initialState } = config;
    this.id = config.id;
    this.config = config;
    this.logger = config.logger ?? silentLogger;
    this.#prng = config.prng;
    this.log = new RaftLog({
      prevIndex: initialState.prevIndex,
      prevTerm: initialState.prevTerm,
      applyingSizeMax: Math.max(1, config.maxApplyingSize ?? config.maxSizePerMessage),
    });
    this.tracker = new Tracker({
      inflightMessagesMax: config.maxInflightMessages,
      inflightBytesMax: config.maxInflightBytes ?? Number.POSITIVE_INFINITY,
    });
    this.#loadLog();
    const confState = restoreConfState(initialState.confState);
    this.tracker.switchTo({ confState, fresh: new Set() }, this.log.lastIndex);
    this.#loadHardState();
    this.becomeFollower(this.#term, none);
  }

  #loadLog(): void {
    const { entries, prevIndex, prevTerm } = this.config.initialState;
    let index = prevIndex;
    let term = prevTerm;
    for (const batch of entries) {
      if (batch.firstIndex !== index + 1) throw new RaftStateError(`log gap after entry ${index}`);
      if (batch.term < term) throw new RaftStateError(`term goes back at entry ${batch.firstIndex}`);
      index = batch.lastIndex;
      term = batch.term;
    }
    this.log.load(entries);
  }

  #loadHardState(): void {
    const { hardState, applied } = this.config.initialState;
    const { log } = this;
    if (applied < log.prevIndex) {
      throw new RaftStateError(`applied to ${applied}, but the log starts after ${log.prevIndex}`);
    }
    // What is applied was committed, even if the commit index on disk is older: it is written lazily.
    const commit = Math.max(hardState?.commit ?? 0, applied, log.prevIndex);
    if (commit > log.lastIndex) {
      throw new RaftStateError(`committed to ${commit}, but the log ends at ${log.lastIndex}`);
    }
    this.#term = hardState?.term ?? 0;
    this.#vote = hardState?.vote ?? none;
    log.commitTo(commit);
    if (applied > log.applied) log.appliedTo(applied, 0);
    this.confIndex = log.applied;
  }

  get term(): number {
    return this.#term;
  }

  get vote(): bigint {
    return this.#vote;
  }

  get role(): Role {
    return this.#role;
  }

  get softState(): SoftState {
    return { lead: this.lead, role: this.#role };
  }

  get hardState(): HardState {
    return { term: this.#term, vote: this.#vote, commit: this.log.committed };
  }

  /** Whether this member may become leader: a voter that holds its state. */
  get promotable(): boolean {
    const own = this.tracker.progressOf(this.id);
    return own !== undefined && !own.isLearner && !this.log.hasPendingSnapshot;
  }

  /** Whether an entry of this term is committed, so that the commit index is the cluster's (§5.4.2, thesis §6.4). */
  get committedInTerm(): boolean {
    return this.log.termOrZero(this.log.committed) === this.#term;
  }

  becomeFollower(term: number, lead: bigint): void {
    this.#reset(term);
    this.lead = lead;
    this.#role = Role.Follower;
    this.#logRole("became follower");
  }

  /** Asks who would vote, without a new term (thesis §9.6). */
  becomePreCandidate(): void {
    assert(this.#role !== Role.Leader, "leader cannot become pre-candidate");
    this.tracker.resetVotes();
    this.lead = none;
    this.#role = Role.PreCandidate;
    this.#logRole("became pre-candidate");
  }

  /** Starts a term and votes for itself (paper §5.2). */
  becomeCandidate(): void {
    assert(this.#role !== Role.Leader, "leader cannot become candidate");
    this.#reset(this.#term + 1);
    this.#vote = this.id;
    this.#role = Role.Candidate;
    this.#logRole("became candidate");
  }

  /** The caller appends the empty entry of the new term (thesis §6.4). */
  becomeLeader(): void {
    assert(this.#role === Role.Candidate, "only a candidate becomes leader (§5.2)");
    assert(this.#vote === this.id, "a leader has its own vote");
    this.#reset(this.#term);
    this.lead = this.id;
    this.#role = Role.Leader;
    const own = this.tracker.progressOf(this.id);
    assert(own !== undefined, "a leader is a member");
    own.becomeReplicate();
    own.recentActive = true;
    // There may be a configuration change in the part of the log that is not applied. Looking for it could take
    // long, and to wait for the whole part does no harm.
    this.pendingConfIndex = this.log.lastIndex;
    this.#logRole("became leader");
  }

  #logRole(what: string): void {
    this.logger.info(what, { member: this.id.toString(16), term: this.#term });
  }

  /** Forgets what belongs to a term or role. */
  #reset(term: number): void {
    assert(term >= this.#term, "the term never goes back (§5.1)");
    if (term !== this.#term) {
      this.#term = term;
      this.#vote = none;
    }
    this.lead = none;
    this.electionElapsed = 0;
    this.heartbeatElapsed = 0;
    this.drawElectionTimeout();
    this.leadTransferee = none;
    this.tracker.resetVotes();
    for (const member of this.tracker.members) {
      member.reset(this.log.lastIndex + 1);
      if (member.id === this.id) member.match = this.log.lastIndex;
    }
    this.pendingConfIndex = 0;
    this.uncommittedSize = 0;
    this.readOnly.reset();
    this.earlyReads = [];
  }

  /** In [electionTicks, 2 * electionTicks - 1], so that votes are seldom split (paper §5.2). */
  drawElectionTimeout(): void {
    this.randomizedElectionTimeout = this.config.electionTicks + this.#prng.below(this.config.electionTicks);
  }

  get pastElectionTimeout(): boolean {
    return this.electionElapsed >= this.randomizedElectionTimeout;
  }

  castVote(candidate: bigint): void {
    assert(this.#vote === none || this.#vote === candidate, "one vote a term (§5.2)");
    this.#vote = candidate;
  }

  /** A message of this term that may go out at once. */
  send(fields: MessageFields): void {
    assert(fields.to !== this.id, "message to this member itself");
    this.messages.push(messageFrom(this.id, this.#term, fields));
  }

  /**
   * A vote or acknowledgement: it promises what must not be forgotten, so it waits for the disk (paper §5.1;
   * thesis §3.8). Rejections wait, too, since they may rest on what is not durable yet. May go to this member.
   */
  sendAfterAppend(fields: MessageFields): void {
    this.messagesAfterAppend.push(messageFrom(this.id, this.#term, fields));
  }

  /** Entries of this leader's own; it acknowledges them to itself when they are durable (thesis §10.2.1). */
  appendOwn(batches: readonly EntryBatch[]): void {
    assert(this.#role === Role.Leader, "only a leader appends on its own");
    const stamped: EntryBatch[] = [];
    let next = this.log.lastIndex + 1;
    for (const batch of batches) {
      stamped.push(batch.at(this.#term, next));
      next += batch.count;
    }
    this.log.append(stamped, this.log.lastIndex + 1);
    this.sendAfterAppend({ type: MessageType.AppResp, to: this.id, index: this.log.lastIndex });
  }

  /** Moves a leader's commit index as far as a quorum and its own term let it (paper §5.3, §5.4.2). */
  maybeCommit(): boolean {
    assert(this.#role === Role.Leader, "only a leader counts acknowledgements");
    const index = this.tracker.committedIndex();
    if (index <= this.log.committed) return false;
    // Counting copies never commits an entry of an earlier term: such entries are committed with a later one.
    if (!this.log.matches(index, this.#term)) return false;
    this.log.commitTo(index);
    return true;
  }
}
