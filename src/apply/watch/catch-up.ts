/**
 * Reads watchers up from history: a group of them shares one pass over the records, from the first revision that any
 * of them wants to the present one.
 *
 *   step until it returns true: every watcher of `index` has then been sent all up to the current revision.
 *
 * A step reads one slice of records, or sends what was gathered. What is gathered is sent at the end of a revision
 * only: to a watcher with enough for a response, and to all when the batch is full. A watcher whose stream takes no
 * more is given up to `held`, with the first revision that it has not been sent; nothing is kept for it. So is one whose
 * response was the last that its stream took: else it alone would go on, and the stream's others would starve.
 *
 * Invariants: a watcher has been offered every record from its `minRevision` up to `#main`, that not included;
 * records of an open transaction, which lie above the current revision, are not seen.
 */
import type { Backend, RecordVisitor, ScanPosition } from "../../storage/backend/index.js";
import type { MvccStore } from "../../storage/mvcc/index.js";
import { EventBatch, type PreviousReads } from "./event-batch.js";
import type { LongResponse } from "./long-response.js";
import type { SendTimes } from "./metrics.js";
import type { MatchVisitor, RangeIndex, RangeIndices } from "./range-index.js";
import type { WatchResponses } from "./watch-responses.js";
import { none, type Watcher, type WatcherTable } from "./watcher-table.js";

/** About 1 ms: so many records, or so many deliveries of them and then the rest of the revision. */
const slice = { records: 512, bytes: 256 << 10 };
const sliceDeliveriesMax = 10_000;
/** Distinct revisions of one response, as in etcd. */
const revisionsMax = 1000;
/** Bytes of one response, but for a revision that has more; what a slow reader can be sent at once. */
const responseBytesMax = 256 << 10;
/** Bytes and deliveries gathered before they are sent. */
const gatheredBytesMax = 2 << 20;
const deliveriesMax = 100_000;
/** More touches than this are sent in any order: a number of 32 bits times this is a safe integer yet. */
const sortedMax = 2 ** 21;

export interface CatchUpSurroundings {
  readonly watchers: WatcherTable;
  readonly indices: RangeIndices;
  readonly store: MvccStore;
  readonly backend: Backend;
  readonly responses: WatchResponses;
  readonly times: SendTimes;
  readonly counts: PreviousReads;
  /** All passes'. */
  readonly long: LongResponse;
  /** These watchers have all there is up to the current revision. */
  readonly joined: (group: RangeIndex) => void;
  /** The watcher has left the pass: its stream takes nothing now. */
  readonly held: (watcher: Watcher) => void;
  /** The watcher had its turn: others go before it now. */
  readonly sent: (watcher: Watcher) => void;
  /** Of 32 bits; the smaller, the longer it had no turn. */
  readonly turnOf: (watcher: Watcher) => number;
  /** The watcher has left the pass: what it wants is compacted. */
  readonly compacted: (watcher: Watcher) => void;
}

export class CatchUp implements RecordVisitor, MatchVisitor {
  /** Who is being read up. */
  index: RangeIndex;
  readonly #surroundings: CatchUpSurroundings;
  readonly #watchers: WatcherTable;
  readonly #batch: EventBatch;
  readonly #position: ScanPosition;
  /** Touches with enough for a response. */
  readonly #full: number[] = [];
  /** The watcher whose long response is in the making. */
  #longOf: Watcher = none;
  /** The touches that are being sent, in order, and where that goes on; null: nothing is being sent. */
  #sending: Float64Array | null = null;
  #sendingAt = 0;
  /** The revision being read, whether its event is a delete, and whether anybody wants that. */
  #lastMain = 0;
  #isDelete = false;
  /** The first record that this slice must not take. */
  #cutMain = 0;
  #cutSub = 0;
  /** Deliveries gathered before this slice. */
  #sliceStart = 0;

  /** `index` holds the group, which must not be changed but by `delete`; `from`: the first revision that one wants. */
  constructor(surroundings: CatchUpSurroundings, index: RangeIndex, from: number) {
    this.#surroundings = surroundings;
    this.index = index;
    this.#watchers = surroundings.watchers;
    this.#batch = new EventBatch(surroundings.store, this.#watchers, surroundings.counts);
    this.#position = { main: from, sub: 0 };
  }

  /** Deliveries that were gathered and not yet sent. */
  get pendingEvents(): number {
    return this.#batch.deliveries;
  }

