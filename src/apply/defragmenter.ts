/**
 * Defragment calls, one after another: the file is rewritten while everything else goes on, only compaction waits.
 * Thread: apply.
 */
import { bytesText, durationText, type Logger } from "../base/index.js";
import type { Backend, BackendSizes } from "../storage/backend/index.js";
import type { Clock } from "./clock.js";
import type { Compactor } from "./compactor.js";
import type { FromApply } from "./control.js";
import type { ApplyMetrics } from "./metrics.js";
import type { OneAtATime } from "./one-at-a-time.js";

/** Calls that may wait; each rewrites the whole file. */
const waitingMax = 16;

/** What a defragmentation needs and moves. */
export interface DefragmentOptions {
  readonly backend: Backend;
  readonly metrics: ApplyMetrics;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Where the database is, for the log. */
  readonly path: string;
}

export interface DefragmenterOptions extends DefragmentOptions {
  readonly compactor: Pick<Compactor, "withoutCompaction">;
  /** Of this and the installation of snapshots. */
  readonly rebuilds: OneAtATime;
  readonly post: (message: FromApply) => void;
  /** Main hears of the file's size: whoever has an answer may write up to the quota. */
  readonly tellProgress: () => void;
}

export class Defragmenter {
  readonly #options: DefragmenterOptions;
  readonly #waiting: number[] = [];
  #running = false;

  constructor(options: DefragmenterOptions) {
    this.#options = options;
  }

  /** Takes a call. False: too many wait. */
  ask(callId: number): boolean {
    if (this.#waiting.length >= waitingMax) return false;
    this.#waiting.push(callId);
    if (!this.#running) void this.#run();
    return true;
  }

  async #run(): Promise<void> {
    const { post, logger, compactor, rebuilds, tellProgress } = this.#options;
    this.#running = true;
    for (let callId = this.#waiting.shift(); callId !== undefined; callId = this.#waiting.shift()) {
      logger.info("starting defragment");
      post({ type: "defragmenting" });
      let failure: string | null = null;
      try {
        await rebuilds.run(() => compactor.withoutCompaction(() => defragment(this.#options)));
        logger.info("finished defragment");
      } catch (error) {
        failure = (error as Error).message;
        logger.warn("failed to defragment", { error: failure });
      }
      tellProgress();
      post({ type: "defragmented", callId, failure });
    }
    this.#running = false;
  }
}

/** Rewrites the file now. No record may be removed meanwhile. */
async function defragment({ backend, metrics, clock, logger, path }: DefragmentOptions): Promise<void> {
  const began = clock.now();
  const before = backend.sizes();
  logger.info("defragmenting", { path, ...sizeFields(before) });
  metrics.defragmenting(true);
  try {
    await backend.defragment();
  } finally {
    metrics.defragmenting(false);
  }
  const took = clock.now() - began;
  metrics.defragmented(took);
  const after = backend.sizes();
  logger.info("finished defragmenting directory", {
    path,
    "current-db-size-bytes-diff": after.total - before.total,
    "current-db-size-in-use-bytes-diff": after.inUse - before.inUse,
    ...sizeFields(after),
    took: durationText(took),
  });
}

/** At a start: defragments when that frees at least so many bytes; 0: never. */
export async function defragmentAtStart(thresholdBytes: number, options: DefragmentOptions): Promise<void> {
  if (thresholdBytes === 0) return;
  const sizes = options.backend.sizes();
  if (sizes.total - sizes.inUse >= thresholdBytes) return defragment(options);
  options.logger.info("Skipping defragmentation", {
    ...sizeFields(sizes),
    "bootstrap-defrag-threshold-bytes": thresholdBytes,
    "bootstrap-defrag-threshold": bytesText(thresholdBytes),
  });
}

/** A database's sizes as etcd logs them. */
function sizeFields({ total, inUse }: BackendSizes): Record<string, string | number> {
  return {
    "current-db-size-bytes": total,
    "current-db-size": bytesText(total),
    "current-db-size-in-use-bytes": inUse,
    "current-db-size-in-use": bytesText(inUse),
  };
}
