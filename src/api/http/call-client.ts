/**
 * Makes calls of the API from this thread: requests go to main as call-batch records, replies come back as reply-batch
 * records. Calls of one turn of the event loop go in one batch.
 * Invariants: call IDs have bit 31 set and are unique among the calls that wait; at most `callsMax` wait; each waiting
 * call is settled exactly once.
 */
import { assert } from "../../base/index.js";
import { ErrStopped, ErrTooManyRequests, EtcdError, type GrpcCode } from "../../errors/index.js";
import { CallKind, callHeaderBytes, gatewayCallBit, ReplyKind } from "../../native/index.js";

/** Takes a batch of call records to main; false when main's queue is full. */
export type Submit = (bytes: Uint8Array, length: number) => boolean | void;

/** A call to make. */
export interface Call {
  /** Index into the table of served methods. */
  readonly method: number;
  readonly flags: number;
  readonly metadata: readonly { readonly tag: number; readonly value: Uint8Array }[];
  readonly message: Uint8Array;
}

/** A call that waits for its end. */
export interface PendingCall {
  readonly id: number;
  /** The reply's message; rejects with EtcdError. */
  readonly reply: Promise<Uint8Array>;
}

interface Waiting {
  resolve(message: Uint8Array): void;
  reject(error: EtcdError): void;
}

/** No ID reaches this: all ones stand for "no call" elsewhere. */
const sequenceMax = 0x7fff_fffe;
/** A batch goes at once when it has reached this size. */
const batchBytesMax = 1 << 20;

export class CallClient {
  readonly #submit: Submit;
  readonly #callsMax: number;
  readonly #waiting = new Map<number, Waiting>();
  #sequence = 0;
  #batch = new Uint8Array(1 << 16);
  #view = new DataView(this.#batch.buffer);
  #length = 0;
  #flushing = false;
  #closed = false;

  constructor(submit: Submit, options: { callsMax: number }) {
    this.#submit = submit;
    this.#callsMax = options.callsMax;
  }

  /** How many calls wait for their reply. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Starts a unary call. Throws ErrTooManyRequests when too many wait, and ErrStopped after `close`. */
  start(call: Call): PendingCall {
    if (this.#closed) throw new ErrStopped();
    if (this.#waiting.size >= this.#callsMax) throw new ErrTooManyRequests();
    const id = this.#nextId();
    const reply = new Promise<Uint8Array>((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#append(id, CallKind.Call, call);
    return { id, reply };
  }

  /** Gives a call up: its reply, if one comes, is dropped, and its promise rejects with `error`. */
  cancel(id: number, error: EtcdError): void {
    const waiting = this.#waiting.get(id);
    if (!waiting) return;
    this.#waiting.delete(id);
    if (!this.#closed) this.#append(id, CallKind.Cancel, { method: 0, flags: 0, metadata: [], message: nothing });
    waiting.reject(error);
  }

  /** Takes a run of reply records, [start, end) of `bytes`; what is kept of them is copied. */
  receive(bytes: Uint8Array, start: number, end: number): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = start; at < end; at += view.getUint32(at, true)) this.#settle(bytes, view, at);
  }

  /** Ends all waiting calls: the server stops. */
  close(): void {
    this.#closed = true;
    for (const { reject } of this.#waiting.values()) reject(new ErrStopped());
    this.#waiting.clear();
  }

  #settle(bytes: Uint8Array, view: DataView, at: number): void {
    const id = view.getUint32(at + 4, true);
    const kind = view.getUint8(at + 8);
    const waiting = this.#waiting.get(id);
    if (!waiting || kind === ReplyKind.Message) return;
    this.#waiting.delete(id);
    const messageLength = view.getUint32(at + 12, true);
    const messageEnd = at + 16 + messageLength;
    if (kind === ReplyKind.MessageAndEnd) {
      waiting.resolve(bytes.slice(at + 16, messageEnd));
      return;
    }
    const text = Buffer.from(bytes.subarray(messageEnd, messageEnd + view.getUint16(at + 10, true))).toString();
    const code = view.getUint8(at + 9) as GrpcCode;
    waiting.reject(new EtcdError(code, text));
  }

  #nextId(): number {
    do this.#sequence = this.#sequence >= sequenceMax ? 1 : this.#sequence + 1;
    while (this.#waiting.has(gatewayCallBit + this.#sequence));
    return gatewayCallBit + this.#sequence;
  }

  #append(id: number, kind: CallKind, { method, flags, metadata, message }: Call): void {
    let metadataLength = 0;
    for (const { value } of metadata) metadataLength += 4 + value.length;
    const length = (callHeaderBytes + metadataLength + message.length + 7) & ~7;
    const start = this.#reserve(length);
    const words = [length, id, (kind | (flags << 8) | (method << 16)) >>> 0, message.length, metadataLength, 0, 0, 0];
    for (const [i, word] of words.entries()) this.#view.setUint32(start + 4 * i, word, true);
    let at = start + callHeaderBytes;
    for (const { tag, value } of metadata) {
      this.#view.setUint16(at, tag, true);
      this.#view.setUint16(at + 2, value.length, true);
      this.#batch.set(value, at + 4);
      at += 4 + value.length;
    }
    this.#batch.set(message, at);
    this.#batch.fill(0, at + message.length, start + length);
    if (this.#length > batchBytesMax) this.#flush();
    else if (!this.#flushing) {
      this.#flushing = true;
      setImmediate(() => this.#flush());
    }
  }

  #reserve(length: number): number {
    const start = this.#length;
    this.#length += length;
    if (this.#length > this.#batch.length) {
      const larger = new Uint8Array(Math.max(this.#length, 2 * this.#batch.length));
      larger.set(this.#batch.subarray(0, start));
      this.#batch = larger;
      this.#view = new DataView(larger.buffer);
    }
    return start;
  }

  #flush(): void {
    this.#flushing = false;
    const length = this.#length;
    if (length === 0) return;
    this.#length = 0;
    if (this.#submit(this.#batch, length) === false) this.#refuse(length);
    if (this.#batch.length > 2 * batchBytesMax) {
      this.#batch = new Uint8Array(1 << 16);
      this.#view = new DataView(this.#batch.buffer);
    }
  }

  /** Main's queue is full: the batch's calls fail as in an overloaded etcd. */
  #refuse(length: number): void {
    for (let at = 0; at < length; at += this.#view.getUint32(at, true)) {
      assert(this.#view.getUint32(at, true) > 0, "call batch: empty record");
      const id = this.#view.getUint32(at + 4, true);
      this.#waiting.get(id)?.reject(new ErrTooManyRequests());
      this.#waiting.delete(id);
    }
  }
}

const nothing = new Uint8Array(0);
