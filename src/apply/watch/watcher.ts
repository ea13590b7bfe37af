/**
 * A watcher, and the stream (one Watch call) that it belongs to.
 *
 * Where a watcher is: in the index of the synced ones, and it hears of changes as they are made; in the index of a
 * catch-up, which reads it up from history; or in none, and then it waits for a catch-up (Pending), or until its stream
 * takes what it was sent (Held), or was told that what it wants is gone (Compacted: only its ID is left until the
 * client cancels it).
 */
import type { MatchVisitor, Ranged, RangeIndex } from "./range-index.js";

export const WatcherState = { Indexed: 0, Pending: 1, Held: 2, Compacted: 3, Gone: 4 } as const;
export type WatcherState = (typeof WatcherState)[keyof typeof WatcherState];

/** What a client wants to watch. */
export interface WatcherOptions {
  readonly id: bigint;
  /** Latin-1 text of the key's bytes. */
  readonly start: string;
  readonly end: string | null | undefined;
  readonly startRevision: number;
  readonly noPut: boolean;
  readonly noDelete: boolean;
  readonly prevKv: boolean;
  readonly fragment: boolean;
  readonly progressNotify: boolean;
}

export class Watcher implements Ranged<Watcher> {
  readonly stream: WatchStream;
  readonly id: bigint;
  /** The ID as a number, or −1 when it is negative or no safe integer. */
  readonly idNumber: number;
  readonly start: string;
  readonly end: string | null | undefined;
  readonly startRevision: number;
  readonly noPut: boolean;
  readonly noDelete: boolean;
  readonly prevKv: boolean;
  readonly fragment: boolean;
  readonly progressNotify: boolean;
  next: Watcher | null = null;
  previous: Watcher | null = null;
  state: WatcherState = WatcherState.Gone;
  /** The index that it is in, while Indexed. */
  index: RangeIndex<Watcher> | null = null;
  /** Nothing below this revision is to be sent to it. */
  minRevision: number;
  /** Since when it waits, as a number that grows: who waits longest goes first. */
  waitsSince = 0;
  /** It had no event since the last tick of its stream's progress timer. */
  progressDue = true;
  /** Its part of an `EventBatch`: the first and last delivery, the revisions among them. */
  firstDelivery = -1;
  lastDelivery = -1;
  batchFirstRevision = 0;
  batchLastRevision = 0;
  batchRevisions = 0;
  batchEvents = 0;
  batchBytes = 0;
  batchFull = false;

  constructor(stream: WatchStream, options: WatcherOptions) {
    this.stream = stream;
    this.id = options.id;
    const number = Number(options.id);
    this.idNumber = number >= 0 && Number.isSafeInteger(number) ? number : -1;
    this.start = options.start;
    this.end = options.end;
    this.startRevision = this.minRevision = options.startRevision;
    this.noPut = options.noPut;
    this.noDelete = options.noDelete;
    this.prevKv = options.prevKv;
    this.fragment = options.fragment;
    this.progressNotify = options.progressNotify;
  }
}

/** The watcher has no deliveries (any more). */
export function forgetBatch(watcher: Watcher): void {
  watcher.firstDelivery = watcher.lastDelivery = -1;
  watcher.batchRevisions = watcher.batchLastRevision = watcher.batchBytes = watcher.batchEvents = 0;
  watcher.batchFull = false;
}

export type WatcherVisitor = MatchVisitor<Watcher>;

export class WatchStream {
  readonly callId: number;
  readonly watchers = new Map<bigint, Watcher>();
  /** Watchers that wait until this stream is read; longest first. */
  held: Watcher[] = [];
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

  constructor(callId: number) {
    this.callId = callId;
  }

  /** The next automatic ID. */
  takeId(): bigint {
    while (this.watchers.has(this.#nextId)) this.#nextId++;
    return this.#nextId++;
  }
}
