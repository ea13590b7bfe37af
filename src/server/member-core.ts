/**
 * One member without its surroundings: Raft, proposals and those who wait for them, reads, what it tells its cluster.
 * Disk, apply, network, clock and chance are handed in, so that the real server (`EtcdServer`) and a simulation
 * of a whole cluster run this same code.
 *
 * Write path here: `propose` gathers a wake-up's requests into one batch; `flush` gives it to Raft; the Ready
 * loop writes it to the WAL and, once durable and committed, hands it to apply, which answers the callers.
 *
 * Thread: main. No I/O, timer or clock of its own.
 */
import { LeaseCallWriter, LeaseOp, type ActiveAlarm } from "../apply/index.js";
import { ErrRequestTooLarge, ErrTimeout, ErrTooManyRequests, type EtcdError } from "../errors/index.js";
import { memberIdText } from "../membership/index.js";
import { none, Role, type Message, type SoftState, type StepResult } from "../raft/index.js";
import type { ApplyEvent } from "./apply-client.js";
import type { AutoCompaction } from "./auto-compaction.js";
import type { ClusterSide } from "./cluster-side.js";
import type { CorruptionChecks } from "./corruption-checks.js";
import type { LeaseKeeper } from "./lease-keeper.js";
import { anonymous, type Identity } from "./proposal-builder.js";
import { Proposals } from "./proposals.js";
import type { Publisher } from "./publisher.js";
import type { RaftLoop } from "./raft-loop.js";
import { applyConfChange, makeRaftLoop } from "./raft-node.js";
import {
  makeAutoCompaction,
  makeCluster,
  makeCorruptionChecks,
  makeLeases,
  makePublisher,
  type CoreDoings,
} from "./member-parts.js";
import type { MemberCounters, MemberState, MemberSurroundings } from "./member-surroundings.js";
import { contextBytes, contextNumber, ReadIndexQueue } from "./read-index.js";
import { highestOwnSequence } from "./request-header.js";
import { RequestIdGenerator } from "./request-id.js";
import { SpaceGuard } from "./space-guard.js";

/** Entries committed and not applied at which further requests are refused (etcd's maxGapBetweenApplyAndCommitIndex). */
const applyGapMax = 5000;
/** Bytes of calls that wait for a leader or a read index; above it no more calls are taken. */
const waitingBytesMax = 64 << 20;

export class MemberCore {
  readonly #surroundings: MemberSurroundings;
  readonly #proposals: Proposals;
  readonly #reads: ReadIndexQueue;
  readonly #loop: RaftLoop;
  readonly #publisher: Publisher;
  readonly #autoCompaction: AutoCompaction | null;
  /** null: nothing is to be compared. */
  readonly corruption: CorruptionChecks | null;
  readonly #ids: RequestIdGenerator;
  /** Quota, disk and the NOSPACE alarm. */
  readonly space: SpaceGuard;
  /** Membership, versions, leadership. */
  readonly cluster: ClusterSide;
  /** The clock of leases, and the calls that need it. */
  readonly leases: LeaseKeeper;
  #wasBlocked = false;
  #softState: SoftState = { lead: none, role: Role.Follower };
  #leaderChanges = 0;

