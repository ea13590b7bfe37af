/**
 * When the log is told how much of their time long leases have left, so that the next leader does not begin their whole
 * time anew; and which renewals the log has to hear of, because it holds less than a lease's whole time.
 *
 * As in etcd: a lease with more than the interval before it is due an interval after its grant, the leader's promotion
 * or its last checkpoint. Otherwise than in etcd there is one date a lease, whatever has passed, and it stands until
 * the log has told of the checkpoint: what was proposed and lost is proposed again.
 *
 * Thread: main; slots are those of the clock. Invariant: empty as long as this member does not lead.
 */
import { ExpiryHeap } from "./expiry-heap.js";

/** What the log has not told of after so long may have been lost on its way there. */
const retryMs = 3_000;

export class CheckpointSchedule {
  readonly #intervalMs: number;
  readonly #due = new ExpiryHeap();
  /** Those whose checkpoint may be in the log already, behind what is applied. */
  readonly #underWay = new Set<number>();
  /** When the last of them was proposed. */
  #proposedMs = -Infinity;
  /** Those whose whole time the log is to hold again, by the time to propose that anew. */
  readonly #clears = new ExpiryHeap();

  /** `intervalMs`: Infinity when this member writes no checkpoints. */
  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  get underWayCount(): number {
    return this.#underWay.size;
  }

  /** Whether those that are on their way may have been lost. */
  areLate(now: number): boolean {
    return now >= this.#proposedMs + retryMs;
  }

  /** The time that the log holds for the lease, `loggedMs`, begins now. */
  schedule(slot: number, loggedMs: number, now: number): void {
    if (loggedMs > this.#intervalMs) this.#due.set(slot, now + this.#intervalMs);
    else this.#due.remove(slot);
  }

  /** A slot whose checkpoint is due, and is due again an interval later; −1: none is. */
  takeDue(now: number): number {
    return this.#due.takeDue(now, now + this.#intervalMs);
  }

  proposed(slot: number, now: number): void {
    this.#underWay.add(slot);
    this.#proposedMs = now;
  }

  isUnderWay(slot: number): boolean {
    return this.#underWay.has(slot);
  }

  /** The log has told of a checkpoint: of `remainingTtl`, 0 for the whole time. */
  applied(slot: number, remainingTtl: number): void {
    this.#underWay.delete(slot);
    if (remainingTtl <= 0) this.#clears.remove(slot);
  }

  /** The log is to hold the lease's whole time again. True: it is to be proposed now. */
  beginClear(slot: number, now: number): boolean {
    if (this.#clears.has(slot)) return false;
    this.#clears.set(slot, now + retryMs);
    return true;
  }

  /** A slot whose clear was proposed long ago, and takes it that it is proposed anew; −1: there is none. */
  takeLateClear(now: number): number {
    return this.#clears.takeDue(now, now + retryMs);
  }

  remove(slot: number): void {
    this.#due.remove(slot);
    this.#clears.remove(slot);
    this.#underWay.delete(slot);
  }

  clear(): void {
    this.#due.clear();
    this.#clears.clear();
    this.#underWay.clear();
  }
}
