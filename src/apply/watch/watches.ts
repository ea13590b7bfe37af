/**
 * All watch streams of the member: takes their requests, tells watchers of changes as they are made, and has those
 * who are behind read up from history.
 *
 * Promises kept, as etcd's: a watcher gets each event of its range once and in order; all events of a revision in one
 * response (or in its fragments); none before the answer to its creation; a progress response only after every event
 * up to its revision. Answers, events and progress of a stream go through one writer in the order in which they are
 * made here, so none overtakes another.
 *
 * Thread: apply.
 */
import { ErrTooManyRequests, unmarshalMessageError } from "../../errors/index.js";
import { CallKind, ReplyBatchWriter, type CallBatchReader } from "../../native/index.js";
import { decodeWatchRequest, validate, WatchRequestDescriptor, type WatchCreateRequest } from "../../proto/index.js";
import { tooLargeError } from "../response-bound.js";
import { CatchUps } from "./catch-ups.js";
import { RangeIndices, type RangeIndex } from "./range-index.js";
import { refusalOf, rangeOf } from "./create-request.js";
import { LongResponse, usualLongLimits } from "./long-response.js";
import { attachWatchMetrics, SendTimes } from "./metrics.js";
import { SyncedWatchers } from "./synced-watchers.js";
import { WatchProgress } from "./watch-progress.js";
import { WatchResponses } from "./watch-responses.js";
import { WatchStream } from "./watch-stream.js";
import { none, watchIdOf, WatcherState, WatcherTable, type Watcher } from "./watcher-table.js";
import type { WatchesOptions } from "./watches-options.js";

/** The watch ID of answers that are about no watcher. */
const noWatchId = -1;
/** Answers to requests that a client may leave unread before its stream is ended. */
const controlBytesMax = 1 << 20;
/**
 * Responses are handed over in the midst of a turn when so many bytes have gathered: fewer than the writer's buffer
 * has, so that this need not grow for one more.
 */
const flushBytes = 960 << 10;

export class Watches {
  readonly #options: WatchesOptions;
  readonly #writer = new ReplyBatchWriter();
  readonly #responses: WatchResponses;
  readonly #progress: WatchProgress;
  readonly #times: SendTimes;
  readonly #streams = new Map<number, WatchStream>();
  readonly #watchers: WatcherTable;
  readonly #indices: RangeIndices;
  readonly #synced: SyncedWatchers;
  readonly #catchUps: CatchUps;
  readonly #longResponse: LongResponse;
  #compacted = 0;

