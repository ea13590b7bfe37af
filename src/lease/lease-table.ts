/**
 * The leases as the log has made them, and the keys attached to each: what all members agree on.
 * When a lease ends is no business of this table: expiry is the leader's clock's (`lease-clock.ts`), and comes back
 * through the log as a revoke.
 *
 * Thread: apply. Invariants: the table equals the backend's bucket; a key is attached to the lease that its newest
 * record names, if that lease exists.
 */
import { assert } from "../base/index.js";
import { ErrLeaseExists, ErrLeaseNotFound, ErrLeaseTtlTooLarge, type EtcdErrorClass } from "../errors/index.js";
import { Bucket, type Backend } from "../storage/backend/index.js";
import { AttachedKeys } from "./attached-keys.js";
import { grown, IdTable } from "./id-table.js";
import { readRecord, recordKey, recordValue } from "./lease-record.js";

/** Seconds. */
const ttlMax = 9_000_000_000;

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
  #ttl = new Float64Array(0);
  #remainingTtl = new Float64Array(0);
  observer: LeaseObserver | undefined = undefined;

  /** Reads the leases of the backend. `ttlMin`: seconds, see `minimumTtl`. */
  constructor(backend: Backend, ttlMin: number) {
    this.#backend = backend;
    this.#ttlMin = ttlMin;
    for (const entry of backend.entries(Bucket.Lease)) {
      const { low, high, ttl, remainingTtl } = readRecord(entry);
      this.#add(low, high, Math.max(ttl, ttlMin), remainingTtl);
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
    return this.#ttl[this.#slotOf(low, high)]!;
  }

  /** Copies of the keys attached to a lease that exists, in no particular order. */
  keysOf(low: number, high: number): Uint8Array[] {
    return this.#keys.keysOf(this.#slotOf(low, high));
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
    this.#ids.remove(slot);
    this.#backend.delete(Bucket.Lease, recordKey(low, high));
    this.observer?.revoked(low, high);
  }

  /** Remembers the time that is left of a lease, for the next leader; an unknown lease is passed over. */
  checkpoint(low: number, high: number, remainingTtl: number): void {
    const slot = this.#ids.find(low, high);
    if (slot === -1) return;
    this.#remainingTtl[slot] = remainingTtl;
    this.#store(low, high, this.#ttl[slot]!, remainingTtl);
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
      observer.granted(ids.low[slot]!, ids.high[slot]!, this.#ttl[slot]!, this.#remainingTtl[slot]!);
    }
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

/** The shortest TTL in seconds: one and a half election timeouts, by whole ticks, rounded up. */
export function minimumTtl(config: { readonly electionTimeout: number; readonly heartbeatInterval: number }): number {
  const electionTicks = Math.floor(config.electionTimeout / config.heartbeatInterval);
  return Math.ceil((Math.floor((3 * electionTicks) / 2) * config.heartbeatInterval) / 1000);
}
