/**
 * The binary batch in which calls travel: edge → main, gateway → main, main → apply.
 * `native/core/src/edge/batch.rs` is its twin; names and order are the same on both sides.
 *
 * A batch is a run of records, each starting 8-byte aligned (lengths include padding), little-endian:
 *
 *   u32 0  length       of the whole record, header and padding included; a multiple of 8
 *   u32 1  callId       names the call in replies; bit 31 set: the call came from the JSON gateway
 *   u32 2  kind | flags << 8 | method << 16
 *   u32 3  messageLength
 *   u32 4  metadataLength
 *   u32 5  connectionId
 *   u32 6  arrival      µs since the process started, modulo 2^32
 *   u32 7  reserved, 0
 *   metadata bytes: {u8 tag, u8 0, u16 length, bytes}*
 *   message bytes: one whole protobuf message, without the gRPC frame
 *
 * A reader never keeps a view: the buffer below is reused for the next drain.
 */
import { copyOf } from "../base/index.js";

/** What a record says. */
export const CallKind = {
  /** A unary or server-streaming call with its whole request message; a client or bidi stream's opening, without a message. */
  Call: 1,
  /** A further message of a client or bidi stream. */
  Message: 2,
  /** The client has sent all its messages of a client or bidi stream. */
  HalfClose: 3,
  /** The call is gone (reset, deadline, connection lost); no reply is wanted or possible. */
  Cancel: 4,
  /** A connection was accepted; metadata tells its address and certificate. */
  Connect: 5,
  /** A connection is gone. Its calls have each had their Cancel before. */
  Disconnect: 6,
  /** Little is left to send of a stream's replies, as one of them had asked to be told (`finish(end, true)`). */
  Writable: 7,
  /**
   * A unary call is answered that took as long as the edge was told to, or longer: u64 microseconds, u32 bytes of the
   * request, u32 bytes of the answer (0: an error), five u64 of the answer's facts
   * (fields 2 and 4 where they are varints, how often 2 and 3 are there as messages, the header's revision), and the
   * first 16 KiB of the request. The call's ID may be another's by now.
   */
  Slow: 8,
} as const;
export type CallKind = (typeof CallKind)[keyof typeof CallKind];

/** Bits of a record's flags. */
export const CallFlag = {
  /** `hasleader: true` was sent: the call needs a leader now. */
  RequireLeader: 1,
  /** `grpcgateway-accept` was sent, or the JSON gateway made the call. */
  Gateway: 2,
  /** The `client-api-version` that was sent is not UTF-8: the call is to be refused. */
  BadClientApiVersion: 4,
  /** The member's own probe (/health): needs no permission. Never set by the edge. */
  Root: 8,
} as const;

/** Tags of a record's metadata. */
export const MetadataTag = {
  /** Of a call: `token`, or `authorization` without "Bearer ". */
  Token: 1,
  /** Of a call: `client-api-version`. */
  ClientApiVersion: 2,
  /** Of a connection: the peer's address, "ip:port". */
  RemoteAddress: 3,
  /** Of a connection: the common name of a verified client certificate. */
  CommonName: 4,
} as const;

export const callHeaderBytes = 32;
/** Call IDs with this bit belong to the JSON gateway. */
export const gatewayCallBit = 0x8000_0000;

/** Writes the record that tells of a call's end over `into`, which has `callHeaderBytes`. */
export function writeCancelRecord(into: Uint8Array, callId: number): void {
  const view = new DataView(into.buffer, into.byteOffset, callHeaderBytes);
  into.fill(0);
  view.setUint32(0, callHeaderBytes, true);
  view.setUint32(4, callId, true);
  view.setUint8(8, CallKind.Cancel);
}

/** Walks the records of one drained batch; one instance is reused, and allocates nothing a record. */
export class CallBatchReader {
  #bytes: Uint8Array = new Uint8Array(0);
  #view = new DataView(this.#bytes.buffer);
  #end = 0;
  #next = 0;
  #start = 0;

  /** Starts over on `bytes[from, length)`, which holds whole records. */
  reset(bytes: Uint8Array, length: number, from = 0): void {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }
    this.#end = length;
    this.#next = from;
  }

  /** Moves to the next record; false at the end of the batch. */
  next(): boolean {
    if (this.#next >= this.#end) return false;
    this.#start = this.#next;
    this.#next += this.#view.getUint32(this.#start, true);
    return true;
  }

  /** The bytes that all offsets below refer to. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }
  /** Where the record starts and ends, for copying it whole into another batch. */
  get recordStart(): number {
    return this.#start;
  }
  get recordEnd(): number {
    return this.#next;
  }
  get callId(): number {
    return this.#view.getUint32(this.#start + 4, true);
  }
  get kind(): CallKind {
    return this.#view.getUint8(this.#start + 8) as CallKind;
  }
  get flags(): number {
    return this.#view.getUint8(this.#start + 9);
  }
  /** Index into the method table that the edge was started with. */
  get method(): number {
    return this.#view.getUint16(this.#start + 10, true);
  }
  get messageStart(): number {
    return this.#start + callHeaderBytes + this.#view.getUint32(this.#start + 16, true);
  }
  get messageEnd(): number {
    return this.messageStart + this.#view.getUint32(this.#start + 12, true);
  }
  get connectionId(): number {
    return this.#view.getUint32(this.#start + 20, true);
  }
  get arrival(): number {
    return this.#view.getUint32(this.#start + 24, true);
  }

  /** The metadata value under `tag`, copied; undefined when it was not sent. */
  metadata(tag: number): Uint8Array | undefined {
    let at = this.#start + callHeaderBytes;
    const end = this.messageStart;
    while (at < end) {
      const length = this.#view.getUint16(at + 2, true);
      if (this.#view.getUint8(at) === tag) return copyOf(this.#bytes, at + 4, at + 4 + length);
      at += 4 + length;
    }
    return undefined;
  }
}
