/**
 * Opens what a member keeps: data folder, WAL and apply's backend; makes them for a new member.
 * Thread: main, at start.
 */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import type { InstallMark } from "../apply/index.js";
import { hasFeature } from "../config/index.js";
import { minimumTtl } from "../lease/index.js";
import { memberIdText } from "../membership/index.js";
import { snapshotPath } from "../storage/snap/index.js";
import { Wal, type WalOptions } from "../storage/wal/index.js";
import { ApplyClient, type ApplyEvent, type ApplyReady } from "./apply-client.js";
import {
  decodeLogMetadata,
  encodeLogMetadata,
  firstEntries,
  planNewCluster,
  ReplayedLog,
  type MemberIdentity,
  type NewCluster,
} from "./bootstrap.js";
import { DataDirError } from "./data-access.js";
import {
  beginBootstrap,
  checkPairId,
  endBootstrap,
  holdDataDir,
  pairIdBytes,
  writePairId,
  type HeldDataDir,
} from "./data-dir.js";
import type { ServerSurroundings } from "./etcd-server.js";

/** What the opened parts tell the server. */
export interface StorageHooks {
  durable(token: number): void;
  progress(): void;
  leases(view: DataView, start: number): void;
  event(event: ApplyEvent): void;
  /** The disk has no room to prepare the log's next segment, or has again. */
  space(low: boolean): void;
}

/** What `openStorage` gives. */
export interface OpenedStorage {
  readonly dataDir: HeldDataDir;
  readonly identity: MemberIdentity;
  readonly wal: Wal;
  readonly log: ReplayedLog;
  readonly apply: ApplyClient;
  readonly ready: ApplyReady;
}

/** Log segments (design: 64 MiB, as etcd's). */
const segmentBytes = 64 << 20;

/** Opens or makes everything. Throws DataDirError, WalCorruptError, BootstrapError, or what the backend says. */
export async function openStorage(surroundings: ServerSurroundings, hooks: StorageHooks): Promise<OpenedStorage> {
  const { config, logger } = surroundings;
  const dataDir = holdDataDir(config.dataDir, config.walDir, logger);
  try {
    return dataDir.fresh ? await create(surroundings, hooks, dataDir) : await reopen(surroundings, hooks, dataDir);
  } catch (error) {
    dataDir.release();
    throw error;
  }
}

/** A new member: its first entries are durable and its backend exists before anything else happens. Both are made at a time. */
async function create(
  surroundings: ServerSurroundings,
  hooks: StorageHooks,
  dataDir: HeldDataDir,
): Promise<OpenedStorage> {
  const cluster: NewCluster = planNewCluster(surroundings.config);
  beginBootstrap(dataDir.paths);
  const log = new ReplayedLog();
  const entries = firstEntries(cluster.members);
  log.entriesRecord(entries);
  log.hardStateRecord({ term: 1, vote: 0n, commit: entries.lastIndex });
  const pairId = randomBytes(pairIdBytes);
  const metadata = encodeLogMetadata({ identity: cluster, pairId });
  const parts = [
    startApply(surroundings, hooks, dataDir, cluster),
    createWal(surroundings, hooks, dataDir, metadata, log),
  ] as const;
  surroundings.dataDirHeld();
  const [{ client: apply, ready }, wal] = await Promise.all(parts);
  writePairId(dataDir.paths, pairId);
  endBootstrap(dataDir.paths);
  surroundings.logger.info("bootstrapped a new member", identityFields(cluster));
  return { dataDir, identity: cluster, wal, log, apply, ready };
}

async function createWal(
  surroundings: ServerSurroundings,
  hooks: StorageHooks,
  dataDir: HeldDataDir,
  metadata: Uint8Array,
  log: ReplayedLog,
): Promise<Wal> {
  let written: () => void = () => {};
  const durable = new Promise<void>((resolve) => (written = resolve));
  let first = true;
  const options = walOptions(surroundings, hooks, dataDir, (token) => {
    if (first) written();
    else hooks.durable(token);
    first = false;
  });
  const wal = await Wal.create(options, metadata);
  wal.append({ batches: log.batches, hardState: log.hardState, token: 0 });
  await durable;
  return wal;
}

