/**
 * Events gathered for many watchers: each event is encoded once, and whoever gets it holds a reference.
 *
 * Events lie one behind the other in a buffer as the field `events` of a WatchResponse; one that somebody wants with
 * its previous value lies there a second time. Which watcher gets which events is a list of deliveries a watcher,
 * linked through arrays.
 * Invariant: a watcher has deliveries in one batch at most.
 */
import { sizeVarint, writeVarint } from "../../proto/index.js";
import { emptyRecordView } from "../../storage/backend/index.js";
import { KeyValueReader, RevisionStatus, type MvccStore } from "../../storage/mvcc/index.js";
import { copyBytes } from "../response.js";
import type { Watcher } from "./watcher.js";

const eventsTag = 0x5a;
const typeTag = 0x08;
const kvTag = 0x12;
const prevKvTag = 0x1a;
const modRevisionTag = 0x18;
const typeDelete = 1;
const bufferBytesMin = 1 << 14;
const bufferBytesKept = 4 << 20;
/** Tags and lengths around an event's parts. */
const overheadMax = 64;
/** Deliveries of one watcher without a look at its events' bytes. */
const notAsked = -1;

export class EventBatch {
  readonly #store: MvccStore;
  readonly #kv = new KeyValueReader();
  readonly #view = emptyRecordView();
  bytes = Buffer.allocUnsafeSlow(bufferBytesMin);
  #length = 0;
  // Of each event.
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  readonly #kvStarts: number[] = [];
  readonly #prevStarts: number[] = [];
  readonly #prevEnds: number[] = [];
  readonly #revisions: number[] = [];
  readonly #deletes: boolean[] = [];
  // Of each delivery.
  readonly #deliveryEvents: number[] = [];
  readonly #deliveryNext: number[] = [];
  /** Watchers with deliveries, in the order in which they got their first. */
  readonly touched: Watcher[] = [];

  constructor(store: MvccStore) {
    this.#store = store;
  }

  /** Bytes of all events. */
  get length(): number {
    return this.#length;
  }
  get deliveries(): number {
    return this.#deliveryEvents.length;
  }

  /** Forgets everything; watchers' lists must be empty, or forgotten too. */
  clear(): void {
    this.#length = 0;
    this.#starts.length = this.#ends.length = this.#kvStarts.length = 0;
    this.#prevStarts.length = this.#prevEnds.length = this.#revisions.length = this.#deletes.length = 0;
    this.#deliveryEvents.length = this.#deliveryNext.length = 0;
    this.touched.length = 0;
    if (this.bytes.length > bufferBytesKept) this.bytes = Buffer.allocUnsafeSlow(bufferBytesMin);
  }

  /** Adds the event of a record `source[start, end)`; returns its number. */
  add(source: Uint8Array, start: number, end: number, isDelete: boolean, revision: number): number {
    const kvLength = end - start + (isDelete ? 1 + sizeVarint(revision) : 0);
    const length = (isDelete ? 2 : 0) + 1 + sizeVarint(kvLength) + kvLength;
    this.#reserve(length + overheadMax);
    const { bytes } = this;
    const event = this.#starts.length;
    this.#starts.push(this.#length);
    let at = this.#length;
    bytes[at++] = eventsTag;
    at = writeVarint(length, bytes, at);
    if (isDelete) {
      bytes[at++] = typeTag;
      bytes[at++] = typeDelete;
    }
    bytes[at++] = kvTag;
    at = writeVarint(kvLength, bytes, at);
    this.#kvStarts.push(at);
    at = copyBytes(source, start, end, bytes, at);
    if (isDelete) {
      bytes[at++] = modRevisionTag;
      at = writeVarint(revision, bytes, at);
    }
    this.#ends.push(at);
    this.#prevStarts.push(notAsked);
    this.#prevEnds.push(notAsked);
    this.#revisions.push(revision);
    this.#deletes.push(isDelete);
    this.#length = at;
    return event;
  }

