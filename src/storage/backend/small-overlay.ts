/**
 * Changes of the small buckets that LMDB has not flushed yet: bucket → key → the value written last, or
 * its removal. Changes carry the number of their segment and go when that segment is flushed.
 */
import { copyOf } from "../../base/index.js";
import type { BackendEntry } from "./backend.js";
import { smallBuckets, type SmallBucket } from "./bucket.js";

interface Change {
  readonly key: Uint8Array;
  /** undefined: removed. */
  readonly value: Uint8Array | undefined;
  readonly segment: number;
}

/** Bytes as a string of the same order, to be a Map's key. */
export function bytesToText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

export class SmallOverlay {
  readonly #buckets = new Map<SmallBucket, Map<string, Change>>(smallBuckets.map((bucket) => [bucket, new Map()]));
  #size = 0;

  /** Notes a change; the arrays are kept and must not change. */
  set(bucket: SmallBucket, key: Uint8Array, value: Uint8Array | undefined, segment: number): void {
    const changes = this.#buckets.get(bucket)!;
    changes.set(bytesToText(key), { key, value, segment });
    this.#size++;
  }

  /** undefined: not changed here. */
  get(bucket: SmallBucket, key: Uint8Array): Change | undefined {
    return this.#size === 0 ? undefined : this.#buckets.get(bucket)!.get(bytesToText(key));
  }

  /** Drops what segments up to that number have changed. */
  drop(segment: number): void {
    if (this.#size === 0) return;
    this.#size = 0;
    for (const changes of this.#buckets.values()) {
      for (const [text, change] of changes) if (change.segment <= segment) changes.delete(text);
      this.#size += changes.size;
    }
  }

  /** The bucket's entries, given those on disk in order, as they are with the changes. */
  merge(bucket: SmallBucket, onDisk: readonly BackendEntry[]): BackendEntry[] {
    const changes = this.#buckets.get(bucket)!;
    if (changes.size === 0) return [...onDisk];
    const merged = new Map(onDisk.map((entry) => [bytesToText(entry.key), entry]));
    for (const [text, change] of changes) {
      if (change.value === undefined) merged.delete(text);
      else merged.set(text, { key: copyOf(change.key), value: copyOf(change.value) });
    }
    return [...merged].toSorted((a, b) => (a[0] < b[0] ? -1 : 1)).map((pair) => pair[1]);
  }
}
