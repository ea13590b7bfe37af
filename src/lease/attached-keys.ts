/**
 * Which key is attached to which lease, both ways: a hash table from the key's name, and a list for each lease.
 * On typed arrays throughout: some 60 bytes a key beside its name, and nothing for the garbage collector to walk.
 */
import { ascending, hashOfBytes, KeyBytes, sortInSlices } from "../base/index.js";
import { grown, type IdTable } from "./id-table.js";

const sizeMin = 16;
const none = -1;
/** Of a sort, and of names copied: about 1 ms. */
const slice = 2_000;

/** Where a walk over the keys of a lease stands, and in what: a table that is restored has other keys. */
export interface KeyWalk {
  readonly keys: AttachedKeys;
  item: number;
}

export class AttachedKeys {
  readonly #ids: IdTable;
  readonly #names = new KeyBytes();
  /** By lease slot: the first key of its list, and how many there are. */
  #first = new Int32Array(0);
  #counts = new Uint32Array(0);
  // By item, a key that is attached.
  #address = new Uint32Array(sizeMin);
  #length = new Uint32Array(sizeMin);
  #hash = new Uint32Array(sizeMin);
  #slot = new Int32Array(sizeMin);
  #next = new Int32Array(sizeMin);
  #previous = new Int32Array(sizeMin);
  #buckets = new Int32Array(2 * sizeMin).fill(none);
  #firstFree = none;
  #end = 0;
  #count = 0;
  readonly #walks = new Set<KeyWalk>();

  /** `ids` gives the leases' slots. */
  constructor(ids: IdTable) {
    this.#ids = ids;
  }

  /** Keys attached to any lease. */
  get count(): number {
    return this.#count;
  }

  countOf(slot: number): number {
    return this.#counts[slot]!;
  }

  /** A new lease has this slot. */
  opened(slot: number): void {
    if (slot >= this.#first.length) {
      this.#first = grown(this.#first, this.#ids.capacity);
      this.#counts = grown(this.#counts, this.#ids.capacity);
    }
    this.#first[slot] = none;
    this.#counts[slot] = 0;
  }

