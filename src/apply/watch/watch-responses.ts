/**
 * Writes WatchResponses into a reply batch of their own, in the order in which Go's encoder writes the fields, and
 * keeps count of what each stream has not yet taken.
 *
 * A stream that was sent more than `askBytes` asks the edge for a Writable record; until that comes it is sent no more
 * than `streamBytesMax`, and less when all such streams together have `totalBytesMax` outstanding. So a reader that
 * has stopped costs so many bytes and one response, and those who read go on.
 */
import { ReplyKind, type ReplyBatchWriter } from "../../native/index.js";
import { sizeVarint, writeVarint, writeVarint64 } from "../../proto/index.js";
import { headerBytesMax, type HeaderWriter } from "../response.js";
import type { EventBatch } from "./event-batch.js";
import type { WatchStream } from "./watch-stream.js";
import type { WatchId, Watcher, WatcherTable } from "./watcher-table.js";

const askBytesMax = 64 << 10;
const askBytesMin = 4 << 10;
/** What streams that have not asked may owe, all together. */
const unaskedBytesMax = 256 << 20;
const streamBytesMax = 128 << 10;
const totalBytesMax = 128 << 20;
/** Fields of a response beside its header, reason and events. */
const fieldsBytesMax = 11 + 2 + 2 + 11 + 2;
/** Bytes of a response before its events. */
const headBytesMax = headerBytesMax + fieldsBytesMax;

const watchIdTag = 0x10;
const createdTag = 0x18;
const canceledTag = 0x20;
const compactRevisionTag = 0x28;
const cancelReasonTag = 0x32;
const fragmentTag = 0x38;

/** A response without events. */
export interface ControlResponse {
  /** 0: the header has none. */
  readonly revision: number;
  readonly watchId: WatchId;
  readonly created?: boolean;
  readonly canceled?: boolean;
  readonly compactRevision?: number;
  readonly cancelReason?: string;
}

/** Of a response with events that is made in parts. */
export interface ResponsePart {
  readonly watcher: Watcher;
  readonly revision: number;
  readonly fragment: boolean;
  readonly isFirst: boolean;
  readonly isLast: boolean;
}

export class WatchResponses {
  readonly #watchers: WatcherTable;
  readonly #writer: ReplyBatchWriter;
  readonly #header: HeaderWriter;
  /** A response that long is cut for watchers that take fragments. */
  readonly fragmentBytesMax: number;
  #askBytes = askBytesMax;
  /** Bytes that streams which have asked have not taken. */
  #owed = 0;
  /** Events sent since the start, and the responses that had them; what is cut into fragments counts as one. */
  eventsSent = 0;
  responsesSent = 0;

  constructor(watchers: WatcherTable, writer: ReplyBatchWriter, header: HeaderWriter, fragmentBytesMax: number) {
    this.#watchers = watchers;
    this.#writer = writer;
    this.#header = header;
    this.fragmentBytesMax = fragmentBytesMax;
  }

  /** So many streams are open: the more, the sooner each must ask. */
  set streams(count: number) {
    this.#askBytes = Math.max(askBytesMin, Math.min(askBytesMax, Math.floor(unaskedBytesMax / Math.max(1, count))));
  }

  /** Bytes outstanding at streams that have asked. */
  get owed(): number {
    return this.#owed;
  }

