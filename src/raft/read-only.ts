/**
 * Reads that wait until the leader is known to lead still (thesis §6.4).
 * Each read has a position: how many reads this leader was asked for before and with it. Heartbeats carry the
 * newest position, eight bytes little-endian, as etcd 3.7 sends them; whoever answers one acknowledges every
 * read up to it, and a quorum's acknowledgement releases these reads in order.
 */
import type { EntryBatch } from "../base/index.js";
import { assert } from "../base/index.js";

/** A read that waits. */
export interface PendingRead {
  /** Who asked: this member, or a follower that gets a ReadIndexResp. */
  readonly from: bigint;
  /** One entry whose data is the asker's context. */
  readonly request: readonly EntryBatch[];
  /** The commit index when the read was asked for. */
  readonly index: number;
}

const contextLength = 8;

/** Reads that may wait at once. At the bound a request is dropped; the asker repeats it as it does after any loss. */
export const pendingReadsMax = 65_536;

export class ReadOnly {
  readonly #waiting: PendingRead[] = [];
  /** How many reads have been released. */
  #confirmed = 0;
  readonly #acknowledged = new Map<bigint, number>();

  /** The position of the newest read. */
  get position(): number {
    return this.#confirmed + this.#waiting.length;
  }

  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  get full(): boolean {
    return this.#waiting.length >= pendingReadsMax;
  }

  add(read: PendingRead): void {
    assert(!this.full, "read-only: too many reads wait");
    this.#waiting.push(read);
  }

  /** `id` has acknowledged every read up to `position`. */
  acknowledge(id: bigint, position: number): void {
    assert(position <= this.position, "read-only: position that was never sent");
    if (position > this.acknowledgedBy(id)) this.#acknowledged.set(id, position);
  }

  acknowledgedBy(id: bigint): number {
    return this.#acknowledged.get(id) ?? 0;
  }

  /** Releases the reads up to `position`, which a quorum has acknowledged. */
  releaseTo(position: number): PendingRead[] {
    if (position <= this.#confirmed) return [];
    assert(position <= this.position, "read-only: release beyond the last read");
    const released = this.#waiting.splice(0, position - this.#confirmed);
    this.#confirmed = position;
    return released;
  }

  /** A new leader, or none: whoever asked must ask again. */
  reset(): void {
    this.#waiting.length = 0;
    this.#confirmed = 0;
    this.#acknowledged.clear();
  }

  /** What heartbeats carry now: the newest position, or nothing when no read waits. */
  heartbeatContext(): Uint8Array | null {
    return this.hasWaiting ? encodePosition(this.position) : null;
  }
}

function encodePosition(position: number): Uint8Array {
  const context = new Uint8Array(contextLength);
  const view = new DataView(context.buffer);
  view.setUint32(0, position % 0x1_0000_0000, true);
  view.setUint32(4, Math.floor(position / 0x1_0000_0000), true);
  return context;
}

/** The position in a heartbeat's answer; -1 when it is none. */
export function decodePosition(context: Uint8Array): number {
  if (context.length !== contextLength) return -1;
  const view = new DataView(context.buffer, context.byteOffset, contextLength);
  const position = view.getUint32(4, true) * 0x1_0000_0000 + view.getUint32(0, true);
  return Number.isSafeInteger(position) ? position : -1;
}
