/**
 * When leases end: the leader's business alone. The clock hears from apply which leases there are, renews them,
 * and names those whose time has come; they end when their revoke has gone through the log and apply tells of it.
 *
 * Time is handed in, in milliseconds that never go back, so that a jump of the wall clock moves nothing. Without
 * leadership no lease ends; a new leader gives each its full time again (what a checkpoint has left of it, if there
 * was one) and an election timeout on top, for its clients may have lost that much.
 *
 * Thread: main. Invariant: each lease has one slot; `#expiry` is Infinity as long as this member does not lead.
 */
import { CheckpointSchedule } from "./checkpoint-schedule.js";
import { ExpiryHeap } from "./expiry-heap.js";
import { grown, IdTable } from "./id-table.js";
import type { LeaseObserver } from "./lease-table.js";
import { sortByTime } from "./sort-times.js";

/** A revoke that has not come back after so long is asked for again (etcd's expired lease retry interval). */
const retryMs = 3_000;
/** From so many leases on a new leader spreads their ends, to three quarters of it a second (etcd's revoke rate). */
const spreadFrom = 1_000;
const spreadPerSecond = (3 * spreadFrom) / 4;
/** Times are told apart by this, so that leases of one millisecond end in the order in which they were granted. */
const stepMs = 0.001;

export const Renewal = {
  /** No such lease is known here: it may be on its way. */
  Unknown: 0,
  Renewed: 1,
  /** Its revoke is in the log, or this member does not lead. */
  Ending: 2,
  /** The log holds less than its whole time, or may soon: a checkpoint of 0 is to go through it first. */
  Checkpointed: 3,
} as const;
export type Renewal = (typeof Renewal)[keyof typeof Renewal];

export class LeaseClock implements LeaseObserver {
  readonly #nowMs: () => number;
  readonly #ids = new IdTable();
  /** Leases by their end, those alone whose revoke has not been asked for. */
  readonly #ends = new ExpiryHeap();
  /** Those whose revoke has been asked for, by the time to ask again. */
  readonly #retries = new ExpiryHeap();
  readonly #checkpoints: CheckpointSchedule;
  // By slot; TTLs in seconds.
  #ttl = new Float64Array(0);
  #remainingTtl = new Float64Array(0);
  #expiry = new Float64Array(0);
  #leads = false;
  /** Up to here the former leader may answer renewals yet. */
  #formerUntilMs = -Infinity;
  #last = 0;
  /** Renewals so far (etcd_debugging_lease_renewed_total). */
  renewedCount = 0;

  /** `nowMs`: milliseconds that never go back. `checkpointIntervalMs`: Infinity when checkpoints are off. */
  constructor(nowMs: () => number, checkpointIntervalMs = Infinity) {
    this.#nowMs = nowMs;
    this.#checkpoints = new CheckpointSchedule(checkpointIntervalMs);
  }

  get count(): number {
    return this.#ids.count;
  }
  /** Leases whose revoke has been asked for and has not come back. */
  get endingCount(): number {
    return this.#retries.count;
  }
  /** Checkpoints that were named and have not come back. */
  get checkpointsUnderWay(): number {
    return this.#checkpoints.underWayCount;
  }
  /** Whether the last of those was named so long ago that they may have been lost. */
  get areCheckpointsLate(): boolean {
    return this.#checkpoints.areLate(this.#nowMs());
  }

