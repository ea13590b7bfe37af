/**
 * Reads at the apply thread: they wait for the index that they must see, then share the thread in turns.
 *
 * A turn answers calls one after another until it has done a fixed amount of work. A call that needs more than one
 * slice is put aside, and is read to its end in slices, one a turn, so that entries and short reads go on between.
 * At most `longReadsMax` of these are under way, since each holds its response; the others wait with their requests.
 *
 * Bounds: so many calls and bytes of requests wait at most; a call beyond is refused with etcd's error for overload.
 * A response may be as long as gRPC allows (2 GiB − 1); it exists twice while the edge takes its copy, so memory is
 * bounded by (longReadsMax + 1) × that, and in practice by the largest range that clients ask for.
 */
import { copyOf, type Logger } from "../base/index.js";
import { ErrTooManyRequests } from "../errors/index.js";
import type { LeaseTable } from "../lease/index.js";
import { CallBatchReader, CallKind, ReplyBatchWriter, ReplyKind } from "../native/index.js";
import type { SliceLimits } from "../storage/mvcc/index.js";
import type { Clock } from "./clock.js";
import type { Compactor } from "./compactor.js";
import type { FromApply } from "./control.js";
import { describeRange, describeTxn } from "./describe.js";
import type { Defragmenter } from "./defragmenter.js";
import { Hashes } from "./hashes.js";
import type { KvCounts } from "./kv-writer.js";
import { LeaseAnswers } from "./lease-answers.js";
import { leaseCallMethod } from "./lease-calls.js";
import { LeaseKeyLists } from "./lease-key-lists.js";
import { LeaseLists } from "./lease-lists.js";
import type { ReadsHeader } from "./messages.js";
import type { ApplyMetrics } from "./metrics.js";
import { RangeStreams } from "./range-streams.js";
import { ReadCall, ReadMethod } from "./read-call.js";
import { handlers, type Handler } from "./read-handlers.js";
import { ReplyPressure, type ReplyPressureOptions } from "./reply-pressure.js";
import type { HeaderWriter } from "./response.js";
import { encodeMemberList, encodeStatus, type StatusSources } from "./status.js";
import type { Watches } from "./watch/index.js";

/** Calls that wait, and their bytes, before further ones are refused. */
const waitingCallsMax = 100_000;
const waitingBytesMax = 64 << 20;
/** Responses that are being read in slices at a time. */
const longReadsMax = 2;
/** About 1–2 ms: what is read before others get their turn. */
const slice: SliceLimits = { keys: 512, bytes: 256 << 10 };
/** Calls, and bytes of answers, of one turn. */
const turnCallsMax = 512;
const turnBytesMax = 512 << 10;
/** While clients leave too much lying: what a few keys answer. */
const shortSlice: SliceLimits = { keys: 16, bytes: 64 << 10 };
/** A call that used a whole slice counts as so many. */
const sliceCalls = 128;

/** Answers of one turn, sent at its end; a long read sends its own. */
export type SendReplies = (bytes: Uint8Array, length: number) => void;

export interface ReadsOptions extends StatusSources, ReplyPressureOptions {
  readonly replies: ReplyBatchWriter;
  readonly header: HeaderWriter;
  readonly leases: LeaseTable;
  /** Paths of methods by index. */
  readonly methods: readonly string[];
  readonly send: SendReplies;
  /** Says something to main that is rare. */
  readonly post: (event: FromApply) => void;
  /** There is something to send that no turn began. */
  readonly wake: () => void;
  readonly metrics: ApplyMetrics;
  /** Ranges are counted here. */
  readonly counts: KvCounts;
  readonly compactor: Compactor;
  readonly defragmenter: Defragmenter;
  /** About the size of a RangeStream's messages. */
  readonly streamMessageBytes?: number | undefined;
  readonly clock: Clock;
  readonly warningApplyDurationMs: number;
  readonly logger: Logger;
  /** Records of watch streams come among the reads, and go here. */
  readonly watches: Watches;
  /** Awaited between the slices of what has no turns of its own. */
  readonly yield: () => Promise<void>;
  /** A read has failed in a way that no client caused. */
  readonly fatal: (error: unknown) => void;
}

