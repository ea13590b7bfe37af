/**
 * KV.RangeStream calls: a range at one revision in messages of about --max-request-bytes. A message is read when the
 * client has taken nearly all of the one before, so that of each call no more than one waits to be sent; and one
 * message is read at a time, in slices. Sizes are etcd's: ten keys first, then twice or half as many by the size of
 * the last message.
 *
 * Each message is a read of its own: when a compaction has passed the revision by then, the call ends as compacted.
 * A sort target without an order sorts each message by itself, as etcd does: with more keys than one message holds,
 * some may come twice and others not at all (etcd refuses every other order).
 */
import { copyOf } from "../base/index.js";
import { ErrFutureRevision, type EtcdErrorClass } from "../errors/index.js";
import { ReplyKind, type ReplyBatchWriter } from "../native/index.js";
import { SortTarget, sizeVarint, writeVarint } from "../proto/index.js";
import {
  KeyValueReader,
  RevisionStatus,
  type MvccStore,
  type RangeQuery,
  type RangeScan,
  type RangeSink,
  type SliceLimits,
} from "../storage/mvcc/index.js";
import type { KvCounts } from "./kv-writer.js";
import type { ApplyMetrics } from "./metrics.js";
import type { Clock } from "./clock.js";
import { refusalOf } from "./range-status.js";
import { RecordSorter } from "./record-sorter.js";
import { RangeFields } from "./requests.js";
import { headerBytesMax, writeDelimited, writeWithoutValue, type HeaderWriter } from "./response.js";

const firstKeys = 10;
const defaultMessageBytes = 1.5 * 1024 * 1024;
/** A message is cut at so many times the size that is aimed at, whatever its number of keys. */
const messagesBytesFactor = 4;
const responseTag = 0x0a;
const kvsTag = 0x12;
const moreTag = 0x18;
const countTag = 0x20;
/** Before the keys: the tag and length of the RangeResponse, then the header. */
const frontBytesMax = 6 + headerBytesMax;
const keysCountedPerRead = 32;
const streamsMax = 10_000;
const requestBytesMax = 64 << 20;

export interface RangeStreamsOptions {
  readonly store: MvccStore;
  readonly header: HeaderWriter;
  readonly replies: ReplyBatchWriter;
  /** --max-request-bytes. */
  readonly streamMessageBytes?: number | undefined;
  readonly metrics: ApplyMetrics;
  readonly counts: KvCounts;
  readonly clock: Clock;
}

/** One call between its messages. */
interface Stream {
  readonly callId: number;
  readonly raftTerm: number;
  readonly requestBytes: number;
  /** The request's range end and the key to go on at, both ours. */
  readonly end: Uint8Array;
  key: Uint8Array;
  /** Pinned by the first message. */
  revision: number;
  /** The store's revision then. */
  headerRevision: number;
  /** The SortTarget that each message is sorted by; KEY: as the keys are read. */
  readonly sortTarget: number;
  readonly keysOnly: boolean;
  readonly countOnly: boolean;
  /** Keys that are still to be sent at most; Infinity: all. */
  left: number;
  /** Keys of the next message at most. */
  keys: number;
  sent: number;
}

const Phase = { Idle: 0, Keys: 1, Sorted: 2, Count: 3 } as const;
type Phase = (typeof Phase)[keyof typeof Phase];

export class RangeStreams implements RangeSink {
  readonly #options: RangeStreamsOptions;
  readonly #messageBytes: number;
  readonly #scan: RangeScan;
  readonly #fields = new RangeFields();
  readonly #kv = new KeyValueReader();
  readonly #sorter = new RecordSorter();
  /** The message being read. */
  readonly writer: ReplyBatchWriter;
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
  /** Their clients can take a message. */
  readonly #ready: Stream[] = [];
  /** Wait for their clients. */
  readonly #waiting = new Map<number, Stream>();
  #stream: Stream | null = null;
  #requestBytes = 0;
  #phase: Phase = Phase.Idle;
  #began = 0;
  // Of the message being read: where its keys begin and end, where the last one is, how many there are, and the bytes
  // of those that are to be sorted.
  #start = 0;
  #at = 0;
  #lastStart = 0;
  #written = 0;
  #sortedBytes = 0;
  #more = false;

  constructor(options: RangeStreamsOptions, writer: ReplyBatchWriter) {
    this.#options = options;
    this.#messageBytes = options.streamMessageBytes ?? defaultMessageBytes;
    this.#scan = options.store.newRangeScan();
    this.writer = writer;
  }

  /** So many calls, or bytes of their requests, are under way that no further one is taken. */
  get isFull(): boolean {
    return this.pending >= streamsMax || this.#requestBytes > requestBytesMax;
  }
  get pending(): number {
    return this.#ready.length + this.#waiting.size + (this.#stream === null ? 0 : 1);
  }
  get hasWork(): boolean {
    return this.#stream !== null || this.#ready.length > 0;
  }

