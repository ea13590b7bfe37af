/**
 * The watchers that have all there is: they are told of changes as they are made. One that cannot be sent an event (its
 * stream has not taken what it was sent, or the turn has sent enough) leaves them with nothing but the revision that it
 * wants next.
 */
import { emptyRecordView } from "../../storage/backend/index.js";
import type { MvccStore, TxnChanges } from "../../storage/mvcc/index.js";
import type { CatchUps } from "./catch-ups.js";
import { EventBatch, type PreviousReads } from "./event-batch.js";
import { LongChanges } from "./long-changes.js";
import type { SendTimes } from "./metrics.js";
import type { MatchVisitor, RangeIndex, RangeIndices } from "./range-index.js";
import type { WatchResponses } from "./watch-responses.js";
import { WatcherState, type Watcher, type WatcherTable } from "./watcher-table.js";

/** After about 1 ms of responses and bytes a turn tells of no further change: all are read up from there, in fewer. */
const turnMax = { deliveries: 1_000, bytes: 512 << 10 };
/** Likewise within one change, whose watchers then go one by one, which costs more. */
const changeMax = { deliveries: 20_000, bytes: 16 << 20 };

export interface SyncedSurroundings {
  readonly store: MvccStore;
  readonly watchers: WatcherTable;
  readonly indices: RangeIndices;
  readonly responses: WatchResponses;
  readonly times: SendTimes;
  readonly counts: PreviousReads;
  /** For those who fall behind. */
  readonly catchUps: CatchUps;
  /** Hands over what is written when that has become much. */
  readonly flushMuch: () => void;
  /** A turn is wanted. */
  readonly wake: () => void;
}

export class SyncedWatchers implements MatchVisitor {
  readonly #surroundings: SyncedSurroundings;
  readonly #watchers: WatcherTable;
  #index: RangeIndex;
  readonly #longChanges: LongChanges;
  /** Of the transaction in hand. */
  readonly #batch: EventBatch;
  readonly #view = emptyRecordView();
  #revision = 0;
  #isDelete = false;
  /** The revision up to which they have been told. */
  #toldRevision: number;
  #turn = { deliveries: 0, bytes: 0 };

  constructor(surroundings: SyncedSurroundings) {
    const { store, watchers, indices, counts } = surroundings;
    this.#surroundings = surroundings;
    this.#watchers = watchers;
    this.#toldRevision = store.currentRevision;
    this.#index = indices.open();
    this.#batch = new EventBatch(store, watchers, counts);
    this.#longChanges = new LongChanges(watchers, indices);
    store.onChanges = (changes) => this.#changed(changes);
    store.onPart = (changes) => this.#lookAt(changes);
  }

  get size(): number {
    return this.#index.size;
  }

  /** Whether the watcher has had all up to the current revision, and that is not before its start. */
  has(watcher: Watcher): boolean {
    const watchers = this.#watchers;
    if (watchers.group(watcher) !== this.#index.number) return false;
    return !watchers.isLater(watcher) || watchers.minRevision(watcher) <= this.#surroundings.store.currentRevision;
  }

  beginTurn(): void {
    this.#turn = { deliveries: 0, bytes: 0 };
  }

  add(watcher: Watcher): void {
    if (this.#longChanges.isOpen) return this.#longChanges.add(watcher);
    this.#watchers.setState(watcher, WatcherState.Indexed);
    this.#index.add(watcher);
  }

  /** The group has all there is: it joins the synced watchers, or they join it when they are fewer. */
  join(group: RangeIndex): void {
    if (this.#longChanges.isOpen) return this.#longChanges.addGroup(group);
    let [large, small] = [this.#index, group];
    if (large.size < small.size) [large, small] = [small, large];
    for (const watcher of small.all()) large.add(watcher);
    this.#surroundings.indices.close(small);
    this.#index = large;
  }

  /** The store holds another, later state than they were told of: see `Watches.restored`. */
  restored(): void {
    this.#fallBehind(this.#toldRevision + 1);
    this.#toldRevision = this.#surroundings.store.currentRevision;
  }

  #changed(changes: TxnChanges): void {
    this.#toldRevision = changes.revision;
    if (this.#longChanges.isOpen) return this.#endLongChanges(changes);
    if (this.#index.size === 0) return;
    if (this.#isBeyond(turnMax)) return this.#fallBehind(changes.revision);
    const batch = this.#batch;
    const view = this.#view;
    this.#revision = changes.revision;
    for (let i = 0; i < changes.count; i++) {
      changes.read(i, view);
      this.#isDelete = changes.isDelete(i);
      batch.offer(this.#index, this, view.bytes, view.start, view.end, this.#isDelete, this.#revision);
    }
    if (batch.touches.count > 0) this.#tell(changes.revision);
    batch.clear();
  }

  /** The open transaction has made more changes than can be told at once: whom they concern is read up from it. */
  #lookAt(changes: TxnChanges): void {
    if (this.#longChanges.look(changes, this.#index)) return;
    this.#longChanges.addGroup(this.#index);
    this.#index = this.#surroundings.indices.open();
  }

  #endLongChanges(changes: TxnChanges): void {
    this.#lookAt(changes);
    for (const group of this.#longChanges.end()) this.#surroundings.catchUps.readUp(group, changes.revision);
    this.#surroundings.wake();
  }

  /** A synced watcher's range holds the changed key. */
  matched(watcher: Watcher): void {
    const watchers = this.#watchers;
    if (this.#revision < watchers.minRevision(watcher)) return;
    if (!watchers.wants(watcher, this.#isDelete)) return;
    this.#batch.deliver(watcher);
  }

  #isBeyond(most: typeof turnMax): boolean {
    return this.#turn.deliveries >= most.deliveries || this.#turn.bytes >= most.bytes;
  }

  #tell(revision: number): void {
    const { responses, times, catchUps, flushMuch, wake } = this.#surroundings;
    const watchers = this.#watchers;
    times.begin();
    const { touches } = this.#batch;
    for (let touch = 0; touch < touches.count; touch++) {
      const watcher = touches.watcher(touch);
      const maySend = responses.maySend(watchers.stream(watcher));
      if (!maySend || this.#isBeyond(changeMax)) {
        touches.end(touch);
        watchers.setMinRevision(watcher, revision);
        this.#index.delete(watcher);
        if (maySend) catchUps.wait(watcher);
        else catchUps.hold(watcher);
        continue;
      }
      this.#turn.deliveries++;
      this.#turn.bytes += responses.events(touch, this.#batch, revision);
      flushMuch();
    }
    times.eventsSent();
    wake();
  }

  /** All synced watchers are to be read up from `revision` on; costs nothing for each. */
  #fallBehind(revision: number): void {
    if (this.#index.size === 0) return;
    this.#surroundings.catchUps.readUp(this.#index, revision);
    this.#index = this.#surroundings.indices.open();
    this.#surroundings.wake();
  }
}