  constructor(surroundings: MemberSurroundings, state: MemberState) {
    const { config, identity } = surroundings;
    const { ready, log } = state;
    this.#surroundings = surroundings;
    const ids = new RequestIdGenerator(identity.memberId, surroundings.startMs);
    ids.startAbove(highestOwnSequence(log.batches, ids), surroundings.prng);
    this.#ids = ids;
    const doings = this.#doings(ids);
    this.cluster = makeCluster(surroundings, doings, ready);
    this.leases = makeLeases(surroundings, doings, this.cluster, ready.leases);
    this.#proposals = new Proposals(ids, {
      requestBytesMax: config.maxRequestBytes,
      timeoutMs: this.#requestTimeoutMs,
      propose: (batch) => this.#loop.node.propose(batch),
      late: (startMs) => this.cluster.lateError(startMs),
      fail: (callId, error) => surroundings.replies.error(callId, error),
    });
    this.#reads = new ReadIndexQueue(this.#requestTimeoutMs, surroundings.prng.uint32() * 2 ** 20, {
      request: (context) => this.#loop.node.readIndex(contextBytes(context)),
      release: (index, records, length, startMs) => this.#handReads(index, records, length, startMs),
      timedOut: (callId) => {
        // Barriers are nobody's call, and have a time of their own.
        if (callId !== 0) surroundings.replies.error(callId, new ErrTimeout());
      },
    });
    this.#loop = makeRaftLoop(surroundings, state, {
      waiters: this.#proposals.waiters,
      ids,
      hooks: {
        softState: (state) => this.#onSoftState(state),
        readState: ({ index, context }) =>
          this.#reads.confirmed(contextNumber(context), index, this.#surroundings.nowMs()),
      },
    });
    this.#publisher = makePublisher(surroundings, doings, ready.clusterVersion);
    this.space = new SpaceGuard(surroundings, this.#publisher, this.#requestTimeoutMs, ready.alarms);
    this.#autoCompaction = makeAutoCompaction(surroundings, doings);
    this.corruption = makeCorruptionChecks(surroundings, doings, this.cluster);
  }

  #doings(ids: RequestIdGenerator): CoreDoings {
    return {
      ids,
      timeoutMs: this.#requestTimeoutMs,
      node: () => this.#loop.node,
      isLeader: () => this.isLeader,
      commitIndex: () => this.commitIndex,
      gather: (field, message) => this.#proposals.add(field, message, 0, message.length, 0, anonymous),
      request: (field, message) => this.propose(field, message, 0, message.length, 0, anonymous),
      flush: () => this.flush(),
      readLinearizable: (record, length) => {
        this.#reads.add(record, 0, length);
        this.flush();
      },
      confirmLeadership: (done) => {
        this.#reads.confirm(done);
        this.flush();
      },
      handOver: (index, records, length) => this.#handReads(index, records, length),
    };
  }

  /** The leader's member ID; 0n: none known. */
  get leader(): bigint {
    return this.#softState.lead;
  }
  get isLeader(): boolean {
    return this.#softState.role === Role.Leader;
  }
  get term(): number {
    return this.#loop.term;
  }
  /** What /debug/vars tells of Raft. */
  readonly raftStatus = (): object => this.#loop.status();
  get commitIndex(): number {
    return this.#loop.commitIndex;
  }
  /** "3.7.0"; null before the cluster has one: the v3 API is not served until then. */
  get clusterVersion(): string | null {
    return this.cluster.view.version;
  }
  get alarms(): readonly ActiveAlarm[] {
    return this.space.alarms;
  }
  /** Resolves once this member's attributes are known to the cluster and it may serve clients. */
  get ready(): Promise<void> {
    return this.#publisher.published;
  }
  /** Resolves once the cluster has a version: calls taken before are refused. */
  get capable(): Promise<void> {
    return this.#publisher.capable;
  }
  /** Counters for metrics. */
  get counters(): MemberCounters {
    return {
      leaderChanges: this.#leaderChanges,
      proposalsFailed: this.#proposals.failedCount,
      proposalsPending: this.#proposals.waiters.open,
      slowReads: this.#reads.slowCount,
      failedReads: this.#reads.failedCount,
    };
  }
  /** No more calls should be taken until `unblocked` is called. */
  get blocked(): boolean {
    const waiting = this.#proposals.leaderlessBytes + this.#reads.waitingBytes;
    this.#wasBlocked = waiting > waitingBytesMax || this.#loop.full;
    return this.#wasBlocked;
  }

  /**
   * Takes a request into the log: `bytes[start, end)` is the message of InternalRaftRequest's `field`.
   * Returns the error that the caller gets at once, or null: apply will answer `callId`.
   */
  propose(
    field: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    callId: number,
    identity: Identity,
  ): EtcdError | null {
    if (this.#loop.commitIndex > this.#surroundings.apply.progress.appliedIndex + applyGapMax)
      return new ErrTooManyRequests();
    return this.#proposals.add(field, bytes, start, end, callId, identity) ? null : new ErrRequestTooLarge();
  }

  /**
   * An ID that no lease has: a positive one, made of the request ID that the next proposal gets.
   * So it is to be used by that very one.
   */
  newLeaseId(): bigint {
    return BigInt.asUintN(63, this.#ids.idOf(this.#ids.peek()));
  }

  /** Ends a call with a response that begins with a header; `fields` are its others. */
  answerWithHeader(callId: number, fields: Uint8Array): void {
    const writer = new LeaseCallWriter();
    writer.add(callId, LeaseOp.Head, 0, 0, 0, 0, fields);
    this.#handReads(0, writer.bytes, writer.length);
  }

  /** Takes a read, the whole call-batch record `bytes[start, end)`, which is answered after a ReadIndex. */
  readLinearizable(bytes: Uint8Array, start: number, end: number): void {
    this.#reads.add(bytes, start, end);
  }

  /** Hands call-batch records to apply, which answers from what it has. */
  readSerializable(records: Uint8Array, length: number): void {
    this.#handReads(0, records, length);
  }

  /** Takes a snapshot's message, whose file is here; false: the file is not needed. */
  receiveSnapshot(message: Message): boolean {
    this.receive(message);
    return message.snapshot?.index === this.#loop.installIndex;
  }

  /** Takes a message from another member. */
  receive(message: Message): StepResult {
    const { node } = this.#loop;
    const result = node.step(message);
    if (result === "commitBeyondLog") this.#lostLog(message);
    this.#loop.pump();
    this.#surroundings.replies.flush();
    return result;
  }

  /** Entries that this member has acknowledged are gone from its log. It must not vote, nor acknowledge anything again. */
  #lostLog({ commit, from }: Message): void {
    const { node } = this.#loop;
    this.#surroundings.fatal(
      `tocommit(${commit}) is out of range [lastIndex(${node.lastIndex})]. Was the raft log corrupted, truncated, or lost?`,
      { "local-member-id": memberIdText(this.#surroundings.identity.memberId), "remote-peer-id": memberIdText(from) },
    );
  }

  /** Messages to `id` were lost: it cannot be reached, or its queue is full. */
  unreachable(id: bigint): void {
    this.#loop.node.reportUnreachable(id);
    this.#loop.pump();
  }

  /** The end of a wake-up: everything gathered goes on its way. */
  flush(): void {
    const now = this.#surroundings.nowMs();
    this.leases.flush();
    this.#proposals.flush(now, this.#softState.lead !== none);
    this.#reads.flush(now);
    this.#loop.pump();
    this.#surroundings.replies.flush();
  }

  /** Starts: what Raft wants done at once, and an election where nobody else could lead. */
  begin(): void {
    this.cluster.begin();
    this.#loop.pump();
    this.#campaignAlone();
  }

  /** Hands the log what no append has taken along; to be called before the log is closed. */
  end(): void {
    this.#loop.writeCommit();
  }

  /** 5 s and two election timeouts (etcd's ReqTimeout). */
  get #requestTimeoutMs(): number {
    return 5000 + 2 * this.#surroundings.config.electionTimeout;
  }

  /** The sole voter need not wait for an election timeout: nobody else could lead. */
  #campaignAlone(): void {
    if (this.#softState.lead !== none || this.#softState.role !== Role.Follower) return;
    const { voters } = this.#loop.node.confState;
    if (voters.length !== 1 || voters[0] !== this.#surroundings.identity.memberId) return;
    this.#loop.node.campaign();
    this.#loop.pump();
  }

  /** One heartbeat interval has passed. */
  tick(): void {
    const now = this.#surroundings.nowMs();
    const stalledMs = this.#loop.stalledMs(now);
    // Whose disk stands still cannot lead, so it should not stand for election either.
    if (this.isLeader || !this.cluster.transfer.isStalled(stalledMs)) this.#loop.node.tick();
    this.#loop.pump();
    this.#loop.writeCommitWhenIdle();
    this.#reads.tick(now);
    this.#proposals.expire(now);
    this.#publisher.tick(now);
    this.cluster.tick(stalledMs);
    const { isLeader, space } = this;
    this.#autoCompaction?.tick(now, { ...this.#surroundings.apply.progress, isLeader, isCorrupt: space.isCorrupt });
    this.corruption?.tick(now);
    space.tick();
    this.leases.tick();
    this.#surroundings.replies.flush();
    this.#checkUnblocked();
  }

  #handReads(minAppliedIndex: number, records: Uint8Array, length: number, startMs = this.#surroundings.nowMs()): void {
    const header = {
      raftTerm: this.#loop.term,
      minAppliedIndex,
      commitIndex: this.#loop.commitIndex,
      leaderId: this.leader,
      startMs,
    };
    this.#surroundings.apply.reads(header, records, length);
  }

  /** The WAL has made everything up to `token` durable. */
  onDurable(token: number): void {
    this.#loop.durable(token);
    this.#surroundings.replies.flush();
  }

  /** Apply has progressed. */
  onProgress(): void {
    this.#loop.applied();
    this.#campaignAlone();
    this.#checkUnblocked();
  }

  #checkUnblocked(): void {
    if (this.#wasBlocked && !this.blocked) this.#surroundings.unblocked();
  }

  #onSoftState(state: SoftState): void {
    const before = this.#softState;
    this.#softState = state;
    const leads = state.role === Role.Leader;
    if (leads !== (before.role === Role.Leader)) this.leases.leadershipChanged(leads);
    if (state.lead === before.lead) return;
    this.#surroundings.stateChanged();
    this.#publisher.leaderChanged(state.lead !== none);
    if (state.lead !== none) {
      this.#leaderChanges++;
      this.#proposals.leaderElected();
      this.#reads.askAgain(this.#surroundings.nowMs());
    }
    // The Ready that told of it is still being worked off.
    queueMicrotask(() => this.#leaderChanged());
  }

  #leaderChanged(): void {
    this.#publisher.tick(this.#surroundings.nowMs());
    this.cluster.leaderChanged();
    this.#surroundings.replies.flush();
  }

  /** Apply tells of what it has applied. */
  onApplyEvent(event: ApplyEvent): void {
    switch (event.type) {
      case "confChange":
        this.#loop.confChangeApplied(event.index, (node) => applyConfChange(node, event));
        this.cluster.applied(event);
        this.#campaignAlone();
        break;
      case "clusterVersion":
        this.cluster.applied(event);
        this.#surroundings.stateChanged();
        this.#publisher.clusterVersionSet(event.version);
        break;
      case "members":
        this.#publisher.membersChanged(event.members);
        this.cluster.applied(event);
        if (this.#publisher.isPublished && this.clusterVersion === null)
          this.cluster.versions.check(this.#surroundings.nowMs());
        break;
      case "downgrade":
      case "barrier":
        this.cluster.applied(event);
        break;
      case "alarms":
        this.space.alarmsChanged(event.alarms);
        this.#surroundings.stateChanged();
        break;
      case "installed":
        this.#installed(event);
        break;
      case "noSpace":
        this.space.appliedBeyondQuota(event.callId);
        break;
    }
    this.#surroundings.replies.flush();
  }

  /** The state is a snapshot's, as if all that led to it had been applied at once. */
  #installed(event: Extract<ApplyEvent, { type: "installed" }>): void {
    this.space.alarmsChanged(event.alarms);
    this.cluster.applied(event);
    this.#surroundings.stateChanged();
    if (event.clusterVersion !== null) this.#publisher.clusterVersionSet(event.clusterVersion);
    this.#publisher.membersChanged(event.members);
    this.#loop.applied();
  }
}