  constructor(options: WatchesOptions) {
    const { store, backend, prng, wake, counts } = options;
    this.#options = options;
    const watchers = (this.#watchers = new WatcherTable(prng.uint32()));
    const indices = (this.#indices = new RangeIndices(watchers, prng));
    const responses = new WatchResponses(watchers, this.#writer, options.header, options.fragmentBytesMax);
    this.#responses = responses;
    const times = (this.#times = new SendTimes(options.registry, options.clock, responses));
    const limits = options.longLimits ?? usualLongLimits;
    const long = new LongResponse(watchers, responses, limits, (stream, size) =>
      this.#end(stream, tooLargeError(size)),
    );
    this.#longResponse = long;
    const shared = { store, watchers, indices, responses, times, counts };
    const compacted = (watcher: Watcher): void => this.#refuseCompacted(watcher);
    const joined = (group: RangeIndex): void => this.#synced.join(group);
    const catchUps = (this.#catchUps = new CatchUps({ ...shared, backend, long, compacted, joined }));
    const flushMuch = (): void => {
      if (this.#writer.length >= flushBytes) this.flush();
    };
    this.#synced = new SyncedWatchers({ ...shared, catchUps, flushMuch, wake });
    this.#progress = new WatchProgress({
      intervalMs: options.progressIntervalMs,
      clock: options.clock,
      prng,
      after: options.after,
      tick: (stream) => this.#tick(stream),
    });
    attachWatchMetrics(options.registry, this);
  }

  // What metrics show.
  get streams(): number {
    return this.#streams.size;
  }
  get watchers(): number {
    return this.#watchers.count;
  }
  /** Watchers that are not told of changes as they are made. */
  get slowWatchers(): number {
    return this.#watchers.count - this.#compacted - this.#synced.size;
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
    this.#synced.beginTurn();
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
    this.#synced.restored();
    this.#options.wake();
  }

  #open(callId: number): void {
    const stream = new WatchStream(callId, this.#watchers);
    this.#streams.set(callId, stream);
    this.#watchers.addStream(stream);
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
    for (const watcher of stream.watchers.all()) this.#remove(watcher);
    this.#watchers.removeStream(stream);
  }

  /** The watcher is not told of anything any more, and its number is free; its ID is when the caller says so. */
  #remove(watcher: Watcher): void {
    const state = this.#watchers.state(watcher);
    if (state === WatcherState.Compacted) this.#compacted--;
    else if (state === WatcherState.Indexed) this.#indices.of(watcher)!.delete(watcher);
    else this.#catchUps.forget(watcher);
    this.#longResponse.drop(watcher);
    this.#watchers.remove(watcher);
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
    const { startRevision, filters, prevKv, fragment, progressNotify } = request;
    const isPast = startRevision > 0 && startRevision <= revision;
    const id = watchIdOf(request.watchId === 0n ? stream.takeId() : request.watchId);
    const watcher = this.#watchers.add(stream, {
      id,
      ...range,
      minRevision: isPast ? startRevision : Math.max(revision + 1, startRevision),
      isLater: startRevision > revision,
      noPut: filters.includes(0),
      noDelete: filters.includes(1),
      prevKv,
      fragment,
      progressNotify,
    });
    stream.watchers.add(watcher);
    if (progressNotify && stream.progressWatchers++ === 0) this.#progress.add(stream);
    this.#responses.control(stream, { revision, watchId: id, created: true });
    if (isPast) this.#catchUps.wait(watcher);
    else this.#synced.add(watcher);
  }

  #cancelWatcher(stream: WatchStream, id: bigint): void {
    const watchId = watchIdOf(id);
    const watcher = stream.find(watchId);
    if (watcher === none) return;
    stream.watchers.delete(watcher);
    const wantsProgress = this.#watchers.progressNotify(watcher);
    this.#remove(watcher);
    if (wantsProgress && --stream.progressWatchers === 0) this.#progress.delete(stream);
    this.#responses.control(stream, { revision: this.#options.store.currentRevision, watchId, canceled: true });
  }

  /** Answered only when every watcher of the stream has all there is, and then for all of them at once. */
  #requestProgress(stream: WatchStream): void {
    if (stream.watchers.size === 0 || !this.#responses.maySend(stream)) return;
    for (const watcher of stream.watchers.all()) if (!this.#synced.has(watcher)) return;
    this.#responses.control(stream, { revision: this.#options.store.currentRevision, watchId: noWatchId });
  }

  /** The stream's progress timer has rung. */
  #tick(stream: WatchStream): void {
    const revision = this.#options.store.currentRevision;
    this.#times.begin();
    const watchers = this.#watchers;
    for (const watcher of stream.watchers.all()) {
      if (!watchers.progressNotify(watcher)) continue;
      const isDue = watchers.progressDue(watcher) && this.#synced.has(watcher) && this.#responses.maySend(stream);
      if (isDue) this.#responses.control(stream, { revision, watchId: watchers.id(watcher) });
      watchers.setProgressDue(watcher, true);
    }
    this.#times.ticked();
    this.#options.wake();
  }

  /** What the watcher wants next is compacted. Its ID stays taken until the client cancels it. */
  #refuseCompacted(watcher: Watcher): void {
    const watchers = this.#watchers;
    watchers.setState(watcher, WatcherState.Compacted);
    this.#compacted++;
    const { compactRevision } = this.#options.store;
    const answer = { revision: 0, watchId: watchers.id(watcher), canceled: true, compactRevision };
    this.#responses.control(watchers.stream(watcher), answer);
  }
}
