/** Answers the lease calls that main hands over (`lease-calls.ts`), from the table and with the revision of now. */
import { copyOf } from "../base/index.js";
import { ErrTooManyRequests } from "../errors/index.js";
import { writeVarintHalves, type LeaseTable } from "../lease/index.js";
import { ReplyKind, type ReplyBatchWriter } from "../native/index.js";
import { writeVarint } from "../proto/index.js";
import type { MvccStore } from "../storage/mvcc/index.js";
import type { FromApply } from "./control.js";
import { LeaseCallReader, LeaseOp } from "./lease-calls.js";
import type { LeaseKeyLists } from "./lease-key-lists.js";
import type { LeaseLists } from "./lease-lists.js";
import { headerBytesMax, writeDelimited, type HeaderWriter } from "./response.js";

/** Tag and value of an int64 field. */
const fieldBytesMax = 11;
/** More keys than these are listed in slices. */
const keysAtOnce = 512;
const minusOne = { low: 0xffff_ffff, high: 0xffff_ffff } as const;

export interface LeaseAnswersOptions {
  readonly store: MvccStore;
  readonly leases: LeaseTable;
  readonly replies: ReplyBatchWriter;
  readonly header: HeaderWriter;
  readonly post: (event: FromApply) => void;
}

export class LeaseAnswers {
  readonly #options: LeaseAnswersOptions;
  readonly #call = new LeaseCallReader();
  /** Where the response begun last begins. */
  #start = 0;
  readonly #lists: LeaseLists | undefined;
  readonly #keyLists: LeaseKeyLists | undefined;

  /** `lists`, `keyLists`: who answers LeaseLeases and lists very many keys; the applier has no such calls. */
  constructor(options: LeaseAnswersOptions, lists?: LeaseLists, keyLists?: LeaseKeyLists) {
    this.#options = options;
    this.#lists = lists;
    this.#keyLists = keyLists;
  }

  /** Answers the call whose record's message is `bytes[start, end)`; the header's term must be set. */
  answer(callId: number, raftTerm: number, bytes: Uint8Array, start: number, end: number): void {
    const call = this.#call;
    call.read(bytes, start, end);
    switch (call.op) {
      case LeaseOp.KeepAlive:
        this.#keepAlive(callId);
        break;
      case LeaseOp.End: {
        const text = Buffer.from(bytes.buffer, bytes.byteOffset + call.tailStart, call.tailEnd - call.tailStart);
        this.#options.replies.status(callId, call.operand, text.toString());
        break;
      }
      case LeaseOp.TimeToLive:
        this.#timeToLive(callId);
        break;
      case LeaseOp.Leases:
        this.#lists?.ask({ callId, raftTerm }, call, bytes);
        break;
      case LeaseOp.Head:
        this.#head(callId, bytes, call.tailStart, call.tailEnd);
        break;
      case LeaseOp.Barrier:
        this.#options.post({ type: "barrier", token: call.number });
        break;
    }
  }

  /** Answers a grant: ID and TTL of a lease that exists now. */
  granted(callId: number, low: number, high: number): void {
    const { replies, leases } = this.#options;
    let at = this.#begin(callId, ReplyKind.MessageAndEnd);
    at = this.#id(low, high, at);
    at = this.#seconds(0x18, leases.ttlOf(low, high), at);
    replies.finish(at);
  }

  /** Answers with nothing but a header. */
  bare(callId: number): void {
    this.#options.replies.finish(this.#begin(callId, ReplyKind.MessageAndEnd));
  }

  #keepAlive(callId: number): void {
    const { replies, leases } = this.#options;
    const { idLow, idHigh } = this.#call;
    let at = this.#begin(callId, ReplyKind.Message);
    at = this.#id(idLow, idHigh, at);
    if (leases.has(idLow, idHigh)) at = this.#seconds(0x18, leases.ttlOf(idLow, idHigh), at);
    replies.finish(at);
  }

  #timeToLive(callId: number): void {
    const { replies, leases } = this.#options;
    const { idLow, idHigh, number: milliseconds, operand } = this.#call;
    let at = this.#begin(callId, ReplyKind.MessageAndEnd);
    at = this.#id(idLow, idHigh, at);
    if (!leases.has(idLow, idHigh)) {
      replies.bytes[at++] = 0x18;
      replies.finish(writeVarintHalves(minusOne.low, minusOne.high, replies.bytes, at));
      return;
    }
    const ttl = leases.ttlOf(idLow, idHigh);
    // What main has not heard of yet was granted this very moment.
    at = this.#seconds(0x18, Number.isNaN(milliseconds) ? ttl - 1 : Math.trunc(milliseconds / 1000), at);
    at = this.#seconds(0x20, ttl, at);
    if (operand === 1 && leases.keyCountOf(idLow, idHigh) > keysAtOnce && this.#keyLists !== undefined) {
      return this.#listKeys(callId, at);
    }
    if (operand === 1) {
      for (const key of leases.keysOf(idLow, idHigh)) at = writeDelimited(replies, at, 0x2a, key, 0, key.length);
    }
    replies.finish(at);
  }

  /** The response begun last, up to `at`, goes on with the keys of the lease in hand. */
  #listKeys(callId: number, at: number): void {
    const { replies } = this.#options;
    const head = copyOf(replies.bytes, this.#start, at);
    replies.abandon();
    if (this.#keyLists!.isFull) replies.status(callId, ErrTooManyRequests.code, ErrTooManyRequests.message);
    else this.#keyLists!.ask(callId, this.#call.idLow, this.#call.idHigh, head);
  }

  #head(callId: number, bytes: Uint8Array, start: number, end: number): void {
    const { replies } = this.#options;
    const at = this.#begin(callId, this.#call.operand === 1 ? ReplyKind.Message : ReplyKind.MessageAndEnd);
    replies.ensure(at + end - start);
    replies.bytes.set(bytes.subarray(start, end), at);
    replies.finish(at + end - start);
  }

  /** Begins a reply with its header; room is left for three more fields. */
  #begin(callId: number, kind: ReplyKind): number {
    const { replies, header, store } = this.#options;
    const at = replies.begin(callId, kind, headerBytesMax + 3 * fieldBytesMax);
    this.#start = at;
    return header.write(store.currentRevision, replies.bytes, at);
  }

  /** Field 2, the ID. */
  #id(low: number, high: number, at: number): number {
    if ((low | high) === 0) return at;
    const { bytes } = this.#options.replies;
    bytes[at] = 0x10;
    return writeVarintHalves(low, high, bytes, at + 1);
  }

  #seconds(tag: number, seconds: number, at: number): number {
    const { bytes } = this.#options.replies;
    if (seconds === 0) return at;
    bytes[at++] = tag;
    if (seconds > 0) return writeVarint(seconds, bytes, at);
    // A lease whose end is overdue.
    return writeVarintHalves(seconds >>> 0, 0xffff_ffff, bytes, at);
  }
}
