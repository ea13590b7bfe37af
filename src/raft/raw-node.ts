/**
 * What the host of a Raft member sees: it passes messages, proposals and ticks in, and takes work out by `ready()`.
 *
 * With asynchronous storage writes (the way production runs) a Ready hands out `append` and `apply` messages. The
 * host works them off in order, each kind on its own; when the work of one is done (for `append`: durable), it
 * delivers its responses in order: those to this member through `stepStorageResponse`, others over the network.
 * Meanwhile it goes on calling `ready()`. Without them, the host persists `hardState`, `entries` and `snapshot`,
 * sends `messages`, applies `committed`, and calls `advance()` before the next `ready()`.
 *
 * Thread: one; nothing here is reentrant. Arrays and batches in a Ready are the host's to keep, not to change.
 */
import { assert, EntryBatch, EntryType } from "../base/index.js";
import { checkConfig, type RawNodeConfig } from "./config.js";
import { ConfChangeTransition, ConfChangeType, type ConfChangeV2 } from "./conf-change.js";
import { applyConfChange } from "./membership.js";
import { localAppendThread, localApplyThread, message, MessageType, noMessages, type Message } from "./message.js";
import { Raft, type StepResult } from "./raft.js";
import type { Progress } from "./progress.js";
import { startCampaign, step, tick } from "./step.js";
import { none, Role, type ConfState, type HardState, type ReadState, type Snapshot, type SoftState } from "./types.js";
import { validateMessage } from "./validate.js";

/** What there is to do. Everything is handed out once. */
export interface Ready {
  /** Set when the leader or the role changed. */
  readonly softState: SoftState | null;
  /** Set when it changed. */
  readonly hardState: HardState | null;
  readonly readStates: readonly ReadState[];
  /** To append to this member's log on disk; what is there from the first of them on is replaced. */
  readonly entries: readonly EntryBatch[];
  /** To install in place of state machine and log. */
  readonly snapshot: Snapshot | null;
  /** To apply, in order. */
  readonly committed: readonly EntryBatch[];
  /** For other members. Asynchronous: to send at once. Synchronous: after the rest is durable. */
  readonly messages: readonly Message[];
  /** Asynchronous: the work for the log, `hardState`, `entries` and `snapshot` with its responses. */
  readonly append: Message | null;
  /** Asynchronous: `committed` with its response. */
  readonly apply: Message | null;
  /** Whether a durable write is needed: entries, term or vote; a new commit index alone needs none. */
  readonly mustSync: boolean;
}

/** A member at one moment, for status and tests. */
export interface Status {
  readonly id: bigint;
  readonly hardState: HardState;
  readonly softState: SoftState;
  readonly applied: number;
  readonly leadTransferee: bigint;
  readonly confState: ConfState;
  /** What a leader knows of every member, by ascending ID; empty otherwise. Live: read it before the next call. */
  readonly progress: readonly Progress[];
}

const noReadStates: readonly ReadState[] = Object.freeze([]);
const noBatches: readonly EntryBatch[] = Object.freeze([]);

export class RawNode {
  readonly #raft: Raft;
  readonly #async: boolean;
  #lastSoftState: SoftState;
  #lastHardState: HardState;
  /** Synchronous: what `advance` steps. */
  #onAdvance: readonly Message[] = noMessages;

  /** Throws RaftConfigError for a config that cannot work, RaftStateError for state that cannot be. */
  constructor(config: RawNodeConfig) {
    checkConfig(config);
    this.#raft = new Raft(config);
    this.#async = config.asyncStorageWrites;
    this.#lastSoftState = this.#raft.softState;
    this.#lastHardState = this.#raft.hardState;
  }

  /**
   * First start of a new cluster: the given entries, one configuration change a voter, are its first ones, all of
   * term 1 and committed by decree. The log is empty before. They are applied like any others later.
   */
  bootstrap(entries: EntryBatch, voters: readonly bigint[]): void {
    const raft = this.#raft;
    assert(raft.log.lastIndex === 0, "bootstrap of a log that is not empty");
    assert(entries.term === 1 && entries.firstIndex === 1, "bootstrap entries start the log");
    assert(entries.count === voters.length, "bootstrap needs one entry a voter");
    this.#lastHardState = { term: 0, vote: none, commit: 0 };
    raft.becomeFollower(1, none);
    raft.log.append([entries], 1);
    raft.log.commitTo(entries.lastIndex);
    for (const nodeId of voters) {
      const changes = [{ type: ConfChangeType.AddNode, nodeId }];
      applyConfChange(raft, { transition: ConfChangeTransition.Auto, changes });
    }
  }

  tick(): void {
    tick(this.#raft);
  }

  /** Stands for election now. */
  campaign(): void {
    startCampaign(this.#raft);
  }

  /** Proposes entries that have no place yet (term 0, index 0). A follower passes them on. */
  propose(batch: EntryBatch): StepResult {
    return this.#stepOwn(MessageType.Prop, [batch]);
  }

  /** Proposes an encoded configuration change. A leader replaces it by an empty entry while another one is pending. */
  proposeConfChange(type: EntryType, data: Uint8Array): StepResult {
    assert(type !== EntryType.Normal, "not a configuration change");
    return this.propose(EntryBatch.single({ term: 0, index: 0, type, data }));
  }

  /** Asks for an index from which reads are linearizable; the answer is a ReadState with this context, or none. */
  readIndex(context: Uint8Array): void {
    this.#stepOwn(MessageType.ReadIndex, [
      EntryBatch.single({ term: 0, index: 0, type: EntryType.Normal, data: context }),
    ]);
  }

