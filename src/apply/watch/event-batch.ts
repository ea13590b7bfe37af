/**
 * Events gathered for many watchers: each event is encoded once, and whoever gets it holds a reference.
 *
 * Events lie one behind the other in blocks as the field `events` of a WatchResponse; one that somebody wants with its
 * previous value lies there a second time. Which watcher gets which events is a list of deliveries a watcher, linked
 * through columns. A revision may have a million events, so nothing here is copied as it grows.
 * Invariant: a watcher has deliveries in one batch at most.
 */
import { sizeVarint, writeVarint } from "../../proto/index.js";
import { emptyRecordView } from "../../storage/backend/index.js";
import { KeyValueReader, RevisionStatus, type MvccStore } from "../../storage/mvcc/index.js";
import { copyBytes } from "../response.js";
import { Column } from "./column.js";
import type { MatchVisitor, RangeIndex } from "./range-index.js";
import { Touches } from "./touches.js";
import { none, type Watcher, type WatcherTable } from "./watcher-table.js";

const eventsTag = 0x5a;
const typeTag = 0x08;
const kvTag = 0x12;
const prevKvTag = 0x1a;
const modRevisionTag = 0x18;
const typeDelete = 1;
/** What an event is: a put of a key that was there or may have been, a delete, a put that made its key. */
const Kind = { put: 0, delete: 1, create: 2 } as const;
const blockBytesMin = 1 << 14;
const blockBytes = 1 << 20;
/** Blocks kept for the next batch. */
const blocksKept = 4;
/** Tags and lengths around an event's parts. */
const overheadMax = 64;
/** Deliveries of one watcher without a look at its events' bytes. */
const notAsked = -1;

/** etcd reads an event's previous value for each watcher that wants it, and counts a range each time. */
export interface PreviousReads {
  ranges: number;
}