/** Records that wait together: `bytes[from, bytes.length)` are left. */
interface Chunk {
  readonly header: ReadsHeader;
  readonly bytes: Uint8Array;
  from: number;
}

/** A read that is done in slices. */
interface LongRead {
  readonly method: ReadMethod;
  readonly callId: number;
  readonly raftTerm: number;
  readonly request: Uint8Array;
  readonly began: number;
  /** When it came, by main's clock. */
  readonly startMs: number;
}

export class Reads {
  readonly #options: ReadsOptions;
  readonly #handlers: readonly Handler[];
  readonly #records = new CallBatchReader();
  /** Answers what one slice suffices for. */
  readonly #short: ReadCall;
  /** Read in slices now, in turn; each with a reply batch of its own. */
  readonly #active: { read: LongRead; call: ReadCall }[] = [];
  readonly #idle: ReadCall[] = [];
  readonly #long: LongRead[] = [];
  /** Wait for an index; in order of arrival. */
  readonly #waiting: Chunk[] = [];
  /** May be answered. */
  readonly #ready: Chunk[] = [];
  readonly #pressure: ReplyPressure;
  #waitingCalls = 0;
  #waitingBytes = 0;
  readonly hashes: Hashes;
  readonly #streams: RangeStreams;
  readonly #leases: LeaseAnswers;
  readonly #leaseLists: LeaseLists;
  readonly #leaseKeyLists: LeaseKeyLists;
  /** Hears of callers that are gone: what they have waited for may be a write. */
  onCancel: (callId: number) => void = () => {};
  #appliedIndex = 0;
  #turnCalls = 0;
  /** Records that the last `#answer` has answered. */
  #answered = 0;

  constructor(options: ReadsOptions) {
    this.#options = options;
    this.#handlers = options.methods.map((path) => handlers[path] ?? "unknown");
    this.#pressure = new ReplyPressure(options);
    this.hashes = new Hashes(options);
    this.#streams = new RangeStreams(options, new ReplyBatchWriter());
    this.#leaseLists = new LeaseLists(options);
    this.#leaseKeyLists = new LeaseKeyLists(options);
    this.#leases = new LeaseAnswers(options, this.#leaseLists, this.#leaseKeyLists);
    this.#short = new ReadCall(options.store, options.replies, options.header);
  }

  get pendingCalls(): number {
    const inSlices = this.#long.length + this.#active.length + this.hashes.pending + this.#leaseLists.pending;
    return this.#waitingCalls + inSlices + this.#leaseKeyLists.pending + this.#streams.pending;
  }
  get pendingBytes(): number {
    return this.#waitingBytes;
  }
  /** A further turn has something to do. */
  get hasWork(): boolean {
    const mayBegin = this.#long.length > 0 && !this.#pressure.isOn;
    return this.#ready.length > 0 || this.#active.length > 0 || mayBegin || this.#streams.hasWork;
  }

  /**
   * Takes the call records `bytes[from, end)`, answers those that may be answered in this turn, and copies the rest.
   */
  accept(header: ReadsHeader, bytes: Uint8Array, from: number, end: number): void {
    if (header.minAppliedIndex > this.#appliedIndex) {
      this.#keep(this.#waiting, header, bytes, from, end);
      return;
    }
    if (this.#ready.length === 0) from = this.#answer(header, bytes, from, end);
    if (from < end) this.#keep(this.#ready, header, bytes, from, end);
  }

  /** Entries up to this index have been applied. */
  applied(index: number): void {
    this.#appliedIndex = index;
    let released = 0;
    while (released < this.#waiting.length && this.#waiting[released]!.header.minAppliedIndex <= index) released++;
    if (released > 0) this.#ready.push(...this.#waiting.splice(0, released));
  }

  /** A new turn may do its share of work again. */
  beginTurn(): void {
    this.#turnCalls = 0;
  }

  /** Goes on with what is ready, then with one slice of a long read. */
  work(): void {
    if (this.hasWork) this.#pressure.feel();
    while (this.#ready.length > 0 && this.#mayGoOn) {
      const chunk = this.#ready[0]!;
      const before = chunk.from;
      chunk.from = this.#answer(chunk.header, chunk.bytes, chunk.from, chunk.bytes.length);
      this.#waitingBytes -= chunk.from - before;
      this.#waitingCalls -= this.#answered;
      if (chunk.from === chunk.bytes.length) this.#ready.shift();
    }
    this.#workLong();
    this.#workStream();
  }

  get #mayGoOn(): boolean {
    return this.#turnCalls < turnCallsMax && this.#options.replies.length < turnBytesMax;
  }

  #keep(queue: Chunk[], header: ReadsHeader, bytes: Uint8Array, from: number, end: number): void {
    if (this.#waitingBytes + end - from > waitingBytesMax || this.#waitingCalls >= waitingCallsMax) {
      this.#refuseAll(bytes, from, end);
      return;
    }
    // A slice's own offset 0 keeps the records 8-byte aligned.
    queue.push({ header: { ...header }, bytes: copyOf(bytes, from, end), from: 0 });
    this.#waitingBytes += end - from;
    this.#waitingCalls += this.#count(bytes, from, end);
  }

