/**
 * One member on this machine: its data folder, WAL and apply thread, the clock, and the core that runs on them.
 * Thread: main.
 */
import { statfs } from "node:fs/promises";
import { SeededPrng, type Logger } from "../base/index.js";
import type { Config } from "../config/index.js";
import { memberIdText } from "../membership/index.js";
import type { Message } from "../raft/index.js";
import { SnapshotClient } from "../storage/snap/index.js";
import type { WalStats } from "../storage/wal/index.js";
import type { ApplyClient } from "./apply-client.js";
import { DiskSpace } from "./disk-space.js";
import { MemberCore } from "./member-core.js";
import { noPeers } from "./peers.js";
import { Replies } from "./replies.js";
import { openStorage, type FatalHandler, type OpenedStorage } from "./storage.js";

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
  /** More calls may be taken again, after `blocked` was true. */
  readonly unblocked: () => void;
  /** Leader, alarms or cluster version have changed. */
  readonly stateChanged: () => void;
  /** The member was removed from its cluster, and should stop. */
  readonly removed: () => void;
}

/** Time between two looks at the free disk space. */
const spaceIntervalMs = 1000;

/** What `start` has made. */
interface ServerParts {
  readonly surroundings: ServerSurroundings;
  readonly storage: OpenedStorage;
  readonly core: MemberCore;
  readonly replies: Replies;
  readonly space: DiskSpace;
  /** From now on the core hears of nothing any more. */
  readonly detach: () => void;
}

export class EtcdServer {
  readonly config: Config;
  readonly memberId: bigint;
  readonly clusterId: bigint;
  readonly replies: Replies;
  /** Proposals, reads, and what Raft says. */
  readonly core: MemberCore;
  /** The store as a file, for Maintenance.Snapshot. */
  readonly snapshots: SnapshotClient;
  readonly #storage: OpenedStorage;
  readonly #logger: Logger;
  readonly #ticker: NodeJS.Timeout;
  readonly #spaceTimer: NodeJS.Timeout;
  readonly #detach: () => void;

  /** Opens or makes the member's data and starts it; resolves when Raft runs (not yet: when it serves). */
  static async start(surroundings: ServerSurroundings): Promise<EtcdServer> {
    let core: MemberCore | null = null;
    const space = new DiskSpace({
      freeBytes: () => freeBytes(surroundings.config.dataDir),
      report: (low) => core?.onDiskSpace(low),
      failed: (error) => surroundings.logger.warn("failed to read the free disk space", { error: String(error) }),
    });
    const storage = await openStorage(surroundings, {
      durable: (token) => core?.onDurable(token),
      progress: () => core?.onProgress(),
      leases: (view, start) => core?.leases.events(view, start),
      event: (event) => core?.onApplyEvent(event),
      space: (low) => space.log(low),
    });
    const replies = new Replies();
    core = makeCore(surroundings, storage, replies);
    core.begin();
    const detach = (): void => {
      core = null;
    };
    return new EtcdServer({ surroundings, storage, core, replies, space, detach });
  }

  private constructor({ surroundings, storage, core, replies, space, detach }: ServerParts) {
    this.config = surroundings.config;
    this.memberId = storage.identity.memberId;
    this.clusterId = storage.identity.clusterId;
    this.replies = replies;
    this.#storage = storage;
    this.#logger = surroundings.logger;
    this.core = core;
    this.#detach = detach;
    this.snapshots = new SnapshotClient({
      directory: storage.dataDir.paths.dbDir,
      flush: () => storage.apply.flush(),
      logger: surroundings.logger,
      fatal: surroundings.fatal,
    });
    this.#ticker = setInterval(() => core.tick(), this.config.heartbeatInterval);
    this.#spaceTimer = setInterval(() => void space.look(), spaceIntervalMs);
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

/** Bytes that an ordinary user may still write in the file system of `path`. */
async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}

function makeCore(surroundings: ServerSurroundings, storage: OpenedStorage, replies: Replies): MemberCore {
  const { config, logger, unblocked, stateChanged, removed } = surroundings;
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
      transport: { send: (messages) => warnOfMessages(messages, logger) },
      peers: noPeers,
      prng: new SeededPrng(Number(identity.memberId & 0xffff_ffffn) * 2 ** 20 + (startMs % 2 ** 20)),
      nowMs: () => performance.now(),
      startMs,
      wallMs: () => Date.now(),
      unblocked,
      stateChanged,
      removed,
    },
    { log, ready },
  );
}

/** A cluster of one has nobody to send to; the transport between members comes with clusters. */
function warnOfMessages(messages: readonly Message[], logger: Logger): void {
  for (const { to, type } of messages) logger.warn("message without a peer", { to: memberIdText(to), type });
}
