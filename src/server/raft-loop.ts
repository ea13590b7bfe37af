/**
 * The Ready loop: what Raft asks for is written, sent and applied, and what came of it is stepped back in.
 * Append, fsync and apply overlap: Raft runs with asynchronous storage writes, so only entries that are
 * durable here go to apply, and an answer leaves only after that.
 *
 * Thread: main. Owns the RawNode; nobody else touches it.
 * Invariants: storage work is done in the order Raft gave it; its responses are delivered in that order.
 */
import { assert, EntryType, type EntryBatch, type Logger } from "../base/index.js";
import {
  MessageType,
  none,
  type ConfState,
  type HardState,
  type Message,
  type RawNode,
  type ReadState,
  type Snapshot,
  type SoftState,
} from "../raft/index.js";
import { EntriesUnderWay } from "./entries-under-way.js";
import { isConfChange, type LogTruncation } from "./log-truncation.js";
import { Outstanding } from "./outstanding.js";
import { ownSequenceOf } from "./request-header.js";
import type { RequestIdGenerator } from "./request-id.js";
import type { Waiters } from "./waiters.js";
import { raftStatusOf } from "./raft-status.js";

/** Entries of the log that have not come to apply yet, in bytes; above it no more calls are taken. */
const pendingBytesMax = 64 << 20;

/** What goes to the log as one. */
interface LogWork {
  readonly batches: readonly EntryBatch[];
  readonly hardState: HardState | null;
  readonly token: number;
}

/** The state at entry `index`, of `term`, stands for the log up to there. */
interface SnapshotMark {
  readonly index: number;
  readonly term: number;
  readonly confState: ConfState;
}

/** The log on disk, as this loop uses it (storage/wal's Wal). */
export interface LogWriter {
  append(work: LogWork): void;
  /** May write at once, on this thread; true: all is durable up to the token, and nothing else tells of it. */
  appendHere?(work: LogWork): boolean;
  appendSnapshotMark(mark: SnapshotMark, token: number): void;
  /** Notes that a snapshot is to be installed: all earlier entries are void. */
  appendInstall(mark: SnapshotMark, hardState: HardState, token: number): void;
  release(index: number): void;
}

/** Apply, as this loop uses it (ApplyClient). */
export interface Applier {
  readonly blocked: boolean;
  readonly progress: { readonly appliedIndex: number; readonly flushedIndex: number };
  /** See `ApplyMessageWriter.entries`. */
  entries(batch: EntryBatch, callIds: Uint32Array, raftTerm: number, startMs: number): void;
  /** The snapshot of that entry, whose file is here, is to take the place of the state. Entries behind it may follow. */
  install(index: number, term: number): void;
}

/**
 * Carries messages to other members; what it cannot carry it drops, and says so by `MemberCore.unreachable`. Snapshots
 * go another way.
 */
export interface Transport {
  send(messages: readonly Message[]): void;
}

/** Takes the messages that carry a snapshot, and reports to Raft what has become of them. */
export interface SnapshotOutlet {
  send(message: Message): void;
  /** Followers that are sent one will need what is in the log behind it. */
  readonly underWay: boolean;
}

/** What the loop tells the server. */
export interface RaftLoopHooks {
  /** Leader or role have changed. */
  softState(state: SoftState): void;
  readState(state: ReadState): void;
}

export interface RaftLoopOptions {
  readonly id: bigint;
  readonly node: RawNode;
  readonly wal: LogWriter;
  readonly apply: Applier;
  readonly transport: Transport;
  readonly snapshots: SnapshotOutlet;
  readonly waiters: Waiters;
  readonly ids: RequestIdGenerator;
  readonly truncation: LogTruncation;
  readonly hooks: RaftLoopHooks;
  readonly logger: Logger;
  readonly nowMs: () => number;
}

export class RaftLoop {
  readonly #options: RaftLoopOptions;
  readonly #node: RawNode;
  readonly #appends = new Outstanding();
  readonly #applies = new Outstanding();
  readonly #underWay = new EntriesUnderWay();
  /** Snapshots to install once their mark is durable. */
  readonly #installs: { readonly until: number; readonly index: number; readonly term: number }[] = [];
  /** Indexes of conf changes that are with apply, whose outcome Raft must hear of first. */
  readonly #confChanges: number[] = [];
  /** Everything up to the conf change that came back last has been applied, whether apply has said so yet or not. */
  #confChangedIndex = 0;
  #token = 0;
  #durableToken = 0;
  #vote = none;
  #term = 0;
  #commitIndex = 0;
  /** Commit index that the WAL does not have yet; it goes with the next append. */
  #commitUnwritten = false;
  #installIndex = 0;
  #pumping = false;

