/**
 * One run of one member: the real core, log, apply thread and store, on simulated threads, disk and network.
 * It ends by a crash, a stop, or because it must not go on; the member's disk then holds what it left.
 */
import { ApplyThread, type ApplyInit, type FromApply, type InstallMark } from "../../src/apply/index.js";
import { silentLogger, type EntryBatch } from "../../src/base/index.js";
import { Registry } from "../../src/metrics/index.js";
import { parseConfState } from "../../src/membership/index.js";
import { crc32c } from "../../src/native/index.js";
import type { Message } from "../../src/raft/index.js";
import {
  encodeLogMetadata,
  firstEntries,
  MemberCore,
  pairIdBytes,
  ReplayedLog,
  type ConfChangeOutcome,
  type LeaderAnswer,
} from "../../src/server/index.js";
import {
  Bucket,
  MemoryBackend,
  metaKey,
  smallBuckets,
  type Backend,
  type CommitReport,
} from "../../src/storage/backend/index.js";
import { snapshotPath } from "../../src/storage/snap/index.js";
import { Wal, type WalAppend } from "../../src/storage/wal/index.js";
import { ApplySide } from "./apply-side.js";
import { parseReplies } from "./calls.js";
import { logDoors } from "./log-door.js";
import { observeInstall } from "./install-steps.js";
import { SimulatedMailbox } from "./mailbox.js";
import { MemberCalls, methods } from "./member-calls.js";
import type { SimulatedMember } from "./member.js";
import { simulatedPeers } from "./peers.js";
import { observeState, wholeDigest } from "./state-digest.js";
import { Thread } from "./timeline.js";

type Ready = Extract<FromApply, { type: "ready" }>;

export class MemberProcess {
  readonly member: SimulatedMember;
  readonly startedAt: number;
  readonly main: Thread;
  readonly applier: Thread;
  readonly calls: MemberCalls;
  readonly #walWriter: Thread;
  readonly #flusher: Thread;
  #core: MemberCore | null = null;
  #apply: ApplySide | null = null;
  #applyThread: ApplyThread | null = null;
  #wal: Wal | null = null;
  #lastPost = 0;
  #confChangedIndex = 0;
  /** It takes no more messages, calls or ticks. */
  #stopping = false;

  constructor(member: SimulatedMember) {
    this.member = member;
    this.startedAt = member.world.timeline.now;
    const { timeline } = member.world;
    const failed = (error: unknown): void => member.processFailed(this, error);
    this.main = new Thread(timeline, failed);
    this.calls = new MemberCalls(member, this.main);
    this.applier = new Thread(timeline, failed);
    this.#walWriter = new Thread(timeline, failed);
    this.#flusher = new Thread(timeline, failed);
    this.#boot().catch(failed);
  }

  get core(): MemberCore | null {
    return this.#core;
  }
  get clusterVersion(): string {
    return this.#core?.clusterVersion ?? "not_decided";
  }

