/**
 * Carries out scheduled compactions, one after another, in slices between the turns of the apply thread, and answers
 * those who wait for the end of one.
 *
 * It pauses after each chunk of --compaction-batch-limit records for --compaction-sleep-interval and until the chunk
 * is on the disk, so that neither this thread nor LMDB's writer has more than a chunk of it at a time.
 * No slice runs while an entry is under way (a long delete): what a compaction removes is no entry's effect.
 */
import { bytesText, durationText, type Logger } from "../base/index.js";
import { ErrCompacted, type EtcdErrorClass } from "../errors/index.js";
import { ReplyKind, type ReplyBatchWriter } from "../native/index.js";
import type { Backend } from "../storage/backend/index.js";
import { CompactionStep, type Compaction, type KeyValueHash, type MvccStore } from "../storage/mvcc/index.js";
import type { Clock } from "./clock.js";
import type { ApplyMetrics } from "./metrics.js";
import { refusalOf } from "./range-status.js";
import { CompactionFields } from "./requests.js";
import { headerBytesMax, type HeaderWriter } from "./response.js";

const defaultBatchLimit = 1000;
const defaultSleepMs = 10;

export interface CompactorOptions {
  readonly store: MvccStore;
  readonly backend: Backend;
  readonly replies: ReplyBatchWriter;
  readonly header: HeaderWriter;
  /** --compaction-batch-limit; 0 or nothing: 1000. */
  readonly batchLimit?: number | undefined;
  /** --compaction-sleep-interval; 0 or nothing: 10 ms. */
  readonly sleepMs?: number | undefined;
  readonly sleep: (milliseconds: number) => Promise<void>;
  /** Lets what else waits on this thread run. */
  readonly yield: () => Promise<void>;
  /** An entry is under way. */
  readonly isBusy: () => boolean;
  /** There is an answer to send. */
  readonly wake: () => void;
  readonly clock: Clock;
  readonly metrics: ApplyMetrics;
  readonly logger: Logger;
  readonly fatal: (error: unknown) => void;
}

/** A call that waits until all compactions scheduled before it are done. */
interface Waiting {
  readonly callId: number;
  readonly raftTerm: number;
  readonly revision: number;
  readonly refusal: EtcdErrorClass | null;
}

export class Compactor {
  readonly #options: CompactorOptions;
  readonly #batchLimit: number;
  readonly #sleepMs: number;
  readonly #fields = new CompactionFields();
  #waiting: Waiting[] = [];
  #running = false;
  #stopped = false;
  /** How often the store has become another: what was begun before is dropped. */
  #epoch = 0;
  #holds = 0;
  /** The revision of a compaction that is done, but not on the disk yet. */
  #unflushed = Infinity;

  constructor(options: CompactorOptions) {
    this.#options = options;
    const { batchLimit = 0, sleepMs = 0 } = options;
    this.#batchLimit = batchLimit > 0 ? batchLimit : defaultBatchLimit;
    this.#sleepMs = sleepMs > 0 ? sleepMs : defaultSleepMs;
  }

  /**
   * Schedules the CompactionRequest `bytes[start, end)` of the entry in hand, and answers the call (0: nobody waits);
   * what refuses it, or null. One that is physical is answered when it is done, and so is one to a revision that
   * another has passed; but not one that asks for a revision yet to come.
   */
  apply(bytes: Uint8Array, start: number, end: number, callId: number, raftTerm: number): EtcdErrorClass | null {
    const { store, replies } = this.#options;
    const fields = this.#fields;
    fields.read(bytes, start, end);
    const refusal = refusalOf(store.compact(fields.revision));
    if (refusal === null) this.#start();
    if (callId === 0) return refusal;
    if (fields.physical && (refusal === null || refusal === ErrCompacted)) {
      this.#answerWhenDone({ callId, raftTerm, refusal });
    } else if (refusal !== null) replies.status(callId, refusal.code, refusal.message);
    else this.#reply(callId, raftTerm);
    return refusal;
  }

  /** Carries out what is scheduled and not done. */
  #start(): void {
    if (this.#running || this.#stopped || this.#options.store.pendingCompactions.length === 0) return;
    this.#running = true;
    this.#run().catch((error: unknown) => this.#options.fatal(error));
  }

  /** Goes on with what a restart has interrupted. */
  resume(): void {
    for (const { revision } of this.#options.store.pendingCompactions) {
      this.#options.logger.info("resume scheduled compaction", { "scheduled-compact-revision": revision });
    }
    this.#start();
  }

  /** The store has become another: what was scheduled there is what there is to do. */
  restored(): void {
    this.#epoch++;
    this.#running = false;
    this.#unflushed = Infinity;
    this.#answer();
    this.resume();
  }

  /** Nothing more is done, and the backend not touched again. */
  stop(): void {
    this.#stopped = true;
  }