  #count(bytes: Uint8Array, from: number, end: number): number {
    let count = 0;
    this.#records.reset(bytes, end, from);
    while (this.#records.next()) count++;
    return count;
  }

  #refuseAll(bytes: Uint8Array, from: number, end: number): void {
    this.#records.reset(bytes, end, from);
    while (this.#records.next()) {
      const isWatch = this.#handlers[this.#records.method] === "watch";
      if (isWatch && this.#records.kind === CallKind.Message) this.#options.watches.refuse(this.#records.callId);
      else if (this.#records.kind !== CallKind.Call) this.#sideRecord();
      else this.#refuse(this.#records.callId);
    }
  }

  #refuse(callId: number): void {
    this.#options.replies.status(callId, ErrTooManyRequests.code, ErrTooManyRequests.message);
  }

  /** A record that is no call: its client is gone, or takes more. */
  #sideRecord(): void {
    if (this.#records.kind === CallKind.Cancel) this.#cancel(this.#records.callId);
    else if (this.#handlers[this.#records.method] === "watch") this.#options.watches.take(this.#records);
    else if (this.#records.kind === CallKind.Writable) this.#streams.writable(this.#records.callId);
  }

  /** Answers records until the turn is used up; returns where the first unanswered one starts. */
  #answer(header: ReadsHeader, bytes: Uint8Array, from: number, end: number): number {
    const records = this.#records;
    this.#answered = 0;
    this.#options.header.raftTerm = header.raftTerm;
    records.reset(bytes, end, from);
    while (this.#mayGoOn && records.next()) {
      this.#turnCalls++;
      this.#answered++;
      if (records.kind === CallKind.Call) this.#call(header);
      else this.#sideRecord();
      from = records.recordEnd;
    }
    return from;
  }

  /** Answers the current record. */
  #call(header: ReadsHeader): void {
    const { callId, method, bytes, messageStart, messageEnd } = this.#records;
    const { replies } = this.#options;
    if (method === leaseCallMethod)
      return this.#leases.answer(callId, header.raftTerm, bytes, messageStart, messageEnd);
    switch (this.#handlers[method] ?? "unknown") {
      case "range":
        this.#read(ReadMethod.Range, callId, header, bytes, messageStart, messageEnd);
        break;
      case "txn":
        this.#read(ReadMethod.Txn, callId, header, bytes, messageStart, messageEnd);
        break;
      case "rangeStream":
        if (this.#streams.isFull) this.#refuse(callId);
        else this.#streams.ask(callId, header.raftTerm, bytes, messageStart, messageEnd);
        break;
      case "hash":
        this.hashes.askWhole(callId, header.raftTerm);
        break;
      case "status":
        replies.message(callId, ReplyKind.MessageAndEnd, encodeStatus(this.#options, header, this.#appliedIndex));
        break;
      case "memberList":
        replies.message(callId, ReplyKind.MessageAndEnd, encodeMemberList(this.#options, header));
        break;
      case "hashKv":
        this.hashes.ask(callId, header.raftTerm, bytes, messageStart, messageEnd);
        break;
      case "defragment":
        if (!this.#options.defragmenter.ask(callId)) this.#refuse(callId);
        break;
      case "watch":
        this.#options.watches.raftTerm = header.raftTerm;
        this.#options.watches.take(this.#records);
        break;
      case "unknown":
        this.#options.fatal(new Error(`apply: a read of the method ${this.#options.methods[method] ?? method}`));
    }
  }

  #read(method: ReadMethod, callId: number, header: ReadsHeader, bytes: Uint8Array, start: number, end: number): void {
    const call = this.#short;
    const began = this.#options.clock.now();
    if (!call.start(method, callId, bytes, start, end) && !call.step(this.#pressure.isOn ? shortSlice : slice)) {
      call.abandon();
      this.#turnCalls += sliceCalls;
      const { raftTerm, startMs } = header;
      this.#long.push({ method, callId, raftTerm, request: copyOf(bytes, start, end), began, startMs });
      return;
    }
    this.#ended(call, method, began, header.startMs, bytes, start, end);
  }

  /** The request was `bytes[start, end)`. */
  #ended(
    call: ReadCall,
    method: ReadMethod,
    began: number,
    startMs: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    const { counts, metrics, clock, warningApplyDurationMs, logger } = this.#options;
    const now = clock.now();
    const milliseconds = now - began;
    counts.ranges += call.ranges;
    if (call.ranges > 1) counts.txns++;
    metrics.requested(method === ReadMethod.Range ? "Range" : "ReadonlyTxn", !call.refused, startMs, now);
    if (method === ReadMethod.Range) metrics.ranged(!call.refused, milliseconds);
    if (milliseconds <= warningApplyDurationMs) return;
    metrics.slowApply();
    logger.warn("apply request took too long", {
      took: `${milliseconds.toFixed(3)}ms`,
      "expected-duration": `${warningApplyDurationMs}ms`,
      prefix: method === ReadMethod.Range ? "read-only range " : "read-only txn ",
      request: method === ReadMethod.Range ? describeRange(bytes, start, end) : describeTxn(bytes, start, end),
      ...(call === this.#short ? {} : { response: `size:${call.replies.length}` }),
    });
  }

  /** One slice of the long read whose turn it is. */
  #workLong(): void {
    this.#activate();
    const active = this.#active.shift();
    if (active === undefined) return;
    const { read, call } = active;
    this.#options.header.raftTerm = read.raftTerm;
    if (!call.step(slice)) {
      this.#active.push(active);
      return;
    }
    this.#ended(call, read.method, read.began, read.startMs, read.request, 0, read.request.length);
    this.#options.send(call.replies.bytes, call.replies.length);
    call.replies.clear();
    this.#idle.push(call);
  }

  /** One slice of the streamed message in hand. */
  #workStream(): void {
    const { writer } = this.#streams;
    if (!this.#streams.work(slice)) return;
    this.#options.send(writer.bytes, writer.length);
    writer.clear();
  }

  #activate(): void {
    while (this.#active.length < longReadsMax && this.#long.length > 0 && !this.#pressure.feel()) {
      const read = this.#long.shift()!;
      const call = this.#idle.pop() ?? this.#newCall();
      this.#options.header.raftTerm = read.raftTerm;
      if (!call.start(read.method, read.callId, read.request, 0, read.request.length)) {
        this.#active.push({ read, call });
        continue;
      }
      this.#options.send(call.replies.bytes, call.replies.length);
      call.replies.clear();
      this.#idle.push(call);
    }
  }

  #newCall(): ReadCall {
    return new ReadCall(this.#options.store, new ReplyBatchWriter(), this.#options.header);
  }

  /** The caller is gone: what it asked for need not be read. */
  #cancel(callId: number): void {
    this.onCancel(callId);
    this.#options.watches.cancel(callId);
    this.#streams.cancel(callId);
    this.#leaseKeyLists.cancel(callId);
    const waiting = this.#long.findIndex((read) => read.callId === callId);
    if (waiting !== -1) this.#long.splice(waiting, 1);
    const at = this.#active.findIndex(({ read }) => read.callId === callId);
    if (at === -1) return;
    const { call } = this.#active[at]!;
    this.#active.splice(at, 1);
    call.abandon();
    call.replies.clear();
    this.#idle.push(call);
  }
}