  /** Sends at most about `bytesMax`, or reads a slice; true when the group has all there is. */
  step(bytesMax: number): boolean {
    if (this.#longOf !== none && !this.#stepLong(this.#longOf)) return false;
    if (this.index.size === 0) return true;
    if (this.#sending !== null) return this.#send(bytesMax) && this.#isDone;
    this.#refuseCompacted();
    const atEnd = this.#read();
    // Without a cut the slice may have ended within a revision.
    if (!atEnd && this.#cutMain === 0) return false;
    if (atEnd || this.#batchIsFull || this.#full.some((touch) => this.#needsLong(touch))) {
      this.#sending = this.#inOrder();
      this.#sendingAt = 0;
      if (atEnd) this.#releaseOthers();
      return this.#send(bytesMax) && this.#isDone;
    }
    this.#sendFull();
    return false;
  }

  /** The touches, first of those who had no turn for longest: as doubles that hold both, for those sort fast. */
  #inOrder(): Float64Array {
    const { touches } = this.#batch;
    const order = new Float64Array(touches.count);
    const isSorted = order.length <= sortedMax;
    for (let touch = 0; touch < order.length; touch++) {
      order[touch] = (isSorted ? this.#turnOf(touch) * sortedMax : 0) + touch;
    }
    if (!isSorted) return order;
    order.sort();
    for (let at = 0; at < order.length; at++) order[at]! %= sortedMax;
    return order;
  }

  #turnOf(touch: number): number {
    return this.#surroundings.turnOf(this.#batch.touches.watcher(touch));
  }

  /** Who gets nothing need not wait until a long response is made. */
  #releaseOthers(): void {
    const { indices, joined } = this.#surroundings;
    const order = this.#sending!;
    if (order.length === this.index.size || !order.some((touch) => this.#needsLong(touch))) return;
    const others = this.index;
    const group = indices.open();
    for (const touch of order) {
      if (!this.#isOwn(touch)) continue;
      const watcher = this.#batch.touches.watcher(touch);
      others.delete(watcher);
      group.add(watcher);
    }
    this.index = group;
    joined(others);
  }

  /** The touch is still one of a watcher of this pass. */
  #isOwn(touch: number): boolean {
    const watcher = this.#batch.touches.watcher(touch);
    return this.#watchers.touch(watcher) === touch && this.#watchers.group(watcher) === this.index.number;
  }

  /** Sends to those with enough for a response. */
  #sendFull(): void {
    if (this.#full.length === 0) return;
    const { times } = this.#surroundings;
    times.begin();
    this.#full.sort((a, b) => this.#turnOf(a) - this.#turnOf(b));
    for (const touch of this.#full) this.#sendTo(touch);
    times.eventsSent();
    this.#full.length = 0;
  }

  /** The group's batch is empty and it stands beyond the current revision. */
  get #isDone(): boolean {
    return this.#position.main > this.#surroundings.store.currentRevision;
  }

  /** Here a slice ends, if a revision does. */
  get #isSliceDone(): boolean {
    const gathered = this.#batch.deliveries - this.#sliceStart;
    return this.#full.length > 0 || gathered >= sliceDeliveriesMax || this.#batchIsFull;
  }

  get #batchIsFull(): boolean {
    return this.#batch.length >= gatheredBytesMax || this.#batch.deliveries >= deliveriesMax;
  }

  /** Gathers a slice; true when nothing is left to read. */
  #read(): boolean {
    const { backend, store } = this.#surroundings;
    const position = this.#position;
    this.#cutMain = 0;
    this.#sliceStart = this.#batch.deliveries;
    const more = backend.scanRecords(position, slice, this);
    if (this.#cutMain !== 0) {
      position.main = this.#cutMain;
      position.sub = this.#cutSub;
      return this.#cutMain > store.currentRevision;
    }
    if (more) return false;
    position.main = store.currentRevision + 1;
    position.sub = 0;
    return true;
  }

