/**
 * Makes a response with very many events in slices: a revision may have a million of them. First its size is counted,
 * for which events that are wanted with their previous values are encoded; then it is handed over in parts. To the
 * client it is one message, or its fragments, like any other.
 *
 *   begin → step until true
 *
 * Invariants: one at a time, for the parts of two responses of a stream could not be told apart; the batch is not
 * changed meanwhile but by this.
 */
import { assert } from "../../base/index.js";
import { responseBytesMax } from "../response-bound.js";
import type { EventBatch } from "./event-batch.js";
import type { WatchResponses } from "./watch-responses.js";
import type { WatchStream } from "./watch-stream.js";
import { none, type Watcher, type WatcherTable } from "./watcher-table.js";

export interface LongLimits {
  /** Beyond so many events, or bytes of them, a response is made in slices. */
  readonly shortEvents: number;
  readonly shortBytes: number;
  /** The same where events are wanted with what was there before, each of which has to be read. */
  readonly shortPrevious: number;
  /** Events that a slice counts, of those with previous values, and events and bytes that one writes. */
  readonly counted: number;
  readonly previous: number;
  readonly written: number;
  readonly bytes: number;
}

/** A slice takes about 1 ms. */
export const usualLongLimits: LongLimits = {
  shortEvents: 8192,
  shortBytes: 1 << 20,
  shortPrevious: 256,
  counted: 16_384,
  previous: 256,
  written: 8192,
  bytes: 512 << 10,
};

export class LongResponse {
  readonly #watchers: WatcherTable;
  readonly #responses: WatchResponses;
  readonly #limits: LongLimits;
  readonly #tooLong: (stream: WatchStream, size: number) => void;
  #watcher: Watcher = none;
  #prevKv = false;
  #batch: EventBatch | null = null;
  #revision = 0;
  #events = 0;
  /** It is cut into fragments. */
  #isCut = false;
  // The response, or the fragment in hand: deliveries from `#from` up to `#to`, not included, are counted.
  #from = -1;
  #to = -1;
  #count = 0;
  #size = 0;
  #isCounted = false;
  /** The next delivery to write. */
  #next = -1;
  /** Nobody wants it any more. */
  #isDropped = false;

  /** `tooLong`: a response is longer than gRPC's limit, and will not be sent. */
  constructor(
    watchers: WatcherTable,
    responses: WatchResponses,
    limits: LongLimits,
    tooLong: (stream: WatchStream, size: number) => void,
  ) {
    this.#watchers = watchers;
    this.#responses = responses;
    this.#limits = limits;
    this.#tooLong = tooLong;
  }

  /** Whether the touch has so many deliveries. */
  isFor(touch: number, { touches }: EventBatch): boolean {
    const { shortEvents, shortBytes, shortPrevious } = this.#limits;
    if (touches.bytes(touch) > shortBytes) return true;
    const events = touches.events(touch);
    return events > shortEvents || (events > shortPrevious && this.#watchers.prevKv(touches.watcher(touch)));
  }

  /** Nothing is in the making. */
  get isFree(): boolean {
    return this.#batch === null;
  }

  /** Begins on what the touch has gathered, and ends it. */
  begin(touch: number, batch: EventBatch, revision: number): void {
    assert(this.#batch === null, "watch: a long response while another is not done");
    const { touches } = batch;
    this.#watcher = touches.watcher(touch);
    this.#prevKv = this.#watchers.prevKv(this.#watcher);
    this.#batch = batch;
    this.#revision = revision;
    this.#events = touches.events(touch);
    this.#isCut = this.#isDropped = false;
    this.#open(touches.firstDelivery(touch));
    touches.end(touch);
  }

  /** Does one slice; true when all of it is handed over, or nobody wants it any more. */
  step(): boolean {
    if (!this.#isDropped && !this.#isDone()) return false;
    this.#batch = null;
    this.#watcher = none;
    return true;
  }

  /** The watcher wants nothing any more, or its stream is gone. */
  drop(watcher: Watcher): void {
    if (watcher !== this.#watcher) return;
    this.#isDropped = true;
    this.#watcher = none;
    if (this.#next !== this.#from) this.#responses.dropParts(this.#watchers.stream(watcher));
  }

  #isDone(): boolean {
    if (!this.#isCounted) {
      this.#countSlice();
      return false;
    }
    if (this.#size > responseBytesMax) {
      this.#tooLong(this.#watchers.stream(this.#watcher), this.#size);
      return true;
    }
    this.#writeSlice();
    if (this.#next !== this.#to) return false;
    if (this.#to !== -1) {
      this.#open(this.#to);
      return false;
    }
    this.#responses.countSent(this.#watcher, this.#events);
    return true;
  }

  #open(first: number): void {
    this.#from = this.#to = this.#next = first;
    this.#count = 0;
    this.#size = this.#responses.headBytes(this.#watcher, this.#revision, this.#isCut);
    this.#isCounted = false;
  }

  #countSlice(): void {
    const batch = this.#batch!;
    const prevKv = this.#prevKv;
    const { fragmentBytesMax } = this.#responses;
    for (let left = prevKv && !this.#isCut ? this.#limits.previous : this.#limits.counted; left > 0; left--) {
      if (this.#to === -1) return this.#counted();
      const length = batch.sizeOf(this.#to, prevKv);
      if (this.#isCut && this.#count > 0 && this.#size + length >= fragmentBytesMax) return this.#counted();
      this.#size += length;
      this.#count++;
      this.#to = batch.nextDelivery(this.#to);
    }
  }

  /** The whole response is counted, or a fragment of it. */
  #counted(): void {
    const { fragmentBytesMax } = this.#responses;
    const isTooLong = this.#watchers.fragment(this.#watcher) && this.#count > 1 && this.#size >= fragmentBytesMax;
    this.#isCounted = this.#isCut || !isTooLong;
    if (this.#isCounted) return;
    this.#isCut = true;
    this.#open(this.#from);
  }

  #writeSlice(): void {
    const batch = this.#batch!;
    const prevKv = this.#prevKv;
    const first = this.#next;
    let bytes = 0;
    let end = first;
    for (let left = this.#limits.written; left > 0 && end !== this.#to && bytes < this.#limits.bytes; left--) {
      bytes += batch.sizeOf(end, prevKv);
      end = batch.nextDelivery(end);
    }
    const part = {
      watcher: this.#watcher,
      revision: this.#revision,
      fragment: this.#isCut && this.#to !== -1,
      isFirst: first === this.#from,
      isLast: end === this.#to,
    };
    const responses = this.#responses;
    const head = part.isFirst ? responses.headBytes(part.watcher, part.revision, part.fragment) : 0;
    let at = responses.beginPart(part, head + bytes);
    const target = responses.partBytes;
    for (let delivery = first; delivery !== end; delivery = batch.nextDelivery(delivery)) {
      at = batch.write(delivery, prevKv, target, at);
    }
    responses.endPart(part, at, this.#size);
    this.#next = end;
  }
}