  /** Takes back the event added last, which nobody gets. */
  dropLast(): void {
    this.#length = this.#starts.pop()!;
    this.#ends.pop();
    this.#kvStarts.pop();
    this.#prevStarts.pop();
    this.#prevEnds.pop();
    this.#revisions.pop();
    this.#deletes.pop();
  }

  /** Latin-1 text of the event's key. */
  keyText(event: number): string {
    this.#readKv(event);
    return this.bytes.toString("latin1", this.#kv.keyStart, this.#kv.keyEnd);
  }

  revision(event: number): number {
    return this.#revisions[event]!;
  }
  /** Bytes of the event without what was there before. */
  eventBytes(event: number): number {
    return this.#ends[event]! - this.#starts[event]!;
  }
  isDelete(event: number): boolean {
    return this.#deletes[event]!;
  }

  /** The watcher gets the event, after those that it has. */
  deliver(watcher: Watcher, event: number): void {
    const delivery = this.#deliveryEvents.length;
    this.#deliveryEvents.push(event);
    this.#deliveryNext.push(-1);
    if (watcher.lastDelivery === -1) watcher.firstDelivery = delivery;
    else this.#deliveryNext[watcher.lastDelivery] = delivery;
    watcher.lastDelivery = delivery;
  }

  /** The delivery after `delivery`; −1: none. */
  nextDelivery(delivery: number): number {
    return this.#deliveryNext[delivery]!;
  }

  /** Where the delivered event begins in `bytes`, in the form that its watcher wants; `endOf` tells the end. */
  startOf(delivery: number, prevKv: boolean): number {
    const event = this.#deliveryEvents[delivery]!;
    if (!prevKv) return this.#starts[event]!;
    if (this.#prevStarts[event] === notAsked) this.#addPrevious(event);
    return this.#prevStarts[event]!;
  }
  endOf(delivery: number, prevKv: boolean): number {
    const event = this.#deliveryEvents[delivery]!;
    return prevKv ? this.#prevEnds[event]! : this.#ends[event]!;
  }

  #readKv(event: number): void {
    this.#kv.read(this.bytes, this.#kvStarts[event]!, this.#ends[event]!);
  }

  /** Encodes the event once more, with what its key held before; the same event when it held nothing. */
  #addPrevious(event: number): void {
    this.#prevStarts[event] = this.#starts[event]!;
    this.#prevEnds[event] = this.#ends[event]!;
    const before = this.#revisions[event]! - 1;
    this.#readKv(event);
    const kv = this.#kv;
    if (!this.#deletes[event] && kv.createRevision === kv.modRevision) return;
    const view = this.#view;
    // A compacted revision cannot be read: the event comes without.
    if (this.#store.checkRevision(before) !== RevisionStatus.Ok) return;
    if (!this.#store.readKey(this.bytes, kv.keyStart, kv.keyEnd, before, view)) return;
    const start = this.#starts[event]!;
    const content = this.#contentStart(start);
    const contentLength = this.#ends[event]! - content;
    const prevLength = view.end - view.start;
    const length = contentLength + 1 + sizeVarint(prevLength) + prevLength;
    this.#reserve(length + overheadMax);
    const { bytes } = this;
    let at = this.#length;
    this.#prevStarts[event] = at;
    bytes[at++] = eventsTag;
    at = writeVarint(length, bytes, at);
    bytes.copyWithin(at, content, content + contentLength);
    at += contentLength;
    bytes[at++] = prevKvTag;
    at = writeVarint(prevLength, bytes, at);
    this.#length = this.#prevEnds[event] = copyBytes(view.bytes, view.start, view.end, bytes, at);
  }

  /** Where the event's own fields begin, behind tag and length. */
  #contentStart(start: number): number {
    let at = start + 1;
    while (this.bytes[at]! > 0x7f) at++;
    return at + 1;
  }

  #reserve(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2));
    this.bytes.copy(larger, 0, 0, this.#length);
    this.bytes = larger;
  }
}
