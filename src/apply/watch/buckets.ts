/**
 * A hash table of watchers. Those that meet in a bucket are a list through the watchers themselves, and the buckets
 * become more one at a time (linear hashing): it takes 4 bytes a watcher, and none waits while all are sorted anew.
 */
import { Column } from "./column.js";
import { none, type Watcher } from "./watcher-table.js";

/** What a table hashes by, and the field that it links through. */
export interface BucketLinks {
  hash(watcher: Watcher): number;
  next(watcher: Watcher): Watcher;
  setNext(watcher: Watcher, other: Watcher): void;
}

/** Watchers a bucket. */
const loadMax = 2;

/** All bits up to the highest of `number`. */
function maskOf(number: number): number {
  return (1 << (32 - Math.clz32(number))) - 1;
}

export class Buckets {
  readonly #links: BucketLinks;
  readonly #heads = new Column();
  #size = 0;

  constructor(links: BucketLinks) {
    this.#links = links;
  }

  get size(): number {
    return this.#size;
  }

  /** The first of the bucket where a watcher with that hash would be. */
  first(hash: number): Watcher {
    return this.#size === 0 ? none : this.#heads.get(this.#bucketOf(hash));
  }

  add(watcher: Watcher): void {
    if (this.#size++ === 0) this.#heads.push(none);
    this.#push(watcher);
    if (this.#size > loadMax * this.#heads.length) this.#split();
  }

  /** Takes out a watcher that is in the table. */
  delete(watcher: Watcher): void {
    this.#relink(watcher, this.#links.next(watcher));
    if (--this.#size === 0) this.#heads.clear();
  }

  /** `other`, of equal hash, takes the place of a watcher that is in the table. */
  replace(watcher: Watcher, other: Watcher): void {
    this.#links.setNext(other, this.#links.next(watcher));
    this.#relink(watcher, other);
  }

  /** All of them, in no particular order. */
  all(): Watcher[] {
    const found: Watcher[] = [];
    for (let at = 0; at < this.#heads.length; at++) {
      for (let watcher = this.#heads.get(at); watcher !== none; watcher = this.#links.next(watcher))
        found.push(watcher);
    }
    return found;
  }

  #push(watcher: Watcher): void {
    const at = this.#bucketOf(this.#links.hash(watcher));
    this.#links.setNext(watcher, this.#heads.get(at));
    this.#heads.set(at, watcher);
  }

  /** What leads to `watcher` leads to `to` now. */
  #relink(watcher: Watcher, to: Watcher): void {
    const links = this.#links;
    const at = this.#bucketOf(links.hash(watcher));
    let before = this.#heads.get(at);
    if (before === watcher) return this.#heads.set(at, to);
    while (links.next(before) !== watcher) before = links.next(before);
    links.setNext(before, to);
  }

  #bucketOf(hash: number): number {
    const { length } = this.#heads;
    const mask = maskOf(length - 1);
    const at = hash & mask;
    return at < length ? at : at & (mask >>> 1);
  }

  /** One bucket more, which takes watchers from one of those there were. */
  #split(): void {
    const from = this.#heads.length & (maskOf(this.#heads.length) >>> 1);
    this.#heads.push(none);
    let watcher = this.#heads.get(from);
    this.#heads.set(from, none);
    while (watcher !== none) {
      const following = this.#links.next(watcher);
      this.#push(watcher);
      watcher = following;
    }
  }
}
