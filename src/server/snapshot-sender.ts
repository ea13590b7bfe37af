/**
 * Sends snapshots to followers that need entries which the log no longer has: a bounded number at a time, each outcome
 * told to Raft. Thread: main. No I/O of its own.
 */
import type { Logger } from "../base/index.js";
import { memberIdText } from "../membership/index.js";
import type { Message } from "../raft/index.js";
import type { SnapshotOutlet } from "./raft-loop.js";

/** Snapshots on their way at a time (etcd's maxInFlightMsgSnap). */
const inFlightMax = 16;
/** etcd's releaseDelayAfterSnapshot. */
const defaultGraceMs = 30_000;

export interface SnapshotSenderOptions {
  /**
   * Sends the message with the store's present state as a file; the message's metadata become those of that state.
   * Resolves when the other member has both, rejects when it has not.
   */
  readonly sendSnapshot: (message: Message) => Promise<void>;
  /** Tells Raft whether the member has its snapshot. */
  readonly report: (id: bigint, delivered: boolean) => void;
  /** The log keeps what a follower needs next so long after it has got its snapshot. */
  readonly graceMs?: number | undefined;
  readonly nowMs: () => number;
  readonly logger: Logger;
}

export class SnapshotSender implements SnapshotOutlet {
  readonly #options: SnapshotSenderOptions;
  #inFlight = 0;
  /** Until when the log is kept for those who have theirs. */
  #keepUntilMs = 0;

  constructor(options: SnapshotSenderOptions) {
    this.#options = options;
  }

  get underWay(): boolean {
    return this.#inFlight > 0 || this.#options.nowMs() < this.#keepUntilMs;
  }

  send(message: Message): void {
    const { sendSnapshot, report, graceMs, nowMs, logger } = this.#options;
    const to = memberIdText(message.to);
    if (this.#inFlight >= inFlightMax) {
      logger.warn("dropped a snapshot: too many are under way", { to });
      // Raft is in the midst of its Ready.
      queueMicrotask(() => report(message.to, false));
      return;
    }
    this.#inFlight++;
    sendSnapshot(message).then(
      () => {
        this.#inFlight--;
        this.#keepUntilMs = nowMs() + (graceMs ?? defaultGraceMs);
        report(message.to, true);
      },
      (error: unknown) => {
        this.#inFlight--;
        logger.warn("failed to send database snapshot", { to, error: String(error) });
        report(message.to, false);
      },
    );
  }
}