  /** Whether events may be sent to the stream now. */
  maySend(stream: WatchStream): boolean {
    return !stream.asked || (stream.owed < streamBytesMax && this.#owed < totalBytesMax);
  }

  /** The stream's client has taken what was sent, or the stream is gone. */
  taken(stream: WatchStream): void {
    if (stream.asked) this.#owed -= stream.owed;
    stream.asked = false;
    stream.owed = 0;
    stream.owedControl = 0;
  }

  control(stream: WatchStream, response: ControlResponse): void {
    const { revision, watchId, created, canceled, compactRevision = 0, cancelReason = "" } = response;
    const writer = this.#writer;
    const sizeMax = headBytesMax + 11 + cancelReason.length * 3;
    const start = writer.begin(stream.callId, ReplyKind.Message, sizeMax);
    const { bytes } = writer;
    let at = writeId(watchId, bytes, this.#header.write(revision, bytes, start));
    if (created === true) at = writeTrue(bytes, at, createdTag);
    if (canceled === true) at = writeTrue(bytes, at, canceledTag);
    if (compactRevision !== 0) {
      bytes[at++] = compactRevisionTag;
      at = writeVarint(compactRevision, bytes, at);
    }
    if (cancelReason.length > 0) {
      bytes[at++] = cancelReasonTag;
      at = writeVarint(cancelReason.length, bytes, at);
      for (let i = 0; i < cancelReason.length; i++) bytes[at++] = cancelReason.charCodeAt(i);
    }
    this.#finish(stream, at - start, at);
    stream.owedControl += at - start;
  }

  /** Sends what a touch has gathered, and ends it; returns the bytes written. */
  events(touch: number, batch: EventBatch, revision: number): number {
    const { touches } = batch;
    const watcher = touches.watcher(touch);
    const first = touches.firstDelivery(touch);
    const count = touches.events(touch);
    touches.end(touch);
    this.countSent(watcher, count);
    const prevKv = this.#watchers.prevKv(watcher);
    let size = 0;
    for (let delivery = first; delivery !== -1; delivery = batch.nextDelivery(delivery)) {
      size += batch.sizeOf(delivery, prevKv);
    }
    if (count > 1 && size + headBytesMax >= this.fragmentBytesMax && this.#watchers.fragment(watcher)) {
      const head = this.headBytes(watcher, revision, false);
      if (head + size >= this.fragmentBytesMax) return this.#fragments(watcher, batch, revision, head, first);
    }
    return this.#write(watcher, batch, revision, size + headBytesMax, first, -1, false);
  }

  /** Cuts between events as etcd does: each part but one of a single event stays below the bound. */
  #fragments(watcher: Watcher, batch: EventBatch, revision: number, head: number, first: number): number {
    const prevKv = this.#watchers.prevKv(watcher);
    let written = 0;
    for (let from = first; from !== -1;) {
      let size = head + 2;
      let count = 0;
      let to = from;
      while (to !== -1) {
        const length = batch.sizeOf(to, prevKv);
        if (count > 0 && size + length >= this.fragmentBytesMax) break;
        size += length;
        count++;
        to = batch.nextDelivery(to);
      }
      written += this.#write(watcher, batch, revision, size, from, to, to !== -1);
      from = to;
    }
    return written;
  }

  /** Writes one response with the deliveries from `first` up to, not including, `end`. */
  #write(
    watcher: Watcher,
    batch: EventBatch,
    revision: number,
    sizeMax: number,
    first: number,
    end: number,
    fragment: boolean,
  ): number {
    const writer = this.#writer;
    const stream = this.#watchers.stream(watcher);
    const prevKv = this.#watchers.prevKv(watcher);
    const start = writer.begin(stream.callId, ReplyKind.Message, sizeMax);
    const { bytes } = writer;
    let at = this.#writeHead(watcher, revision, fragment, start);
    for (let delivery = first; delivery !== end; delivery = batch.nextDelivery(delivery)) {
      at = batch.write(delivery, prevKv, bytes, at);
    }
    this.#finish(stream, at - start, at);
    return at - start;
  }

  #writeHead(watcher: Watcher, revision: number, fragment: boolean, at: number): number {
    const { bytes } = this.#writer;
    at = writeId(this.#watchers.id(watcher), bytes, this.#header.write(revision, bytes, at));
    return fragment ? writeTrue(bytes, at, fragmentTag) : at;
  }

  // A response that is made in parts: see `LongResponse`.

  /** Bytes of a response before its events. */
  headBytes(watcher: Watcher, revision: number, fragment: boolean): number {
    return this.#header.size(revision) + idSize(this.#watchers.id(watcher)) + (fragment ? 2 : 0);
  }

  /** Begins a part of `bytesMax` at most, the first one with the response's head; returns where events go. */
  beginPart(part: ResponsePart, bytesMax: number): number {
    const { watcher, revision, fragment, isFirst, isLast } = part;
    const kind = isLast ? (isFirst ? ReplyKind.Message : ReplyKind.LastPart) : ReplyKind.Part;
    const at = this.#writer.begin(this.#watchers.stream(watcher).callId, kind, bytesMax);
    return isFirst ? this.#writeHead(watcher, revision, fragment, at) : at;
  }

  /** The part's bytes go here. */
  get partBytes(): Uint8Array {
    return this.#writer.bytes;
  }

  /** Ends a part; `size`: of the whole response, when it is the last one. */
  endPart(part: ResponsePart, end: number, size: number): void {
    if (part.isLast) this.#finish(this.#watchers.stream(part.watcher), size, end);
    else this.#writer.finish(end);
  }

  /** The response in parts will not be finished. */
  dropParts(stream: WatchStream): void {
    this.#writer.dropParts(stream.callId);
  }

  /** A response with so many events is sent, or about to be. */
  countSent(watcher: Watcher, events: number): void {
    this.eventsSent += events;
    this.responsesSent++;
    this.#watchers.setProgressDue(watcher, false);
  }

  #finish(stream: WatchStream, size: number, end: number): void {
    stream.owed += size;
    const ask = !stream.asked && stream.owed >= this.#askBytes;
    if (ask) {
      stream.asked = true;
      this.#owed += stream.owed;
    } else if (stream.asked) this.#owed += size;
    this.#writer.finish(end, ask);
  }
}

function writeTrue(bytes: Uint8Array, at: number, tag: number): number {
  bytes[at++] = tag;
  bytes[at++] = 1;
  return at;
}

function idSize(id: WatchId): number {
  if (id === 0) return 0;
  return 1 + (isVarint(id) ? sizeVarint(id) : 10);
}

/** The field `watch_id`. */
function writeId(id: WatchId, bytes: Uint8Array, at: number): number {
  if (id === 0) return at;
  bytes[at++] = watchIdTag;
  return isVarint(id) ? writeVarint(id, bytes, at) : writeVarint64(BigInt(id), bytes, at);
}

/** Neither negative nor too large for a number. */
function isVarint(id: WatchId): id is number {
  return typeof id === "number" && id >= 0;
}
