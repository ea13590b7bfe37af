/**
 * One member on this machine: its data folder, WAL and apply thread, the clock, and the core that runs on them.
 * Thread: main.
 */
import { statfs } from "node:fs/promises";
import { AlarmBoard, SeededPrng, type Logger } from "../base/index.js";
import { hasFeature, type Config } from "../config/index.js";
import { memberIdText } from "../membership/index.js";
import { registry } from "../metrics/index.js";
import { collectGarbage, releaseMemory } from "../native/index.js";
import { SnapshotClient } from "../storage/snap/index.js";
import type { WalStats } from "../storage/wal/index.js";
import type { ApplyClient } from "./apply-client.js";
import { Defragmentations } from "./defragmentations.js";
import { DiskSpace } from "./disk-space.js";
import { IdleMemory } from "./idle-memory.js";
import { MemberCore } from "./member-core.js";
import { noPeers } from "./peers.js";
import { Replies } from "./replies.js";
import { NoPeers, sendSnapshot, type PeerTransport } from "./peer-snapshots.js";
import { removeOldSnapshots, SnapshotReceiver } from "./snapshot-receiver.js";
import type { FatalHandler } from "./member-surroundings.js";
import { openStorage, type OpenedStorage } from "./storage.js";

/** What the server needs of its surroundings. */
export interface ServerSurroundings {
  readonly config: Config;
  /** Paths of the edge's methods, by method index. */
  readonly methods: readonly string[];
  readonly logger: Logger;
  /** The data folder is this process's own from now on; what needs it may start beside the member. */
  readonly dataDirHeld: () => void;
  /** The member cannot go on: log and end the process. */
  readonly fatal: FatalHandler;
  /** The way to other members; without it there are none. */
  readonly transport?: PeerTransport;
  /** Memory of an `AlarmBoard`, if somebody reads one. */
  readonly alarmBoard?: SharedArrayBuffer;
  /** As in `MemberSurroundings`. */
  readonly leaseCheckpointMs?: number;
  /** More calls may be taken again, after `blocked` was true. */
  readonly unblocked: () => void;
  /** Leader, alarms or cluster version have changed. */
  readonly stateChanged: () => void;
  /** The member was removed from its cluster, and should stop. */
  readonly removed: () => void;
}

/** Time between two looks at the free disk space. */
const spaceIntervalMs = 1000;
/** Time between two looks at whether memory should be given back. */
const memoryIntervalMs = 1000;

/** What `start` has made. */
interface ServerParts {
  readonly surroundings: ServerSurroundings;
  readonly storage: OpenedStorage;
  readonly core: MemberCore;
  readonly snapshots: SnapshotClient;
  readonly replies: Replies;
  readonly defragmentations: Defragmentations;
  readonly space: DiskSpace;
  /** From now on the core hears of nothing any more. */
  readonly detach: () => void;
}

export class EtcdServer {
  readonly config: Config;
  readonly memberId: bigint;
  readonly clusterId: bigint;
  readonly replies: Replies;
  /** Those that clients ask for. */
  readonly defragmentations: Defragmentations;
  /** Proposals, reads, and what Raft says. */
  readonly core: MemberCore;
  /** The store as a file, for Maintenance.Snapshot. */
  readonly snapshots: SnapshotClient;
  /** Takes snapshots from other members. */
  readonly snapshotReceiver: SnapshotReceiver;
  readonly #storage: OpenedStorage;
  readonly #logger: Logger;
  readonly #ticker: NodeJS.Timeout;
  readonly #spaceTimer: NodeJS.Timeout;
  readonly #memoryTimer: NodeJS.Timeout;
  readonly #detach: () => void;

  /** Opens or makes the member's data and starts it; resolves when Raft runs (not yet: when it serves). */
  static async start(surroundings: ServerSurroundings): Promise<EtcdServer> {
    let core: MemberCore | null = null;
    const space = new DiskSpace({
      freeBytes: () => freeBytes(surroundings.config.dataDir),
      report: (low) => core?.space.diskSpace(low),
      failed: (error) => surroundings.logger.warn("failed to read the free disk space", { error: String(error) }),
    });
    const replies = new Replies();
    const defragmentations = new Defragmentations(replies);
    const storage = await openStorage(surroundings, {
      durable: (token) => core?.onDurable(token),
      progress: () => core?.onProgress(),
      leases: (view, start) => core?.leases.events(view, start),
      event: (event) => {
        if (event.type === "defragmenting" || event.type === "defragmented") return defragmentations.told(event);
        core?.onApplyEvent(event);
        if (event.type === "installed") void removeOldSnapshots(storage.dataDir.paths.snapDir, event.index);
      },
      space: (low) => space.log(low),
    });
    const snapshots = makeSnapshots(surroundings, storage);
    core = makeCore(surroundings, storage, snapshots, replies);
    void removeOldSnapshots(storage.dataDir.paths.snapDir, storage.ready.consistentIndex);
    // A new member has nothing that could be wrong yet.
    if (!storage.dataDir.fresh && hasFeature(surroundings.config, "InitialCorruptCheck"))
      await core.corruption?.initial();
    core.begin();
    const detach = (): void => {
      core = null;
    };
    return new EtcdServer({ surroundings, storage, core, snapshots, replies, defragmentations, space, detach });
  }