  /** A promotion that another member has passed on; null: this one does not lead. */
  promote(id: bigint, done: (answer: LeaderAnswer<ConfChangeOutcome>) => void): void {
    const { reconfiguration } = this.#core!.cluster;
    if (!this.#core!.isLeader) return done(null);
    reconfiguration.promoteHere(
      id,
      (outcome) => done({ value: outcome }),
      () => done(null),
    );
  }

  get appliedIndex(): number {
    return this.#apply?.progress.appliedIndex ?? 0;
  }
  /** Main knows that so much is applied: of a change of the configuration it hears by itself. */
  get knownAppliedIndex(): number {
    return Math.max(this.appliedIndex, this.#confChangedIndex);
  }
  get openCalls(): number {
    return this.calls.open;
  }

  /** The process is gone from one moment to the next. */
  kill(): void {
    for (const thread of [this.main, this.applier, this.#walWriter, this.#flusher]) thread.kill();
    this.calls.kill();
  }

  /** Stops in order, as EtcdServer does, once the core is there; `done` when everything is closed. */
  stop(done: () => void): void {
    const [core, wal, applyThread] = [this.#core!, this.#wal!, this.#applyThread!];
    this.#stopping = true;
    this.calls.stop();
    core.end();
    const stopAll = async (): Promise<void> => {
      await applyThread.handle({ type: "stop" });
      await wal.close();
      done();
    };
    stopAll().catch((error: unknown) => this.member.processFailed(this, error));
  }

  /** Milliseconds that never go back. */
  readonly #nowMs = (): number => this.member.clock.monotonicMs(this.member.world.timeline.now);

  async #boot(): Promise<void> {
    const { member } = this;
    const log = new ReplayedLog();
    let ready: Ready;
    if (member.bootstrapped) {
      this.#wal = await Wal.open(this.#walOptions(), this.#doors());
      member.recovered();
      await this.#wal.replay(log);
      ready = await this.#startApply(log.mark);
      member.checkHalvesFit(log, ready.consistentIndex);
    } else {
      member.wipe();
      ready = await this.#startApply({ index: 0, term: 0 });
      await this.#createLog(log);
      member.bootstrapped = true;
    }
    this.#run(log, ready);
  }

  /** The first entries are durable before anything else happens. */
  async #createLog(log: ReplayedLog): Promise<void> {
    const { member } = this;
    const wal = await Wal.create(
      this.#walOptions(),
      encodeLogMetadata({ identity: member.identity, pairId: new Uint8Array(pairIdBytes) }),
      this.#doors(),
    );
    this.#wal = wal;
    if (member.joins) return;
    const first = firstEntries(member.world.founders);
    log.entriesRecord(first);
    log.hardStateRecord({ term: 1, vote: 0n, commit: first.lastIndex });
    const durable = new Promise<void>((resolve) => (this.#firstDurable = resolve));
    wal.append({ batches: log.batches, hardState: log.hardState, token: 0 });
    await durable;
  }
  #firstDurable: (() => void) | null = null;

  #walOptions(): { dir: string; onDurable: (token: number) => void; onFatal: () => void } {
    return {
      dir: "",
      onDurable: (token) => {
        this.#firstDurable?.();
        this.#firstDurable = null;
        this.#core?.onDurable(token);
      },
      onFatal: () => this.member.exit("the log's disk failed"),
    };
  }

  #doors(): ReturnType<typeof logDoors> {
    const { disk, manner, world } = this.member;
    return logDoors({
      disk,
      manner,
      timeline: world.timeline,
      chance: world.diskChance,
      writer: this.#walWriter,
      owner: this.main,
      point: (point) => this.member.faultPoint(point),
      synced: () => {},
      happened: (what) => world.happened.note(what),
      released: (index) => world.checker.released(this.member, index, this.member.backend.flushedIndex),
    });
  }

  /** Starts the apply thread on the member's backend. */
  async #startApply(mark: InstallMark): Promise<Ready> {
    const { member } = this;
    const { world } = member;
    let ready: Ready | null = null;
    const post = (message: FromApply): void => {
      if (message.type === "ready") ready = message;
      else this.#posted(message);
    };
    const toApply = new SimulatedMailbox(this.applier, world.threadChance, () => this.#applyThread?.wake());
    const apply = new ApplySide(toApply, {
      handed: (batch, callIds) => this.#handed(batch, callIds),
      progress: () => this.#core?.onProgress(),
      leases: (view, start) => this.#core?.leases.events(view, start),
    });
    const toMain = new SimulatedMailbox(this.main, world.threadChance, apply.received);
    apply.toMain = toMain;
    this.#apply = apply;
    this.#applyThread = await ApplyThread.start(
      { ...this.#applyInit(), mark },
      {
        post,
        fromMain: toApply,
        toMain,
        reply: (bytes, length) => this.calls.replied(parseReplies(bytes, length)),
        crc32c,
        schedule: (run) => this.applier.run(world.threadChance.around(member.applyTurnMs), run),
        sleep: (milliseconds) => new Promise((resolve) => this.applier.run(milliseconds, resolve)),
        after: (milliseconds, run) => this.applier.run(milliseconds, run),
        prng: world.raftChance.prng,
        clock: { now: this.#nowMs },
        registry: new Registry(),
        logger: silentLogger,
        openBackend: ({ onCommit }) => this.#openBackend(onCommit),
      },
    );
    member.storeRead();
    this.#applyThread.wake();
    if (ready === null) throw new Error("apply did not tell that it is ready");
    return ready;
  }

  #applyInit(): ApplyInit {
    const { identity, world } = this.member;
    return {
      ...identity,
      backendPath: "",
      snapshotDir: "",
      methods,
      toApply: 0,
      toMain: 0,
      quotaBackendBytes: 0,
      backendBatchLimit: 10_000,
      backendBatchIntervalMs: 100,
      maxLearners: 1,
      watchProgressNotifyIntervalMs: world.scenario.watchProgressMs ?? 0,
      warningApplyDurationMs: Number.MAX_SAFE_INTEGER,
      logLevel: world.config.logLevel,
    };
  }

  /** The backend flushes some time after a change, as its disk has it. */
  #openBackend(onCommit: (report: CommitReport) => void): Backend {
    const { member } = this;
    const { world, backend } = member;
    let scheduled = false;
    const flush = (): void => {
      scheduled = false;
      member.faultPoint("beforeFlush");
      if (!this.#flusher.alive) return;
      backend.flushNow();
      world.checker.flushed(member, backend.flushedIndex);
      member.faultPoint("afterFlush");
      const report = { changes: 1, bytes: 1, seconds: 0.01, writeSeconds: 0.005, flushedIndex: backend.flushedIndex };
      this.applier.run(world.diskChance.around(3), () => onCommit(report));
    };
    observeInstall(member, backend, this.applier);
    const schedule = (): void => {
      if (scheduled) return;
      scheduled = true;
      this.#flusher.run(member.manner.flushMs * (0.5 + world.diskChance.fraction()), flush);
    };
    observeState(backend, (index, term, digest) => {
      world.checker.applied(member, index, term, digest);
      schedule();
    });
    // A compaction waits for what no entry follows.
    const flushed = MemoryBackend.prototype.flush;
    backend.flush = () => {
      schedule();
      return flushed.call(backend);
    };
    return backend;
  }

  /** Apply's port to main: in order, apart from the mailbox. */
  #posted(message: Exclude<FromApply, { type: "ready" }>): void {
    const { world, checker } = { world: this.member.world, checker: this.member.world.checker };
    if (message.type === "fatal") return this.#applyFailed(message);
    const { type } = message;
    if (type === "log" || type === "metrics" || type === "stopped" || type === "flushed" || type === "hashes") return;
    if (message.type === "confChange") checker.confChanged(this.member, message);
    const { now } = world.timeline;
    this.#lastPost = Math.max(this.#lastPost, now + world.threadChance.around(0.05));
    this.main.run(this.#lastPost - now, () => {
      if (message.type === "confChange") this.#confChangedIndex = message.index;
      this.#core?.onApplyEvent(message);
    });
  }

  /** Apply cannot go on; it may be as it should, where it has met damage. */
  #applyFailed({ message, stack }: Extract<FromApply, { type: "fatal" }>): void {
    const { member } = this;
    if (member.storeDamage !== null && message.includes("fails its checksum")) member.refuse(this);
    else throw new Error(`apply failed: ${stack}`);
  }

