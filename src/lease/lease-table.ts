/**
 * The leases as the log has made them, and the keys attached to each: what all members agree on.
 * When a lease ends is no business of this table: expiry is the leader's clock's (`lease-clock.ts`), and comes back
 * through the log as a revoke.
 *
 * Thread: apply. Invariants: the table equals the backend's bucket; a key is attached to the lease that its newest
 * record names, if that lease exists.
 */
import { assert, sortInSlices } from "../base/index.js";
import { ErrLeaseExists, ErrLeaseNotFound, ErrLeaseTtlTooLarge, type EtcdErrorClass } from "../errors/index.js";
import { Bucket, type Backend } from "../storage/backend/index.js";
import { AttachedKeys, type KeyWalk } from "./attached-keys.js";
import { grown, IdTable } from "./id-table.js";
import { readRecord, recordKey, recordValue } from "./lease-record.js";

/** Seconds. */
const ttlMax = 9_000_000_000;
/** Of a sort, and of records written: about 1 ms. */
const sortSlice = 10_000;
const recordsSlice = 2_000;
const recordBytesMax = 8 + 40;

/** Hears of every change, to tell the clock of it. */
export interface LeaseObserver {
  granted(low: number, high: number, ttl: number, remainingTtl: number): void;
  revoked(low: number, high: number): void;
  /** The time that is left at the next change of leader; 0: the whole TTL. */
  checkpointed(low: number, high: number, remainingTtl: number): void;
}

/** IDs are int64 in two unsigned halves. */
export class LeaseTable {
  readonly #backend: Backend;
  readonly #ttlMin: number;
  #ids = new IdTable();
  #keys = new AttachedKeys(this.#ids);
  /** As the backend has it. */
  #ttl = new Float64Array(0);
  #remainingTtl = new Float64Array(0);
  /** By slot: what a checkpoint has left that the backend was not told of. */
  #unstored = new Map<number, number>();
  observer: LeaseObserver | undefined = undefined;

  /** Reads the leases of the backend. `ttlMin`: seconds, see `minimumTtl`. */
  constructor(backend: Backend, ttlMin: number) {
    this.#backend = backend;
    this.#ttlMin = ttlMin;
    for (const entry of backend.entries(Bucket.Lease)) {
      const { low, high, ttl, remainingTtl } = readRecord(entry);
      this.#add(low, high, ttl, remainingTtl);
    }
  }

  /** Becomes what `other` is, as a snapshot has it, and tells the observer what that changes. */
  adopt(other: LeaseTable): void {
    const { observer } = this;
    const revoked = (low: number, high: number): void => observer?.revoked(low, high);
    this.tellAll({ granted: revoked, revoked: () => {}, checkpointed: () => {} });
    this.#ids = other.#ids;
    this.#keys = other.#keys;
    this.#ttl = other.#ttl;
    this.#remainingTtl = other.#remainingTtl;
    this.#unstored = other.#unstored;
    if (observer !== undefined) this.tellAll(observer);
  }

  get count(): number {
    return this.#ids.count;
  }
  /** Keys attached to any lease. */
  get attachedKeys(): number {
    return this.#keys.count;
  }

  has(low: number, high: number): boolean {
    return this.#ids.find(low, high) !== -1;
  }

  /** Seconds, of a lease that exists. */
  ttlOf(low: number, high: number): number {
    return this.#ttlAt(this.#slotOf(low, high));
  }

  /** Copies of the keys attached to a lease that exists, in no particular order. */
  keysOf(low: number, high: number): Uint8Array[] {
    return this.#keys.keysOf(this.#slotOf(low, high));
  }

  /** How many keys are attached to a lease that exists. */
  keyCountOf(low: number, high: number): number {
    return this.#keys.countOf(this.#slotOf(low, high));
  }

  /** A walk over the keys of a lease that exists: see `AttachedKeys.walk`. */
  walkKeys(low: number, high: number): KeyWalk {
    return this.#keys.walk(this.#slotOf(low, high));
  }

  /** As `keysOf`, in order of name and in slices. No key may be attached or detached before it is done. */
  sortedKeysOf(low: number, high: number): Generator<undefined, Uint8Array[]> {
    return this.#keys.sortedKeysOf(this.#slotOf(low, high));
  }

