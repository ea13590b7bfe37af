/**
 * Brings ended segments to LMDB, one write transaction at a time, on a thread of libuv's pool.
 *
 * One at a time, although LMDB would overlap a commit with the flush before it: the kernel reports a
 * failed write-back to one fdatasync only, so a flush after the failed one would confirm what is lost.
 * While a transaction runs, ended segments queue up; the next transaction takes all that wait, up to
 * `changesMax`, so a slow disk makes transactions larger instead of later.
 *
 * Seen with strace -f for these calls: the pool thread does writev of the pages, pwrite64 of the meta page
 * (status 1, visible), fdatasync of the file, then pwrite64 of the flushed meta page through a descriptor
 * opened with O_DSYNC, and then status 0 arrives. An error of all but the last arrives as a status. LMDB
 * drops the last one's, as a test with injected errors showed; `Env.sync` afterwards returns at once
 * when that page was written and does the flush again, with its error, when it was not. So only status 0
 * and a `sync` without error mean flushed. (`transactionSync` with lmdb's no-flush flag does the same
 * fdatasync on the calling thread; lmdb's own `flushed` promise settles on status 0, and never on an error.)
 */
import { describeStatus, WriteStatus, type LmdbEnv } from "./lmdb-native.js";
import type { SegmentQueue } from "./segment-queue.js";

export interface Flushed {
  readonly segments: number;
  readonly changes: number;
  readonly bytes: number;
  /** From the start of the transaction until its flush was confirmed. */
  readonly seconds: number;
  /** Of these, from the start until its pages were written: what was left is the flush. */
  readonly writeSeconds: number;
}

export class LmdbCommitter {
  /** Another one may take its place while no transaction is under way, if the buckets have the same numbers there. */
  env: LmdbEnv;
  readonly #queue: SegmentQueue;
  readonly #changesMax: number;
  readonly #onFlushed: (flushed: Flushed) => void;
  readonly #onError: (error: Error) => void;
  #writing = 0;
  #startedNs = 0n;
  #writtenNs = 0n;
  #failed = false;
  #halted = false;
  #onHalted: (() => void) | null = null;

  constructor(fields: {
    env: LmdbEnv;
    queue: SegmentQueue;
    changesMax: number;
    onFlushed: (flushed: Flushed) => void;
    onError: (error: Error) => void;
  }) {
    this.env = fields.env;
    this.#queue = fields.queue;
    this.#changesMax = fields.changesMax;
    this.#onFlushed = fields.onFlushed;
    this.#onError = fields.onError;
  }

  /** Starts a write transaction if segments wait and none is being written. */
  start(): void {
    if (this.#halted || this.#writing > 0 || this.#failed || this.#queue.endedCount === 0) return;
    let changes = this.#queue.at(0).changes;
    let count = 1;
    for (; count < this.#queue.endedCount; count++) {
      changes += this.#queue.at(count).changes;
      if (changes > this.#changesMax) break;
      this.#queue.at(count - 1).linkTo(this.#queue.at(count));
    }
    this.#writing = count;
    this.#startedNs = process.hrtime.bigint();
    this.env.startWriting(this.#queue.at(0).address, this.#onStatus);
  }

  /** Starts no further transaction; resolves when the one under way is flushed, and never when that fails. */
  halt(): Promise<void> {
    this.#halted = true;
    if (this.#writing === 0 && !this.#failed) return Promise.resolve();
    return new Promise((resolve) => (this.#onHalted = resolve));
  }

  /** Goes on. */
  resume(): void {
    this.#halted = false;
    this.start();
  }

  readonly #onStatus = (status: number): void => {
    if (status === WriteStatus.Visible) this.#writtenNs = process.hrtime.bigint();
    if (status === WriteStatus.Visible || this.#failed) return;
    if (status !== WriteStatus.Done) this.#fail(describeStatus(status));
    else this.env.sync(this.#onSync);
  };

  readonly #onSync = (error?: Error): void => {
    if (this.#failed) return;
    if (error !== undefined) this.#fail(error.message);
    else this.#finish();
  };

  #finish(): void {
    const segments = this.#writing;
    let changes = 0;
    let bytes = 0;
    for (let i = 0; i < segments; i++) {
      const segment = this.#queue.at(i);
      if (!segment.appendsSucceeded()) {
        this.#fail("LMDB refused a record because a later revision is stored already");
        return;
      }
      changes += segment.changes;
      bytes += segment.bytes;
    }
    this.#writing = 0;
    const seconds = Number(process.hrtime.bigint() - this.#startedNs) / 1e9;
    const writeSeconds = Math.max(0, Number(this.#writtenNs - this.#startedNs) / 1e9);
    this.#onFlushed({ segments, changes, bytes, seconds, writeSeconds });
    if (this.#halted) this.#onHalted?.();
    else this.start();
  }

  #fail(reason: string): void {
    this.#failed = true;
    this.#onError(new Error(`backend: the write transaction or its flush failed: ${reason}`));
  }
}