export class EventBatch {
  readonly #store: MvccStore;
  readonly #reads: PreviousReads;
  readonly #kv = new KeyValueReader();
  readonly #view = emptyRecordView();
  readonly #blocks = [newBlock(blockBytesMin)];
  /** The block that is being filled, its number, and how far it is filled. */
  #block = this.#blocks[0]!;
  #blockAt = 0;
  #filled = 0;
  #length = 0;
  // The record in hand, and whether its event is in the batch: then it is the last one.
  #source: Uint8Array = this.#block;
  #sourceStart = 0;
  #sourceEnd = 0;
  #isDelete = false;
  #revision = 0;
  #isAdded = false;
  #lastBytes = 0;
  // Of each event: its block and where it lies there.
  readonly #inBlock = new Column();
  readonly #starts = new Column();
  readonly #ends = new Column();
  readonly #kvStarts = new Column();
  readonly #prevInBlock = new Column();
  readonly #prevStarts = new Column();
  readonly #prevEnds = new Column();
  readonly #revisions = new Column();
  readonly #kinds = new Column();
  // Of each delivery.
  readonly #deliveryEvents = new Column();
  readonly #deliveryNext = new Column();
  readonly #columns = [
    this.#inBlock,
    this.#starts,
    this.#ends,
    this.#kvStarts,
    this.#prevInBlock,
    this.#prevStarts,
    this.#prevEnds,
    this.#revisions,
    this.#kinds,
    this.#deliveryEvents,
    this.#deliveryNext,
  ];
  readonly touches: Touches;

  constructor(store: MvccStore, watchers: WatcherTable, reads: PreviousReads) {
    this.#store = store;
    this.touches = new Touches(watchers);
    this.#reads = reads;
  }

  /** Bytes of all events. */
  get length(): number {
    return this.#length;
  }
  get deliveries(): number {
    return this.#deliveryEvents.length;
  }

  /** Forgets everything; no watcher may be touched any more. */
  clear(): void {
    this.#length = this.#filled = this.#blockAt = 0;
    this.#blocks.length = Math.min(this.#blocks.length, blocksKept);
    if (this.#blocks.some((block) => block.length > blockBytes))
      this.#blocks.splice(0, blocksKept, newBlock(blockBytesMin));
    this.#block = this.#blocks[0]!;
    for (const column of this.#columns) column.clear();
    this.touches.clear();
  }

  /**
   * Tells `visitor` of each watcher of `index` whose range holds the key of the record `source[start, end)`, for it to
   * `deliver` the record's event. One that nobody is given is not encoded.
   */
  offer(
    index: RangeIndex,
    visitor: MatchVisitor,
    source: Uint8Array,
    start: number,
    end: number,
    isDelete: boolean,
    revision: number,
  ): void {
    this.#source = source;
    this.#sourceStart = start;
    this.#sourceEnd = end;
    this.#isDelete = isDelete;
    this.#revision = revision;
    this.#isAdded = false;
    const kv = this.#kv;
    kv.read(source, start, end);
    index.match(source, kv.keyStart, kv.keyEnd, visitor);
  }

  /** Adds the event of the record in hand. */
  #add(): void {
    const [source, start, end] = [this.#source, this.#sourceStart, this.#sourceEnd];
    const [isDelete, revision] = [this.#isDelete, this.#revision];
    this.#isAdded = true;
    const kvLength = end - start + (isDelete ? 1 + sizeVarint(revision) : 0);
    const length = (isDelete ? 2 : 0) + 1 + sizeVarint(kvLength) + kvLength;
    this.#reserve(length + overheadMax);
    const bytes = this.#block;
    this.#inBlock.push(this.#blockAt);
    this.#starts.push(this.#filled);
    let at = this.#filled;
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
    this.#prevInBlock.push(this.#blockAt);
    this.#prevStarts.push(notAsked);
    this.#prevEnds.push(notAsked);
    this.#revisions.push(revision);
    this.#kinds.push(isDelete ? Kind.delete : Kind.put);
    this.#lastBytes = at - this.#filled;
    this.#length += this.#lastBytes;
    this.#filled = at;
  }

  /** The watcher gets the event of the record in hand, after those that it has. */
  deliver(watcher: Watcher): void {
    if (!this.#isAdded) this.#add();
    const { touches } = this;
    const touch = touches.of(watcher);
    const delivery = this.#deliveryEvents.length;
    this.#deliveryEvents.push(this.#starts.length - 1);
    this.#deliveryNext.push(none);
    const last = touches.lastDelivery(touch);
    if (last !== none) this.#deliveryNext.set(last, delivery);
    touches.delivered(touch, delivery, this.#revision, this.#lastBytes);
  }

  /** The delivery after `delivery`; −1: none. */
  nextDelivery(delivery: number): number {
    return this.#deliveryNext.get(delivery);
  }

  /** Bytes of the delivered event in the form that its watcher wants, which is made now if need be. */
  sizeOf(delivery: number, prevKv: boolean): number {
    const event = this.#deliveryEvents.get(delivery);
    if (!prevKv) return this.#ends.get(event) - this.#starts.get(event);
    if (this.#prevStarts.get(event) === notAsked) this.#addPrevious(event);
    return this.#prevEnds.get(event) - this.#prevStarts.get(event);
  }

  /** Writes that event; `sizeOf` has been asked. Returns where it ends. */
  write(delivery: number, prevKv: boolean, target: Uint8Array, at: number): number {
    const event = this.#deliveryEvents.get(delivery);
    if (!prevKv) return copyBytes(this.#blockOf(event), this.#starts.get(event), this.#ends.get(event), target, at);
    if (this.#kinds.get(event) !== Kind.create) this.#reads.ranges++;
    const block = this.#blocks[this.#prevInBlock.get(event)]!;
    return copyBytes(block, this.#prevStarts.get(event), this.#prevEnds.get(event), target, at);
  }

  #blockOf(event: number): Buffer {
    return this.#blocks[this.#inBlock.get(event)]!;
  }

  #readKv(event: number): void {
    this.#kv.read(this.#blockOf(event), this.#kvStarts.get(event), this.#ends.get(event));
  }

  /** Encodes the event once more, with what its key held before; the same event when it held nothing. */
  #addPrevious(event: number): void {
    const start = this.#starts.get(event);
    const end = this.#ends.get(event);
    this.#prevStarts.set(event, start);
    this.#prevEnds.set(event, end);
    const before = this.#revisions.get(event) - 1;
    this.#readKv(event);
    const kv = this.#kv;
    if (this.#kinds.get(event) !== Kind.delete && kv.createRevision === kv.modRevision) {
      this.#kinds.set(event, Kind.create);
      return;
    }
    const view = this.#view;
    const source = this.#blockOf(event);
    // A compacted revision cannot be read: the event comes without.
    if (this.#store.checkRevision(before) !== RevisionStatus.Ok) return;
    if (!this.#store.readKey(source, kv.keyStart, kv.keyEnd, before, view)) return;
    const content = contentStart(source, start);
    const prevLength = view.end - view.start;
    const length = end - content + 1 + sizeVarint(prevLength) + prevLength;
    this.#reserve(length + overheadMax);
    const bytes = this.#block;
    let at = this.#filled;
    this.#prevInBlock.set(event, this.#blockAt);
    this.#prevStarts.set(event, at);
    bytes[at++] = eventsTag;
    at = writeVarint(length, bytes, at);
    // The first block may be another one now.
    at = copyBytes(this.#blockOf(event), content, end, bytes, at);
    bytes[at++] = prevKvTag;
    at = writeVarint(prevLength, bytes, at);
    at = copyBytes(view.bytes, view.start, view.end, bytes, at);
    this.#prevEnds.set(event, at);
    this.#length += at - this.#filled;
    this.#filled = at;
  }

  /** Makes room for `count` bytes that lie together. Only the first block is copied as it grows, to its usual size. */
  #reserve(count: number): void {
    const needed = this.#filled + count;
    if (needed <= this.#block.length) return;
    if (this.#blockAt === 0 && needed <= blockBytes) {
      const larger = newBlock(Math.min(blockBytes, Math.max(needed, 2 * this.#block.length)));
      this.#block.copy(larger, 0, 0, this.#filled);
      this.#blocks[0] = this.#block = larger;
      return;
    }
    this.#blockAt++;
    this.#filled = 0;
    const next = this.#blocks[this.#blockAt];
    this.#block = next !== undefined && next.length >= count ? next : newBlock(Math.max(blockBytes, count));
    this.#blocks[this.#blockAt] = this.#block;
  }
}

function newBlock(size: number): Buffer {
  return Buffer.allocUnsafeSlow(size);
}

/** Where the event's own fields begin, behind tag and length. */
function contentStart(bytes: Uint8Array, start: number): number {
  let at = start + 1;
  while (bytes[at]! > 0x7f) at++;
  return at + 1;
}
