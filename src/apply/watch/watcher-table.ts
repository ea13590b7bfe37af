/**
 * All watchers of the member. Each is a number, under which this table has what is known of it: a record of 64 bytes
 * and its key. A member may have a million of them.
 *
 * Where a watcher is: in the index of the synced ones, and it hears of changes as they are made; in the index of a
 * catch-up, which reads it up from history; or in none, and then it waits for a catch-up (Pending), or until its stream
 * takes what it was sent (Held), or was told that what it wants is gone (Compacted: only its ID is left until the
 * client cancels it).
 *
 * A number is given out again when its watcher is gone: who keeps one for later also keeps by what to tell that it is
 * still the same one (the group, or the touch of its batch).
 */
import { hashOfBytes, KeyBytes } from "../../base/index.js";
import type { BucketLinks } from "./buckets.js";
import { Slab } from "./slab.js";
import type { WatchStream } from "./watch-stream.js";

export type Watcher = number;
/** In place of a watcher, a touch or a group: none. */
export const none = -1;

export const WatcherState = { Indexed: 0, Pending: 1, Held: 2, Compacted: 3 } as const;
export type WatcherState = (typeof WatcherState)[keyof typeof WatcherState];

/** What a client wants to watch. */
export interface WatcherOptions {
  readonly id: WatchId;
  readonly start: Uint8Array;
  /** Key behind the range; null: the range has no end; undefined: it is the key `start` alone. */
  readonly end: Uint8Array | null | undefined;
  readonly noPut: boolean;
  readonly noDelete: boolean;
  readonly prevKv: boolean;
  readonly fragment: boolean;
  readonly progressNotify: boolean;
  /** Nothing below this revision is to be sent to it; `isLater`: the store has not come to it yet. */
  readonly minRevision: number;
  readonly isLater: boolean;
}

/** A watch ID: a number where that holds it exactly. */
export type WatchId = number | bigint;

export function watchIdOf(id: bigint): WatchId {
  const number = Number(id);
  return Number.isSafeInteger(number) ? number : id;
}

/** Watchers in order, linked through the table. */
export interface WatcherList {
  first: Watcher;
  last: Watcher;
}

// Fields of a record: int32 each, but for `minRevision`, the double at 2 and 3. The ID is an int64 in two halves.
const idLow = 0;
const idHigh = 1;
const minRevision = 1;
const waitsSince = 4;
const nextId = 5;
const streamNumber = 6;
const keyAddress = 7;
const startLength = 8;
/** −1: a single key; 0: no end. */
const endLength = 9;
const next = 10;
const previous = 11;
const nextKey = 12;
const group = 13;
const touch = 14;
const flags = 15;

const Flag = {
  noPut: 1,
  noDelete: 2,
  prevKv: 4,
  fragment: 8,
  progressNotify: 16,
  progressDue: 32,
  isLater: 64,
} as const;
const stateShift = 8;
const flagMask = (1 << stateShift) - 1;

const two32 = 0x1_0000_0000;

export class WatcherTable {
  readonly #slab = new Slab();
  readonly #keys = new KeyBytes();
  readonly #streams: (WatchStream | undefined)[] = [];
  readonly #freeStreams: number[] = [];
  /** Gone watchers, linked by `next`. */
  #firstFree: Watcher = none;
  #end = 0;
  #count = 0;
  readonly #hashBasis: number;
  /** For hashes by the first key, and by the ID within a stream. */
  readonly byKey: BucketLinks;
  readonly byId: BucketLinks;

