/**
 * Installs a snapshot from another member: builds the store from its file beside the present one, which meanwhile
 * goes on answering reads and watches, and becomes it at one moment.
 *
 * Order on the disk: the file was flushed and the log's mark is durable before this begins; the new database is
 * flushed before it takes the other's place by one rename. Whatever is cut short is done again at the next start,
 * since the mark then lies above the consistent index. Thread: apply.
 */
import type { Logger } from "../base/index.js";
import { LeaseTable } from "../lease/index.js";
import type { MembershipStore } from "../membership/index.js";
import type { Backend } from "../storage/backend/index.js";
import { MvccStore, type MvccStoreOptions } from "../storage/mvcc/index.js";
import { snapshotPath } from "../storage/snap/index.js";
import { AlarmStore } from "./alarm-store.js";
import type { Applier } from "./applier.js";
import type { Compactor } from "./compactor.js";
import type { FromApply, InstallMark } from "./control.js";
import type { ApplyMetrics } from "./metrics.js";
import type { OneAtATime } from "./one-at-a-time.js";
import type { Watches } from "./watch/index.js";

export interface SnapshotInstallerOptions {
  readonly backend: Backend;
  readonly store: MvccStore;
  readonly leases: LeaseTable;
  readonly membership: MembershipStore;
  readonly alarms: AlarmStore;
  readonly applier: Pick<Applier, "appliedIndex" | "restored">;
  readonly compactor: Compactor;
  readonly watches: Pick<Watches, "restored">;
  readonly metrics: Pick<ApplyMetrics, "installing">;
  /** Of this and defragmentation. */
  readonly rebuilds: OneAtATime;
  readonly mvcc: Pick<MvccStoreOptions, "yield" | "crc32c">;
  readonly leaseTtlMin: number;
  /** Where snapshots of other members are. */
  readonly snapshotDir: string;
  readonly post: (event: FromApply) => void;
  readonly logger: Logger;
}

export class SnapshotInstaller {
  readonly #options: SnapshotInstallerOptions;

  constructor(options: SnapshotInstallerOptions) {
    this.#options = options;
  }

  /** Resolves when the state is the snapshot's, and main has been told. No entry may be under way or be applied. */
  async install(mark: InstallMark): Promise<void> {
    const { applier, compactor, rebuilds, metrics, logger } = this.#options;
    if (mark.index <= applier.appliedIndex) return;
    logger.info("applying snapshot", {
      "current-applied-index": applier.appliedIndex,
      "incoming-leader-snapshot-index": mark.index,
      "incoming-leader-snapshot-term": mark.term,
    });
    metrics.installing(true);
    await rebuilds.run(() => compactor.withoutCompaction(() => this.#become(mark)));
    metrics.installing(false);
    compactor.restored();
    logger.info("applied snapshot", { "current-applied-index": applier.appliedIndex });
  }

  async #become(mark: InstallMark): Promise<void> {
    const { backend, mvcc, leaseTtlMin, snapshotDir, membership, logger } = this.#options;
    const fresh = await openSnapshot(backend, mark, snapshotDir);
    const leases = new LeaseTable(fresh, leaseTtlMin);
    const store = await MvccStore.open({ ...mvcc, backend: fresh, keyLeases: leases });
    // What cannot be taken in is found before anything is changed.
    const state = { leases, store, membership: membership.of(fresh), alarms: new AlarmStore(fresh) };
    logger.info("restored store from snapshot", { revision: store.currentRevision, leases: leases.count });
    await backend.finishInstall(fresh, () => this.#adopt(state));
  }

  #adopt(state: Pick<SnapshotInstallerOptions, "leases" | "store" | "membership" | "alarms">): void {
    const { store, leases, membership, alarms, applier, watches, backend, post } = this.#options;
    store.adopt(state.store);
    leases.adopt(state.leases);
    membership.adopt(state.membership);
    alarms.adopt(state.alarms);
    applier.restored();
    watches.restored();
    post({
      type: "installed",
      index: backend.consistentIndex,
      members: membership.sortedMembers(),
      removedMembers: [...membership.removed],
      clusterVersion: membership.clusterVersion,
      downgrade: membership.downgrade,
      alarms: alarms.all,
    });
  }
}

/** Builds what the snapshot of `mark` holds beside the backend. */
async function openSnapshot(backend: Backend, mark: InstallMark, snapshotDir: string): Promise<Backend> {
  const file = snapshotPath(snapshotDir, mark.index);
  const fresh = await backend.beginInstall(file);
  if (fresh.consistentIndex === mark.index && fresh.term === mark.term) return fresh;
  throw new Error(
    `the snapshot ${file} holds the state at entry ${fresh.consistentIndex} of term ${fresh.term}, ` +
      `not at entry ${mark.index} of term ${mark.term}`,
  );
}

/** At a start: does again what was cut short, before anything else reads the backend. */
export async function installAtStart(
  mark: InstallMark | undefined,
  { backend, snapshotDir, logger }: Pick<SnapshotInstallerOptions, "backend" | "snapshotDir" | "logger">,
): Promise<void> {
  if (mark === undefined || mark.index <= backend.consistentIndex) return;
  logger.info("repeating the installation of a snapshot that was cut short", { "snapshot-index": mark.index });
  const fresh = await openSnapshot(backend, mark, snapshotDir);
  await backend.finishInstall(fresh, () => {});
}
