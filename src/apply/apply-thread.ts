/**
 * The apply thread from start to end: opens the backend and the store, tells main that it is ready, runs turns,
 * and closes when main says so. `apply.worker.ts` gives it its surroundings.
 */
import { AlarmBoard, SeededPrng, type Logger, type Prng } from "../base/index.js";
import { LeaseTable } from "../lease/index.js";
import { MembershipStore } from "../membership/index.js";
import type { Registry } from "../metrics/index.js";
import { ReplyBatchWriter } from "../native/index.js";
import { LmdbBackend, lmdbBackendDefaults, type Backend, type CommitReport } from "../storage/backend/index.js";
import { MvccStore, type KeyValueHash, type MvccStoreOptions } from "../storage/mvcc/index.js";
import { startRebuildThread } from "../storage/snap/index.js";
import { AlarmStore } from "./alarm-store.js";
import { Applier } from "./applier.js";
import { ApplyLoop, type Inbox, type Outbox } from "./apply-loop.js";
import type { Clock } from "./clock.js";
import { Compactor, type CompactorOptions } from "./compactor.js";
import type { ApplyInit, FromApply, ToApply } from "./control.js";
import { defragmentAtStart, Defragmenter } from "./defragmenter.js";
import type { KvCounts } from "./kv-writer.js";
import { LeaseEvents } from "./lease-events.js";
import { ApplyMetrics } from "./metrics.js";
import { defaultQuotaBytes } from "./quota.js";
import { OneAtATime } from "./one-at-a-time.js";
import { Reads } from "./reads.js";
import { HeaderWriter } from "./response.js";
import { installAtStart, SnapshotInstaller, type SnapshotInstallerOptions } from "./snapshot-installer.js";
import { Watches } from "./watch/index.js";

/** etcd's defaults, where nothing is said. */
const progressIntervalMs = 600_000;
const maxRequestBytes = 1_572_864;
const leaseTtlMin = 2;
/** gRPC's own share of a message. */
const grpcOverheadBytes = 512 << 10;

export interface ApplySurroundings {
  readonly post: (message: FromApply) => void;
  readonly fromMain: Inbox;
  readonly toMain: Outbox;
  readonly reply: (bytes: Uint8Array, length: number) => void;
  /** Likewise of what may wait for other replies: all that goes to watches. */
  readonly replyInBulk?: (bytes: Uint8Array, length: number) => void;
  /** Bytes of replies that clients have not taken yet. */
  readonly pendingReplyBytes?: () => number;
  readonly crc32c: (crc: number, bytes: Uint8Array) => number;
  /** Runs a function after what else waits on this thread. */
  readonly schedule: (run: () => void) => void;
  /** Resolves after so long; without it, after what else waits on this thread. */
  readonly sleep?: (milliseconds: number) => Promise<void>;
  readonly clock: Clock;
  /** Runs a function once, after so many milliseconds; without it no progress is notified on its own. */
  readonly after?: (milliseconds: number, run: () => void) => void;
  /** Chance for what need not be equal on all members. */
  readonly prng?: Prng;
  readonly registry: Registry;
  readonly logger: Logger;
  /** Opens the state in place of LMDB: a simulation's, in memory. */
  readonly openBackend?: (events: BackendEvents) => Backend;
}

/** What a backend tells the thread that has opened it. */
export interface BackendEvents {
  /** The disk has failed: nothing more may be applied. Called once. */
  readonly onFatal: (error: Error) => void;
  /** A transaction has ended, or been flushed. */
  readonly onCommit: (report: CommitReport) => void;
}

/** The state once it is open. */
interface Opened {
  readonly backend: Backend;
  readonly store: MvccStore;
  readonly leases: LeaseTable;
  readonly metrics: ApplyMetrics;
}

export class ApplyThread {
  readonly #surroundings: ApplySurroundings;
  readonly #backend: Backend;
  readonly #loop: ApplyLoop;
  readonly #compactor: Compactor;
  readonly #store: MvccStore;
  readonly #reads: Reads;
  #failed = false;

