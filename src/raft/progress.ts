/**
 * What a leader knows of one member's log, and how it sends to it (paper §5.3: nextIndex, matchIndex).
 * Invariants: match < next; in Snapshot, next = pendingSnapshot + 1; a paused progress gets no entries.
 */
import { assert } from "../base/index.js";
import { Inflights } from "./inflights.js";

/**
 * Probe: where the logs meet is not known, one append at a time. Replicate: appends are pipelined.
 * Snapshot: nothing is sent until the snapshot is known to have arrived or to have failed.
 */
export const ProgressState = { Probe: 0, Replicate: 1, Snapshot: 2 } as const;
export type ProgressState = (typeof ProgressState)[keyof typeof ProgressState];

/** etcd's names of the states, by number. */
export const progressStateNames = ["StateProbe", "StateReplicate", "StateSnapshot"] as const;

export class Progress {
  readonly id: bigint;
  /** The highest entry known to be equal on both sides. */
  match = 0;
  /** The next entry to send; those between `match` and `next` are on their way. */
  next: number;
  /** The highest commit index on its way to the follower. */
  sentCommit = 0;
  state: ProgressState = ProgressState.Probe;
  /** In Snapshot: the index of the snapshot that was sent. */
  pendingSnapshot = 0;
  /** Heard from since the last quorum check. */
  recentActive = false;
  /** One append is out and must be answered, or a heartbeat be, before the next. */
  msgAppFlowPaused = false;
  isLearner = false;
  readonly inflights: Inflights;

  constructor(fields: { id: bigint; next: number; inflightMessagesMax: number; inflightBytesMax: number }) {
    assert(fields.next >= 1, "progress: next must be above match");
    this.id = fields.id;
    this.next = fields.next;
    this.inflights = new Inflights(fields.inflightMessagesMax, fields.inflightBytesMax);
  }

  /** Forgets everything, at a change of term or leader. */
  reset(next: number): void {
    this.match = 0;
    this.next = next;
    this.sentCommit = 0;
    this.recentActive = false;
    this.#enter(ProgressState.Probe);
  }

  #enter(state: ProgressState): void {
    this.msgAppFlowPaused = false;
    this.pendingSnapshot = 0;
    this.state = state;
    this.inflights.clear();
  }

  becomeProbe(): void {
    // A snapshot that has arrived is where the follower's log now ends.
    const pending = this.state === ProgressState.Snapshot ? this.pendingSnapshot : 0;
    this.#enter(ProgressState.Probe);
    this.next = Math.max(this.match, pending) + 1;
    this.sentCommit = Math.min(this.sentCommit, this.next - 1);
  }

  becomeReplicate(): void {
    this.#enter(ProgressState.Replicate);
    this.next = this.match + 1;
  }

  becomeSnapshot(index: number): void {
    this.#enter(ProgressState.Snapshot);
    this.pendingSnapshot = index;
    this.next = index + 1;
    this.sentCommit = index;
  }

  /** Notes that an append with `count` entries from `next` on has been sent. */
  sentEntries(count: number, bytes: number): void {
    switch (this.state) {
      case ProgressState.Replicate:
        if (count > 0) {
          this.next += count;
          this.inflights.add(this.next - 1, bytes);
        }
        this.msgAppFlowPaused = this.inflights.full;
        return;
      case ProgressState.Probe:
        if (count > 0) this.msgAppFlowPaused = true;
        return;
      default:
        assert(false, "progress: entries sent while a snapshot is pending");
    }
  }

  /** Whether sending commit index `index` could move the follower's. */
  canBumpCommit(index: number): boolean {
    return index > this.sentCommit && this.sentCommit < this.next - 1;
  }

  /** The follower has acknowledged `index`. False when this is old news. */
  maybeUpdate(index: number): boolean {
    if (index <= this.match) return false;
    this.match = index;
    this.next = Math.max(this.next, index + 1);
    this.msgAppFlowPaused = false;
    return true;
  }

  /**
   * The follower has rejected an append after entry `rejected`, and proposes to try after `hint`.
   * False when this is old news. Paper §5.3: decrement nextIndex and retry.
   */
  maybeDecrementTo(rejected: number, hint: number): boolean {
    if (this.state === ProgressState.Replicate) {
      if (rejected <= this.match) return false;
      this.next = this.match + 1;
      this.sentCommit = Math.min(this.sentCommit, this.next - 1);
      return true;
    }
    // One append at a time was sent, so a rejection of another one is late.
    if (this.next - 1 !== rejected) return false;
    this.next = Math.max(Math.min(rejected, hint + 1), this.match + 1);
    this.sentCommit = Math.min(this.sentCommit, this.next - 1);
    this.msgAppFlowPaused = false;
    return true;
  }

  get paused(): boolean {
    return this.state === ProgressState.Snapshot || this.msgAppFlowPaused;
  }
}
