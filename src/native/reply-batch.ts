/**
 * The binary batch in which replies travel: main or apply → edge or gateway.
 * `native/core/src/edge/batch.rs` is its twin.
 *
 * Records, each starting 8-byte aligned, little-endian:
 *
 *   u32 0  length         of the whole record, header and padding included; a multiple of 8
 *   u32 1  callId
 *   u8     kind           ReplyKind
 *   u8     code           End: gRPC status; Message, LastPart: 1 asks for a Writable record; Part: 1 drops those before;
 *                         else 0
 *   u16    statusLength   bytes of the status message (UTF-8, not yet percent-encoded)
 *   u32 3  messageLength
 *   message bytes (protobuf, without the gRPC frame), then status message bytes
 *
 * A long message may come in parts: it is sent once its last part has come, and other messages of the call before it.
 * Replies to calls that are gone are dropped by the edge.
 */
import { assert } from "../base/index.js";

export const ReplyKind = {
  /** One message of a stream; more may follow. */
  Message: 1,
  /** The call ends with a status and no further message. */
  End: 2,
  /** One message and the status OK: a unary call's answer. */
  MessageAndEnd: 3,
  /** Bytes of a stream's message, of which more come. A call has one such message at a time. */
  Part: 4,
  /** The last of them. */
  LastPart: 5,
} as const;
export type ReplyKind = (typeof ReplyKind)[keyof typeof ReplyKind];

const headerBytes = 16;
const bufferBytesMin = 1 << 14;
/** A writer's buffer goes back to this size after a larger batch. */
const bufferBytesKept = 1 << 20;
/** A buffer doubles until it grows by so much at a time. */
const growthBytesMax = 256 << 20;
const encoder = new TextEncoder();

/**
 * Builds one reply batch in a buffer that is reused from batch to batch.
 * A message is written in place: `begin`, then the caller writes into `bytes` at `at`, then `finish`.
 */
export class ReplyBatchWriter {
  bytes = new Uint8Array(bufferBytesMin);
  #view = new DataView(this.bytes.buffer);
  #length = 0;
  #start = -1;
  #kind: ReplyKind = ReplyKind.Message;

  /** Bytes of the batch so far. */
  get length(): number {
    return this.#length;
  }

  /** Forgets the batch; the buffer is kept unless it has grown large. */
  clear(): void {
    assert(this.#start === -1, "reply batch: clear within a record");
    this.#length = 0;
    if (this.bytes.length > bufferBytesKept) this.#resize(bufferBytesKept);
  }

  /** Starts a record and returns where its message begins. `messageBytesMax` bytes may then be written. */
  begin(callId: number, kind: ReplyKind, messageBytesMax: number): number {
    assert(this.#start === -1, "reply batch: record begun within a record");
    this.reserve(headerBytes + messageBytesMax + 8);
    this.#start = this.#length;
    this.#kind = kind;
    this.#view.setUint32(this.#start + 4, callId, true);
    return this.#start + headerBytes;
  }

  /** Makes room for `count` more bytes after `length`; offsets stay valid, `bytes` may be another array. */
  reserve(count: number): void {
    const needed = this.#length + count;
    if (needed > this.bytes.length) this.#grow(needed);
  }

  /** Within a record: makes sure that `bytes` reaches to `end`. */
  ensure(end: number): void {
    if (end + 8 > this.bytes.length) this.#grow(end + 8);
  }

  /**
   * Ends the record begun last; its message ends at `messageEnd`. With `askWritable`, which a stream's whole message
   * may have, a Writable record comes once the client has taken so much that little is left to send.
   */
  finish(messageEnd: number, askWritable = false): void {
    assert(this.#start !== -1, "reply batch: finish without a record");
    const messageLength = messageEnd - this.#start - headerBytes;
    this.#view.setUint32(this.#start + 8, this.#kind | (askWritable ? 0x100 : 0), true);
    this.#view.setUint32(this.#start + 12, messageLength, true);
    this.#close(messageEnd);
  }

  /** Takes back the record begun last, as if it had not been. */
  abandon(): void {
    assert(this.#start !== -1, "reply batch: abandon without a record");
    this.#start = -1;
  }

  /** Appends whole records, `source[0, length)`. */
  append(source: Uint8Array, length: number): void {
    assert(this.#start === -1, "reply batch: append within a record");
    this.reserve(length);
    this.bytes.set(source.subarray(0, length), this.#length);
    this.#length += length;
  }

  /** Appends a record with a message that exists already; `askWritable` as in `finish`. */
  message(callId: number, kind: ReplyKind, message: Uint8Array, askWritable = false): void {
    const at = this.begin(callId, kind, message.length);
    this.bytes.set(message, at);
    this.finish(at + message.length, askWritable);
  }

  /** Takes back the parts of a message that is not whole. */
  dropParts(callId: number): void {
    const at = this.begin(callId, ReplyKind.Part, 0);
    this.finish(at, true);
  }

  /** Appends the end of a call: gRPC status `code` and its text. */
  status(callId: number, code: number, text: string): void {
    const at = this.begin(callId, ReplyKind.End, text.length * 3);
    const { written } = encoder.encodeInto(text, this.bytes.subarray(at, at + text.length * 3));
    this.#view.setUint32(this.#start + 8, ReplyKind.End | (code << 8) | (written << 16), true);
    this.#view.setUint32(this.#start + 12, 0, true);
    this.#close(at + written);
  }

  #close(end: number): void {
    const length = Math.ceil((end - this.#start) / 8) * 8;
    this.#view.setUint32(this.#start, length, true);
    this.#length = this.#start + length;
    this.#start = -1;
  }

  #grow(needed: number): void {
    const { length } = this.bytes;
    this.#resize(Math.max(needed, length + Math.min(length, growthBytesMax)));
  }

  #resize(size: number): void {
    const bytes = new Uint8Array(size);
    bytes.set(this.bytes.subarray(0, Math.min(this.bytes.length, size)));
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}
