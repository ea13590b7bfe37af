/**
 * One member: data folder, WAL, Raft, apply, and what calls may ask of them.
 *
 * Write path here: `propose` gathers a wake-up's requests into one batch; `flush` gives it to Raft; the Ready
 * loop writes it to the WAL and, once durable and committed, hands it to apply, which answers the callers.
 *
 * Thread: main.
 */
import type { ActiveAlarm } from "../apply/index.js";
import { SeededPrng, type Logger } from "../base/index.js";
import type { Config } from "../config/index.js";
import {
  ErrContextDeadlineExceeded,
  ErrProposalDropped,
  ErrRequestTooLarge,
  ErrTimeout,
  ErrTooManyRequests,
  type EtcdError,
} from "../errors/index.js";
import { memberIdText, type Member } from "../membership/index.js";
import {
  ConfChangeTransition,
  none,
  RawNode,
  Role,
  type ConfChangeType,
  type ConfChangeV2,
  type Message,
  type SoftState,
} from "../raft/index.js";
import type { Wal } from "../storage/wal/index.js";
import { ApplyClient, type ApplyEvent, type ApplyReady } from "./apply-client.js";
import type { MemberIdentity, ReplayedLog } from "./bootstrap.js";
import type { HeldDataDir } from "./data-dir.js";
import { LogTruncation } from "./log-truncation.js";
import { anonymous, ProposalBuilder, type Identity, type TakenProposals } from "./proposal-builder.js";
import { Publisher } from "./publisher.js";
import { RaftLoop } from "./raft-loop.js";
import { ReadIndexQueue } from "./read-index.js";
import { Replies } from "./replies.js";
import { RequestIdGenerator } from "./request-id.js";
import { openStorage, type FatalHandler } from "./storage.js";
import { Waiters } from "./waiters.js";

/** Entries committed and not applied at which further requests are refused (etcd's maxGapBetweenApplyAndCommitIndex). */
const applyGapMax = 5000;
/** Bytes of calls that wait for a leader or a read index; above it no more calls are taken. */
const waitingBytesMax = 64 << 20;
/** The log in memory, in bytes, at which it is cut early. */
const logBytesMax = 256 << 20;
const maxSizePerMessage = 1 << 20;
const maxInflightMessages = 512;

/** etcdserverpb.AlarmType. */
const alarmNoSpace = 1;

/** Proposals that no leader could take yet. */
interface Leaderless {
  readonly taken: TakenProposals;
  readonly startMs: number;
}

/** What the server needs of its surroundings. */
export interface ServerSurroundings {
  readonly config: Config;
  /** Paths of the edge's methods, by method index. */
  readonly methods: readonly string[];
  readonly logger: Logger;
  /** The member cannot go on: log and end the process. */
  readonly fatal: FatalHandler;
  /** More calls may be taken again, after `blocked` was true. */
  readonly unblocked: () => void;
  /** Leader, alarms or cluster version have changed. */
  readonly stateChanged: () => void;
}

/** What `EtcdServer.start` has opened for it. */
export interface OpenedStorage {
  readonly dataDir: HeldDataDir;
  readonly identity: MemberIdentity;
  readonly wal: Wal;
  readonly log: ReplayedLog;
  readonly apply: ApplyClient;
  readonly ready: ApplyReady;
}

export class EtcdServer {
  readonly config: Config;
  readonly memberId: bigint;
  readonly clusterId: bigint;
  readonly replies = new Replies();
  readonly #surroundings: ServerSurroundings;
  readonly #logger: Logger;
  readonly #storage: OpenedStorage;
  readonly #ids: RequestIdGenerator;
  readonly #builder: ProposalBuilder;
  readonly #waiters = new Waiters();
  readonly #reads: ReadIndexQueue;
  readonly #loop: RaftLoop;
  readonly #publisher: Publisher;
  #leaderless: Leaderless[] = [];
  #leaderlessBytes = 0;
  #wasBlocked = false;
  #ticker: NodeJS.Timeout | null = null;
  #softState: SoftState = { lead: none, role: Role.Follower };
  #clusterVersion: string | null;
  #alarms: readonly ActiveAlarm[];
  #members: readonly Member[];
  #leaderChanges = 0;
  #proposalsFailed = 0;

