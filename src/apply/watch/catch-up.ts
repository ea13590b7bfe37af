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
import type { Prng } from "../../base/index.js";
import type { Backend, RecordVisitor, ScanPosition } from "../../storage/backend/index.js";
import type { MvccStore } from "../../storage/mvcc/index.js";
import { EventBatch, type PreviousReads } from "./event-batch.js";
import type { LongResponse } from "./long-response.js";
import type { SendTimes } from "./metrics.js";
import { RangeIndex } from "./range-index.js";
import type { WatchResponses } from "./watch-responses.js";
import { forgetBatch, type Watcher, type WatcherVisitor } from "./watcher.js";

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

export interface CatchUpSurroundings {
  readonly store: MvccStore;
  readonly backend: Backend;
  readonly responses: WatchResponses;
  readonly times: SendTimes;
  readonly counts: PreviousReads;
  /** All passes'. */
  readonly long: LongResponse;
  /** These watchers have all there is up to the current revision. */
  readonly joined: (group: RangeIndex<Watcher>) => void;
  readonly prng: Prng;
  /** The watcher has left the pass: its stream takes nothing now. */
  readonly held: (watcher: Watcher) => void;
  /** The watcher had its turn: others go before it now. */
  readonly sent: (watcher: Watcher) => void;
  /** The watcher has left the pass: what it wants is compacted. */
  readonly compacted: (watcher: Watcher) => void;
}

export class CatchUp implements RecordVisitor, WatcherVisitor {
  /** Who is being read up. */
  index: RangeIndex<Watcher>;
  readonly #surroundings: CatchUpSurroundings;
  readonly #batch: EventBatch;
  readonly #position: ScanPosition;
  /** Watchers with enough for a response. */
  readonly #full: Watcher[] = [];
  /** The watcher whose long response is in the making. */
  #longOf: Watcher | null = null;
  /** Where sending goes on in the batch's touched watchers; −1: nothing is being sent. */
  #sendingAt = -1;
  /** The revision being read, its event, and whether anybody wants that. */
  #lastMain = 0;
  #event = 0;
  #wanted = false;
  /** The first record that this slice must not take. */
  #cutMain = 0;
  #cutSub = 0;
  /** Deliveries gathered before this slice. */
  #sliceStart = 0;

  /** `index` holds the group, which must not be changed but by `delete`; `from`: the first revision that one wants. */
  constructor(surroundings: CatchUpSurroundings, index: RangeIndex<Watcher>, from: number) {
    this.#surroundings = surroundings;
    this.index = index;
    this.#batch = new EventBatch(surroundings.store, surroundings.counts);
    this.#position = { main: from, sub: 0 };
  }

  /** Deliveries that were gathered and not yet sent. */
  get pendingEvents(): number {
    return this.#batch.deliveries;
  }

