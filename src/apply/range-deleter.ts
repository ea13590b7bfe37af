/**
 * Deletes a range within an open write transaction, and writes its DeleteRangeResponse, in slices. Between slices the store may be read at its current revision, which
 * does not grow before the transaction ends; it must not be written.
 *
 *   start → step until true; then the response ends at `at`
 */
import type { ReplyBatchWriter } from "../native/index.js";
import { writeVarint } from "../proto/index.js";
import type { MvccStore, RangeQuery, RangeScan, RangeSink, SliceLimits } from "../storage/mvcc/index.js";
import type { DeleteRangeFields } from "./requests.js";
import { copyBytes, writeDelimited } from "./response.js";

const previousTag = 0x1a;
const deletedTag = 0x10;
/** Room for what stands before the previous records and is known last: the header and the count. */
const gapBytes = 64;

/** `deleteNext` looks at so many keys that are not alive before it says that it found none. */
const keysPassedMax = 16;

/** Writes a response's header at `at`; returns where it ends. */
export type WriteHeader = (revision: number, bytes: Uint8Array, at: number) => number;

const Phase = { Previous: 0, Delete: 1, Done: 2 } as const;
type Phase = (typeof Phase)[keyof typeof Phase];

export class RangeDeleter implements RangeSink {
  readonly #store: MvccStore;
  readonly #writer: ReplyBatchWriter;
  readonly #scan: RangeScan;
  readonly #query: RangeQuery = {
    bytes: new Uint8Array(0),
    keyStart: 0,
    keyEnd: 0,
    endStart: 0,
    endEnd: 0,
    revision: 0,
    limit: 0,
    count: false,
    countOnly: false,
    keysOnly: false,
  };
  #phase: Phase = Phase.Done;
  #header: WriteHeader | null = null;
  #responseStart = 0;
  #at = 0;
  #endMax = 0;
  #deleted = 0;
  #overflowed = false;
  #worked = 0;

  constructor(store: MvccStore, writer: ReplyBatchWriter) {
    this.#store = store;
    this.#writer = writer;
    this.#scan = store.newRangeScan();
  }

  /** Where the response ends. */
  get at(): number {
    return this.#at;
  }
  /** The response would have been longer than may be sent. */
  get overflowed(): boolean {
    return this.#overflowed;
  }

  /** Keys that the last `step` has looked at, about. */
  get worked(): number {
    return this.#worked;
  }

  /** Begins. With `at` ≥ 0 the response is written there, not beyond `endMax`. `fields.bytes` must stay. */
  start(fields: DeleteRangeFields, at: number, endMax: number, header: WriteHeader): void {
    const query = this.#query;
    query.bytes = fields.bytes;
    query.keyStart = fields.keyStart;
    query.keyEnd = fields.keyEnd;
    query.endStart = fields.endStart;
    query.endEnd = fields.endEnd;
    this.#header = header;
    this.#responseStart = at;
    this.#at = at < 0 ? at : at + gapBytes;
    this.#endMax = endMax;
    this.#deleted = 0;
    this.#overflowed = false;
    if (at < 0 || !fields.previousKv) this.#beginDelete();
    else {
      this.#scan.start(query);
      this.#phase = Phase.Previous;
    }
  }

  /** Does one slice; true when all is deleted and the response is written. */
  step(limits: SliceLimits): boolean {
    this.#worked = 1;
    if (this.#phase === Phase.Previous) {
      const isRead = this.#scan.next(this, limits);
      this.#worked += this.#scan.visited;
      // A response that may not be sent need not be read on.
      if (!isRead && !this.#overflowed) return false;
      this.#beginDelete();
    }
    const deleted = this.#store.deleteNext(limits.keys);
    if (deleted !== -1) {
      this.#deleted += deleted;
      this.#worked += Math.max(deleted, keysPassedMax);
      return false;
    }
    this.#phase = Phase.Done;
    if (this.#responseStart >= 0) this.#writeResponse();
    return true;
  }

  /** Takes one record that is about to be deleted. */
  record(bytes: Uint8Array, start: number, end: number): void {
    this.#overflowed ||= this.#at + 11 + end - start > this.#endMax;
    if (this.#overflowed) return;
    this.#at = writeDelimited(this.#writer, this.#at, previousTag, bytes, start, end);
  }

  #beginDelete(): void {
    const { bytes, keyStart, keyEnd, endStart, endEnd } = this.#query;
    this.#store.beginDeleteRange(bytes, keyStart, keyEnd, endStart, endEnd);
    this.#phase = Phase.Delete;
  }

  /** The previous records, if any, are moved down behind what is now known to stand before them. */
  #writeResponse(): void {
    const previousEnd = this.#at;
    const previousStart = this.#responseStart + gapBytes;
    this.#writer.ensure(previousEnd);
    const { bytes } = this.#writer;
    let at = this.#header?.(this.#store.visibleRevision, bytes, this.#responseStart) ?? this.#responseStart;
    if (this.#deleted > 0) {
      bytes[at++] = deletedTag;
      at = writeVarint(this.#deleted, bytes, at);
    }
    if (previousEnd - previousStart > 128) bytes.copyWithin(at, previousStart, previousEnd);
    else copyBytes(bytes, previousStart, previousEnd, bytes, at);
    this.#at = at + previousEnd - previousStart;
  }
}
