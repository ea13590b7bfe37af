/**
 * Linearizable reads: all that wait share one ReadIndex, as etcd's read loop does (etcd server/etcdserver/read).
 * A group is the reads of one or more wake-ups; the next group's ReadIndex starts when the former's is answered.
 * Who only wants to know that a quorum has answered waits in a group, too, and for nothing that apply has to do.
 *
 * Thread: main. Bound: `waitingBytes`; the caller stops taking calls above its limit.
 */
import { CallBatchReader, RecordBuffer } from "../native/index.js";

/** Ask again when no answer came (etcd's readIndexRetryTime). */
const retryMs = 500;

/** False: no answer came in time. */
export type ConfirmationDone = (isConfirmed: boolean) => void;

/** Reads that share a ReadIndex. */
class Group extends RecordBuffer {
  /** When the first of them came; 0: not known yet. */
  cameMs = 0;
  /** When their ReadIndex was asked for. */
  startMs = 0;
  /** Who waits for the ReadIndex alone; few. */
  readonly confirmations: ConfirmationDone[] = [];

  get isEmpty(): boolean {
    return this.length === 0 && this.confirmations.length === 0;
  }

  override clear(): void {
    super.clear();
    this.cameMs = 0;
  }
}

/** What the queue does to the outside. */
export interface ReadIndexActions {
  /** Asks Raft for a read index; the answer comes back through `confirmed` with the same `context`. */
  request(context: number): void;
  /** Hands confirmed reads on, which came at `startMs`: apply answers them once it has applied `index`. */
  release(index: number, records: Uint8Array, length: number, startMs: number): void;
  /** A read has waited too long. */
  timedOut(callId: number): void;
}

export class ReadIndexQueue {
  readonly #actions: ReadIndexActions;
  readonly #timeoutMs: number;
  readonly #reader = new CallBatchReader();
  /** Reads for the next ReadIndex. */
  #gathering = new Group();
  /** Reads whose ReadIndex is under way. */
  #asked = new Group();
  /** Of the ReadIndex under way; counts up. */
  #context: number;
  #underWay = false;
  #askedMs = 0;
  /** Late or stale answers seen (etcd_server_slow_read_indexes_total). */
  slowCount = 0;
  /** Groups given up (etcd_server_read_indexes_failed_total). */
  failedCount = 0;

  /**
   * `firstContext`: where contexts begin, another number in each run of a member. An answer to a former run's request
   * may still be on its way, and must not be taken for one to this run's: it names an older index.
   */
  constructor(timeoutMs: number, firstContext: number, actions: ReadIndexActions) {
    this.#timeoutMs = timeoutMs;
    this.#context = firstContext;
    this.#actions = actions;
  }

  get waitingBytes(): number {
    return this.#gathering.length + (this.#underWay ? this.#asked.length : 0);
  }

  /** Adds the call-batch record `source[start, end)`. */
  add(source: Uint8Array, start: number, end: number): void {
    this.#gathering.append(source, start, end);
  }

  /** Waits for a ReadIndex that is asked for after this. */
  confirm(done: ConfirmationDone): void {
    this.#gathering.confirmations.push(done);
  }

  /** Starts a ReadIndex for what has gathered, unless one is under way. */
  flush(nowMs: number): void {
    if (this.#gathering.isEmpty) return;
    if (this.#gathering.cameMs === 0) this.#gathering.cameMs = nowMs;
    if (this.#underWay) return;
    const records = this.#gathering;
    this.#gathering = this.#asked;
    this.#asked = records;
    records.startMs = nowMs;
    this.#underWay = true;
    this.#context++;
    this.#ask(nowMs);
  }

  /** Raft has confirmed that this member may read at `index`. */
  confirmed(context: number, index: number, nowMs: number): void {
    if (!this.#underWay || context !== this.#context) {
      this.slowCount++;
      return;
    }
    const { bytes, length, cameMs } = this.#asked;
    if (length > 0) this.#actions.release(index, bytes, length, cameMs);
    this.#finish(nowMs, true);
  }

  /** A new leader, or its first commit: what is under way may have been dropped, so ask again. */
  askAgain(nowMs: number): void {
    if (this.#underWay) this.#ask(nowMs);
  }

  /** Retries and gives up by the clock; call it about each tick. */
  tick(nowMs: number): void {
    if (!this.#underWay) return;
    if (nowMs - this.#asked.startMs >= this.#timeoutMs) this.#giveUp(nowMs);
    else if (nowMs - this.#askedMs >= retryMs) this.#ask(nowMs);
  }

  #ask(nowMs: number): void {
    this.#askedMs = nowMs;
    this.#actions.request(this.#context);
  }

  #giveUp(nowMs: number): void {
    this.slowCount++;
    this.failedCount++;
    this.#reader.reset(this.#asked.bytes, this.#asked.length);
    while (this.#reader.next()) this.#actions.timedOut(this.#reader.callId);
    this.#finish(nowMs, false);
  }

  #finish(nowMs: number, isConfirmed: boolean): void {
    const confirmations = this.#asked.confirmations.splice(0);
    this.#asked.clear();
    this.#underWay = false;
    this.flush(nowMs);
    for (const done of confirmations) done(isConfirmed);
  }
}

/** ReadIndex contexts are 8 bytes; ours count up. */
export function contextBytes(context: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setFloat64(0, context);
  return bytes;
}

/** What `contextBytes` was given. */
export function contextNumber(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getFloat64(0);
}