  /** Answers the call once every compaction scheduled so far is done and on the disk. */
  #answerWhenDone(call: Omit<Waiting, "revision">): void {
    const last = this.#options.store.pendingCompactions.at(-1)?.revision ?? this.#unflushed;
    this.#waiting.push({ ...call, revision: last === Infinity ? -1 : last });
    if (last === Infinity) this.#answer();
  }

  /** Runs `work` while no compaction changes anything; what was removed before is flushed. */
  async withoutCompaction<T>(work: () => Promise<T>): Promise<T> {
    this.#holds++;
    try {
      while (this.#options.isBusy()) await this.#options.yield();
      await this.#options.backend.flush();
      return await work();
    } finally {
      this.#holds--;
    }
  }

  async #run(): Promise<void> {
    const { store } = this.#options;
    const epoch = this.#epoch;
    await this.#turn(epoch);
    while (this.#mayRun(epoch)) {
      const compaction = store.beginCompaction();
      if (compaction === undefined) break;
      await this.#compact(compaction, epoch);
    }
    if (epoch === this.#epoch) this.#running = false;
  }

  #mayRun(epoch: number): boolean {
    return !this.#stopped && epoch === this.#epoch;
  }

  /** Lets others run, until a slice may run; false: none may any more. */
  async #turn(epoch: number): Promise<boolean> {
    do await this.#options.yield();
    while (this.#mayRun(epoch) && (this.#holds > 0 || this.#options.isBusy()));
    return this.#mayRun(epoch);
  }

  async #compact(compaction: Compaction, epoch: number): Promise<void> {
    const { backend, clock, metrics, store } = this.#options;
    if (!(await this.#compactIndex(compaction, epoch))) return;
    const began = clock.now();
    // The scheduled revision is on the disk before anything is removed, and so is all that will be.
    await backend.flush();
    if (!(await this.#removeRecords(compaction, epoch))) return;
    const hash = store.endCompaction(compaction);
    this.#unflushed = hash.revision;
    await backend.flush();
    if (!this.#mayRun(epoch)) return;
    this.#unflushed = Infinity;
    const milliseconds = clock.now() - began;
    metrics.compacted(milliseconds, compaction.removed, Math.floor(((clock.timeOrigin ?? 0) + clock.now()) / 1000));
    this.#log(compaction, hash, milliseconds);
    this.#answer();
  }

  async #compactIndex(compaction: Compaction, epoch: number): Promise<boolean> {
    const { clock, logger, metrics } = this.#options;
    logger.info("compact tree index", { revision: compaction.scheduled.revision });
    let milliseconds = 0;
    let more = true;
    while (more) {
      if (!(await this.#turn(epoch))) return false;
      const began = clock.now();
      more = compaction.stepIndex();
      milliseconds += clock.now() - began;
    }
    metrics.indexCompacted(milliseconds);
    return true;
  }

  async #removeRecords(compaction: Compaction, epoch: number): Promise<boolean> {
    const { backend, clock, metrics, sleep } = this.#options;
    let milliseconds = 0;
    for (;;) {
      if (!(await this.#turn(epoch))) return false;
      const began = clock.now();
      const step = compaction.stepRecords(this.#batchLimit);
      milliseconds += clock.now() - began;
      if (step === CompactionStep.More) continue;
      metrics.compactionPaused(milliseconds);
      milliseconds = 0;
      if (step === CompactionStep.Done) return true;
      await Promise.all([backend.flush(), sleep(this.#sleepMs)]);
    }
  }

  #answer(): void {
    const { store, replies, wake } = this.#options;
    const first = Math.min(this.#unflushed, store.pendingCompactions[0]?.revision ?? Infinity);
    const due = this.#waiting.filter(({ revision }) => revision < first);
    this.#waiting = this.#waiting.filter(({ revision }) => revision >= first);
    for (const { callId, raftTerm, refusal } of due) {
      if (refusal !== null) replies.status(callId, refusal.code, refusal.message);
      else this.#reply(callId, raftTerm);
    }
    if (due.length > 0) wake();
  }

  #reply(callId: number, raftTerm: number): void {
    const { store, replies, header } = this.#options;
    header.raftTerm = raftTerm;
    const at = replies.begin(callId, ReplyKind.MessageAndEnd, headerBytesMax);
    replies.finish(header.write(store.currentRevision, replies.bytes, at));
  }

  #log(compaction: Compaction, { hash, revision, compactRevision }: KeyValueHash, milliseconds: number): void {
    const { backend, logger } = this.#options;
    const { total, inUse } = backend.sizes();
    logger.info("finished scheduled compaction", {
      "compact-revision": revision,
      took: durationText(milliseconds),
      "number-of-keys-compacted": compaction.removed,
      hash,
      "current-db-size-bytes": total,
      "current-db-size": bytesText(total),
      "current-db-size-in-use-bytes": inUse,
      "current-db-size-in-use": bytesText(inUse),
    });
    if (compaction.scheduled.hashes) {
      logger.info("storing new hash", { hash, revision, "compact-revision": compactRevision });
    } else logger.info("previous compaction was interrupted, skip storing compaction hash value");
  }
}
