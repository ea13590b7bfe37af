/**
 * Makes calls of the API from this thread: requests go to main as call-batch records, replies come back as reply-batch
 * records. Calls of one turn of the event loop go in one batch.
 * Invariants: call IDs have bit 31 set and are unique among the calls that wait; at most `callsMax` wait, internal ones
 * not counted; each waiting call is settled exactly once. What main must know of a stream that it has (its end above
 * all) is not lost when main's queue is full, but sent once there is room: at most three records a stream wait for that.
 */
import { assert, copyOf } from "../../base/index.js";
import { ErrStopped, ErrTooManyRequests, EtcdError, GrpcCode } from "../../errors/index.js";
import { CallFlag, CallKind, callHeaderBytes, gatewayCallBit, MetadataTag, ReplyKind } from "../../native/index.js";

/** Takes a batch of call records to main; false when main's queue is full. */
export type Submit = (bytes: Uint8Array, length: number) => boolean | void;

/** A call to make. */
export interface Call {
  /** Index into the table of served methods. */
  readonly method: number;
  readonly flags: number;
  readonly metadata: readonly { readonly tag: number; readonly value: Uint8Array }[];
  readonly message: Uint8Array;
  /** Its messages come later, by `StreamCall.send`. */
  readonly clientStreams?: boolean;
  /** The connection in whose name it is made; none: the gateway's. */
  readonly connectionId?: number;
  /** Made by the member on behalf of a call that counts itself: neither counted nor bounded here. */
  readonly isInternal?: true;
}

/** A call that waits for its end. */
export interface PendingCall {
  readonly id: number;
  /** The reply's message; rejects with EtcdError. */
  readonly reply: Promise<Uint8Array>;
}

/** Who hears what a stream answers. */
export interface StreamListener {
  /** A message, in a buffer that is gone afterwards. With `asks`, `writable` is wanted once little waits to be sent. */
  message(bytes: Uint8Array, asks: boolean): void;
  /** Nothing more comes; undefined: the call ended well. */
  end(error: EtcdError | undefined): void;
}

/** A stream that has not ended. */
export interface StreamCall {
  readonly id: number;
  /** Sends a further message. */
  send(message: Uint8Array): void;
  /** No further message comes from here. */
  halfClose(): void;
  /** Little waits to be sent of what was answered so far. */
  writable(): void;
  /** Gives the call up: the listener hears of its end, nothing else. */
  cancel(error: EtcdError): void;
}

interface Waiting {
  readonly method: number;
  readonly sinceMs: number;
  /** A further message of the client's is waited for. */
  receives: boolean;
  readonly isInternal: boolean;
  /** The member's own calls are no calls of clients. */
  readonly counter: CallCounter | undefined;
  /** Of a message that is not whole. */
  parts: Uint8Array[];
  message(bytes: Uint8Array, asks: boolean): void;
  end(error: EtcdError | undefined): void;
}

/** Counts what the calls of this thread did, as the edge counts those of its own. */
export interface CallCounter {
  started(method: number, isStream: boolean, version: string | undefined): void;
  received(method: number, bytes: number): void;
  sent(method: number, bytes: number): void;
  ended(method: number, code: GrpcCode, seconds: number): void;
}

/** No ID is above this: all ones, and one less, stand for "no call" elsewhere. */
const sequenceMax = 0x7fff_fffd;
/** A batch goes at once when it has reached this size. */
const batchBytesMax = 1 << 20;

export class CallClient {
  readonly #submit: Submit;
  readonly #callsMax: number;
  readonly #waiting = new Map<number, Waiting>();
  /** Internal ones among them. */
  #internal = 0;
  #sequence = 0;
  #batch = new Uint8Array(1 << 16);
  #view = new DataView(this.#batch.buffer);
  #length = 0;
  #flushing = false;
  #closed = false;
  readonly #counter: CallCounter | undefined;

  constructor(submit: Submit, options: { callsMax: number; counter?: CallCounter }) {
    this.#submit = submit;
    this.#callsMax = options.callsMax;
    this.#counter = options.counter;
  }

