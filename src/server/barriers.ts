/**
 * Waits until main knows all that apply has done up to some index: a mark travels through apply like a read, and comes
 * back by the same way as apply's events, behind those of every entry before it.
 * Thread: main.
 */
import { LeaseCallWriter, LeaseOp } from "../apply/index.js";
import { ErrTimeout, ErrTimeoutWaitAppliedIndex, type EtcdError } from "../errors/index.js";

/** What waits: null once it may go on, or why not. */
export type BarrierDone = (error: EtcdError | null) => void;

export interface BarriersOptions {
  readonly nowMs: () => number;
  /** How long a barrier may take. */
  readonly timeoutMs: number;
  /** Adds the call-batch record to the reads that wait for a ReadIndex. */
  readonly readLinearizable: (record: Uint8Array, length: number) => void;
  /** Hands the record to apply, which takes it once it has applied `index`. */
  readonly handOver: (index: number, record: Uint8Array, length: number) => void;
  readonly commitIndex: () => number;
}

interface Waiting {
  readonly done: BarrierDone;
  readonly deadlineMs: number;
  readonly late: EtcdError;
}

export class Barriers {
  readonly #options: BarriersOptions;
  readonly #writer = new LeaseCallWriter();
  readonly #waiting = new Map<number, Waiting>();
  #token = 0;

  constructor(options: BarriersOptions) {
    this.#options = options;
  }

  /** Until this member knows what was committed anywhere before now. */
  linearizable(done: BarrierDone): void {
    this.#add(done, new ErrTimeout());
    this.#options.readLinearizable(this.#writer.bytes, this.#writer.length);
    this.#writer.clear();
  }

  /** Until what is known here to be committed is applied. */
  applied(done: BarrierDone): void {
    this.#add(done, new ErrTimeoutWaitAppliedIndex());
    this.#options.handOver(this.#options.commitIndex(), this.#writer.bytes, this.#writer.length);
    this.#writer.clear();
  }

  /** Apply has passed the mark. */
  passed(token: number): void {
    const waiting = this.#waiting.get(token);
    this.#waiting.delete(token);
    waiting?.done(null);
  }

  /** Gives up what has waited too long. */
  tick(): void {
    const now = this.#options.nowMs();
    for (const [token, { done, deadlineMs, late }] of this.#waiting) {
      if (deadlineMs > now) return;
      this.#waiting.delete(token);
      done(late);
    }
  }

  #add(done: BarrierDone, late: EtcdError): void {
    const { nowMs, timeoutMs } = this.#options;
    const token = ++this.#token;
    this.#waiting.set(token, { done, deadlineMs: nowMs() + timeoutMs, late });
    this.#writer.add(0, LeaseOp.Barrier, 0, 0, 0, token);
  }
}
