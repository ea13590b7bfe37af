/**
 * All watch streams of the member: takes their requests, tells watchers of changes as they are made, and has those
 * who are behind read up from history.
 *
 * Promises kept, as etcd's: a watcher gets each event of its range once and in order; all events of a revision in one
 * response (or in its fragments); none before the answer to its creation; a progress response only after every event
 * up to its revision. Answers, events and progress of a stream go through one writer in the order in which they are
 * made here, so none overtakes another.
 *
 * A watcher that cannot be sent an event (its stream has not taken what it was sent, or the turn has sent enough)
 * leaves the synced ones with nothing but the revision that it wants next. Thread: apply.
 */
import { ErrTooManyRequests, unmarshalMessageError } from "../../errors/index.js";
import { CallKind, ReplyBatchWriter, type CallBatchReader } from "../../native/index.js";
import { decodeWatchRequest, validate, WatchRequestDescriptor, type WatchCreateRequest } from "../../proto/index.js";
import { emptyRecordView } from "../../storage/backend/index.js";
import type { TxnChanges } from "../../storage/mvcc/index.js";
import { tooLargeError } from "../response-bound.js";
import { newGroup } from "./catch-up.js";
import { CatchUps } from "./catch-ups.js";
import { EventBatch } from "./event-batch.js";
import type { RangeIndex } from "./range-index.js";
import { refusalOf, rangeOf } from "./create-request.js";
import { LongChanges } from "./long-changes.js";
import { LongResponse, usualLongLimits } from "./long-response.js";
import { attachWatchMetrics, SendTimes } from "./metrics.js";
import { WatchProgress } from "./watch-progress.js";
import { WatchResponses } from "./watch-responses.js";
import { forgetBatch, Watcher, watchIdOf, WatcherState, WatchStream, type WatcherVisitor } from "./watcher.js";
import type { WatchesOptions } from "./watches-options.js";

/** The watch ID of answers that are about no watcher. */
const noWatchId = -1;
/** Answers to requests that a client may leave unread before its stream is ended. */
const controlBytesMax = 1 << 20;
/** After about 1 ms of responses and bytes a turn tells of no further change: all are read up from there, in fewer. */
const turnMax = { deliveries: 1_000, bytes: 512 << 10 };
/** Likewise within one change, whose watchers then go one by one, which costs more. */
const changeMax = { deliveries: 20_000, bytes: 16 << 20 };
/** Responses are handed over in the midst of a turn when so many bytes have gathered. */
const flushBytes = 1 << 20;

const { Indexed, Compacted, Gone } = WatcherState;

export class Watches implements WatcherVisitor {
  readonly #options: WatchesOptions;
  readonly #writer = new ReplyBatchWriter();
  readonly #responses: WatchResponses;
  readonly #progress: WatchProgress;
  readonly #times: SendTimes;
  readonly #streams = new Map<number, WatchStream>();
  #synced: RangeIndex<Watcher>;
  readonly #catchUps: CatchUps;
  readonly #longChanges: LongChanges;
  readonly #longResponse: LongResponse;
  /** Of the transaction in hand. */
  readonly #batch: EventBatch;
  readonly #view = emptyRecordView();
  #event = 0;
  #wanted = false;
  /** The revision up to which the synced watchers have been told. */
  #toldRevision: number;
  #watchers = 0;
  #compacted = 0;
  #turn = { deliveries: 0, bytes: 0 };