  /** `hashBasis`: by chance, so that no client knows what meets in a bucket. */
  constructor(hashBasis: number) {
    this.#hashBasis = hashBasis;
    const slab = this.#slab;
    const keys = this.#keys;
    const links = (field: number, hash: (watcher: Watcher) => number): BucketLinks => ({
      hash,
      next: (watcher) => slab.int(watcher, field),
      setNext: (watcher, other) => slab.setInt(watcher, field, other),
    });
    this.byKey = links(nextKey, (watcher) =>
      keys.hash(this.#address(watcher), slab.int(watcher, startLength), hashBasis),
    );
    this.byId = links(nextId, (watcher) => this.#hashId(slab.int(watcher, idLow), slab.int(watcher, idHigh)));
  }

  get count(): number {
    return this.#count;
  }

  addStream(stream: WatchStream): void {
    stream.number = this.#freeStreams.pop() ?? this.#streams.length;
    this.#streams[stream.number] = stream;
  }
  /** The stream has no watchers any more. */
  removeStream({ number }: WatchStream): void {
    this.#streams[number] = undefined;
    this.#freeStreams.push(number);
  }

  /** It is in no list and no index. */
  add(stream: WatchStream, options: WatcherOptions): Watcher {
    const watcher = this.#take();
    const slab = this.#slab;
    slab.setInt(watcher, idLow, lowOf(options.id));
    slab.setInt(watcher, idHigh, highOf(options.id));
    slab.setDouble(watcher, minRevision, options.minRevision);
    slab.setInt(watcher, waitsSince, 0);
    slab.setInt(watcher, streamNumber, stream.number);
    this.#setKeys(watcher, options);
    for (const field of [next, previous, nextKey, nextId, group, touch]) slab.setInt(watcher, field, none);
    slab.setInt(watcher, flags, flagsOf(options));
    return watcher;
  }

  remove(watcher: Watcher): void {
    const slab = this.#slab;
    const length = slab.int(watcher, startLength) + Math.max(0, slab.int(watcher, endLength));
    this.#keys.remove(this.#address(watcher), length);
    slab.setInt(watcher, group, none);
    slab.setInt(watcher, touch, none);
    slab.setInt(watcher, next, this.#firstFree);
    this.#firstFree = watcher;
    this.#count--;
  }

  stream(watcher: Watcher): WatchStream {
    return this.#streams[this.#slab.int(watcher, streamNumber)]!;
  }
  id(watcher: Watcher): WatchId {
    const low = this.#slab.int(watcher, idLow) >>> 0;
    const high = this.#slab.int(watcher, idHigh);
    const number = high * two32 + low;
    return Number.isSafeInteger(number) ? number : (BigInt(high) << 32n) | BigInt(low);
  }

  hasId(watcher: Watcher, id: WatchId): boolean {
    return this.#slab.int(watcher, idLow) === lowOf(id) && this.#slab.int(watcher, idHigh) === highOf(id);
  }
  /** As `byId.hash`, of an ID. */
  hashOfId(id: WatchId): number {
    return this.#hashId(lowOf(id), highOf(id));
  }

  /** Whether its filters let such a change through. */
  wants(watcher: Watcher, isDelete: boolean): boolean {
    return !this.#has(watcher, isDelete ? Flag.noDelete : Flag.noPut);
  }
  prevKv(watcher: Watcher): boolean {
    return this.#has(watcher, Flag.prevKv);
  }
  fragment(watcher: Watcher): boolean {
    return this.#has(watcher, Flag.fragment);
  }
  progressNotify(watcher: Watcher): boolean {
    return this.#has(watcher, Flag.progressNotify);
  }
  /** When it was made, its start revision was still to come. */
  isLater(watcher: Watcher): boolean {
    return this.#has(watcher, Flag.isLater);
  }
  /** It had no event since the last tick of its stream's progress timer. */
  progressDue(watcher: Watcher): boolean {
    return this.#has(watcher, Flag.progressDue);
  }
  setProgressDue(watcher: Watcher, isDue: boolean): void {
    const before = this.#slab.int(watcher, flags);
    this.#slab.setInt(watcher, flags, isDue ? before | Flag.progressDue : before & ~Flag.progressDue);
  }

  state(watcher: Watcher): WatcherState {
    return (this.#slab.int(watcher, flags) >> stateShift) as WatcherState;
  }
  setState(watcher: Watcher, state: WatcherState): void {
    this.#slab.setInt(watcher, flags, (this.#slab.int(watcher, flags) & flagMask) | (state << stateShift));
  }

  /** Nothing below this revision is to be sent to it. */
  minRevision(watcher: Watcher): number {
    return this.#slab.double(watcher, minRevision);
  }
  setMinRevision(watcher: Watcher, revision: number): void {
    this.#slab.setDouble(watcher, minRevision, revision);
  }
  /** Since when it waits, as a number that grows and starts anew at 2^32. */
  waitsSince(watcher: Watcher): number {
    return this.#slab.int(watcher, waitsSince);
  }
  setWaitsSince(watcher: Watcher, since: number): void {
    this.#slab.setInt(watcher, waitsSince, since);
  }

  /** The number of the index that it is in, while Indexed. */
  group(watcher: Watcher): number {
    return this.#slab.int(watcher, group);
  }
  setGroup(watcher: Watcher, index: number): void {
    this.#slab.setInt(watcher, group, index);
  }
  /** What a batch has gathered for it: see `Touches`. */
  touch(watcher: Watcher): number {
    return this.#slab.int(watcher, touch);
  }
  setTouch(watcher: Watcher, number: number): void {
    this.#slab.setInt(watcher, touch, number);
  }

  // Its keys.

  isSingle(watcher: Watcher): boolean {
    return this.#slab.int(watcher, endLength) === -1;
  }
  /** Latin-1 text of the first key. */
  startText(watcher: Watcher): string {
    return this.#keys.text(this.#address(watcher), 0, this.#slab.int(watcher, startLength));
  }
  /** Of the key behind the range; null: it has no end. */
  endText(watcher: Watcher): string | null {
    const from = this.#slab.int(watcher, startLength);
    const length = this.#slab.int(watcher, endLength);
    return length === 0 ? null : this.#keys.text(this.#address(watcher), from, from + length);
  }
  /** As `byKey.hash`, of a key. */
  hashOf(bytes: Uint8Array, start: number, end: number): number {
    return hashOfBytes(bytes, start, end, this.#hashBasis);
  }
  startsAt(watcher: Watcher, bytes: Uint8Array, start: number, end: number): boolean {
    const length = this.#slab.int(watcher, startLength);
    return length === end - start && this.#keys.equals(this.#address(watcher), length, bytes, start);
  }
  haveOneStart(a: Watcher, b: Watcher): boolean {
    const length = this.#slab.int(a, startLength);
    if (length !== this.#slab.int(b, startLength)) return false;
    return this.#keys.areEqual(this.#address(a), this.#address(b), length);
  }

  // Lists: of an index's watchers with one range, of those that are held, or wait.

  next(watcher: Watcher): Watcher {
    return this.#slab.int(watcher, next);
  }
  previous(watcher: Watcher): Watcher {
    return this.#slab.int(watcher, previous);
  }
  /** Links two neighbours; either may be none. */
  link(before: Watcher, after: Watcher): void {
    if (before !== none) this.#slab.setInt(before, next, after);
    if (after !== none) this.#slab.setInt(after, previous, before);
  }
  append(list: WatcherList, watcher: Watcher): void {
    this.link(list.last, watcher);
    this.link(watcher, none);
    if (list.first === none) list.first = watcher;
    list.last = watcher;
  }
  unlink(list: WatcherList, watcher: Watcher): void {
    const [before, after] = [this.previous(watcher), this.next(watcher)];
    this.link(before, after);
    if (before === none) list.first = after;
    if (after === none) list.last = before;
  }

  #hashId(low: number, high: number): number {
    const hash = Math.imul(low ^ this.#hashBasis, 0x85ebca6b) ^ Math.imul(high ^ (low >>> 13), 0xc2b2ae35);
    return (Math.imul(hash ^ (hash >>> 15), 0x27d4eb2f) ^ (hash >>> 16)) >>> 0;
  }

  #address(watcher: Watcher): number {
    return this.#slab.int(watcher, keyAddress) >>> 0;
  }

  #has(watcher: Watcher, flag: number): boolean {
    return (this.#slab.int(watcher, flags) & flag) !== 0;
  }

  #take(): Watcher {
    this.#count++;
    const watcher = this.#firstFree;
    if (watcher === none) {
      this.#slab.reserve(this.#end + 1);
      return this.#end++;
    }
    this.#firstFree = this.#slab.int(watcher, next);
    return watcher;
  }

  #setKeys(watcher: Watcher, { start, end }: WatcherOptions): void {
    const slab = this.#slab;
    const both = end === undefined || end === null ? start : Buffer.concat([start, end]);
    slab.setInt(watcher, keyAddress, this.#keys.add(both, 0, both.length));
    slab.setInt(watcher, startLength, start.length);
    slab.setInt(watcher, endLength, end === undefined ? -1 : end === null ? 0 : end.length);
  }
}

function lowOf(id: WatchId): number {
  return typeof id === "number" ? id | 0 : Number(BigInt.asIntN(32, id));
}

function highOf(id: WatchId): number {
  return typeof id === "number" ? Math.floor(id / two32) : Number(BigInt.asIntN(32, id >> 32n));
}

function flagsOf(options: WatcherOptions): number {
  let bits: number = Flag.progressDue;
  for (const name of ["noPut", "noDelete", "prevKv", "fragment", "progressNotify", "isLater"] as const) {
    if (options[name]) bits |= Flag[name];
  }
  return bits;
}

export function emptyList(): WatcherList {
  return { first: none, last: none };
}
