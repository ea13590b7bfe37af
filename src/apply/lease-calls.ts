/**
 * Calls that main has judged and hands to apply for the answer, among READS: mostly of leases, by main's clock, for
 * only apply knows the revision for the header, and whether the lease is there at that revision.
 * They travel as call-batch records with a method index of their own, `leaseCallMethod`; their message is
 *
 *   u32 op, u32 operand, u32 idLow, u32 idHigh, f64 number, then bytes
 *
 *   KeepAlive   answer one request of the stream: the lease's TTL, 0 when it is not there
 *   End         the stream ends with the status `operand` and the text in bytes
 *   TimeToLive  operand 1: with keys; number: milliseconds left by main's clock, NaN: unknown there
 *   Leases      number: which state of main's clock; operand 1: bytes are that state, all IDs, little-endian, and
 *               then the f64 times at which they end; 0: it came before, for another call
 *   Head        answer with a header and, behind it, the response's other fields in bytes; operand 1: a stream goes on
 *   Barrier     no call: main hears of `number` by the worker's port, behind all events so far
 *
 * A stream's answers come by way of apply one and all, so that they keep their order.
 */
import { callHeaderBytes, CallKind } from "../native/index.js";

export const leaseCallMethod = 0xffff;
export const LeaseOp = { KeepAlive: 1, End: 2, TimeToLive: 3, Leases: 4, Head: 5, Barrier: 6 } as const;
export type LeaseOp = (typeof LeaseOp)[keyof typeof LeaseOp];

const fieldBytes = 24;
const bufferBytesMin = 1 << 12;
/** A writer's buffer goes back to this size after more. */
const bufferBytesKept = 1 << 20;

/** Gathers records for apply. */
export class LeaseCallWriter {
  bytes = new Uint8Array(bufferBytesMin);
  #view = new DataView(this.bytes.buffer);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  clear(): void {
    this.#length = 0;
    if (this.bytes.length > bufferBytesKept) this.#resize(bufferBytesMin);
  }

  add(
    callId: number,
    op: LeaseOp,
    operand: number,
    idLow: number,
    idHigh: number,
    number: number,
    tail?: Uint8Array,
  ): void {
    const messageBytes = fieldBytes + (tail?.length ?? 0);
    const recordBytes = Math.ceil((callHeaderBytes + messageBytes) / 8) * 8;
    const start = this.#length;
    if (start + recordBytes > this.bytes.length) this.#resize(Math.max(start + recordBytes, 2 * this.bytes.length));
    const view = this.#view;
    this.bytes.fill(0, start, start + callHeaderBytes);
    view.setUint32(start, recordBytes, true);
    view.setUint32(start + 4, callId, true);
    view.setUint32(start + 8, CallKind.Call | (leaseCallMethod << 16), true);
    view.setUint32(start + 12, messageBytes, true);
    const at = start + callHeaderBytes;
    view.setUint32(at, op, true);
    view.setUint32(at + 4, operand, true);
    view.setUint32(at + 8, idLow, true);
    view.setUint32(at + 12, idHigh, true);
    view.setFloat64(at + 16, number, true);
    if (tail !== undefined) this.bytes.set(tail, at + fieldBytes);
    this.#length = start + recordBytes;
  }

  #resize(size: number): void {
    const bytes = new Uint8Array(size);
    bytes.set(this.bytes.subarray(0, this.#length));
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}

/** Reads one record's message in place. */
export class LeaseCallReader {
  op: LeaseOp = LeaseOp.KeepAlive;
  operand = 0;
  idLow = 0;
  idHigh = 0;
  number = 0;
  tailStart = 0;
  tailEnd = 0;

  read(bytes: Uint8Array, start: number, end: number): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset + start, end - start);
    this.op = view.getUint32(0, true) as LeaseOp;
    this.operand = view.getUint32(4, true);
    this.idLow = view.getUint32(8, true);
    this.idHigh = view.getUint32(12, true);
    this.number = view.getFloat64(16, true);
    this.tailStart = start + fieldBytes;
    this.tailEnd = end;
  }
}