  constructor(options: WatchesOptions) {
    const { store, backend, prng, counts } = options;
    this.#options = options;
    this.#toldRevision = store.currentRevision;
    this.#responses = new WatchResponses(this.#writer, options.header, options.fragmentBytesMax);
    this.#times = new SendTimes(options.registry, options.clock, this.#responses);
    this.#synced = newGroup(prng);
    this.#batch = new EventBatch(store, counts);
    const compacted = (watcher: Watcher): void => this.#refuseCompacted(watcher);
    const long = new LongResponse(this.#responses, options.longLimits ?? usualLongLimits, (stream, size) =>
      this.#end(stream, tooLargeError(size)),
    );
    this.#longResponse = long;
    const behind = { store, backend, prng, counts, responses: this.#responses, times: this.#times, long, compacted };
    this.#catchUps = new CatchUps({ ...behind, joined: (group) => this.#join(group) });
    this.#progress = new WatchProgress({
      intervalMs: options.progressIntervalMs,
      clock: options.clock,
      prng,
      after: options.after,
      tick: (stream) => this.#tick(stream),
    });
    this.#longChanges = new LongChanges(prng);
    store.onChanges = (changes) => this.#changed(changes);
    store.onPart = (changes) => this.#lookAt(changes);
    attachWatchMetrics(options.registry, this);
  }

  // What metrics show.
  get streams(): number {
    return this.#streams.size;
  }
  get watchers(): number {
    return this.#watchers;
  }
  /** Watchers that are not told of changes as they are made. */
  get slowWatchers(): number {
    return this.#watchers - this.#compacted - this.#synced.size;
  }
  get eventsSent(): number {
    return this.#responses.eventsSent;
  }
  /** Events gathered and not yet sent. */
  get pendingEvents(): number {
    return this.#catchUps.pendingEvents;
  }

  /** Main's term, for response headers. */
  set raftTerm(term: number) {
    this.#options.header.raftTerm = term;
  }

  /** A further turn has something to do. */
  get hasWork(): boolean {
    return this.#catchUps.hasWork;
  }

  beginTurn(): void {
    this.#turn = { deliveries: 0, bytes: 0 };
  }

  /** Reads a slice for those who are behind. */
  work(): void {
    this.#catchUps.work();
  }

  /** Hands over what the turn has written. */
  flush(): void {
    if (this.#writer.length === 0) return;
    this.#options.send(this.#writer.bytes, this.#writer.length);
    this.#writer.clear();
  }

  /** Takes a record of a watch stream: its opening, a request, or that it may be sent more. */
  take(record: CallBatchReader): void {
    const { callId, kind } = record;
    if (kind === CallKind.Call) this.#open(callId);
    const stream = this.#streams.get(callId);
    if (stream === undefined) return;
    if (kind === CallKind.Message) this.#request(stream, record);
    else if (kind === CallKind.Writable) {
      this.#responses.taken(stream);
      this.#catchUps.release(stream);
    }
  }

  /** The call is gone, whatever it was. */
  cancel(callId: number): void {
    const stream = this.#streams.get(callId);
    if (stream !== undefined) this.#close(stream);
  }

  /** Ends the stream of which a record cannot be taken. */
  refuse(callId: number): void {
    const stream = this.#streams.get(callId);
    if (stream !== undefined) this.#end(stream, ErrTooManyRequests);
  }

  /**
   * The store holds another, later state than watchers were told of (a snapshot was installed): they are read up from
   * where they stand, those that wait for a later revision than that still wait.
   */
  restored(): void {
    this.#fallBehind(this.#toldRevision + 1);
    this.#toldRevision = this.#options.store.currentRevision;
    this.#options.wake();
  }

  #open(callId: number): void {
    const stream = new WatchStream(callId);
    this.#streams.set(callId, stream);
    this.#responses.streams = this.#streams.size;
    this.#progress.opened(stream);
  }

  #end(stream: WatchStream, error: { readonly code: number; readonly message: string }): void {
    this.#close(stream);
    this.#writer.status(stream.callId, error.code, error.message);
  }

  #close(stream: WatchStream): void {
    this.#streams.delete(stream.callId);
    this.#responses.streams = this.#streams.size;
    this.#responses.taken(stream);
    this.#progress.delete(stream);
    for (const watcher of stream.watchers.values()) this.#remove(watcher);
    stream.watchers.clear();
    stream.held = [];
  }

  /** The watcher is not told of anything any more; its ID is free when the caller says so. */
  #remove(watcher: Watcher): void {
    if (watcher.state === Compacted) this.#compacted--;
    watcher.index?.delete(watcher);
    watcher.index = null;
    watcher.state = Gone;
    forgetBatch(watcher);
    this.#longResponse.drop(watcher);
    this.#watchers--;
  }

  #request(stream: WatchStream, { bytes, messageStart, messageEnd }: CallBatchReader): void {
    const text = validate(WatchRequestDescriptor, bytes, messageStart, messageEnd);
    if (text !== undefined) return this.#end(stream, unmarshalMessageError(text));
    const { requestUnion: request } = decodeWatchRequest(bytes, messageStart, messageEnd);
    switch (request?.case) {
      case "createRequest":
        this.#times.begin();
        this.#create(stream, request.value);
        this.#times.answered();
        break;
      case "cancelRequest":
        this.#cancelWatcher(stream, request.value.watchId);
        break;
      case "progressRequest":
        this.#requestProgress(stream);
        break;
      default:
        // As in etcd, what is unknown ends no stream.
        return;
    }
    if (stream.owedControl > controlBytesMax) this.#end(stream, ErrTooManyRequests);
  }

  #create(stream: WatchStream, request: WatchCreateRequest): void {
    const range = rangeOf(request);
    const refusal = refusalOf(request, range, stream);
    const revision = this.#options.store.currentRevision;
    if (refusal !== null) {
      const answer = { revision, watchId: noWatchId, created: true, canceled: true, cancelReason: refusal };
      return this.#responses.control(stream, answer);
    }
    const watcher = new Watcher(stream, {
      id: request.watchId === 0n ? stream.takeId() : request.watchId,
      ...range,
      startRevision: request.startRevision,
      noPut: request.filters.includes(0),
      noDelete: request.filters.includes(1),
      prevKv: request.prevKv,
      fragment: request.fragment,
      progressNotify: request.progressNotify,
    });
    stream.watchers.set(watcher.id, watcher);
    this.#watchers++;
    if (watcher.progressNotify && stream.progressWatchers++ === 0) this.#progress.add(stream);
    this.#responses.control(stream, { revision, watchId: watcher.id, created: true });
    if (watcher.startRevision > 0 && watcher.startRevision <= revision) return this.#catchUps.wait(watcher);
    watcher.minRevision = Math.max(revision + 1, watcher.startRevision);
    this.#sync(watcher);
  }

  #cancelWatcher(stream: WatchStream, id: bigint): void {
    const watcher = stream.watchers.get(watchIdOf(id));
    if (watcher === undefined) return;
    stream.watchers.delete(watcher.id);
    stream.held = stream.held.filter((held) => held !== watcher);
    this.#remove(watcher);
    if (watcher.progressNotify && --stream.progressWatchers === 0) this.#progress.delete(stream);
    this.#responses.control(stream, {
      revision: this.#options.store.currentRevision,
      watchId: watcher.id,
      canceled: true,
    });
  }

  /** Answered only when every watcher of the stream has all there is, and then for all of them at once. */
  #requestProgress(stream: WatchStream): void {
    if (stream.watchers.size === 0 || !this.#responses.maySend(stream)) return;
    for (const watcher of stream.watchers.values()) if (!this.#hasAll(watcher)) return;
    this.#responses.control(stream, { revision: this.#options.store.currentRevision, watchId: noWatchId });
  }

  /** The stream's progress timer has rung. */
  #tick(stream: WatchStream): void {
    const revision = this.#options.store.currentRevision;
    this.#times.begin();
    for (const watcher of stream.watchers.values()) {
      if (!watcher.progressNotify) continue;
      const isDue = watcher.progressDue && this.#hasAll(watcher) && this.#responses.maySend(stream);
      if (isDue) this.#responses.control(stream, { revision, watchId: watcher.id });
      watcher.progressDue = true;
    }
    this.#times.ticked();
    this.#options.wake();
  }

  #hasAll(watcher: Watcher): boolean {
    return watcher.index === this.#synced && watcher.startRevision <= this.#options.store.currentRevision;
  }

  #sync(watcher: Watcher): void {
    if (this.#longChanges.isOpen) return this.#longChanges.add(watcher);
    watcher.state = Indexed;
    watcher.index = this.#synced;
    this.#synced.add(watcher);
  }

  /** What the watcher wants next is compacted. Its ID stays taken until the client cancels it. */
  #refuseCompacted(watcher: Watcher): void {
    watcher.state = Compacted;
    watcher.index = null;
    this.#compacted++;
    const { compactRevision } = this.#options.store;
    this.#responses.control(watcher.stream, { revision: 0, watchId: watcher.id, canceled: true, compactRevision });
  }

  // Changes as they are made.
  #changed(changes: TxnChanges): void {
    this.#toldRevision = changes.revision;
    if (this.#longChanges.isOpen) return this.#endLongChanges(changes);
    if (this.#synced.size === 0) return;
    if (this.#isBeyond(turnMax)) return this.#fallBehind(changes.revision);
    const batch = this.#batch;
    const view = this.#view;
    for (let i = 0; i < changes.count; i++) {
      changes.read(i, view);
      this.#event = batch.add(view.bytes, view.start, view.end, changes.isDelete(i), changes.revision);
      this.#wanted = false;
      this.#synced.match(batch.keyText(this.#event), this);
      if (!this.#wanted) batch.dropLast();
    }
    if (batch.touched.length > 0) this.#tell(changes.revision);
    batch.clear();
  }

  /** The open transaction has made more changes than can be told at once: whom they concern is read up from it. */
  #lookAt(changes: TxnChanges): void {
    if (this.#longChanges.look(changes, this.#synced)) return;
    this.#longChanges.addGroup(this.#synced);
    this.#synced = newGroup(this.#options.prng);
  }

  #endLongChanges(changes: TxnChanges): void {
    this.#lookAt(changes);
    for (const group of this.#longChanges.end()) this.#catchUps.readUp(group, changes.revision);
    this.#options.wake();
  }

  /** A synced watcher's range holds the changed key. */
  matched(watcher: Watcher): void {
    const batch = this.#batch;
    if (batch.revision(this.#event) < watcher.minRevision) return;
    if (batch.isDelete(this.#event) ? watcher.noDelete : watcher.noPut) return;
    this.#wanted = true;
    if (watcher.firstDelivery === -1) batch.touched.push(watcher);
    batch.deliver(watcher, this.#event);
  }

  #isBeyond(most: typeof turnMax): boolean {
    return this.#turn.deliveries >= most.deliveries || this.#turn.bytes >= most.bytes;
  }

  #tell(revision: number): void {
    const responses = this.#responses;
    this.#times.begin();
    for (const watcher of this.#batch.touched) {
      const maySend = responses.maySend(watcher.stream);
      if (!maySend || this.#isBeyond(changeMax)) {
        forgetBatch(watcher);
        watcher.minRevision = revision;
        this.#synced.delete(watcher);
        if (maySend) this.#catchUps.wait(watcher);
        else this.#catchUps.hold(watcher);
        continue;
      }
      this.#turn.deliveries++;
      this.#turn.bytes += responses.events(watcher, this.#batch, revision);
      if (this.#writer.length >= flushBytes) this.flush();
    }
    this.#times.eventsSent();
    this.#options.wake();
  }

  /** All synced watchers are to be read up from `revision` on; costs nothing for each. */
  #fallBehind(revision: number): void {
    if (this.#synced.size === 0) return;
    this.#catchUps.readUp(this.#synced, revision);
    this.#synced = newGroup(this.#options.prng);
    this.#options.wake();
  }

  /** The group has all there is: it joins the synced watchers, or they join it when they are fewer. */
  #join(group: RangeIndex<Watcher>): void {
    if (this.#longChanges.isOpen) return this.#longChanges.addGroup(group);
    let [large, small] = [this.#synced, group];
    if (large.size < small.size) [large, small] = [small, large];
    for (const watcher of small.items()) {
      watcher.index = large;
      large.add(watcher);
    }
    this.#synced = large;
  }
}
