/**
 * The write requests that may touch any number of keys, DeleteRange and Txn: applied in slices, one request at a time,
 * and answered in a reply batch of their own, since other answers are written between the slices.
 *
 *   beginDelete | beginTxn → step until true; then `refusal`, or it has been answered
 */
import type { EtcdErrorClass } from "../errors/index.js";
import { ReplyBatchWriter, ReplyKind } from "../native/index.js";
import type { MvccStore, SliceLimits } from "../storage/mvcc/index.js";
import { KvWriter, type KvCounts } from "./kv-writer.js";
import type { LeaseLookup } from "./leases.js";
import { RangeDeleter } from "./range-deleter.js";
import { DeleteRangeFields } from "./requests.js";
import { headerBytesMax, type HeaderWriter } from "./response.js";
import { refuseTooLarge, responseBytesMax } from "./response-bound.js";
import { Slice } from "./slice.js";
import { TxnWriter } from "./txn-writer.js";

/** An answer up to this size is copied into the batch of its turn. */
const copiedReplyBytesMax = 64 << 10;

export interface LongWritesOptions {
  readonly store: MvccStore;
  readonly leases: LeaseLookup;
  readonly replies: ReplyBatchWriter;
  /** Sends a batch of its own: a long answer is not copied into `replies`. */
  readonly send: (bytes: Uint8Array, length: number) => void;
  readonly header: HeaderWriter;
  /** How long an answer may be, if not as gRPC allows. */
  readonly responseBytesMax?: number | undefined;
}

const Phase = { None: 0, Delete: 1, TxnPath: 2, Txn: 3 } as const;
type Phase = (typeof Phase)[keyof typeof Phase];

export class LongWrites {
  readonly #options: LongWritesOptions;
  readonly #store: MvccStore;
  readonly #header: HeaderWriter;
  readonly #counts: KvCounts;
  readonly #reply = new ReplyBatchWriter();
  readonly #deleter: RangeDeleter;
  readonly #txn: TxnWriter;
  readonly #delete = new DeleteRangeFields();
  readonly #slice = new Slice();
  readonly #responseBytesMax: number;
  readonly #writeHeader = (revision: number, bytes: Uint8Array, at: number): number =>
    this.#header.write(revision, bytes, at);
  // Of the request in hand.
  #phase: Phase = Phase.None;
  #callId = 0;
  #refusal: EtcdErrorClass | null = null;
  /** Where the answer starts, and the room left for its header. */
  #at = 0;
  #room = 0;
  #opsBefore = 0;
  /** Who has waited for the answer is gone. */
  #dropped = false;

  constructor(options: LongWritesOptions, counts: KvCounts) {
    this.#options = options;
    this.#store = options.store;
    this.#header = options.header;
    this.#counts = counts;
    this.#responseBytesMax = options.responseBytesMax ?? responseBytesMax;
    this.#deleter = new RangeDeleter(options.store, this.#reply);
    const kv = new KvWriter(options.store, options.leases, this.#reply, counts);
    this.#txn = new TxnWriter(options.store, kv, this.#reply);
  }

  /** Why the request was refused; right when `step` has returned true. */
  get refusal(): EtcdErrorClass | null {
    return this.#refusal;
  }

  /** The request at `bytes[start, end)` must stay until it is done. Call 0: nobody waits for the answer. */
  beginDelete(bytes: Uint8Array, start: number, end: number, callId: number): void {
    this.#begin(Phase.Delete, callId);
    this.#delete.read(bytes, start, end);
    this.#store.begin();
    this.#counts.deletes++;
    if (this.#delete.previousKv) {
      this.#counts.ranges++;
      this.#counts.txns++;
    }
    const at = this.#beginReply();
    this.#deleter.start(this.#delete, at, at + this.#responseBytesMax, this.#writeHeader);
  }

  /** As `beginDelete`. */
  beginTxn(bytes: Uint8Array, start: number, end: number, callId: number): void {
    this.#begin(Phase.TxnPath, callId);
    this.#txn.begin(bytes, start, end);
  }

  /** Does one slice; true when the request is applied and answered, or refused. The header's term must be set. */
  step(limits: SliceLimits): boolean {
    const slice = this.#slice;
    slice.reset(limits);
    if (this.#phase === Phase.Delete) {
      if (!this.#deleter.step(slice)) return false;
      this.#store.end();
      this.#end(this.#deleter.overflowed, this.#deleter.at);
      return true;
    }
    if (this.#phase === Phase.TxnPath) {
      if (!this.#txn.stepPath(slice)) return false;
      this.#refusal = this.#txn.refuse();
      if (this.#refusal !== null) {
        this.#phase = Phase.None;
        return true;
      }
      this.#beginExecute();
    }
    if (!this.#txn.stepExecute(slice)) return false;
    this.#endTxn();
    return true;
  }

  /** The caller is gone: nobody waits for the answer of the request in hand, if it is that one's. */
  cancel(callId: number): void {
    if (this.#phase === Phase.None || this.#callId !== callId) return;
    if (this.#phase === Phase.TxnPath) this.#callId = 0;
    else this.#dropped = true;
    if (this.#phase === Phase.Txn) this.#txn.dropResponse();
  }

  #begin(phase: Phase, callId: number): void {
    this.#phase = phase;
    this.#callId = callId;
    this.#refusal = null;
    this.#dropped = false;
  }

  /** Where the answer goes; −1: nowhere. */
  #beginReply(): number {
    return this.#callId === 0 ? -1 : this.#reply.begin(this.#callId, ReplyKind.MessageAndEnd, headerBytesMax);
  }

  get #opCount(): number {
    return this.#counts.puts + this.#counts.deletes + this.#counts.ranges;
  }

  /** The answer's header goes first, and is known last. */
  #beginExecute(): void {
    this.#phase = Phase.Txn;
    this.#opsBefore = this.#opCount;
    this.#store.begin();
    this.#at = this.#beginReply();
    this.#room = this.#header.size(this.#store.currentRevision + 1);
    if (this.#at < 0) this.#txn.beginExecute(-1, 0);
    else this.#txn.beginExecute(this.#at + this.#room, this.#at + this.#responseBytesMax);
  }

  #endTxn(): void {
    const revision = this.#store.end();
    if (this.#opCount - this.#opsBefore > 1) this.#counts.txns++;
    let responseEnd = this.#txn.at;
    if (responseEnd >= 0) {
      const { bytes } = this.#reply;
      const size = this.#header.size(revision);
      if (size !== this.#room) {
        bytes.copyWithin(this.#at + size, this.#at + this.#room, responseEnd);
        responseEnd += size - this.#room;
      }
      this.#header.write(revision, bytes, this.#at);
    }
    this.#end(this.#txn.overflowed, responseEnd);
  }

  /** Answers, if anyone waits: refuses an answer that has become too long. */
  #end(overflowed: boolean, responseEnd: number): void {
    this.#phase = Phase.None;
    if (this.#callId === 0) return;
    const reply = this.#reply;
    if (this.#dropped) reply.abandon();
    else if (overflowed) refuseTooLarge(reply, this.#callId);
    else reply.finish(responseEnd);
    if (reply.length > copiedReplyBytesMax) this.#options.send(reply.bytes, reply.length);
    else if (reply.length > 0) this.#options.replies.append(reply.bytes, reply.length);
    reply.clear();
  }
}