async function reopen(
  surroundings: ServerSurroundings,
  hooks: StorageHooks,
  dataDir: HeldDataDir,
): Promise<OpenedStorage> {
  const { logger, config } = surroundings;
  logger.info("restarting local member from its data; --initial-cluster is ignored", { "data-dir": config.dataDir });
  surroundings.dataDirHeld();
  const wal = await Wal.open(walOptions(surroundings, hooks, dataDir, (token) => hooks.durable(token)));
  if (wal.cut !== null)
    logger.warn("cut a torn write, which nobody had been told of, from the end of the log", { ...wal.cut });
  const { identity, pairId } = decodeLogMetadata(wal.metadata);
  checkPairId(dataDir.paths, pairId);
  const log = new ReplayedLog();
  await wal.replay(log);
  const { client: apply, ready } = await startApply(surroundings, hooks, dataDir, identity, installable(dataDir, log));
  checkHalvesFit(dataDir, log, ready);
  logger.info("restarted local member", {
    ...identityFields(identity),
    "commit-index": log.hardState?.commit ?? 0,
    "last-index": log.lastIndex,
    "consistent-index": ready.consistentIndex,
  });
  return { dataDir, identity, wal, log, apply, ready };
}

/** The backend never runs ahead of the durable log, nor behind what the log still holds. */
function checkHalvesFit({ paths }: HeldDataDir, log: ReplayedLog, ready: ApplyReady): void {
  if (ready.consistentIndex > log.lastIndex) {
    throw new DataDirError(
      `the log in ${paths.walDir} ends at entry ${log.lastIndex}, but ${paths.dbDir} holds entries up to ${ready.consistentIndex}: ` +
        `they do not belong together, or the log was damaged. Nothing was changed.`,
    );
  }
  if (ready.consistentIndex > log.mark.index && ready.term !== log.termOf(ready.consistentIndex)) {
    throw new DataDirError(
      `entry ${ready.consistentIndex} is of term ${log.termOf(ready.consistentIndex)} in the log in ${paths.walDir}, but of term ` +
        `${ready.term} in ${paths.dbDir}: they do not belong together. Nothing was changed.`,
    );
  }
  if (ready.consistentIndex < log.mark.index) {
    throw new DataDirError(
      `the log in ${paths.walDir} begins after entry ${log.mark.index}, but ${paths.dbDir} holds entries only up to ` +
        `${ready.consistentIndex}, and the snapshot ${snapshotPath(paths.snapDir, log.mark.index)} is not there: ` +
        `they do not belong together. Nothing was changed.`,
    );
  }
}

/** The log's mark, if there is a snapshot of it, whose installation may have been cut short. */
function installable({ paths }: HeldDataDir, { mark }: ReplayedLog): InstallMark | undefined {
  return existsSync(snapshotPath(paths.snapDir, mark.index)) ? mark : undefined;
}

function startApply(
  { config, methods, logger, fatal, alarmBoard }: ServerSurroundings,
  hooks: StorageHooks,
  { paths }: HeldDataDir,
  { memberId, clusterId }: MemberIdentity,
  mark?: InstallMark,
): Promise<{ client: ApplyClient; ready: ApplyReady }> {
  return ApplyClient.start(
    {
      backendPath: paths.dbDir,
      memberId,
      clusterId,
      methods,
      quotaBackendBytes: config.quotaBackendBytes,
      backendBatchLimit: config.backendBatchLimit,
      backendBatchIntervalMs: config.backendBatchInterval,
      snapshotDir: paths.snapDir,
      ...(mark === undefined ? {} : { mark }),
      bootstrapDefragBytes: config.bootstrapDefragThresholdMegabytes * 2 ** 20,
      maxLearners: config.maxLearners,
      alarmBoard,
      leaseTtlMin: minimumTtl(config),
      leaseCheckpointPersist: hasFeature(config, "LeaseCheckpointPersist"),
      warningApplyDurationMs: config.warningApplyDuration,
      compactionBatchLimit: config.compactionBatchLimit,
      compactionSleepMs: config.compactionSleepInterval,
      maxRequestBytes: config.maxRequestBytes,
      watchProgressNotifyIntervalMs: config.watchProgressNotifyInterval,
      mainTimeOrigin: performance.timeOrigin,
      logLevel: config.logLevel,
    },
    {
      progress: hooks.progress,
      leases: hooks.leases,
      event: hooks.event,
      fatal: (message, stack) => fatal("apply failed", { error: message, stack }),
    },
    logger,
  );
}

function walOptions(
  { config, logger, fatal }: ServerSurroundings,
  hooks: StorageHooks,
  { paths }: HeldDataDir,
  onDurable: (token: number) => void,
): WalOptions {
  return {
    dir: paths.walDir,
    segmentBytes,
    unsafeNoFsync: config.unsafeNoFsync,
    onDurable,
    onFatal: (error) => fatal("failed to write the log", { error: error.message }),
    onBuffered: (reason) =>
      logger.warn("the log's file system refuses direct I/O; writing through its cache", { reason }),
    onSpace: (low) => hooks.space(low),
  };
}

function identityFields({ memberId, clusterId }: MemberIdentity): Record<string, string> {
  return { "local-member-id": memberIdText(memberId), "cluster-id": memberIdText(clusterId) };
}
