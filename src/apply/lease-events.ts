/**
 * What has become of leases, apply → main, for the leader's clock:
 *
 *   LEASES  u32 kind = 4, u32 count, f64 appliedBefore,
 *           then for each: u32 idLow, u32 idHigh, f64 ttl, f64 remainingTtl (seconds)
 *           ttl 0: revoked; ttl −1: a checkpoint of remainingTtl; else granted
 *           by an entry behind appliedBefore
 *
 * None may be lost, and those of a turn go before its answers, so that whoever has an answer finds main informed.
 */
import type { LeaseObserver } from "../lease/index.js";
import { ApplyMessageKind } from "./messages.js";

const headerBytes = 16;
const eventBytes = 24;
/** Events of one message: it must fit into main's mailbox beside others. */
const eventsMax = 512;
const checkpointMark = -1;

export const leaseMessageBytesMax = headerBytes + eventsMax * eventBytes;

interface Outbox {
  send(bytes: Uint8Array, length: number): boolean;
}

/** Gathers events and sends them. */
export class LeaseEvents implements LeaseObserver {
  #bytes = new Uint8Array(1 << 12);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;
  readonly #message = new Uint8Array(leaseMessageBytesMax);
  readonly #header = new DataView(this.#message.buffer);

  /** All that is gathered from now on comes of entries behind this index; kept while something waits. */
  beginTurn(appliedIndex: number): void {
    if (this.isEmpty) this.#header.setFloat64(8, appliedIndex, true);
  }

  get isEmpty(): boolean {
    return this.#length === 0;
  }

  granted(low: number, high: number, ttl: number, remainingTtl: number): void {
    this.#add(low, high, ttl, remainingTtl);
  }

  revoked(low: number, high: number): void {
    this.#add(low, high, 0, 0);
  }

  checkpointed(low: number, high: number, remainingTtl: number): void {
    this.#add(low, high, checkpointMark, remainingTtl);
  }

  /** Sends what has gathered; false when the mailbox had no room for all of it. */
  send(to: Outbox): boolean {
    let sent = 0;
    while (sent < this.#length) {
      const bytes = Math.min(this.#length - sent, eventsMax * eventBytes);
      this.#header.setUint32(0, ApplyMessageKind.Leases, true);
      this.#header.setUint32(4, bytes / eventBytes, true);
      this.#message.set(this.#bytes.subarray(sent, sent + bytes), headerBytes);
      if (!to.send(this.#message, headerBytes + bytes)) break;
      sent += bytes;
    }
    this.#bytes.copyWithin(0, sent, this.#length);
    this.#length -= sent;
    return this.#length === 0;
  }

  /** A message of all that has gathered, whatever its length, for a start. */
  take(): Uint8Array {
    const message = new Uint8Array(headerBytes + this.#length);
    new DataView(message.buffer).setUint32(0, ApplyMessageKind.Leases, true);
    new DataView(message.buffer).setUint32(4, this.#length / eventBytes, true);
    message.set(this.#bytes.subarray(0, this.#length), headerBytes);
    this.#length = 0;
    return message;
  }

  #add(low: number, high: number, ttl: number, remainingTtl: number): void {
    if (this.#length + eventBytes > this.#bytes.length) {
      const longer = new Uint8Array(2 * this.#bytes.length);
      longer.set(this.#bytes);
      this.#bytes = longer;
      this.#view = new DataView(longer.buffer);
    }
    this.#view.setUint32(this.#length, low, true);
    this.#view.setUint32(this.#length + 4, high, true);
    this.#view.setFloat64(this.#length + 8, ttl, true);
    this.#view.setFloat64(this.#length + 16, remainingTtl, true);
    this.#length += eventBytes;
  }
}

/** What was applied before the events of the LEASES message that begins at `start`; 0 in the one of a start. */
export function appliedBefore(from: DataView, start: number): number {
  return from.getFloat64(start + 8, true);
}

/** Hands on the events of the LEASES message that begins at `start`. */
export function readLeaseEvents(from: DataView, start: number, observer: LeaseObserver): void {
  const count = from.getUint32(start + 4, true);
  for (let i = 0, at = start + headerBytes; i < count; i++, at += eventBytes) {
    const low = from.getUint32(at, true);
    const high = from.getUint32(at + 4, true);
    const ttl = from.getFloat64(at + 8, true);
    const remainingTtl = from.getFloat64(at + 16, true);
    if (ttl === 0) observer.revoked(low, high);
    else if (ttl === checkpointMark) observer.checkpointed(low, high, remainingTtl);
    else observer.granted(low, high, ttl, remainingTtl);
  }
}
