/** A stream of watches (one Watch call): its watchers by ID, and what its client has not yet taken. */
import { Buckets } from "./buckets.js";
import { emptyList, none, watchIdOf, type WatchId, type Watcher, type WatcherTable } from "./watcher-table.js";

export class WatchStream {
  readonly callId: number;
  /** Under which the table of watchers knows it. */
  number = 0;
  readonly #table: WatcherTable;
  /** By their IDs. */
  readonly watchers: Buckets;
  /** Watchers that wait until this stream is read; longest first. */
  readonly held = emptyList();
  #nextId = 0n;
  /** A Writable record has been asked for; `owed` counts from there. */
  asked = false;
  /** Bytes sent since the last Writable record, or since the stream began. */
  owed = 0;
  /** Of these, bytes of answers to requests. */
  owedControl = 0;
  /** Watchers with progress_notify. */
  progressWatchers = 0;
  /** When its progress timer ticks next, and how far apart ticks are. */
  progressAt = 0;
  progressEveryMs = 0;

  constructor(callId: number, table: WatcherTable) {
    this.callId = callId;
    this.#table = table;
    this.watchers = new Buckets(table.byId);
  }

  /** The watcher with that ID, or −1. */
  find(id: WatchId): Watcher {
    const table = this.#table;
    let watcher = this.watchers.first(table.hashOfId(id));
    while (watcher !== none && !table.hasId(watcher, id)) watcher = table.byId.next(watcher);
    return watcher;
  }

  /** The next automatic ID. */
  takeId(): bigint {
    while (this.find(watchIdOf(this.#nextId)) !== none) this.#nextId++;
    return this.#nextId++;
  }
}
