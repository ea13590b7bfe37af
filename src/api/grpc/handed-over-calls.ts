/**
 * Calls that the HTTP thread serves: locks and elections, which may wait for hours. Main hands them over, and what
 * happens to them afterwards.
 * Invariant: what they hold in memory is bounded; beyond that a call is refused as in an overloaded etcd.
 * Thread: main.
 */
import { copyOf } from "../../base/index.js";
import { ErrTooManyRequests, type EtcdError } from "../../errors/index.js";
import { CallFlag, MetadataTag, type CallBatchReader } from "../../native/index.js";
import { validate } from "../../proto/index.js";
import type { ConcurrencyCall, ConcurrencyMessage } from "../http/index.js";
import { servedMethods, unmarshalError } from "./methods.js";

/** All calls' share of memory, as `bytesOf` reckons it: some 65,000 with short names. */
const bytesMax = 256 << 20;
/** A call that waits: its promises and its watch, here and at apply. */
const callBytes = 4 << 10;
/** The request, the names and keys made of it, and the watched key. */
const messageCopies = 4;

export class HandedOverCalls {
  readonly #post: (message: ConcurrencyMessage, transfer?: ArrayBuffer) => void;
  /** Bytes by call ID. */
  readonly #calls = new Map<number, number>();
  #bytes = 0;

  /** `post` takes a message to the HTTP thread; `transfer` goes with it. */
  constructor(post: (message: ConcurrencyMessage, transfer?: ArrayBuffer) => void) {
    this.#post = post;
  }

  /** Hands the call of a record over, if it parses; the error that ends it at once, if it cannot be. */
  start(record: CallBatchReader): EtcdError | null {
    const { callId: id, method, connectionId, bytes, messageStart, messageEnd } = record;
    const { request } = servedMethods[method]!;
    const text = validate(request, bytes, messageStart, messageEnd);
    if (text !== undefined) return unmarshalError(method, text);
    const size = callBytes + messageCopies * (messageEnd - messageStart);
    if (this.#bytes + size > bytesMax) return new ErrTooManyRequests();
    this.#calls.set(id, size);
    this.#bytes += size;
    const message = copyOf(bytes, messageStart, messageEnd);
    const flags = record.flags & CallFlag.Gateway;
    const call: ConcurrencyCall = {
      id,
      method,
      flags,
      connectionId,
      token: record.metadata(MetadataTag.Token),
      message,
    };
    this.#post({ kind: "call", call }, message.buffer);
    return null;
  }

  /** The call's client is gone. */
  cancel(callId: number): void {
    if (this.#calls.has(callId)) this.#post({ kind: "cancelCall", id: callId });
  }

  /** Little waits to be sent to the call's client. */
  writable(callId: number): void {
    if (this.#calls.has(callId)) this.#post({ kind: "writableCall", id: callId });
  }

  /** The HTTP thread has done with the call. */
  ended(callId: number): void {
    this.#bytes -= this.#calls.get(callId) ?? 0;
    this.#calls.delete(callId);
  }
}