  constructor(options: RaftLoopOptions, hardState: { term: number; vote: bigint; commit: number }) {
    this.#options = options;
    this.#node = options.node;
    this.#term = hardState.term;
    this.#vote = hardState.vote;
    this.#commitIndex = hardState.commit;
  }

  get commitIndex(): number {
    return this.#commitIndex;
  }
  get term(): number {
    return this.#term;
  }
  /** Index of the last snapshot that was, or is to be, installed. */
  get installIndex(): number {
    return this.#installIndex;
  }
  get node(): RawNode {
    return this.#node;
  }
  /** To be written as JSON. */
  status(): object {
    return raftStatusOf(this.#node.status());
  }
  /** No more proposals should be taken for now. */
  get full(): boolean {
    return this.#underWay.bytes > pendingBytesMax || this.#options.apply.blocked;
  }
  /** Everything handed to the WAL is durable. */
  get allDurable(): boolean {
    return this.#durableToken === this.#token;
  }

  /** How long the oldest write of the log has been under way; 0: none is. */
  stalledMs(nowMs: number): number {
    const { oldestMs } = this.#appends;
    return oldestMs === null ? 0 : Math.max(0, nowMs - oldestMs);
  }

  /** Does all that Raft wants done, until it wants nothing more. */
  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    while (this.#node.hasReady()) {
      const ready = this.#node.ready();
      if (ready.softState !== null) this.#options.hooks.softState(ready.softState);
      if (ready.hardState !== null) this.#commit(ready.hardState.commit);
      if (ready.messages.length > 0) this.#send(ready.messages);
      if (ready.append !== null) this.#append(ready.append);
      if (ready.apply !== null) this.#apply(ready.apply);
      for (const state of ready.readStates) this.#options.hooks.readState(state);
    }
    this.#pumping = false;
  }

  /** The WAL has made everything up to `token` durable. */
  durable(token: number): void {
    this.#durableToken = token;
    // The log no longer has what the snapshot holds: the installation is repeated, should it be cut short.
    while (this.#installs.length > 0 && this.#installs[0]!.until <= token) {
      const { index, term } = this.#installs.shift()!;
      this.#options.apply.install(index, term);
    }
    this.#appends.done(token, (response) => this.#deliver(response));
    this.pump();
  }