  /** Sends at most about `bytesMax`, or reads a slice; true when the group has all there is. */
  step(bytesMax: number): boolean {
    if (this.#longOf !== null && !this.#stepLong(this.#longOf)) return false;
    if (this.index.size === 0) return true;
    if (this.#sendingAt !== -1) return this.#send(bytesMax) && this.#isDone;
    this.#refuseCompacted();
    const atEnd = this.#read();
    // Without a cut the slice may have ended within a revision.
    if (!atEnd && this.#cutMain === 0) return false;
    if (atEnd || this.#batchIsFull || this.#full.some((watcher) => this.#surroundings.long.isFor(watcher))) {
      this.#sendingAt = 0;
      this.#batch.touched.sort(byTurn);
      if (atEnd) this.#releaseOthers();
      return this.#send(bytesMax) && this.#isDone;
    }
    this.#sendFull();
    return false;
  }

  /** Who gets nothing need not wait until a long response is made. */
  #releaseOthers(): void {
    const { long, prng, joined } = this.#surroundings;
    const { touched } = this.#batch;
    if (touched.length === this.index.size || !touched.some((watcher) => long.isFor(watcher))) return;
    const group = newGroup(prng);
    for (const watcher of touched) {
      if (watcher.index !== this.index) continue;
      this.index.delete(watcher);
      watcher.index = group;
      group.add(watcher);
    }
    const others = this.index;
    this.index = group;
    joined(others);
  }

  /** Sends to those with enough for a response. */
  #sendFull(): void {
    if (this.#full.length === 0) return;
    const { times } = this.#surroundings;
    times.begin();
    this.#full.sort(byTurn);
    for (const watcher of this.#full) this.#sendTo(watcher);
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
    const batch = this.#batch;
    this.#event = batch.add(bytes, start, end, tombstone, main);
    this.#wanted = false;
    this.index.match(batch.keyText(this.#event), this);
    if (!this.#wanted) batch.dropLast();
  }

  matched(watcher: Watcher): void {
    const main = this.#lastMain;
    if (main < watcher.minRevision) return;
    if (watcher.batchLastRevision !== main) {
      watcher.batchLastRevision = main;
      if (++watcher.batchRevisions === revisionsMax) this.#fill(watcher);
    }
    const batch = this.#batch;
    if (batch.isDelete(this.#event) ? watcher.noDelete : watcher.noPut) return;
    watcher.batchEvents++;
    watcher.batchBytes += batch.eventBytes(this.#event);
    if (watcher.batchBytes >= responseBytesMax) this.#fill(watcher);
    this.#wanted = true;
    if (watcher.firstDelivery === -1) {
      watcher.batchFirstRevision = main;
      batch.touched.push(watcher);
    }
    batch.deliver(watcher, this.#event);
  }

  #fill(watcher: Watcher): void {
    if (watcher.batchFull) return;
    watcher.batchFull = true;
    this.#full.push(watcher);
  }

  /** Goes on sending the batch; true when all of it is sent. */
  #send(bytesMax: number): boolean {
    const { touched } = this.#batch;
    const { times } = this.#surroundings;
    times.begin();
    for (let written = 0; this.#sendingAt < touched.length && written < bytesMax; this.#sendingAt++) {
      const watcher = touched[this.#sendingAt]!;
      if (this.#needsLong(watcher)) {
        if (this.#beginLong(watcher)) this.#sendingAt++;
        break;
      }
      written += this.#sendTo(watcher);
    }
    times.eventsSent();
    if (this.#longOf !== null || this.#sendingAt < touched.length) return false;
    this.#sendingAt = -1;
    for (const watcher of this.#full) if (watcher.index === this.index) forgetBatch(watcher);
    this.#full.length = 0;
    this.#batch.clear();
    return true;
  }

  #sendTo(watcher: Watcher): number {
    const { responses, store } = this.#surroundings;
    // It was given up, and another pass may have gathered events for it since.
    if (watcher.index !== this.index) return 0;
    if (watcher.firstDelivery === -1) {
      forgetBatch(watcher);
      return 0;
    }
    if (!responses.maySend(watcher.stream)) {
      this.#giveUp(watcher);
      return 0;
    }
    const written = responses.events(watcher, this.#batch, store.currentRevision);
    this.#hadTurn(watcher);
    return written;
  }

  /** The watcher was sent all that was gathered for it. */
  #hadTurn(watcher: Watcher): void {
    const { responses, sent, held } = this.#surroundings;
    if (watcher.index !== this.index) return;
    sent(watcher);
    if (this.#isDone || responses.maySend(watcher.stream)) return;
    watcher.minRevision = this.#position.main;
    this.index.delete(watcher);
    held(watcher);
  }

  #needsLong(watcher: Watcher): boolean {
    const { long, responses } = this.#surroundings;
    return watcher.index === this.index && long.isFor(watcher) && responses.maySend(watcher.stream);
  }

  /** False: another pass is making one. */
  #beginLong(watcher: Watcher): boolean {
    const { long, store } = this.#surroundings;
    if (!long.isFree) return false;
    long.begin(watcher, this.#batch, store.currentRevision);
    this.#longOf = watcher;
    return true;
  }

  /** One slice of it; true when it is made, or nobody wants it any more. */
  #stepLong(watcher: Watcher): boolean {
    const { long, times } = this.#surroundings;
    times.begin();
    const isOver = long.step();
    times.eventsSent();
    if (!isOver) return false;
    this.#longOf = null;
    this.#hadTurn(watcher);
    return true;
  }

  #giveUp(watcher: Watcher): void {
    watcher.minRevision = watcher.batchFirstRevision;
    forgetBatch(watcher);
    this.index.delete(watcher);
    this.#surroundings.held(watcher);
  }

  /** Records below a compaction may be gone: whoever wants some has to be told, after what was gathered for it. */
  #refuseCompacted(): void {
    const { store, compacted } = this.#surroundings;
    const { compactRevision } = store;
    if (this.#position.main >= compactRevision) return;
    for (const watcher of this.index.items()) {
      if (watcher.minRevision >= compactRevision) continue;
      if (watcher.firstDelivery !== -1) {
        watcher.minRevision = watcher.batchFirstRevision;
        forgetBatch(watcher);
      }
      this.index.delete(watcher);
      compacted(watcher);
    }
    this.#position.main = compactRevision;
    this.#position.sub = 0;
  }
}

/** Who had no turn for longest goes first. */
function byTurn(a: Watcher, b: Watcher): number {
  return a.waitsSince - b.waitsSince;
}

/** A new, empty group. */
export function newGroup(prng: Prng): RangeIndex<Watcher> {
  return new RangeIndex<Watcher>(prng);
}