  #handed(batch: EntryBatch, callIds: Uint32Array): void {
    this.member.world.checker.handedToApply(this.member, batch);
    this.calls.handed(batch, callIds);
  }

  #run(log: ReplayedLog, ready: Ready): void {
    const { member } = this;
    const { world, identity } = member;
    const wal = this.#wal!;
    Object.assign(this.#apply!.progress, { appliedIndex: ready.consistentIndex, flushedIndex: ready.consistentIndex });
    this.#core = new MemberCore(
      {
        config: { ...world.config, name: member.name },
        identity,
        wal: {
          append: (work: WalAppend) => {
            for (const batch of work.batches) world.checker.appended(member, batch);
            if (work.hardState !== null) world.checker.hardStateWritten(member, work.hardState);
            wal.append(work);
          },
          appendSnapshotMark: (mark, token) => void wal.appendSnapshotMark(mark, token),
          appendInstall: (mark, hardState, token) => void wal.appendInstall(mark, hardState, token),
          release: (index) => wal.release(index),
        },
        apply: this.#apply!,
        transport: { send: (messages) => this.#send(messages) },
        peers: simulatedPeers(this),
        sendSnapshot: (message) => this.#sendSnapshot(message),
        replies: this.calls.replies,
        logger: silentLogger,
        prng: world.raftChance.prng,
        limits: world.scenario.limits,
        leaseCheckpointMs: world.scenario.leaseCheckpointMs ?? 0,
        nowMs: this.#nowMs,
        startMs: member.clock.wallMs(world.timeline.now),
        fatal: (message) => world.fail("a member can go on", `${member.name}: ${message}`),
        unblocked: () => this.calls.wake(),
        wallMs: () => member.clock.wallMs(world.timeline.now),
        stateChanged: () => this.#leaderChanged(),
        removed: () => member.leave(),
      },
      { log, ready },
    );
    this.calls.begin(this.#core);
    this.#core.begin();
    this.#tick();
    this.calls.wake();
    member.started();
  }

  #leaderChanged(): void {
    const { world } = this.member;
    const core = this.#core;
    if (core?.isLeader === true) world.leaseChecks.promoted(this.member, core.term, this.appliedIndex);
  }

  #tick(): void {
    const { world, clock } = this.member;
    this.main.run(world.config.heartbeatInterval / clock.rate, () => {
      if (this.#stopping) return;
      this.#core!.tick();
      this.calls.tick();
      this.#traceRole();
      this.#tick();
    });
  }

  #traceRole(): void {
    const { isLeader, term } = this.#core!;
    this.member.world.trace?.leads(this.member, isLeader ? term : 0);
  }

  #send(messages: readonly Message[]): void {
    const { member } = this;
    for (const message of messages) {
      member.world.checker.sent(member, message);
      member.world.network.send(member, message);
    }
  }

  /** Sends what the store's disk holds now, as EtcdServer does. */
  #sendSnapshot(message: Message): Promise<void> {
    const { member } = this;
    const file = member.backend.crashed();
    // Building the file reads everything.
    if (member.storeDamage !== null) wholeDigest(file, smallBuckets);
    const confState = parseConfState(file.get(Bucket.Meta, metaKey.confState)!);
    const snapshot = { ...message.snapshot!, index: file.consistentIndex, term: file.term, confState };
    const sent = { ...message, snapshot };
    member.world.checker.sent(member, sent);
    return new Promise((resolve, reject) => {
      member.world.network.sendSnapshot(member, sent, file, (delivered) =>
        this.main.run(0, () => (delivered ? resolve() : reject(new Error("not delivered")))),
      );
    });
  }

  /** A message with a snapshot's file arrives: it is taken once the file is on the disk. `stored` hears of that. */
  receiveSnapshot(message: Message, file: MemoryBackend, stored: () => void): void {
    const { member } = this;
    const { manner, world } = member;
    this.#flusher.run(10 * manner.syncMs * (0.5 + world.diskChance.fraction()), () => {
      member.snapshots.set(snapshotPath("", message.snapshot!.index), file);
      member.faultPoint("snapshotStored");
      if (!this.#flusher.alive) return;
      stored();
      this.deliver(message);
    });
  }

  /** A message from another member arrives. */
  deliver(message: Message): void {
    this.main.run(0, () => {
      if (this.#core === null || this.#stopping) return;
      const result = this.#core.receive(message);
      this.#traceRole();
      this.member.world.received(this.member, message, result);
    });
  }
}