  /** Apply has progressed. */
  applied(): void {
    const { appliedIndex, flushedIndex } = this.#options.apply.progress;
    const known = Math.max(appliedIndex, this.#confChangedIndex);
    const until = Math.min(known, (this.#confChanges[0] ?? Infinity) - 1);
    this.#applies.done(until, (response) => this.#deliver(response));
    this.pump();
    // Apply may be in the midst of a batch, or ahead of a conf change whose outcome is not known here yet.
    this.#truncate(Math.min(flushedIndex, this.#node.appliedIndex));
  }

  /** Apply has judged the conf change at `index`; `apply` puts its outcome in force. */
  confChangeApplied(index: number, apply: (node: RawNode) => ConfState): void {
    assert(this.#confChanges[0] === index, "conf changes come back out of order");
    this.#confChanges.shift();
    this.#confChangedIndex = index;
    const confState = apply(this.#node);
    this.#options.truncation.confChanged(index, confState);
    this.applied();
  }

  /** Writes the commit index that no append has taken along; before a stop. */
  writeCommit(): void {
    if (this.#commitUnwritten) this.#write([]);
  }

  /** The same now and then, but not behind writes that are under way: a disk that hangs gathers no work. */
  writeCommitWhenIdle(): void {
    if (this.allDurable) this.writeCommit();
  }

  #commit(index: number): void {
    if (index <= this.#commitIndex) return;
    this.#commitIndex = index;
    this.#commitUnwritten = true;
  }

  /** Commit alone need not be durable (figure 2), so it waits for the next append and costs no fsync of its own. */
  #append(message: Message): void {
    const voteChanged = message.term !== 0 && (message.term !== this.#term || message.vote !== this.#vote);
    if (voteChanged) {
      this.#term = message.term;
      this.#vote = message.vote;
    }
    if (message.commit > this.#commitIndex) this.#commit(message.commit);
    if (message.snapshot !== null) this.#install(message.snapshot);
    if (message.entries.length === 0 && !voteChanged && message.responses.length === 0) return;
    for (const batch of message.entries) {
      this.#underWay.appended(batch);
      this.#options.truncation.appended(batch.bytes.length);
    }
    if (message.entries.length > 0 || voteChanged) this.#write(message.entries);
    this.#appends.add(this.#token, message.responses, this.#options.nowMs());
    if (this.#durableToken === this.#token) this.durable(this.#token);
  }

  #write(batches: readonly EntryBatch[]): void {
    const work = { batches, hardState: this.#hardState(), token: ++this.#token };
    const { wal } = this.#options;
    if (wal.appendHere === undefined || !this.#mayWait(batches)) wal.append(work);
    else if (wal.appendHere(work)) this.#durableToken = work.token;
  }

  /** The hard state, to be written now. */
  #hardState(): HardState {
    this.#commitUnwritten = false;
    return { term: this.#term, vote: this.#vote, commit: this.#commitIndex };
  }

  /**
   * Whether this thread may wait for the disk: for a request that is alone, where there is no other member to whom a
   * heartbeat could come late. Then nothing else has to be done meanwhile, and two changes of threads are saved.
   */
  #mayWait(batches: readonly EntryBatch[]): boolean {
    return this.#isLone && batches.length === 1 && batches[0]!.count === 1;
  }

  /** Whether there is no other member. */
  get #isLone(): boolean {
    const { voters, learners, votersOutgoing } = this.#node.confState;
    return voters.length === 1 && learners.length === 0 && votersOutgoing.length === 0;
  }

  /** Its file is durable. Raft counts on the snapshot, and tells the leader, as soon as its mark is durable too. */
  #install(snapshot: Snapshot): void {
    const { index, term, confState } = snapshot;
    this.#commit(index);
    this.#options.wal.appendInstall({ index, term, confState }, this.#hardState(), ++this.#token);
    this.#options.truncation.installed({ index, confState });
    this.#underWay.clear();
    this.#installIndex = index;
    this.#installs.push({ until: this.#token, index, term });
  }

  #send(messages: readonly Message[]): void {
    const { transport, snapshots } = this.#options;
    if (messages.every(({ type }) => type !== MessageType.Snap)) return transport.send(messages);
    transport.send(messages.filter(({ type }) => type !== MessageType.Snap));
    for (const message of messages) if (message.type === MessageType.Snap) snapshots.send(message);
  }

  #apply(message: Message): void {
    const { apply, waiters, ids } = this.#options;
    let lastIndex = 0;
    for (const batch of message.entries) {
      const callIds = new Uint32Array(batch.count);
      let start = 0;
      let startMs = 0;
      for (let i = 0; i < batch.count; i++) {
        const end = batch.ends[i]!;
        if (batch.types[i] === EntryType.Normal) {
          const sequence = ownSequenceOf(batch.bytes, start, end, ids);
          if (sequence !== -1) callIds[i] = waiters.resolve(sequence);
          // A batch is what one wake-up has proposed; where another leader has cut it anew, its first one's counts.
          if (callIds[i] !== 0 && startMs === 0) startMs = waiters.startMs;
        } else if (isConfChange(batch, i)) {
          this.#confChanges.push(batch.firstIndex + i);
        }
        start = end;
      }
      apply.entries(batch, callIds, this.#term, startMs);
      lastIndex = batch.lastIndex;
    }
    this.#underWay.handedTo(lastIndex);
    this.#applies.add(lastIndex, message.responses, this.#options.nowMs());
  }

  #deliver(response: Message): void {
    if (response.to === this.#options.id) this.#node.stepStorageResponse(response);
    else this.#send([response]);
  }

  /** Drops what LMDB holds durably from the log in memory and on disk. */
  #truncate(flushedIndex: number): void {
    const { truncation, snapshots, wal } = this.#options;
    const followers = snapshots.underWay ? "being sent a snapshot" : this.#isLone ? "none" : "some";
    const cut = truncation.next(flushedIndex, this.#node, followers);
    if (cut === null) return;
    if (cut.mark !== null) {
      wal.appendSnapshotMark(cut.mark, ++this.#token);
      wal.release(cut.mark.index);
    }
    this.#node.compact(cut.compactIndex);
  }
}
