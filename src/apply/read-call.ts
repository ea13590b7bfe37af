/**
 * One read that is answered in slices: a Range or a transaction of ranges. It writes into a reply batch that it is
 * given; the first slice usually goes into the batch that all answers of a turn share, and a read that needs more
 * is done again, or goes on, with a batch of its own.
 */
import { ErrFutureRevision, type EtcdErrorClass } from "../errors/index.js";
import { ReplyKind, type ReplyBatchWriter } from "../native/index.js";
import type { MvccStore, SliceLimits } from "../storage/mvcc/index.js";
import { refusalOf } from "./range-status.js";
import { RangeReader } from "./range-reader.js";
import { RangeFields } from "./requests.js";
import { headerBytesMax, type HeaderWriter } from "./response.js";
import { refuseTooLarge, responseBytesMax } from "./response-bound.js";
import { TxnReader } from "./txn-reader.js";

export const ReadMethod = { Range: 0, Txn: 1 } as const;
export type ReadMethod = (typeof ReadMethod)[keyof typeof ReadMethod];

export class ReadCall {
  readonly replies: ReplyBatchWriter;
  readonly #store: MvccStore;
  readonly #header: HeaderWriter;
  readonly #fields = new RangeFields();
  readonly #range: RangeReader;
  readonly #txn: TxnReader;
  #method: ReadMethod = ReadMethod.Range;
  #callId = 0;
  #refused = false;
  // Of the request, and the compact revision when it was begun: it may have to begin anew.
  #bytes: Uint8Array = new Uint8Array(0);
  #requestStart = 0;
  #requestEnd = 0;
  #compactRevision = 0;

  constructor(store: MvccStore, replies: ReplyBatchWriter, header: HeaderWriter) {
    this.#store = store;
    this.replies = replies;
    this.#header = header;
    this.#range = new RangeReader(store, replies);
    this.#txn = new TxnReader(store, replies, header);
  }

  get callId(): number {
    return this.#callId;
  }
  /** Ranges read. */
  get ranges(): number {
    return this.#method === ReadMethod.Txn ? this.#txn.ranges : 1;
  }
  /** The read has been answered with an error. */
  get refused(): boolean {
    return this.#refused;
  }

  /**
   * Begins on the request `bytes[start, end)`, which must stay until the read is done. The header's term must be set.
   * True: it was answered at once (refused).
   */
  start(method: ReadMethod, callId: number, bytes: Uint8Array, start: number, end: number): boolean {
    this.#method = method;
    this.#callId = callId;
    this.#refused = false;
    this.#bytes = bytes;
    this.#requestStart = start;
    this.#requestEnd = end;
    this.#compactRevision = this.#store.compactRevision;
    const at = this.replies.begin(callId, ReplyKind.MessageAndEnd, headerBytesMax);
    const endMax = at + responseBytesMax;
    if (method === ReadMethod.Txn) {
      this.#txn.start(bytes, start, end, at, endMax);
      return false;
    }
    this.#fields.read(bytes, start, end);
    const { currentRevision } = this.#store;
    const bodyStart = this.#header.write(currentRevision, this.replies.bytes, at);
    // A long delete may be under way, in a transaction that can see a revision more.
    const refusal =
      this.#fields.revision > currentRevision
        ? ErrFutureRevision
        : refusalOf(this.#range.start(this.#fields, currentRevision, bodyStart, endMax));
    if (refusal !== null) this.#refuse(refusal);
    return refusal !== null;
  }

  /** Does one slice; true when the read is answered. The header's term must be set. */
  step(limits: SliceLimits): boolean {
    const isTxn = this.#method === ReadMethod.Txn;
    if (this.#isCompacted) {
      this.abandon();
      if (this.start(this.#method, this.#callId, this.#bytes, this.#requestStart, this.#requestEnd)) return true;
    }
    if (!(isTxn ? this.#txn.step(limits) : this.#range.step(limits))) return this.#overflowed && this.#end(0);
    if (isTxn && this.#txn.refusal !== null) {
      this.#refuse(this.#txn.refusal);
      return true;
    }
    return this.#end(isTxn ? this.#txn.at : this.#range.at);
  }

  /**
   * A compaction was scheduled since, and what is read may be gone: the read begins anew, as if it had come after that,
   * at the present revision unless it names one.
   */
  get #isCompacted(): boolean {
    const { compactRevision } = this.#store;
    if (compactRevision === this.#compactRevision) return false;
    return this.#method === ReadMethod.Txn || this.#range.revision < compactRevision;
  }

  /** Takes back what has been written of the answer; the read may be started again. */
  abandon(): void {
    this.replies.abandon();
  }

  get #overflowed(): boolean {
    return this.#method === ReadMethod.Txn ? this.#txn.overflowed : this.#range.overflowed;
  }

  #refuse(refusal: EtcdErrorClass): void {
    this.#refused = true;
    this.replies.abandon();
    this.replies.status(this.#callId, refusal.code, refusal.message);
  }

  #end(responseEnd: number): true {
    this.#refused = this.#overflowed;
    if (this.#overflowed) refuseTooLarge(this.replies, this.#callId);
    else this.replies.finish(responseEnd);
    return true;
  }
}
