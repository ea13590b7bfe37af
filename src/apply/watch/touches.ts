/**
 * Which watchers a batch of events has something for, and what: a touch each, from its first event that is gathered
 * until what was gathered is sent, or given up. Its deliveries are a list in the batch.
 */
import { none, type Watcher, type WatcherTable } from "./watcher-table.js";

const sizeMin = 16;

/** What is known of each touch, by its number. */
class Columns {
  readonly watcher: Int32Array;
  /** −1: nothing is to be sent to it. */
  readonly firstDelivery: Int32Array;
  readonly lastDelivery: Int32Array;
  readonly events: Int32Array;
  readonly bytes: Float64Array;
  /** Revisions that touched the watcher's range, and the last of them. */
  readonly revisions: Int32Array;
  readonly lastRevision: Float64Array;
  /** Of the first delivery. */
  readonly firstRevision: Float64Array;
  /** 1: it has enough for a response. */
  readonly isFull: Uint8Array;

  constructor(size: number, before: Columns | null) {
    this.watcher = new Int32Array(size);
    this.firstDelivery = new Int32Array(size);
    this.lastDelivery = new Int32Array(size);
    this.events = new Int32Array(size);
    this.bytes = new Float64Array(size);
    this.revisions = new Int32Array(size);
    this.lastRevision = new Float64Array(size);
    this.firstRevision = new Float64Array(size);
    this.isFull = new Uint8Array(size);
    if (before === null) return;
    this.watcher.set(before.watcher);
    this.firstDelivery.set(before.firstDelivery);
    this.lastDelivery.set(before.lastDelivery);
    this.events.set(before.events);
    this.bytes.set(before.bytes);
    this.revisions.set(before.revisions);
    this.lastRevision.set(before.lastRevision);
    this.firstRevision.set(before.firstRevision);
    this.isFull.set(before.isFull);
  }
}

export class Touches {
  readonly #table: WatcherTable;
  #columns = new Columns(sizeMin, null);
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
  }

  watcher(touch: number): Watcher {
    return this.#columns.watcher[touch]!;
  }
  /** −1: nothing is to be sent to it. */
  firstDelivery(touch: number): number {
    return this.#columns.firstDelivery[touch]!;
  }
  lastDelivery(touch: number): number {
    return this.#columns.lastDelivery[touch]!;
  }
  /** Of the first delivery. */
  firstRevision(touch: number): number {
    return this.#columns.firstRevision[touch]!;
  }
  events(touch: number): number {
    return this.#columns.events[touch]!;
  }
  bytes(touch: number): number {
    return this.#columns.bytes[touch]!;
  }

  /** A further delivery of `size` bytes. */
  delivered(touch: number, delivery: number, revision: number, size: number): void {
    const { firstDelivery, lastDelivery, firstRevision, events, bytes } = this.#columns;
    if (firstDelivery[touch] === none) {
      firstDelivery[touch] = delivery;
      firstRevision[touch] = revision;
    }
    lastDelivery[touch] = delivery;
    events[touch]!++;
    bytes[touch]! += size;
  }

  /** The watcher's range was touched at this revision, whether or not it wants the event; how many revisions that makes. */
  touchedAt(touch: number, revision: number): number {
    const { revisions, lastRevision } = this.#columns;
    if (lastRevision[touch] !== revision) {
      lastRevision[touch] = revision;
      revisions[touch]!++;
    }
    return revisions[touch]!;
  }

  /** It has enough for a response. */
  isFull(touch: number): boolean {
    return this.#columns.isFull[touch] === 1;
  }
  setFull(touch: number): void {
    this.#columns.isFull[touch] = 1;
  }

  #begin(watcher: Watcher): number {
    const touch = this.#count++;
    if (touch === this.#columns.watcher.length) this.#columns = new Columns(4 * touch, this.#columns);
    const columns = this.#columns;
    columns.watcher[touch] = watcher;
    columns.firstDelivery[touch] = columns.lastDelivery[touch] = none;
    columns.events[touch] = columns.bytes[touch] = columns.revisions[touch] = columns.lastRevision[touch] = 0;
    columns.isFull[touch] = 0;
    this.#table.setTouch(watcher, touch);
    return touch;
  }
}