  /** Takes a RangeRequest that has passed main's checks. */
  ask(callId: number, raftTerm: number, bytes: Uint8Array, start: number, end: number): void {
    const fields = this.#fields;
    fields.read(bytes, start, end);
    const left = fields.limit > 0 ? fields.limit : Infinity;
    this.#requestBytes += end - start;
    this.#ready.push({
      callId,
      raftTerm,
      requestBytes: end - start,
      end: copyOf(bytes, fields.endStart, fields.endEnd),
      key: copyOf(bytes, fields.keyStart, fields.keyEnd),
      revision: fields.revision,
      headerRevision: 0,
      sortTarget: fields.sortTarget,
      keysOnly: fields.keysOnly,
      countOnly: fields.countOnly,
      left,
      // A negative limit, too, lets all keys through, but etcd sends those in one message.
      keys: fields.limit < 0 ? Infinity : Math.min(firstKeys, left),
      sent: 0,
    });
  }

  /** The client has taken the last message. */
  writable(callId: number): void {
    const stream = this.#waiting.get(callId);
    if (stream === undefined) return;
    this.#waiting.delete(callId);
    this.#ready.push(stream);
  }

  /** The client is gone. */
  cancel(callId: number): void {
    const isCalls = (stream: Stream | null): boolean => stream?.callId === callId;
    const stream =
      this.#waiting.get(callId) ?? this.#ready.find(isCalls) ?? (isCalls(this.#stream) ? this.#stream : null);
    if (stream === null) return;
    this.#requestBytes -= stream.requestBytes;
    this.#waiting.delete(callId);
    const at = this.#ready.indexOf(stream);
    if (at !== -1) this.#ready.splice(at, 1);
    if (this.#stream !== stream) return;
    this.writer.abandon();
    this.#stream = null;
  }

  /** One slice of the message in hand. True: `writer` has something to send, to be cleared then. */
  work(limits: SliceLimits): boolean {
    if (this.#stream === null) {
      const next = this.#ready.shift();
      if (next === undefined) return false;
      if (!this.#begin(next)) return true;
    }
    const stream = this.#stream!;
    // Between slices a compaction may have been scheduled.
    if (stream.revision < this.#options.store.compactRevision)
      return this.#refuse(refusalOf(RevisionStatus.Compacted)!);
    if (this.#phase === Phase.Keys) this.#stepKeys(stream, limits);
    else if (this.#phase === Phase.Sorted) this.#stepSorted(stream, limits);
    else if (this.#scan.next(this, { keys: limits.keys * keysCountedPerRead, bytes: limits.bytes })) this.#end(stream);
    return this.#stream === null;
  }

  /** Begins a message; false: the call was refused. */
  #begin(stream: Stream): boolean {
    const { store, clock } = this.#options;
    const { currentRevision } = store;
    this.#stream = stream;
    this.#began = clock.now();
    this.#start = this.#at = this.writer.begin(stream.callId, ReplyKind.Message, frontBytesMax) + frontBytesMax;
    this.#written = this.#sortedBytes = 0;
    this.#more = false;
    if (stream.headerRevision === 0) {
      stream.headerRevision = currentRevision;
      if (stream.revision <= 0) stream.revision = currentRevision;
    }
    // A long delete may be under way, in a transaction that can see a revision more.
    const refusal =
      stream.revision > currentRevision ? ErrFutureRevision : refusalOf(this.#startScan(stream, stream.countOnly));
    return refusal === null || !this.#refuse(refusal);
  }

  #startScan(stream: Stream, countOnly: boolean): RevisionStatus {
    const { key, end, sortTarget, keys } = stream;
    const isSorted = sortTarget !== SortTarget.KEY;
    if (isSorted) this.#sorter.reset(sortTarget, false, keys === Infinity ? 0 : keys);
    const query = this.#query;
    query.bytes = new Uint8Array(key.length + end.length);
    query.bytes.set(key);
    query.bytes.set(end, key.length);
    query.keyEnd = query.endStart = key.length;
    query.endEnd = query.bytes.length;
    query.revision = stream.revision;
    // To sort, etcd reads a key more than it sends.
    query.limit = isSorted ? keys + 1 : keys;
    query.countOnly = countOnly;
    query.keysOnly = stream.keysOnly && sortTarget !== SortTarget.VALUE;
    this.#phase = countOnly ? Phase.Count : Phase.Keys;
    return this.#scan.start(query);
  }

  #stepKeys(stream: Stream, limits: SliceLimits): void {
    const isRead = this.#scan.next(this, limits);
    const bytes = this.#at - this.#start + this.#sortedBytes;
    const isCut = !isRead && bytes > messagesBytesFactor * this.#messageBytes;
    if (!isRead && !isCut) return;
    const isSorted = stream.sortTarget !== SortTarget.KEY;
    this.#more = isCut || (isSorted ? this.#sorter.records > stream.keys : this.#scan.more);
    if (!isSorted) return this.#endKeys(stream);
    this.#sorter.seal();
    this.#phase = Phase.Sorted;
  }

  /** Writes what is sorted, as much as a slice may. */
  #stepSorted(stream: Stream, limits: SliceLimits): void {
    const sorter = this.#sorter;
    const bytesEnd = this.#at + limits.bytes;
    for (let count = 0; count < limits.keys && this.#at < bytesEnd; count++) {
      if (this.#written === stream.keys || !sorter.next()) return this.#endKeys(stream);
      this.#write(sorter.bytes, sorter.start, sorter.end);
    }
  }

  /** All keys of the message are written. */
  #endKeys(stream: Stream): void {
    this.#observe();
    stream.sent += this.#written;
    stream.left -= this.#written;
    if (!this.#more) return this.#end(stream);
    stream.key = this.#keyAfterLast();
    if (stream.left > 0) return this.#continue(stream);
    // As many as were asked for: what lies behind them is only counted.
    this.#began = this.#options.clock.now();
    this.#startScan(stream, true);
  }

  /** Takes one key from the store. */
  record(bytes: Uint8Array, start: number, end: number): void {
    if (this.#stream!.sortTarget === SortTarget.KEY) return this.#write(bytes, start, end);
    this.#sorter.add(bytes, start, end);
    this.#sortedBytes += end - start;
  }

  #write(bytes: Uint8Array, start: number, end: number): void {
    const dropsValue = this.#stream!.keysOnly && !this.#query.keysOnly;
    const at = (this.#lastStart = this.#at);
    this.#at = dropsValue
      ? writeWithoutValue(this.writer, at, kvsTag, bytes, start, end, this.#kv)
      : writeDelimited(this.writer, at, kvsTag, bytes, start, end);
    this.#written++;
  }

  /** The first key behind the last one written. */
  #keyAfterLast(): Uint8Array {
    const { bytes } = this.writer;
    let length = 0;
    let at = this.#lastStart + 1;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++]!;
      length += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) break;
    }
    this.#kv.read(bytes, at, at + length);
    const key = new Uint8Array(this.#kv.keyEnd - this.#kv.keyStart + 1);
    key.set(bytes.subarray(this.#kv.keyStart, this.#kv.keyEnd));
    return key;
  }

  /** Sends a message that is not the last one. */
  #continue(stream: Stream): void {
    stream.keys = Math.min(this.#nextKeys(stream), stream.left);
    this.#finish(false, stream);
    this.#waiting.set(stream.callId, stream);
  }

  #nextKeys({ keys, headerRevision }: Stream): number {
    const target = this.#messageBytes;
    const count = this.#written + 1;
    // As etcd counts: a header with the revision alone, the keys, more, and the count of what was looked at.
    const size = 3 + sizeVarint(headerRevision) + (this.#at - this.#start) + 2 + 1 + sizeVarint(count);
    if (size < Math.floor(target / 2)) return keys * 2;
    return size > target * 2 ? Math.max(1, Math.floor(keys / 2)) : keys;
  }

  /** Sends the last message. */
  #end(stream: Stream): void {
    if (this.#phase === Phase.Count) this.#observe();
    const count = stream.sent + (this.#phase === Phase.Count ? this.#scan.count : 0);
    this.writer.ensure(this.#at + 2 + 11);
    const { bytes } = this.writer;
    if (this.#more) {
      bytes[this.#at++] = moreTag;
      bytes[this.#at++] = 1;
    }
    if (count > 0) {
      bytes[this.#at++] = countTag;
      this.#at = writeVarint(count, bytes, this.#at);
    }
    this.#finish(true, stream);
  }

  /** Puts before the keys what comes there, and moves all of it to where the message begins. */
  #finish(isLast: boolean, { callId, raftTerm, headerRevision }: Stream): void {
    const { header } = this.#options;
    header.raftTerm = raftTerm;
    const headerBytes = isLast ? header.size(headerRevision) : 0;
    const length = headerBytes + this.#at - this.#start;
    const front = 1 + sizeVarint(length) + headerBytes;
    const messageStart = this.#start - frontBytesMax;
    const { bytes } = this.writer;
    bytes.copyWithin(messageStart + front, this.#start, this.#at);
    bytes[messageStart] = responseTag;
    const at = writeVarint(length, bytes, messageStart + 1);
    if (isLast) header.write(headerRevision, bytes, at);
    const end = messageStart + front + this.#at - this.#start;
    this.writer.finish(end, !isLast);
    if (isLast) this.#close(callId, 0, "");
    this.#stream = null;
  }

  #close(callId: number, code: number, text: string): void {
    this.#requestBytes -= this.#stream!.requestBytes;
    this.writer.status(callId, code, text);
  }

  #observe(): void {
    const { metrics, counts, clock } = this.#options;
    counts.ranges++;
    metrics.ranged(true, clock.now() - this.#began);
  }

  #refuse(refusal: EtcdErrorClass): true {
    const { metrics, counts, clock } = this.#options;
    const { callId } = this.#stream!;
    counts.ranges++;
    metrics.ranged(false, clock.now() - this.#began);
    this.writer.abandon();
    this.#close(callId, refusal.code, refusal.message);
    this.#stream = null;
    return true;
  }
}