  visit(main: number, sub: number, tombstone: boolean, bytes: Uint8Array, start: number, end: number): void {
    if (this.#cutMain !== 0) return;
    const isNew = main !== this.#lastMain;
    const isAbove = main > this.#surroundings.store.currentRevision;
    if (isAbove || (isNew && this.#isSliceDone)) {
      this.#cutMain = main;
      this.#cutSub = sub;
      return;
    }
    this.#lastMain = main;
    this.#isDelete = tombstone;
    this.#batch.offer(this.index, this, bytes, start, end, tombstone, main);
  }

  matched(watcher: Watcher): void {
    const main = this.#lastMain;
    const watchers = this.#watchers;
    if (main < watchers.minRevision(watcher)) return;
    const batch = this.#batch;
    const { touches } = batch;
    const touch = touches.of(watcher);
    if (touches.touchedAt(touch, main) >= revisionsMax) this.#fill(touch);
    if (!watchers.wants(watcher, this.#isDelete)) return;
    batch.deliver(watcher);
    if (touches.bytes(touch) >= responseBytesMax) this.#fill(touch);
  }

  #fill(touch: number): void {
    const { touches } = this.#batch;
    if (touches.isFull(touch)) return;
    touches.setFull(touch);
    this.#full.push(touch);
  }

  /** Goes on sending the batch; true when all of it is sent. */
  #send(bytesMax: number): boolean {
    const { times } = this.#surroundings;
    const order = this.#sending!;
    times.begin();
    for (let written = 0; this.#sendingAt < order.length && written < bytesMax; this.#sendingAt++) {
      const touch = order[this.#sendingAt]!;
      if (this.#needsLong(touch) && this.#maySend(touch)) {
        if (this.#beginLong(touch)) this.#sendingAt++;
        break;
      }
      written += this.#sendTo(touch);
    }
    times.eventsSent();
    if (this.#longOf !== none || this.#sendingAt < order.length) return false;
    this.#sending = null;
    this.#full.length = 0;
    this.#batch.clear();
    return true;
  }

  /** Sends what was gathered for a watcher, unless it is gone or takes nothing; returns the bytes written. */
  #sendTo(touch: number): number {
    const { responses, store } = this.#surroundings;
    const { touches } = this.#batch;
    if (!this.#isOwn(touch)) return 0;
    if (touches.firstDelivery(touch) === none) touches.end(touch);
    else if (!this.#maySend(touch)) this.#giveUp(touch);
    else {
      const written = responses.events(touch, this.#batch, store.currentRevision);
      this.#hadTurn(touches.watcher(touch));
      return written;
    }
    return 0;
  }

  /** The watcher was sent all that was gathered for it, unless it is gone. */
  #hadTurn(watcher: Watcher): void {
    const { responses, sent, held } = this.#surroundings;
    const watchers = this.#watchers;
    if (watchers.group(watcher) !== this.index.number) return;
    sent(watcher);
    if (this.#isDone || responses.maySend(watchers.stream(watcher))) return;
    watchers.setMinRevision(watcher, this.#position.main);
    this.index.delete(watcher);
    held(watcher);
  }

  #maySend(touch: number): boolean {
    return this.#surroundings.responses.maySend(this.#watchers.stream(this.#batch.touches.watcher(touch)));
  }

  #needsLong(touch: number): boolean {
    return this.#surroundings.long.isFor(touch, this.#batch) && this.#isOwn(touch);
  }

  /** False: another pass is making one. */
  #beginLong(touch: number): boolean {
    const { long, store } = this.#surroundings;
    if (!long.isFree) return false;
    long.begin(touch, this.#batch, store.currentRevision);
    this.#longOf = this.#batch.touches.watcher(touch);
    return true;
  }

  /** One slice of it; true when it is made, or nobody wants it any more. */
  #stepLong(watcher: Watcher): boolean {
    const { long, times } = this.#surroundings;
    times.begin();
    const isOver = long.step();
    times.eventsSent();
    if (!isOver) return false;
    this.#longOf = none;
    this.#hadTurn(watcher);
    return true;
  }

  #giveUp(touch: number): void {
    const watcher = this.#batch.touches.watcher(touch);
    this.#forget(watcher);
    this.#surroundings.held(watcher);
  }

  /** The watcher leaves the pass, and wants again what was gathered for it. */
  #forget(watcher: Watcher): void {
    const { touches } = this.#batch;
    const touch = this.#watchers.touch(watcher);
    if (touch !== none) {
      if (touches.firstDelivery(touch) !== none) this.#watchers.setMinRevision(watcher, touches.firstRevision(touch));
      touches.end(touch);
    }
    this.index.delete(watcher);
  }

  /** Records below a compaction may be gone: whoever wants some has to be told, after what was gathered for it. */
  #refuseCompacted(): void {
    const { store, compacted } = this.#surroundings;
    const { compactRevision } = store;
    if (this.#position.main >= compactRevision) return;
    for (const watcher of this.index.all()) {
      if (this.#watchers.minRevision(watcher) >= compactRevision) continue;
      this.#forget(watcher);
      compacted(watcher);
    }
    this.#position.main = compactRevision;
    this.#position.sub = 0;
  }
}