  /** How many calls wait for their reply. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Starts a unary call. Throws ErrTooManyRequests when too many wait, and ErrStopped after `close`. */
  start(call: Call): PendingCall {
    let settle: { resolve(message: Uint8Array): void; reject(error: EtcdError): void } | undefined;
    const reply = new Promise<Uint8Array>((resolve, reject) => (settle = { resolve, reject }));
    let answer = nothing;
    const id = this.#begin(call, false, {
      message: (bytes) => (answer = copyOf(bytes)),
      end: (error) => (error === undefined ? settle?.resolve(answer) : settle?.reject(error)),
    });
    return { id, reply };
  }

  /**
   * Starts a call that answers with a stream. `call.message` is the request of a server-streaming method; other
   * methods get theirs by `send`. Throws as `start`.
   */
  open(call: Call, listener: StreamListener): StreamCall {
    const { method } = call;
    const id = this.#begin(call, true, {
      message: (bytes, asks) => listener.message(bytes, asks),
      end: (error) => listener.end(error),
    });
    const tell = (kind: CallKind, message = nothing): void => {
      if (this.#waiting.has(id)) this.#append(id, kind, { method, flags: call.flags, metadata: [], message });
    };
    return {
      id,
      send: (message) => {
        this.#waiting.get(id)?.counter?.received(method, message.length);
        tell(CallKind.Message, message);
      },
      halfClose: () => {
        this.#receivesNoMore(id);
        tell(CallKind.HalfClose);
      },
      writable: () => tell(CallKind.Writable),
      cancel: (error) => this.cancel(id, error),
    };
  }

  /** Gives a call up: its reply, if one comes, is dropped, and its promise rejects with `error`. */
  cancel(id: number, error: EtcdError): void {
    const waiting = this.#take(id, error.code);
    if (!waiting) return;
    if (!this.#closed) this.#append(id, CallKind.Cancel, cancelCall);
    waiting.end(error);
  }

  /** Takes a run of reply records, [start, end) of `bytes`; what is kept of them is copied. */
  receive(bytes: Uint8Array, start: number, end: number): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = start; at < end; at += view.getUint32(at, true)) this.#settle(bytes, view, at);
  }

  /** Ends all waiting calls: the server stops. */
  close(): void {
    this.#closed = true;
    for (const id of this.#waiting.keys()) this.cancel(id, new ErrStopped());
  }

  #begin(call: Call, isStream: boolean, hears: Pick<Waiting, "message" | "end">): number {
    if (this.#closed) throw new ErrStopped();
    const { isInternal = false } = call;
    if (!isInternal && this.#waiting.size - this.#internal >= this.#callsMax) throw new ErrTooManyRequests();
    const id = this.#nextId();
    const { method, clientStreams: receives = false } = call;
    const counter = (call.flags & CallFlag.Root) === 0 && !isInternal ? this.#counter : undefined;
    if (isInternal) this.#internal++;
    this.#waiting.set(id, { ...hears, method, sinceMs: performance.now(), receives, isInternal, counter, parts: [] });
    counter?.started(method, isStream, versionOf(call));
    if (!receives) counter?.received(method, call.message.length);
    this.#append(id, CallKind.Call, call);
    return id;
  }

  /** Forgets a waiting call, which ends with `code`. */
  #take(id: number, code: GrpcCode): Waiting | undefined {
    this.#receivesNoMore(id);
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return undefined;
    this.#waiting.delete(id);
    if (waiting.isInternal) this.#internal--;
    waiting.counter?.ended(waiting.method, code, (performance.now() - waiting.sinceMs) / 1000);
    return waiting;
  }

  /** Go's middleware counts the end of a client's messages as one more. */
  #receivesNoMore(id: number): void {
    const waiting = this.#waiting.get(id);
    if (waiting?.receives !== true) return;
    waiting.receives = false;
    waiting.counter?.received(waiting.method, 0);
  }

  #settle(bytes: Uint8Array, view: DataView, at: number): void {
    const id = view.getUint32(at + 4, true);
    const kind = view.getUint8(at + 8);
    const code = view.getUint8(at + 9);
    const waiting = this.#waiting.get(id);
    if (!waiting) return;
    const messageEnd = at + 16 + view.getUint32(at + 12, true);
    if (kind === ReplyKind.Part) return keepPart(waiting, bytes.subarray(at + 16, messageEnd), code === 1);
    const isStreams = kind === ReplyKind.Message || kind === ReplyKind.LastPart;
    if (kind !== ReplyKind.End) {
      let message = bytes.subarray(at + 16, messageEnd);
      if (kind === ReplyKind.LastPart) message = Buffer.concat([...waiting.parts.splice(0), message]);
      waiting.counter?.sent(waiting.method, message.length);
      waiting.message(message, isStreams && code === 1);
    }
    if (isStreams) return;
    const status = (kind === ReplyKind.MessageAndEnd ? GrpcCode.OK : code) as GrpcCode;
    // Its listener may have given it up meanwhile.
    if (this.#take(id, status) === undefined) return;
    if (status === GrpcCode.OK) return waiting.end(undefined);
    const text = Buffer.from(bytes.subarray(messageEnd, messageEnd + view.getUint16(at + 10, true))).toString();
    waiting.end(new EtcdError(status, text));
  }

  #nextId(): number {
    do this.#sequence = this.#sequence >= sequenceMax ? 1 : this.#sequence + 1;
    while (this.#waiting.has(gatewayCallBit + this.#sequence));
    return gatewayCallBit + this.#sequence;
  }

  #append(id: number, kind: CallKind, call: Call, delayMs = 0): void {
    const { method, flags, metadata, message, connectionId = 0 } = call;
    let metadataLength = 0;
    for (const { value } of metadata) metadataLength += 4 + value.length;
    const length = (callHeaderBytes + metadataLength + message.length + 7) & ~7;
    const start = this.#reserve(length);
    const what = (kind | (flags << 8) | (method << 16)) >>> 0;
    const words = [length, id, what, message.length, metadataLength, connectionId, 0, 0];
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
    if (this.#length > batchBytesMax && delayMs === 0) this.#flush();
    else if (!this.#flushing) {
      this.#flushing = true;
      if (delayMs === 0) setImmediate(() => this.#flush());
      else setTimeout(() => this.#flush(), delayMs);
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

  /**
   * Main's queue is full: the batch's calls and messages fail as in an overloaded etcd. What main must hear of calls
   * that it has is kept for later.
   */
  #refuse(length: number): void {
    const refused = copyOf(this.#batch, 0, length);
    const view = new DataView(refused.buffer);
    const gone = new Set<number>();
    for (let at = 0; at < length; at += view.getUint32(at, true)) {
      assert(view.getUint32(at, true) > 0, "call batch: empty record");
      const id = view.getUint32(at + 4, true);
      const kind = view.getUint8(at + 8);
      if (kind === CallKind.Call) gone.add(id);
      else if (kind !== CallKind.Message && !gone.has(id)) {
        const words = { method: view.getUint16(at + 10, true), flags: view.getUint8(at + 9) };
        this.#append(id, kind as CallKind, { ...words, metadata: [], message: nothing }, retryMs);
        continue;
      }
      const error = new ErrTooManyRequests();
      const waiting = this.#take(id, error.code);
      if (waiting === undefined) continue;
      if (kind === CallKind.Message && !gone.has(id)) this.#append(id, CallKind.Cancel, cancelCall, retryMs);
      waiting.end(error);
    }
  }
}

const nothing: Uint8Array = new Uint8Array(0);
const cancelCall: Call = { method: 0, flags: 0, metadata: [], message: nothing };
/** Main's queue is tried again after this. */
const retryMs = 5;

/** Keeps a part of a message, or drops those that have come. */
function keepPart(waiting: Waiting, bytes: Uint8Array, isDropped: boolean): void {
  if (isDropped) waiting.parts = [];
  else waiting.parts.push(copyOf(bytes));
}

/** The client's API version, if it sent one. */
function versionOf({ metadata }: Call): string | undefined {
  const found = metadata.find(({ tag }) => tag === MetadataTag.ClientApiVersion);
  return found && Buffer.from(found.value).toString();
}
