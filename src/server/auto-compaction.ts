/**
 * Compacts by itself as --auto-compaction-mode and --auto-compaction-retention say, on the leader alone.
 *
 * periodic: the revision is noted ten times a period, or an hour if that is shorter; after the first whole period the
 * oldest note is compacted to, then each period or hour. revision: each five minutes, to so many below the present.
 * What fails is tried again at the next note.
 *
 * Thread: main. No clock of its own: the time comes with each tick.
 */
import type { Logger } from "../base/index.js";
import { printDuration, type AutoCompactionRule } from "../config/index.js";
import { ErrCorrupt, ErrTimeout, type EtcdError } from "../errors/index.js";
import { encodeCompactionRequest } from "../proto/index.js";

const hourMs = 3_600_000;
const notesPerInterval = 10;
const revisionIntervalMs = 5 * 60_000;

/** What it goes by. */
export interface CompactionState {
  readonly revision: number;
  readonly compactRevision: number;
  readonly isLeader: boolean;
  /** The cluster has a CORRUPT alarm: it would refuse to compact. */
  readonly isCorrupt: boolean;
}

export interface AutoCompactionOptions {
  readonly rule: AutoCompactionRule;
  /** Proposes a CompactionRequest; what refuses it, or null. */
  readonly propose: (message: Uint8Array) => EtcdError | null;
  /** How long a proposal may take. */
  readonly timeoutMs: number;
  readonly logger: Logger;
}

/** One that is proposed and not applied yet. */
interface Proposed {
  readonly revision: number;
  readonly beganMs: number;
}

export class AutoCompaction {
  readonly #options: AutoCompactionOptions;
  /** Between notes; in mode revision, between compactions. */
  readonly #intervalMs: number;
  readonly #notesMax: number;
  #notes: number[] = [];
  #dueMs = -1;
  #lastMs = 0;
  #lastRevision = 0;
  /** Between compactions; the first one waits for the whole period. */
  #waitMs: number;
  #proposed: Proposed | null = null;

  constructor(options: AutoCompactionOptions) {
    this.#options = options;
    const { mode, retention } = options.rule;
    const periodic = Math.min(retention, hourMs) / notesPerInterval;
    this.#intervalMs = mode === "periodic" ? periodic : revisionIntervalMs;
    this.#notesMax =
      mode === "periodic" ? Math.floor((notesPerInterval * retention) / Math.min(retention, hourMs)) + 1 : 0;
    this.#waitMs = mode === "periodic" ? retention : 0;
  }

  tick(nowMs: number, state: CompactionState): void {
    if (this.#dueMs === -1) {
      this.#lastMs = nowMs;
      this.#note(nowMs, state.revision);
      return;
    }
    if (this.#proposed !== null) this.#await(nowMs, this.#proposed, state);
    if (nowMs < this.#dueMs) return;
    if (state.isLeader && this.#proposed === null) this.#compact(nowMs, state);
    this.#note(nowMs, state.revision);
  }

  #note(nowMs: number, revision: number): void {
    this.#dueMs = nowMs + this.#intervalMs;
    if (this.#options.rule.mode !== "periodic") return;
    this.#notes.push(revision);
    if (this.#notes.length > this.#notesMax) this.#notes.shift();
  }

  #compact(nowMs: number, state: CompactionState): void {
    const { mode, retention } = this.#options.rule;
    const revision = mode === "periodic" ? this.#notes[0]! : state.revision - retention;
    if (revision <= 0 || revision === this.#lastRevision || nowMs - this.#lastMs < this.#waitMs) return;
    if (mode === "periodic") this.#waitMs = Math.min(retention, hourMs);
    this.#options.logger.info(`starting auto ${mode} compaction`, this.#fields(revision));
    this.#proposed = { revision, beganMs: nowMs };
    // Another one has passed it, which is as good.
    const passed = state.compactRevision >= revision;
    let refusal: EtcdError | null = null;
    if (state.isCorrupt) refusal = new ErrCorrupt();
    else if (!passed) refusal = this.#options.propose(encodeCompactionRequest({ revision }));
    if (refusal !== null) this.#failed(refusal.message);
    else this.#await(nowMs, this.#proposed, state);
  }

  #await(nowMs: number, { revision, beganMs }: Proposed, { compactRevision }: CompactionState): void {
    const { rule, logger, timeoutMs } = this.#options;
    if (compactRevision >= revision) {
      logger.info(`completed auto ${rule.mode} compaction`, {
        ...this.#fields(revision),
        took: printDuration(nowMs - beganMs),
      });
      this.#lastRevision = revision;
      this.#lastMs = nowMs;
      this.#proposed = null;
    } else if (nowMs - beganMs >= timeoutMs) this.#failed(ErrTimeout.message);
  }

  #failed(error: string): void {
    const { rule, logger } = this.#options;
    logger.warn(`failed auto ${rule.mode} compaction`, {
      ...this.#fields(this.#proposed!.revision),
      "retry-interval": printDuration(this.#intervalMs),
      error,
    });
    this.#proposed = null;
  }

  #fields(revision: number): Record<string, unknown> {
    const { mode, retention } = this.#options.rule;
    return mode === "periodic"
      ? { revision, "compact-period": printDuration(retention) }
      : { revision, "revision-compaction-retention": retention };
  }
}
