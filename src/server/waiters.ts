/**
 * Who waits for which proposal: request-ID sequence → call ID.
 *
 * A wake-up's proposals form one group with consecutive sequences, so that registering and resolving
 * cost no object a request. Groups are in the order of their sequences and of their deadlines.
 * Thread: main.
 */
import { nobodysCall } from "../apply/index.js";
import { assert } from "../base/index.js";

interface WaiterGroup {
  readonly firstSequence: number;
  /** Call IDs; 0 once resolved, or where nobody waits. */
  readonly callIds: Uint32Array;
  readonly startMs: number;
  readonly deadlineMs: number;
  open: number;
}

export class Waiters {
  readonly #groups: WaiterGroup[] = [];
  /** Groups before this place are resolved. */
  #first = 0;
  #open = 0;
  /** When the proposal that was resolved last was made. */
  startMs = 0;

  /** Proposals that have neither been applied nor timed out (etcd_server_proposals_pending). */
  get open(): number {
    return this.#open;
  }

  /** Adds a group; `firstSequence` is above all former ones. */
  add(firstSequence: number, callIds: Uint32Array, startMs: number, deadlineMs: number): void {
    const last = this.#groups[this.#groups.length - 1];
    assert(last === undefined || firstSequence >= last.firstSequence + last.callIds.length, "waiters out of order");
    this.#groups.push({ firstSequence, callIds, startMs, deadlineMs, open: callIds.length });
    this.#open += callIds.length;
  }

  /** The call that waits for `sequence`, which waits no longer, or `nobodysCall`; 0: none of ours, or given up. */
  resolve(sequence: number): number {
    const group = this.#find(sequence);
    if (group === undefined) return 0;
    const at = sequence - group.firstSequence;
    const callId = group.callIds[at]!;
    if (callId === resolvedMark) return 0;
    group.callIds[at] = resolvedMark;
    this.#close(group);
    this.startMs = group.startMs;
    return callId === nobodyMark ? nobodysCall : callId;
  }

  /** Gives up all groups whose deadline is before `nowMs`; `give` gets each call and when it was proposed. */
  expire(nowMs: number, give: (callId: number, startMs: number) => void): void {
    for (let i = this.#first; i < this.#groups.length; i++) {
      const group = this.#groups[i]!;
      if (group.deadlineMs > nowMs) break;
      for (let at = 0; at < group.callIds.length; at++) {
        const callId = group.callIds[at]!;
        if (callId === resolvedMark) continue;
        group.callIds[at] = resolvedMark;
        this.#close(group);
        if (callId !== nobodyMark) give(callId, group.startMs);
      }
    }
    this.#dropResolved();
  }

  #find(sequence: number): WaiterGroup | undefined {
    let lo = this.#first;
    let hi = this.#groups.length - 1;
    while (lo <= hi) {
      const middle = (lo + hi) >>> 1;
      const group = this.#groups[middle]!;
      if (sequence < group.firstSequence) hi = middle - 1;
      else if (sequence >= group.firstSequence + group.callIds.length) lo = middle + 1;
      else return group;
    }
    return undefined;
  }

  #close(group: WaiterGroup): void {
    group.open--;
    this.#open--;
    if (group.open === 0) this.#dropResolved();
  }

  #dropResolved(): void {
    while (this.#first < this.#groups.length && this.#groups[this.#first]!.open === 0) this.#first++;
    if (this.#first === this.#groups.length) {
      this.#groups.length = 0;
      this.#first = 0;
    } else if (this.#first > 64) {
      this.#groups.splice(0, this.#first);
      this.#first = 0;
    }
  }
}

/** Call ID of an entry that nobody waits for. */
const nobodyMark = 0;
/** No call has this ID: the edge's are below 2^31, the gateway's never reach the top. */
const resolvedMark = 0xffff_ffff;