  /**
   * What the backend's bucket holds as of this call: key and value of each entry in order of key, in pieces; an empty
   * piece is a pause.
   */
  bucketBytes(): Generator<Uint8Array> {
    const { count, end } = this.#ids;
    const slots = new Uint32Array(count);
    let taken = 0;
    for (let slot = 0; slot < end; slot++) if (this.#ids.isTaken(slot)) slots[taken++] = slot;
    const low = this.#ids.low.slice(0, end);
    const high = this.#ids.high.slice(0, end);
    return piecesOf(slots, low, high, this.#ttl.slice(0, end), this.#remainingTtl.slice(0, end));
  }

  /** Grants a lease; what it gets is `ttlOf`. */
  grant(low: number, high: number, ttl: number): EtcdErrorClass | null {
    if ((low | high) === 0) return ErrLeaseNotFound;
    if (ttl > ttlMax) return ErrLeaseTtlTooLarge;
    if (this.has(low, high)) return ErrLeaseExists;
    const granted = Math.max(ttl, this.#ttlMin);
    this.#add(low, high, granted, 0);
    this.#store(low, high, granted, 0);
    this.observer?.granted(low, high, granted, 0);
    return null;
  }

  /** Removes a lease that exists; its keys have been deleted before. */
  remove(low: number, high: number): void {
    const slot = this.#slotOf(low, high);
    this.#keys.closed(slot);
    this.#unstored.delete(slot);
    this.#ids.remove(slot);
    this.#backend.delete(Bucket.Lease, recordKey(low, high));
    this.observer?.revoked(low, high);
  }

  /**
   * Remembers the time that is left of a lease, for the next leader; an unknown lease is passed over.
   * `isStored`: beyond a restart.
   */
  checkpoint(low: number, high: number, remainingTtl: number, isStored: boolean): void {
    const slot = this.#ids.find(low, high);
    if (slot === -1) return;
    if (isStored) {
      this.#unstored.delete(slot);
      this.#remainingTtl[slot] = remainingTtl;
      this.#ttl[slot] = this.#ttlAt(slot);
      this.#store(low, high, this.#ttl[slot], remainingTtl);
    } else this.#unstored.set(slot, remainingTtl);
    this.observer?.checkpointed(low, high, remainingTtl);
  }

  /** The store has put the key `bytes[start, end)` with this lease (0, 0: none). */
  keyPut(bytes: Uint8Array, start: number, end: number, low: number, high: number): void {
    const slot = (low | high) === 0 ? -1 : this.#ids.find(low, high);
    this.#keys.attach(bytes, start, end, slot);
  }

  /** The store has deleted the key. */
  keyDeleted(bytes: Uint8Array, start: number, end: number): void {
    this.#keys.attach(bytes, start, end, -1);
  }

  /** Tells of each lease as if it were granted now. */
  tellAll(observer: LeaseObserver): void {
    const ids = this.#ids;
    for (let slot = 0; slot < ids.end; slot++) {
      if (!ids.isTaken(slot)) continue;
      const remainingTtl = this.#unstored.get(slot) ?? this.#remainingTtl[slot]!;
      observer.granted(ids.low[slot]!, ids.high[slot]!, this.#ttlAt(slot), remainingTtl);
    }
  }

  /** A lease of a time with another minimum gets the one of now. */
  #ttlAt(slot: number): number {
    return Math.max(this.#ttl[slot]!, this.#ttlMin);
  }

  #slotOf(low: number, high: number): number {
    const slot = this.#ids.find(low, high);
    assert(slot !== -1, "lease: no such lease");
    return slot;
  }

  #add(low: number, high: number, ttl: number, remainingTtl: number): void {
    const slot = this.#ids.add(low, high);
    if (slot >= this.#ttl.length) {
      this.#ttl = grown(this.#ttl, this.#ids.capacity);
      this.#remainingTtl = grown(this.#remainingTtl, this.#ids.capacity);
    }
    this.#ttl[slot] = ttl;
    this.#remainingTtl[slot] = remainingTtl;
    this.#keys.opened(slot);
  }

  #store(low: number, high: number, ttl: number, remainingTtl: number): void {
    this.#backend.put(Bucket.Lease, recordKey(low, high), recordValue(low, high, ttl, remainingTtl));
  }
}

function* piecesOf(
  slots: Uint32Array,
  low: Uint32Array,
  high: Uint32Array,
  ttl: Float64Array,
  remainingTtl: Float64Array,
): Generator<Uint8Array> {
  const before = (a: number, b: number): boolean => (high[a] === high[b] ? low[a]! < low[b]! : high[a]! < high[b]!);
  const sorting = sortInSlices(slots, before, sortSlice);
  const none = new Uint8Array(0);
  let step = sorting.next();
  for (; step.done !== true; step = sorting.next()) yield none;
  const sorted = step.value;
  const piece = new Uint8Array(recordsSlice * recordBytesMax);
  let at = 0;
  for (const [i, slot] of sorted.entries()) {
    piece.set(recordKey(low[slot]!, high[slot]!), at);
    const value = recordValue(low[slot]!, high[slot]!, ttl[slot]!, remainingTtl[slot]!);
    piece.set(value, at + 8);
    at += 8 + value.length;
    if ((i + 1) % recordsSlice > 0) continue;
    yield piece.subarray(0, at);
    at = 0;
  }
  yield piece.subarray(0, at);
}

/** The shortest TTL in seconds: one and a half election timeouts, by whole ticks, rounded up. */
export function minimumTtl(config: { readonly electionTimeout: number; readonly heartbeatInterval: number }): number {
  const electionTicks = Math.floor(config.electionTimeout / config.heartbeatInterval);
  return Math.ceil((Math.floor((3 * electionTicks) / 2) * config.heartbeatInterval) / 1000);
}