  #stepOwn(type: MessageType, entries: readonly EntryBatch[]): StepResult {
    return step(this.#raft, message({ type, to: none, from: this.#raft.id, entries }));
  }

  /** Takes a message from another member. */
  step(m: Message): StepResult {
    const result = validateMessage(this.#raft, m);
    if (result === "ok") return step(this.#raft, m);
    if (result === "invalidMessage") {
      this.#raft.logger.warn("refused an invalid message", { type: m.type, from: m.from.toString(16), term: m.term });
    }
    return result;
  }

  /** Takes a response of an `append` or `apply` message that is for this member. */
  stepStorageResponse(m: Message): StepResult {
    const raft = this.#raft;
    assert(m.to === raft.id, "response for another member");
    const fromStorage = m.from === localAppendThread || m.from === localApplyThread;
    assert(fromStorage || m.from === raft.id, "response from another member");
    // This member may have been removed from the configuration since the work was handed out.
    if (!fromStorage && raft.tracker.progressOf(raft.id) === undefined) return "unknownPeer";
    return step(raft, m);
  }

  /** The network lost messages to `id`. */
  reportUnreachable(id: bigint): void {
    step(this.#raft, message({ type: MessageType.Unreachable, to: this.#raft.id, from: id }));
  }

  /** The snapshot for `id` has been handed over, or not. */
  reportSnapshot(id: bigint, delivered: boolean): void {
    step(this.#raft, message({ type: MessageType.SnapStatus, to: this.#raft.id, from: id, reject: !delivered }));
  }

  /** Asks the leader to hand leadership over to `to`. */
  transferLeader(to: bigint): void {
    step(this.#raft, message({ type: MessageType.TransferLeader, to: this.#raft.id, from: to }));
  }

  /** A leader leads no longer, in the same term: its host cannot do a leader's work. Nothing for others. */
  stepDown(): void {
    const raft = this.#raft;
    if (raft.role !== Role.Leader) return;
    raft.logger.info("steps down on its host's word", { term: raft.term });
    raft.becomeFollower(raft.term, none);
  }

  /** A follower no longer counts on its leader, so that it may vote for another at once. */
  forgetLeader(): void {
    step(this.#raft, message({ type: MessageType.ForgetLeader, to: this.#raft.id, from: this.#raft.id }));
  }

  /**
   * Puts the committed change of entry `index` in force; to be called for every one, in order. A host that refuses a
   * change calls it with node IDs 0. Throws ConfChangeError, with nothing changed, when the change does not fit.
   */
  applyConfChange(change: ConfChangeV2, index: number): ConfState {
    const raft = this.#raft;
    assert(index <= raft.log.committed, "only committed changes are applied");
    // A snapshot has arrived while this was being applied; its configuration is newer.
    if (index <= raft.confIndex) return raft.tracker.confState;
    const confState = applyConfChange(raft, change);
    raft.confIndex = index;
    return confState;
  }

  /** Forgets the log up to `index`, which must be applied and durable. */
  compact(index: number): void {
    this.#raft.log.compact(index);
  }

  hasReady(): boolean {
    const raft = this.#raft;
    const { log } = raft;
    return (
      raft.messages.length > 0 ||
      raft.messagesAfterAppend.length > 0 ||
      raft.readStates.length > 0 ||
      log.hasNextUnstable ||
      log.hasNextCommitted(!this.#async) ||
      log.nextUnstableSnapshot !== null ||
      this.#softStateChanged() ||
      this.#hardStateChanged()
    );
  }

  #softStateChanged(): boolean {
    return this.#raft.lead !== this.#lastSoftState.lead || this.#raft.role !== this.#lastSoftState.role;
  }

  #hardStateChanged(): boolean {
    return this.#mustSyncHardState() || this.#raft.log.committed !== this.#lastHardState.commit;
  }

  #mustSyncHardState(): boolean {
    return this.#raft.term !== this.#lastHardState.term || this.#raft.vote !== this.#lastHardState.vote;
  }

  /** All the work there is now. */
  ready(): Ready {
    assert(this.#onAdvance.length === 0, "ready() again without advance()");
    const raft = this.#raft;
    const { log } = raft;
    const entries = log.hasNextUnstable ? log.nextUnstable() : noBatches;
    const committed = log.hasNextCommitted(!this.#async) ? log.nextCommitted(!this.#async) : noBatches;
    const snapshot = log.nextUnstableSnapshot;
    const softState = this.#softStateChanged() ? raft.softState : null;
    const hardState = this.#hardStateChanged() ? raft.hardState : null;
    const readStates = raft.readStates.length > 0 ? raft.readStates : noReadStates;
    const mustSync = entries.length > 0 || this.#mustSyncHardState();
    const stored = this.#storedMessage(snapshot);
    const afterAppend = raft.messagesAfterAppend;
    const apply = committed.length > 0 ? this.#applyMessage(committed) : null;
    let { messages } = raft;
    let append: Message | null = null;
    if (this.#async) {
      const responses = stored === null ? afterAppend : [...afterAppend, stored];
      const needed = entries.length > 0 || hardState !== null || snapshot !== null || afterAppend.length > 0;
      if (needed) append = this.#appendMessage({ entries, hardState, snapshot, responses });
    } else {
      messages = [...messages, ...afterAppend.filter((m) => m.to !== raft.id)];
      this.#onAdvance = [
        ...afterAppend.filter((m) => m.to === raft.id),
        ...(stored === null ? noMessages : [stored]),
        ...(apply === null ? noMessages : apply.responses),
      ];
    }
    this.#accept({ softState, hardState, committed });
    const work = this.#async ? { append, apply } : { append: null, apply: null };
    return { softState, hardState, readStates, entries, snapshot, committed, messages, ...work, mustSync };
  }

  /** Marks what `ready` hands out as handed out. */
  #accept(taken: Pick<Ready, "softState" | "hardState" | "committed">): void {
    const raft = this.#raft;
    if (taken.softState !== null) this.#lastSoftState = taken.softState;
    if (taken.hardState !== null) this.#lastHardState = taken.hardState;
    raft.messages = [];
    raft.messagesAfterAppend = [];
    raft.readStates = [];
    raft.log.acceptUnstable();
    if (taken.committed.length > 0) raft.log.acceptApplying(taken.committed, !this.#async);
  }

  #appendMessage(
    work: Pick<Message, "entries" | "snapshot" | "responses"> & { readonly hardState: HardState | null },
  ): Message {
    const { hardState, entries, snapshot, responses } = work;
    const from = this.#raft.id;
    return message({
      type: MessageType.StorageAppend,
      to: localAppendThread,
      from,
      entries,
      snapshot,
      responses,
      term: hardState?.term ?? 0,
      vote: hardState?.vote ?? none,
      commit: hardState?.commit ?? 0,
    });
  }

  /**
   * What tells that everything unstable now is durable. It names the end of the whole log and the present term, not
   * just what this Ready hands out: if a term change makes an earlier answer count for nothing, this one makes up
   * for it. After yet another change it counts for nothing itself, since a write under way may replace the entries.
   */
  #storedMessage(snapshot: Snapshot | null): Message | null {
    const { log, term, id } = this.#raft;
    if (!log.hasUnstable && snapshot === null) return null;
    return message({
      type: MessageType.StorageAppendResp,
      to: id,
      from: localAppendThread,
      term,
      index: log.hasUnstable ? log.lastIndex : 0,
      logTerm: log.hasUnstable ? log.lastTerm : 0,
      snapshot,
    });
  }

  #applyMessage(entries: readonly EntryBatch[]): Message {
    const from = this.#raft.id;
    const response = message({ type: MessageType.StorageApplyResp, to: from, from: localApplyThread, entries });
    return message({ type: MessageType.StorageApply, to: localApplyThread, from, entries, responses: [response] });
  }

  /** Synchronous: the last Ready's work is durable and applied. */
  advance(): void {
    assert(!this.#async, "advance() with asynchronous storage writes");
    const steps = this.#onAdvance;
    this.#onAdvance = noMessages;
    for (const m of steps) step(this.#raft, m);
  }

  get term(): number {
    return this.#raft.term;
  }

  get role(): Role {
    return this.#raft.role;
  }

  /** The leader, 0 when none is known. */
  get lead(): bigint {
    return this.#raft.lead;
  }

  get softState(): SoftState {
    return this.#raft.softState;
  }

  get hardState(): HardState {
    return this.#raft.hardState;
  }

  get confState(): ConfState {
    return this.#raft.tracker.confState;
  }

  /** The entry, or the snapshot, that the configuration is of. */
  get confIndex(): number {
    return this.#raft.confIndex;
  }

  get commitIndex(): number {
    return this.#raft.log.committed;
  }

  get appliedIndex(): number {
    return this.#raft.log.applied;
  }

  get firstIndex(): number {
    return this.#raft.log.firstIndex;
  }

  get lastIndex(): number {
    return this.#raft.log.lastIndex;
  }

  /** The term of an entry in the log or the last compacted one; 0 for others. */
  termOf(index: number): number {
    return this.#raft.log.termOrZero(index);
  }

  status(): Status {
    const raft = this.#raft;
    return {
      id: raft.id,
      hardState: raft.hardState,
      softState: raft.softState,
      applied: raft.log.applied,
      leadTransferee: raft.leadTransferee,
      confState: raft.tracker.confState,
      progress: raft.role === Role.Leader ? raft.tracker.members : [],
    };
  }

  /** Sets the election time-out until it is next drawn; scenario tests choose so who campaigns. */
  setRandomizedElectionTimeout(ticks: number): void {
    this.#raft.randomizedElectionTimeout = ticks;
  }
}
