/**
 * Which watchers a batch of events has something for, and what: a touch each, from its first event that is gathered
 * until what was gathered is sent, or given up. Its deliveries are a list in the batch.
 */
import { Slab } from "./slab.js";
import { none, type Watcher, type WatcherTable } from "./watcher-table.js";

/** Memory for so many is kept when all are forgotten; a change may have a million. */
const touchesKept = 1 << 14;

// Fields of a record: int32 each, but for the doubles `bytes`, `lastRevision` and `firstRevision`.
const watcherOf = 0;
const firstDelivery = 1;
const lastDelivery = 2;
const events = 3;
const revisions = 4;
const isFull = 5;
const bytes = 3;
const lastRevision = 4;
const firstRevision = 5;

export class Touches {
  readonly #table: WatcherTable;
  readonly #slab = new Slab();
  #count = 0;

  constructor(table: WatcherTable) {
    this.#table = table;
  }

  get count(): number {
    return this.#count;
  }

  /** The watcher's touch, which is begun now if there is none. */
  of(watcher: Watcher): number {
    const begun = this.#table.touch(watcher);
    return begun === none ? this.#begin(watcher) : begun;
  }

  /** The watcher has no touch any more; what is known of it stays until all are forgotten. */
  end(touch: number): void {
    this.#table.setTouch(this.watcher(touch), none);
  }

  /** Forgets all; none of a watcher may be left. */
  clear(): void {
    this.#count = 0;
    this.#slab.trim(touchesKept);
  }

  watcher(touch: number): Watcher {
    return this.#slab.int(touch, watcherOf);
  }
  /** −1: nothing is to be sent to it. */
  firstDelivery(touch: number): number {
    return this.#slab.int(touch, firstDelivery);
  }
  lastDelivery(touch: number): number {
    return this.#slab.int(touch, lastDelivery);
  }
  /** Of the first delivery. */
  firstRevision(touch: number): number {
    return this.#slab.double(touch, firstRevision);
  }
  events(touch: number): number {
    return this.#slab.int(touch, events);
  }
  bytes(touch: number): number {
    return this.#slab.double(touch, bytes);
  }

  /** A further delivery of `size` bytes. */
  delivered(touch: number, delivery: number, revision: number, size: number): void {
    const slab = this.#slab;
    if (slab.int(touch, firstDelivery) === none) {
      slab.setInt(touch, firstDelivery, delivery);
      slab.setDouble(touch, firstRevision, revision);
    }
    slab.setInt(touch, lastDelivery, delivery);
    slab.setInt(touch, events, slab.int(touch, events) + 1);
    slab.setDouble(touch, bytes, slab.double(touch, bytes) + size);
  }

  /** The watcher's range was touched at this revision, whether or not it wants the event; how many revisions that makes. */
  touchedAt(touch: number, revision: number): number {
    const slab = this.#slab;
    if (slab.double(touch, lastRevision) !== revision) {
      slab.setDouble(touch, lastRevision, revision);
      slab.setInt(touch, revisions, slab.int(touch, revisions) + 1);
    }
    return slab.int(touch, revisions);
  }

  /** It has enough for a response. */
  isFull(touch: number): boolean {
    return this.#slab.int(touch, isFull) === 1;
  }
  setFull(touch: number): void {
    this.#slab.setInt(touch, isFull, 1);
  }

  #begin(watcher: Watcher): number {
    const touch = this.#count++;
    const slab = this.#slab;
    slab.reserve(this.#count);
    slab.setInt(touch, watcherOf, watcher);
    slab.setInt(touch, firstDelivery, none);
    slab.setInt(touch, lastDelivery, none);
    slab.setInt(touch, events, 0);
    slab.setInt(touch, revisions, 0);
    slab.setInt(touch, isFull, 0);
    slab.setDouble(touch, bytes, 0);
    slab.setDouble(touch, lastRevision, 0);
    this.#table.setTouch(watcher, touch);
    return touch;
  }
}