  /** Opens the state, which takes as long as reading all keys; then main hears "ready". */
  static async start(init: ApplyInit, surroundings: ApplySurroundings): Promise<ApplyThread> {
    const metrics = new ApplyMetrics(surroundings.registry);
    const { timeOrigin = 0 } = surroundings.clock;
    metrics.mainClockOffsetMs = (init.mainTimeOrigin ?? timeOrigin) - timeOrigin;
    let thread: ApplyThread | null = null;
    const openBackend = surroundings.openBackend ?? ((events) => openLmdb(init, events));
    const backend = openBackend({
      onFatal: (error) => (thread === null ? postFatal(surroundings, error, true) : thread.#fail(error, true)),
      onCommit: (report) => {
        metrics.committed(report);
        thread?.committed();
      },
    });
    const { clock, logger } = surroundings;
    const defragment = { backend, metrics, clock, logger, path: init.backendPath };
    await installAtStart(init.mark, { backend, snapshotDir: init.snapshotDir, logger });
    await defragmentAtStart(init.bootstrapDefragBytes ?? 0, defragment);
    const leases = new LeaseTable(backend, init.leaseTtlMin ?? leaseTtlMin);
    const store = await MvccStore.open({
      backend,
      keyLeases: leases,
      ...mvccSurroundings(surroundings),
    });
    thread = new ApplyThread(init, surroundings, { backend, store, leases, metrics });
    return thread;
  }

  private constructor(init: ApplyInit, surroundings: ApplySurroundings, opened: Opened) {
    const { quotaBackendBytes, warningApplyDurationMs, clusterId, methods } = init;
    const { post, schedule, reply, fromMain, toMain } = surroundings;
    const { store, leases, backend, metrics } = opened;
    const leaseEvents = new LeaseEvents();
    leases.tellAll(leaseEvents);
    const restoredLeases = leaseEvents.take();
    leases.observer = leaseEvents;
    this.#surroundings = surroundings;
    this.#backend = backend;
    this.#store = store;
    const shared = sharedParts(init, surroundings, opened);
    const { membership, alarms, replies, localId } = shared;
    const wake = (): void => this.#loop.wake();
    const tellProgress = (): void => this.#loop.tellProgress();
    const fatal = (error: unknown): void => this.#fail(error, false);
    const compactor = newCompactor(init, surroundings, shared, { isBusy: () => applier.isBusy, wake, fatal });
    this.#compactor = compactor;
    const yieldNow = (): Promise<void> => new Promise((resolve) => schedule(resolve));
    const slices = { send: reply, yield: yieldNow, fatal };
    const applier = newApplier(init, surroundings, { ...shared, compactor });
    const { counts } = applier;
    const watches = newWatches(init, surroundings, { ...shared, counts }, wake);
    const rebuilds = new OneAtATime();
    const defragmenter = new Defragmenter({
      ...shared,
      compactor,
      rebuilds,
      path: init.backendPath,
      post,
      tellProgress,
    });
    const installer = newInstaller(init, surroundings, { ...shared, applier, compactor, watches, rebuilds });
    const reads = new Reads({
      ...shared,
      watches,
      compactor,
      defragmenter,
      streamMessageBytes: init.maxRequestBytes,
      clusterId,
      methods,
      counts,
      warningApplyDurationMs,
      ...slices,
      pendingReplyBytes: surroundings.pendingReplyBytes,
      after: surroundings.after,
      post,
      wake,
    });
    this.#reads = reads;
    const leasesRevoked = (): number => applier.leasesRevoked;
    metrics.attach({ store, backend, membership, localId, quotaBackendBytes, counts, leasesRevoked });
    this.#loop = new ApplyLoop({
      applier,
      reads,
      watches,
      store,
      backend,
      leaseEvents,
      installer,
      replies,
      fromMain,
      toMain,
      reply,
      schedule,
      fatal,
    });
    this.#postReady(store, membership, alarms, restoredLeases);
    compactor.resume();
  }

  /** The backend has flushed a commit. */
  committed(): void {
    this.#loop.committed();
  }

  /** Messages have come from main. */
  wake(): void {
    this.#loop.wake();
  }

  /** Handles a message of main's port; true when the thread has ended. */
  async handle(message: ToApply): Promise<boolean> {
    switch (message.type) {
      case "metrics":
        this.#surroundings.post({ type: "metrics", id: message.id, text: this.#surroundings.registry.text() });
        return false;
      case "flush":
        this.#flush(message.id);
        return false;
      case "hashNow":
        void this.#reads.hashes.now().then((hash) => this.#postHashes(message.id, [hash]));
        return false;
      case "keptHashes":
        this.#postHashes(message.id, this.#store.compactionHashes.all());
        return false;
      case "stop":
        await this.#stop();
        return true;
    }
  }

  #flush(id: number): void {
    this.#backend.flush().then(
      () => this.#surroundings.post({ type: "flushed", id }),
      // The backend has said so to `onFatal`.
      () => {},
    );
  }

  #postHashes(id: number, hashes: readonly KeyValueHash[]): void {
    this.#surroundings.post({ type: "hashes", id, currentRevision: this.#store.currentRevision, hashes });
  }

  async #stop(): Promise<void> {
    try {
      await this.#loop.drain();
      this.#loop.end();
      this.#compactor.stop();
      await this.#backend.close();
      this.#surroundings.post({ type: "stopped", flushedIndex: this.#backend.flushedIndex });
    } catch (error) {
      this.#fail(error, false);
    }
  }

  #postReady(store: MvccStore, membership: MembershipStore, alarms: AlarmStore, leases: Uint8Array): void {
    this.#surroundings.post({
      type: "ready",
      consistentIndex: this.#backend.consistentIndex,
      term: this.#backend.term,
      revision: store.currentRevision,
      compactRevision: store.compactRevision,
      confState: membership.confState,
      members: membership.sortedMembers(),
      removedMembers: [...membership.removed],
      clusterVersion: membership.clusterVersion,
      downgrade: membership.downgrade,
      alarms: alarms.all,
      leases,
    });
  }

  #fail(error: unknown, kill: boolean): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#loop.end();
    this.#compactor.stop();
    postFatal(this.#surroundings, error, kill);
  }
}

