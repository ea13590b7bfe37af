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

/** A watch ID as it is kept, one of very many: a number where that holds it exactly. */
export type WatchId = number | bigint;

export function watchIdOf(id: bigint): WatchId {
  const number = Number(id);
  return Number.isSafeInteger(number) ? number : id;
}

/** Bits of `Watcher.#wants`. */
const Wants = { noPut: 1, noDelete: 2, prevKv: 4, fragment: 8, progressNotify: 16 } as const;

/** A member may have hundreds of thousands of them: each field counts. */
export class Watcher implements Ranged<Watcher> {
  readonly stream: WatchStream;
  readonly id: WatchId;
  readonly start: string;
  readonly end: string | null | undefined;
  readonly startRevision: number;
  readonly #wants: number;
  next: Watcher | null = null;
  previous: Watcher | null = null;
  state: WatcherState = WatcherState.Gone;
  /** The index that it is in, while Indexed. */
  index: RangeIndex<Watcher> | null = null;
  /** Nothing below this revision is to be sent to it. */
  minRevision: number;
  /** When it fell behind, or was last sent some of history, as a number that grows: the smallest goes first. */
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
    this.id = watchIdOf(options.id);
    this.start = options.start;
    this.end = options.end;
    this.startRevision = this.minRevision = options.startRevision;
    const { noPut, noDelete, prevKv, fragment, progressNotify } = options;
    this.#wants =
      (noPut ? Wants.noPut : 0) |
      (noDelete ? Wants.noDelete : 0) |
      (prevKv ? Wants.prevKv : 0) |
      (fragment ? Wants.fragment : 0) |
      (progressNotify ? Wants.progressNotify : 0);
  }

  get noPut(): boolean {
    return (this.#wants & Wants.noPut) !== 0;
  }
  get noDelete(): boolean {
    return (this.#wants & Wants.noDelete) !== 0;
  }
  get prevKv(): boolean {
    return (this.#wants & Wants.prevKv) !== 0;
  }
  get fragment(): boolean {
    return (this.#wants & Wants.fragment) !== 0;
  }
  get progressNotify(): boolean {
    return (this.#wants & Wants.progressNotify) !== 0;
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
  readonly watchers = new Map<WatchId, Watcher>();
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
    while (this.watchers.has(watchIdOf(this.#nextId))) this.#nextId++;
    return this.#nextId++;
  }
}