  /** The lease at `slot` is gone, and with it what was attached. */
  closed(slot: number): void {
    while (this.#first[slot] !== none) this.#remove(this.#first[slot]!);
  }

  /** The key belongs to the lease at `slot` from now on; −1: to none. */
  attach(bytes: Uint8Array, start: number, end: number, slot: number): void {
    if (slot === none && this.#count === 0) return;
    const hash = hashOfBytes(bytes, start, end);
    const item = this.#find(hash, bytes, start, end);
    if (item === none) {
      if (slot !== none) this.#add(hash, bytes, start, end, slot);
    } else if (slot === none) {
      this.#remove(item);
    } else if (this.#slot[item] !== slot) {
      this.#unlinkFromLease(item);
      this.#linkToLease(item, slot);
    }
  }

  /** Copies of the keys of the lease at `slot`; the one attached last comes first. */
  keysOf(slot: number): Uint8Array[] {
    const keys: Uint8Array[] = [];
    for (let item = this.#first[slot]!; item !== none; item = this.#next[item]!) {
      keys.push(this.#names.copy(this.#address[item]!, this.#length[item]!));
    }
    return keys;
  }

  /**
   * Begins a walk over the keys of the lease at `slot`, which may change meanwhile: who is attached before its end and
   * from its begin on is met once. It is to be ended by `endWalk`.
   */
  walk(slot: number): KeyWalk {
    const walk = { keys: this, item: this.#first[slot]! };
    this.#walks.add(walk);
    return walk;
  }

  /** A copy of the next key; null: there is none. */
  nextOf(walk: KeyWalk): Uint8Array | null {
    const { item } = walk;
    if (item === none) return null;
    walk.item = this.#next[item]!;
    return this.#names.copy(this.#address[item]!, this.#length[item]!);
  }

  endWalk(walk: KeyWalk): void {
    this.#walks.delete(walk);
  }

  /** As `keysOf`, in order of name, with pauses. Nothing may be attached or detached before it is done. */
  *sortedKeysOf(slot: number): Generator<undefined, Uint8Array[]> {
    const keys: Uint8Array[] = [];
    for (let item = this.#first[slot]!; item !== none; item = this.#next[item]!) {
      keys.push(this.#names.copy(this.#address[item]!, this.#length[item]!));
      if (keys.length % slice === 0) yield;
    }
    const before = (a: number, b: number): boolean => Buffer.compare(keys[a]!, keys[b]!) < 0;
    const order = yield* sortInSlices(ascending(keys.length), before, slice);
    const sorted: Uint8Array[] = [];
    for (const at of order) {
      sorted.push(keys[at]!);
      if (sorted.length % slice === 0) yield;
    }
    return sorted;
  }

  #find(hash: number, bytes: Uint8Array, start: number, end: number): number {
    const mask = this.#buckets.length - 1;
    for (let at = hash & mask; ; at = (at + 1) & mask) {
      const item = this.#buckets[at]!;
      if (item === none) return none;
      if (this.#hash[item] !== hash || this.#length[item] !== end - start) continue;
      if (this.#names.equals(this.#address[item]!, end - start, bytes, start)) return item;
    }
  }

  #add(hash: number, bytes: Uint8Array, start: number, end: number, slot: number): void {
    const item = this.#takeItem();
    this.#address[item] = this.#names.add(bytes, start, end);
    this.#length[item] = end - start;
    this.#hash[item] = hash;
    this.#count++;
    this.#linkToTable(item);
    this.#linkToLease(item, slot);
  }

  #remove(item: number): void {
    this.#unlinkFromLease(item);
    this.#unlinkFromTable(item);
    this.#names.remove(this.#address[item]!, this.#length[item]!);
    this.#next[item] = this.#firstFree;
    this.#firstFree = item;
    this.#count--;
  }

  #linkToLease(item: number, slot: number): void {
    const first = this.#first[slot]!;
    this.#slot[item] = slot;
    this.#next[item] = first;
    this.#previous[item] = none;
    if (first !== none) this.#previous[first] = item;
    this.#first[slot] = item;
    this.#counts[slot]!++;
  }

  #unlinkFromLease(item: number): void {
    const slot = this.#slot[item]!;
    const next = this.#next[item]!;
    const previous = this.#previous[item]!;
    for (const walk of this.#walks) if (walk.item === item) walk.item = next;
    if (previous === none) this.#first[slot] = next;
    else this.#next[previous] = next;
    if (next !== none) this.#previous[next] = previous;
    this.#counts[slot]!--;
  }

  #takeItem(): number {
    const freed = this.#firstFree;
    if (freed !== none) {
      this.#firstFree = this.#next[freed]!;
      return freed;
    }
    if (this.#end === this.#address.length) this.#grow();
    return this.#end++;
  }

  /** No item is free when this is called: all are in the table. */
  #grow(): void {
    const size = 2 * this.#address.length;
    this.#address = grown(this.#address, size);
    this.#length = grown(this.#length, size);
    this.#hash = grown(this.#hash, size);
    this.#slot = grown(this.#slot, size);
    this.#next = grown(this.#next, size);
    this.#previous = grown(this.#previous, size);
    this.#buckets = new Int32Array(2 * size).fill(none);
    for (let item = 0; item < this.#end; item++) this.#linkToTable(item);
  }

  #linkToTable(item: number): void {
    const mask = this.#buckets.length - 1;
    let at = this.#hash[item]! & mask;
    while (this.#buckets[at] !== none) at = (at + 1) & mask;
    this.#buckets[at] = item;
  }

  /** Closes the gap, as in `IdTable`. */
  #unlinkFromTable(item: number): void {
    const buckets = this.#buckets;
    const mask = buckets.length - 1;
    let gap = this.#hash[item]! & mask;
    while (buckets[gap] !== item) gap = (gap + 1) & mask;
    for (let at = (gap + 1) & mask; buckets[at] !== none; at = (at + 1) & mask) {
      const home = this.#hash[buckets[at]!]! & mask;
      if (((at - home) & mask) < ((at - gap) & mask)) continue;
      buckets[gap] = buckets[at]!;
      gap = at;
    }
    buckets[gap] = none;
  }
}
