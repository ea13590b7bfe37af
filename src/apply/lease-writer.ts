/**
 * Applies the log's lease requests: grants, revokes with the keys of the lease, checkpoints.
 * A revoke deletes the keys in the order of their names, all in one revision, then the lease; it goes in slices, as a
 * lease may have any number of keys.
 */
import { ErrLeaseNotFound, type EtcdErrorClass } from "../errors/index.js";
import type { LeaseTable } from "../lease/index.js";
import type { MvccStore } from "../storage/mvcc/index.js";
import { FieldCursor } from "./field-cursor.js";
import type { KvCounts } from "./kv-writer.js";

export class LeaseWriter {
  readonly #store: MvccStore;
  readonly #leases: LeaseTable;
  readonly #counts: KvCounts;
  readonly #cursor = new FieldCursor();
  // The lease of the request in hand.
  #low = 0;
  #high = 0;
  #ttl = 0;
  /** Gathers the keys of the revoke under way, in order of name; null: it has. */
  #gathering: Generator<undefined, Uint8Array[]> | null = null;
  /** Those keys, and how many of them are deleted. */
  #keys: readonly Uint8Array[] = [];
  #deleted = 0;
  /** For etcd_debugging_lease_revoked_total. */
  revokedCount = 0;

  constructor(store: MvccStore, leases: LeaseTable, counts: KvCounts) {
    this.#store = store;
    this.#leases = leases;
    this.#counts = counts;
  }

  get low(): number {
    return this.#low;
  }
  get high(): number {
    return this.#high;
  }
  /** Seconds that the lease of the request in hand has got. */
  get grantedTtl(): number {
    return this.#leases.ttlOf(this.#low, this.#high);
  }

  /** LeaseGrantRequest: 1 TTL, 2 ID. */
  grant(bytes: Uint8Array, start: number, end: number): EtcdErrorClass | null {
    const cursor = this.#cursor;
    this.#low = this.#high = this.#ttl = 0;
    cursor.reset(bytes, start, end);
    while (cursor.next()) {
      if (cursor.tag === 0x08) this.#ttl = cursor.int64;
      else if (cursor.tag === 0x10) this.#readId();
    }
    return this.#leases.grant(this.#low, this.#high, this.#ttl);
  }

  /** LeaseRevokeRequest: 1 ID. Without an error `stepRevoke` is called until it returns true. */
  beginRevoke(bytes: Uint8Array, start: number, end: number): EtcdErrorClass | null {
    const cursor = this.#cursor;
    this.#low = this.#high = 0;
    cursor.reset(bytes, start, end);
    while (cursor.next()) if (cursor.tag === 0x08) this.#readId();
    if (!this.#leases.has(this.#low, this.#high)) return ErrLeaseNotFound;
    this.#deleted = 0;
    if (this.#leases.keyCountOf(this.#low, this.#high) > 1) {
      this.#keys = [];
      this.#gathering = this.#leases.sortedKeysOf(this.#low, this.#high);
    } else this.#gathered(this.#leases.keysOf(this.#low, this.#high));
    this.#store.begin();
    return null;
  }

  /** Does one slice, of at most `keysMax` keys; true: the lease is gone. */
  stepRevoke(keysMax: number): boolean {
    if (this.#gathering !== null && !this.#gather()) return false;
    const end = Math.min(this.#deleted + keysMax, this.#keys.length);
    for (; this.#deleted < end; this.#deleted++) {
      const key = this.#keys[this.#deleted]!;
      this.#store.deleteKey(key, 0, key.length);
    }
    if (end < this.#keys.length) return false;
    this.#keys = [];
    this.#store.end();
    this.#leases.remove(this.#low, this.#high);
    this.revokedCount++;
    return true;
  }

  /** True: all keys are gathered. */
  #gather(): boolean {
    const { done, value } = this.#gathering!.next();
    if (done !== true) return false;
    this.#gathering = null;
    this.#gathered(value);
    return true;
  }

  #gathered(keys: readonly Uint8Array[]): void {
    this.#keys = keys;
    this.#counts.deletes += keys.length;
    if (keys.length > 1) this.#counts.txns++;
  }

  /** LeaseCheckpointRequest: repeated 1 LeaseCheckpoint {1 ID, 2 remaining_TTL}. `isStored`: to outlast a restart. */
  checkpoint(bytes: Uint8Array, start: number, end: number, isStored: boolean): void {
    const each = new FieldCursor();
    each.reset(bytes, start, end);
    while (each.next()) if (each.tag === 0x0a) this.#checkpointOne(bytes, each.start, each.end, isStored);
  }

  #checkpointOne(bytes: Uint8Array, start: number, end: number, isStored: boolean): void {
    const cursor = this.#cursor;
    this.#low = this.#high = this.#ttl = 0;
    cursor.reset(bytes, start, end);
    while (cursor.next()) {
      if (cursor.tag === 0x08) this.#readId();
      else if (cursor.tag === 0x10) this.#ttl = cursor.int64;
    }
    this.#leases.checkpoint(this.#low, this.#high, this.#ttl, isStored);
  }

  #readId(): void {
    this.#low = this.#cursor.low >>> 0;
    this.#high = this.#cursor.high >>> 0;
  }
}