  /**
   * `isFormer`: a former leader may have granted it, and renewed it since, so that it gets what is left of the time that
   * a new leader gives on top. (etcd gives such a lease nothing.)
   */
  granted(low: number, high: number, ttl: number, remainingTtl: number, isFormer = false): void {
    let slot = this.#ids.find(low, high);
    if (slot === -1) slot = this.#add(low, high);
    this.#ttl[slot] = ttl;
    this.#remainingTtl[slot] = remainingTtl;
    this.#retries.remove(slot);
    this.#expiry[slot] = Infinity;
    if (!this.#leads) return;
    const now = this.#stamp();
    this.#refresh(slot, now, isFormer ? Math.max(0, this.#formerUntilMs - now) : 0);
    this.#checkpoints.schedule(slot, this.#fullMs(slot), now);
  }

  /** True: its end had been asked for here. */
  revoked(low: number, high: number): boolean {
    const slot = this.#ids.find(low, high);
    if (slot === -1) return false;
    const wasEnding = this.#retries.has(slot);
    this.#retries.remove(slot);
    this.#ends.remove(slot);
    this.#checkpoints.remove(slot);
    this.#ids.remove(slot);
    return wasEnding;
  }

  /** Counts at the next change of leader. `isFormer`: a former leader has written it, so that it counts at this one. */
  checkpointed(low: number, high: number, remainingTtl: number, isFormer = false): void {
    const slot = this.#ids.find(low, high);
    if (slot === -1) return;
    const missingMs = 1000 * this.#ttl[slot]! - this.#fullMs(slot);
    this.#remainingTtl[slot] = remainingTtl;
    this.#checkpoints.applied(slot, remainingTtl);
    if (!this.#leads) return;
    if (this.#ends.has(slot)) {
      if (isFormer) this.#refresh(slot, this.#formerUntilMs, 0);
      // Its client has asked for a renewal, which follows.
      else if (remainingTtl <= 0) this.#refresh(slot, this.#expiry[slot]! + missingMs - this.#fullMs(slot), 0);
    }
    this.#checkpoints.schedule(slot, this.#fullMs(slot), this.#nowMs());
  }

  /** This member leads now. `extendMs`: added to each lease's time. */
  promote(extendMs: number): void {
    this.#leads = true;
    const now = this.#stamp();
    this.#formerUntilMs = now + extendMs;
    const ids = this.#ids;
    for (let slot = 0; slot < ids.end; slot++) {
      if (!ids.isTaken(slot)) continue;
      this.#refresh(slot, now, extendMs);
      this.#checkpoints.schedule(slot, this.#fullMs(slot), now);
    }
    if (this.count >= spreadFrom) this.#spread(now, extendMs);
  }

  /** This member leads no longer: nothing ends here. */
  demote(): void {
    this.#leads = false;
    this.#ends.clear();
    this.#retries.clear();
    this.#checkpoints.clear();
    this.#expiry.fill(Infinity);
  }

  /**
   * Starts a lease's time anew, and takes nothing of what a new leader has given it on top: the client's next renewal
   * may go to the former leader, which answers for half an election timeout yet when it is cut off from the others.
   */
  renew(low: number, high: number): Renewal {
    const slot = this.#ids.find(low, high);
    if (slot === -1) return Renewal.Unknown;
    if (!this.#leads || this.#retries.has(slot)) return Renewal.Ending;
    if (this.#remainingTtl[slot]! > 0 || this.#checkpoints.isUnderWay(slot)) return Renewal.Checkpointed;
    const now = this.#stamp();
    const givenAt = Math.min(this.#expiry[slot]! - this.#fullMs(slot), this.#formerUntilMs);
    this.#refresh(slot, now, Math.max(0, givenAt - now));
    this.renewedCount++;
    return Renewal.Renewed;
  }

  /** Milliseconds that a lease has left, less than 0 when its end is due; NaN: unknown here. */
  remainingMs(low: number, high: number): number {
    const slot = this.#ids.find(low, high);
    return slot === -1 ? Number.NaN : this.#expiry[slot]! - this.#nowMs();
  }

  /**
   * Names leases whose end is due by `end`, and takes it that their revoke is asked for then: as long as there are
   * less than `endingMax` of them. One that was named before is named again when its revoke has not come for long.
   */
  takeExpired(endingMax: number, end: (low: number, high: number) => void): void {
    const now = this.#nowMs();
    const ids = this.#ids;
    for (let slot; (slot = this.#retries.takeDue(now, now + retryMs)) !== -1;) end(ids.low[slot]!, ids.high[slot]!);
    while (this.#retries.count < endingMax) {
      const slot = this.#ends.first;
      if (slot === -1 || this.#ends.dueOf(slot) > now) break;
      this.#ends.remove(slot);
      this.#retries.set(slot, now + retryMs);
      end(ids.low[slot]!, ids.high[slot]!);
    }
  }

  /**
   * Looks at leases whose checkpoint is due, at most `countMax`, and names them and the seconds that each has left,
   * rounded up; those that have their whole time, or none, are passed over.
   */
  takeCheckpoints(countMax: number, each: (low: number, high: number, remainingTtl: number) => void): void {
    const now = this.#nowMs();
    const ids = this.#ids;
    for (let i = 0; i < countMax; i++) {
      const slot = this.#checkpoints.takeDue(now);
      if (slot === -1) return;
      const remainingTtl = Math.ceil((this.#expiry[slot]! - now) / 1000);
      if (remainingTtl <= 0 || remainingTtl >= this.#ttl[slot]!) continue;
      this.#checkpoints.proposed(slot, now);
      each(ids.low[slot]!, ids.high[slot]!, remainingTtl);
    }
  }

  /** The log is to hold the whole time of a lease again. True: a checkpoint of 0 is to be proposed now. */
  beginClear(low: number, high: number): boolean {
    const slot = this.#ids.find(low, high);
    return slot !== -1 && this.#checkpoints.beginClear(slot, this.#nowMs());
  }

  /** Names leases whose checkpoint of 0 was proposed and has not come back for long, at most `countMax`. */
  takeLateClears(countMax: number, each: (low: number, high: number) => void): void {
    const now = this.#nowMs();
    const ids = this.#ids;
    for (let i = 0; i < countMax; i++) {
      const slot = this.#checkpoints.takeLateClear(now);
      if (slot === -1) return;
      each(ids.low[slot]!, ids.high[slot]!);
    }
  }

  /** All leases as they are now, in no order: the IDs as little-endian int64, and when each ends. */
  all(): { readonly ids: Uint32Array; readonly ends: Float64Array } {
    const { count, end, low, high } = this.#ids;
    const ids = new Uint32Array(2 * count);
    const ends = new Float64Array(count);
    let at = 0;
    for (let slot = 0; slot < end; slot++) {
      if (!this.#ids.isTaken(slot)) continue;
      ids[2 * at] = low[slot]!;
      ids[2 * at + 1] = high[slot]!;
      ends[at++] = this.#expiry[slot]!;
    }
    return { ids, ends };
  }

  #slotsByExpiry(): Uint32Array {
    const ids = this.#ids;
    const slots = new Uint32Array(ids.count);
    let count = 0;
    for (let slot = 0; slot < ids.end; slot++) if (ids.isTaken(slot)) slots[count++] = slot;
    return sortByTime(slots, count, this.#expiry);
  }

  /** A time of its own for each caller. */
  #stamp(): number {
    this.#last = Math.max(this.#nowMs(), this.#last + stepMs);
    return this.#last;
  }

  #add(low: number, high: number): number {
    const slot = this.#ids.add(low, high);
    if (slot >= this.#ttl.length) {
      const { capacity } = this.#ids;
      this.#ttl = grown(this.#ttl, capacity);
      this.#remainingTtl = grown(this.#remainingTtl, capacity);
      this.#expiry = grown(this.#expiry, capacity);
    }
    return slot;
  }

  #fullMs(slot: number): number {
    return 1000 * (this.#remainingTtl[slot]! > 0 ? this.#remainingTtl[slot]! : this.#ttl[slot]!);
  }

  #refresh(slot: number, now: number, extendMs: number): void {
    const expiry = now + extendMs + this.#fullMs(slot);
    this.#expiry[slot] = expiry;
    this.#ends.set(slot, expiry);
  }

  /**
   * Puts off ends that would come too close together. As in etcd: of each second's leases those beyond the rate get
   * a share of a second more, and the next second begins where theirs ends.
   */
  #spread(now: number, extendMs: number): void {
    const slots = this.#slotsByExpiry();
    let base = this.#expiry[slots[0]!]! - now;
    let next = base + 1000;
    let count = 0;
    for (const slot of slots) {
      const remaining = this.#expiry[slot]! - now;
      if (remaining > next) {
        base = remaining;
        next = base + 1000;
        count = 1;
        continue;
      }
      if (++count <= spreadPerSecond) continue;
      const delay = (1000 * count) / spreadPerSecond - (remaining - base);
      next = base + delay;
      this.#refresh(slot, now, delay + extendMs);
    }
  }
}