  /** Opens or makes the member's data and starts it; resolves when Raft runs (not yet: when it serves). */
  static async start(surroundings: ServerSurroundings): Promise<EtcdServer> {
    let server: EtcdServer | null = null;
    const storage = await openStorage(surroundings, {
      durable: (token) => server !== null && server.#onDurable(token),
      progress: () => server !== null && server.#onProgress(),
      event: (event) => server !== null && server.#onApplyEvent(event),
      space: (low) => server !== null && server.#onDiskSpace(low),
    });
    server = new EtcdServer(surroundings, storage);
    server.#begin();
    return server;
  }

  private constructor(surroundings: ServerSurroundings, storage: OpenedStorage) {
    const { config, logger } = surroundings;
    const { identity, ready, log, wal, apply } = storage;
    this.#surroundings = surroundings;
    this.#storage = storage;
    this.#logger = logger;
    this.config = config;
    this.memberId = identity.memberId;
    this.clusterId = identity.clusterId;
    this.#clusterVersion = ready.clusterVersion;
    this.#alarms = ready.alarms;
    this.#members = ready.members;
    this.#ids = new RequestIdGenerator(identity.memberId, Date.now());
    this.#builder = new ProposalBuilder(this.#ids, config.maxRequestBytes);
    this.#reads = new ReadIndexQueue(this.#requestTimeoutMs, {
      request: (context) => this.#loop.node.readIndex(contextBytes(context)),
      release: (index, records, length) => this.#handReads(index, records, length),
      timedOut: (callId) => this.replies.error(callId, new ErrTimeout()),
    });
    const hardState = log.hardState ?? { term: 0, vote: none, commit: 0 };
    this.#loop = new RaftLoop(
      {
        id: identity.memberId,
        node: this.#makeNode(storage),
        wal,
        apply,
        transport: { send: (messages) => this.#send(messages) },
        waiters: this.#waiters,
        ids: this.#ids,
        truncation: new LogTruncation(
          { snapshotCount: config.snapshotCount, catchupEntries: config.snapshotCatchupEntries, logBytesMax },
          log.mark,
        ),
        hooks: {
          softState: (state) => this.#onSoftState(state),
          readState: ({ index, context }) => this.#reads.confirmed(contextNumber(context), index, performance.now()),
          committed: () => {},
        },
        logger: logger.named("raft"),
      },
      { ...hardState, commit: Math.max(hardState.commit, ready.consistentIndex) },
    );
    this.#publisher = new Publisher(
      {
        config,
        memberId: identity.memberId,
        clusterId: identity.clusterId,
        logger,
        timeoutMs: this.#requestTimeoutMs,
        propose: (field, message) => this.#proposeOwn(field, message),
      },
      ready.clusterVersion,
    );
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
  get commitIndex(): number {
    return this.#loop.commitIndex;
  }
  /** What apply last told of its progress. */
  get applied(): Readonly<ApplyClient["progress"]> {
    return this.#storage.apply.progress;
  }
  /** "3.7.0"; null before the cluster has one: the v3 API is not served until then. */
  get clusterVersion(): string | null {
    return this.#clusterVersion;
  }
  get alarms(): readonly ActiveAlarm[] {
    return this.#alarms;
  }
  get members(): readonly Member[] {
    return this.#members;
  }
  /** Resolves once this member's attributes are known to the cluster and it may serve clients. */
  get ready(): Promise<void> {
    return this.#publisher.published;
  }
  /** Counters for metrics. */
  get counters(): {
    leaderChanges: number;
    proposalsFailed: number;
    proposalsPending: number;
    slowReads: number;
    failedReads: number;
  } {
    return {
      leaderChanges: this.#leaderChanges,
      proposalsFailed: this.#proposalsFailed,
      proposalsPending: this.#waiters.open,
      slowReads: this.#reads.slowCount,
      failedReads: this.#reads.failedCount,
    };
  }
  get wal(): Wal {
    return this.#storage.wal;
  }

  /** Apply's metrics in text form. */
  applyMetrics(): Promise<string> {
    return this.#storage.apply.metrics();
  }

  /** No more calls should be taken until `unblocked` is called. */
  get blocked(): boolean {
    const waiting = this.#leaderlessBytes + this.#reads.waitingBytes;
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
    if (this.#loop.commitIndex > this.#storage.apply.progress.appliedIndex + applyGapMax)
      return new ErrTooManyRequests();
    return this.#builder.add(field, bytes, start, end, callId, identity) ? null : new ErrRequestTooLarge();
  }

  /** Takes a read, the whole call-batch record `bytes[start, end)`, which is answered after a ReadIndex. */
  readLinearizable(bytes: Uint8Array, start: number, end: number): void {
    this.#reads.add(bytes, start, end);
  }

  /** Hands call-batch records to apply, which answers from what it has. */
  readSerializable(records: Uint8Array, length: number): void {
    this.#handReads(0, records, length);
  }

  /** The end of a wake-up: everything gathered goes on its way. */
  flush(): void {
    const now = performance.now();
    const taken = this.#builder.take();
    if (taken !== null) this.#proposeTaken({ taken, startMs: now });
    this.#reads.flush(now);
    this.#loop.pump();
    this.replies.flush();
  }

  /** Stops in order: no more ticks, the log durable, apply flushed, everything closed. */
  async stop(): Promise<void> {
    if (this.#ticker !== null) clearInterval(this.#ticker);
    this.#loop.writeCommit();
    await this.#storage.apply.stop();
    await this.#storage.wal.close();
    this.#storage.dataDir.release();
  }

  /** 5 s and two election timeouts (etcd's ReqTimeout). */
  get #requestTimeoutMs(): number {
    return 5000 + 2 * this.#surroundings.config.electionTimeout;
  }

  #makeNode({ identity, log, ready }: OpenedStorage): RawNode {
    const { config, logger } = this.#surroundings;
    return new RawNode({
      id: identity.memberId,
      electionTicks: Math.floor(config.electionTimeout / config.heartbeatInterval),
      heartbeatTicks: 1,
      preVote: config.preVote,
      checkQuorum: true,
      maxSizePerMessage,
      maxInflightMessages,
      maxUncommittedSize: Number.POSITIVE_INFINITY,
      maxApplyingSize: waitingBytesMax,
      asyncStorageWrites: true,
      prng: new SeededPrng(Number(identity.memberId & 0xffff_ffffn) * 2 ** 20 + (Date.now() % 2 ** 20)),
      logger: logger.named("raft"),
      snapshot: () => null,
      initialState: {
        hardState: log.hardState,
        confState: ready.confState ?? log.mark.confState,
        prevIndex: log.mark.index,
        prevTerm: log.mark.term,
        entries: log.batches,
        applied: ready.consistentIndex,
      },
    });
  }

  #begin(): void {
    this.#loop.pump();
    this.#ticker = setInterval(() => this.#tick(), this.config.heartbeatInterval);
    this.#campaignAlone();
  }

  /** The sole voter need not wait for an election timeout: nobody else could lead. */
  #campaignAlone(): void {
    if (this.#softState.lead !== none || this.#softState.role !== Role.Follower) return;
    const { voters } = this.#loop.node.confState;
    if (voters.length !== 1 || voters[0] !== this.memberId) return;
    this.#loop.node.campaign();
    this.#loop.pump();
  }

  #tick(): void {
    const now = performance.now();
    this.#loop.node.tick();
    this.#loop.pump();
    this.#loop.writeCommit();
    this.#reads.tick(now);
    this.#waiters.expire(now, (callId) => this.#giveUp(callId, new ErrTimeout()));
    this.#expireLeaderless(now);
    this.#publisher.tick(now);
    this.replies.flush();
    this.#checkUnblocked();
  }

  #giveUp(callId: number, error: EtcdError): void {
    this.#proposalsFailed++;
    this.replies.error(callId, error);
  }

  /** Without a leader proposals wait; the server's own limit then ends them with the bare context error. */
  #expireLeaderless(now: number): void {
    while (this.#leaderless.length > 0 && this.#leaderless[0]!.startMs + this.#requestTimeoutMs <= now) {
      const { taken } = this.#leaderless.shift()!;
      this.#leaderlessBytes -= taken.batch.bytes.length;
      for (const callId of taken.callIds) if (callId !== 0) this.#giveUp(callId, new ErrContextDeadlineExceeded());
    }
  }

  #proposeTaken(waiting: Leaderless): void {
    const { taken, startMs } = waiting;
    if (this.#softState.lead === none) {
      this.#leaderless.push(waiting);
      this.#leaderlessBytes += taken.batch.bytes.length;
      return;
    }
    this.#waiters.add(taken.firstSequence, taken.callIds, startMs, startMs + this.#requestTimeoutMs);
    if (this.#loop.node.propose(taken.batch) === "ok") return;
    for (let i = 0; i < taken.callIds.length; i++) {
      const callId = this.#waiters.resolve(taken.firstSequence + i);
      if (callId !== 0) this.#giveUp(callId, new ErrProposalDropped());
    }
  }

  /** A request of the server itself, for which no call waits. */
  #proposeOwn(field: number, message: Uint8Array): void {
    this.#builder.add(field, message, 0, message.length, 0, anonymous);
    this.flush();
  }

  #handReads(minAppliedIndex: number, records: Uint8Array, length: number): void {
    const header = {
      raftTerm: this.#loop.term,
      minAppliedIndex,
      commitIndex: this.#loop.commitIndex,
      leaderId: this.leader,
    };
    this.#storage.apply.reads(header, records, length);
  }

  #send(messages: readonly Message[]): void {
    // A cluster of one has nobody to send to; the transport between members comes with clusters.
    for (const message of messages)
      this.#logger.warn("message without a peer", { to: memberIdText(message.to), type: message.type });
  }

  #onDurable(token: number): void {
    this.#loop.durable(token);
    this.replies.flush();
  }

  #onProgress(): void {
    this.#loop.applied();
    this.#campaignAlone();
    this.#checkUnblocked();
  }

  #onDiskSpace(low: boolean): void {
    const isRaised = this.#alarms.some(({ memberId, alarm }) => memberId === this.memberId && alarm === alarmNoSpace);
    this.#publisher.diskSpace(low, isRaised);
  }

  #checkUnblocked(): void {
    if (this.#wasBlocked && !this.blocked) this.#surroundings.unblocked();
  }

  #onSoftState(state: SoftState): void {
    const before = this.#softState;
    this.#softState = state;
    if (state.lead === before.lead) return;
    this.#surroundings.stateChanged();
    if (state.lead !== none) this.#leaderChanges++;
    if (state.lead === none) return;
    const waiting = this.#leaderless;
    this.#leaderless = [];
    this.#leaderlessBytes = 0;
    for (const each of waiting) this.#proposeTaken(each);
    this.#reads.askAgain(performance.now());
    this.#publisher.leaderElected(this.isLeader);
    queueMicrotask(() => this.#publisher.tick(performance.now()));
  }

  #onApplyEvent(event: ApplyEvent): void {
    switch (event.type) {
      case "confChange":
        this.#members = event.members;
        this.#loop.confChangeApplied(event.index, (node) => node.applyConfChange(confChangeOf(event), event.index));
        break;
      case "clusterVersion":
        this.#clusterVersion = event.version;
        this.#surroundings.stateChanged();
        this.#publisher.clusterVersionSet(event.version);
        break;
      case "members":
        this.#members = event.members;
        this.#publisher.membersChanged(event.members, performance.now());
        break;
      case "alarms":
        this.#alarms = event.alarms;
        this.#surroundings.stateChanged();
        break;
      case "noSpace":
        this.#publisher.raiseNoSpace();
        break;
    }
    this.replies.flush();
  }
}

/** A change that apply has refused reaches Raft without a node, so that it does nothing. */
function confChangeOf({ accepted, nodeId, changeType }: Extract<ApplyEvent, { type: "confChange" }>): ConfChangeV2 {
  const type = changeType as ConfChangeType;
  return { transition: ConfChangeTransition.Auto, changes: [{ type, nodeId: accepted ? nodeId : none }] };
}

/** ReadIndex contexts are 8 bytes; ours count up. */
function contextBytes(context: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setFloat64(0, context);
  return bytes;
}

function contextNumber(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getFloat64(0);
}