/** What the applier, the compactor, the reads and the watches have in common. */
type SharedParts = ReturnType<typeof sharedParts>;

function sharedParts(init: ApplyInit, { clock, logger }: ApplySurroundings, opened: Opened) {
  const { memberId: localId, clusterId, maxLearners: learnersMax, quotaBackendBytes } = init;
  const { backend } = opened;
  const membershipLogger = logger.named("membership");
  return {
    ...opened,
    membership: new MembershipStore({ backend, localId, clusterId, learnersMax, logger: membershipLogger }),
    alarms: new AlarmStore(backend, init.alarmBoard && new AlarmBoard(init.alarmBoard)),
    replies: new ReplyBatchWriter(),
    header: new HeaderWriter(clusterId, localId),
    localId,
    quotaBackendBytes,
    clock,
    logger,
  };
}

function newCompactor(
  init: ApplyInit,
  { schedule, sleep, logger }: ApplySurroundings,
  shared: SharedParts,
  thread: Pick<CompactorOptions, "isBusy" | "wake" | "fatal">,
): Compactor {
  const yieldNow = (): Promise<void> => new Promise((resolve) => schedule(resolve));
  return new Compactor({
    ...shared,
    ...thread,
    batchLimit: init.compactionBatchLimit,
    sleepMs: init.compactionSleepMs,
    sleep: sleep ?? yieldNow,
    yield: yieldNow,
    logger: logger.named("mvcc"),
  });
}

function mvccSurroundings({ schedule, crc32c }: ApplySurroundings): Pick<MvccStoreOptions, "yield" | "crc32c"> {
  return { yield: () => new Promise((resolve) => schedule(resolve)), crc32c };
}

function newApplier(
  { warningApplyDurationMs, leaseCheckpointPersist }: ApplyInit,
  { reply, post }: ApplySurroundings,
  parts: SharedParts & { readonly compactor: Compactor },
): Applier {
  return new Applier({ ...parts, send: reply, warningApplyDurationMs, leaseCheckpointPersist, post });
}

function newInstaller(
  init: ApplyInit,
  surroundings: ApplySurroundings,
  parts: Omit<SnapshotInstallerOptions, "mvcc" | "leaseTtlMin" | "snapshotDir" | "post">,
): SnapshotInstaller {
  return new SnapshotInstaller({
    ...parts,
    mvcc: mvccSurroundings(surroundings),
    leaseTtlMin: init.leaseTtlMin ?? leaseTtlMin,
    snapshotDir: init.snapshotDir,
    post: surroundings.post,
  });
}

function newWatches(
  init: ApplyInit,
  { reply, replyInBulk, prng, registry, after }: ApplySurroundings,
  { store, backend, clock, localId, counts }: SharedParts & { readonly counts: KvCounts },
  wake: () => void,
): Watches {
  return new Watches({
    store,
    backend,
    header: new HeaderWriter(init.clusterId, localId),
    send: replyInBulk ?? reply,
    wake,
    clock,
    prng: prng ?? new SeededPrng(0),
    registry,
    counts,
    fragmentBytesMax: (init.maxRequestBytes ?? maxRequestBytes) + grpcOverheadBytes,
    progressIntervalMs: init.watchProgressNotifyIntervalMs || progressIntervalMs,
    after: after ?? (() => {}),
  });
}

function openLmdb(init: ApplyInit, events: BackendEvents): Backend {
  return LmdbBackend.open({
    ...lmdbBackendDefaults,
    directory: init.backendPath,
    batchIntervalMs: init.backendBatchIntervalMs,
    batchChangesMax: init.backendBatchLimit,
    quotaBytes: init.quotaBackendBytes > 0 ? init.quotaBackendBytes : defaultQuotaBytes,
    startRebuild: startRebuildThread,
    ...events,
  });
}

/** Tells main why the member must end. */
export function postFatal(surroundings: Pick<ApplySurroundings, "post">, error: unknown, kill: boolean): void {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  surroundings.post({ type: "fatal", message, stack: stack ?? "", kill });
}