  private constructor({
    surroundings,
    storage,
    core,
    snapshots,
    replies,
    defragmentations,
    space,
    detach,
  }: ServerParts) {
    this.config = surroundings.config;
    this.memberId = storage.identity.memberId;
    this.clusterId = storage.identity.clusterId;
    this.replies = replies;
    this.defragmentations = defragmentations;
    this.#storage = storage;
    this.#logger = surroundings.logger;
    this.core = core;
    this.#detach = detach;
    this.snapshots = snapshots;
    this.snapshotReceiver = new SnapshotReceiver({
      directory: storage.dataDir.paths.snapDir,
      step: (message) => core.receiveSnapshot(message),
      registry,
      logger: surroundings.logger,
    });
    this.#ticker = setInterval(() => core.tick(), this.config.heartbeatInterval);
    this.#spaceTimer = setInterval(() => void space.look(), spaceIntervalMs);
    const release = (): void => void releaseMemory();
    const memory = new IdleMemory({ intervalMs: memoryIntervalMs, cpuMs, collect: collectGarbage, release });
    this.#memoryTimer = setInterval(() => memory.look(), memoryIntervalMs);
    void space.look();
  }

  /** What apply last told of its progress. */
  get applied(): Readonly<ApplyClient["progress"]> {
    return this.#storage.apply.progress;
  }
  get walStats(): WalStats {
    return this.#storage.wal.stats();
  }

  /** Apply's metrics in text form. */
  applyMetrics(): Promise<string> {
    return this.#storage.apply.metrics();
  }

  /** Stops in order: another member leads, no more ticks, the log durable, apply flushed, everything closed. */
  async stop(): Promise<void> {
    await this.#leave();
    clearInterval(this.#ticker);
    clearInterval(this.#spaceTimer);
    clearInterval(this.#memoryTimer);
    this.core.end();
    await this.snapshots.stop();
    await this.#storage.apply.stop();
    // What becomes durable now must not make Raft write more.
    this.#detach();
    await this.#storage.wal.close();
    this.#storage.dataDir.release();
  }

  /** Hands leadership over, if this member has it and somebody can take it. */
  #leave(): Promise<void> {
    return new Promise((resolve) => {
      this.core.cluster.transfer.leave((error) => {
        const fields = { "local-member-id": memberIdText(this.memberId), error: error?.message };
        if (error !== null) this.#logger.warn("leadership transfer failed", fields);
        resolve();
      });
    });
  }
}

/** Processor time that the process has used, in ms. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Bytes that an ordinary user may still write in the file system of `path`. */
async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}

function makeSnapshots({ logger, fatal }: ServerSurroundings, { dataDir, apply }: OpenedStorage): SnapshotClient {
  return new SnapshotClient({ directory: dataDir.paths.dbDir, flush: () => apply.flush(), logger, fatal });
}

function makeCore(
  surroundings: ServerSurroundings,
  storage: OpenedStorage,
  snapshots: SnapshotClient,
  replies: Replies,
): MemberCore {
  const { config, logger, fatal, unblocked, stateChanged, removed, leaseCheckpointMs, alarmBoard } = surroundings;
  const transport = surroundings.transport ?? new NoPeers(logger);
  const { identity, wal, apply, log, ready } = storage;
  const startMs = Date.now();
  return new MemberCore(
    {
      config,
      identity,
      wal,
      apply,
      replies,
      logger,
      transport,
      peers: noPeers,
      hashes: apply,
      sendSnapshot: (message) => sendSnapshot(message, { openFile: () => snapshots.openFile(), transport, logger }),
      prng: new SeededPrng(Number(identity.memberId & 0xffff_ffffn) * 2 ** 20 + (startMs % 2 ** 20)),
      nowMs: () => performance.now(),
      leaseCheckpointMs,
      alarmBoard: alarmBoard && new AlarmBoard(alarmBoard),
      startMs,
      wallMs: () => Date.now(),
      fatal,
      unblocked,
      stateChanged,
      removed,
    },
    { log, ready },
  );
}
