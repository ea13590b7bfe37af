/**
 * The running hash of a HashKV: which records count, and CRC-32C over those that do. A compaction hashes
 * with one of these during its pass.
 */
import { Bucket, writeRevisionKey, type RecordVisitor } from "../backend/index.js";
import type { RevisionSet } from "./key-index.js";

/** Bytes gathered before one call of the native CRC. */
const gatherBytes = 256 << 10;
const keyBytesMax = 18;

export interface HashRules {
  /** Records up to here count only if they are in `keep` … */
  readonly compactRevision: number;
  /** Records beyond do not count. */
  readonly revision: number;
  /** … unless this is empty or absent. */
  readonly keep: RevisionSet | undefined;
}

export class KeyHasher implements RecordVisitor {
  readonly #crc32c: (crc: number, bytes: Uint8Array) => number;
  readonly #rules: HashRules;
  readonly #keep: RevisionSet | undefined;
  #buffer = new Uint8Array(gatherBytes);
  #view = new DataView(this.#buffer.buffer);
  #length = 0;
  #crc: number;

  /** Goes on from `crc`, the hash of what comes before the bucket. */
  constructor(crc32c: (crc: number, bytes: Uint8Array) => number, rules: HashRules, crc = 0) {
    this.#crc32c = crc32c;
    this.#rules = rules;
    this.#keep = rules.keep !== undefined && rules.keep.size > 0 ? rules.keep : undefined;
    this.#crc = crc32c(crc, new TextEncoder().encode(Bucket.Key));
  }

  visit(main: number, sub: number, tombstone: boolean, bytes: Uint8Array, start: number, end: number): void {
    if (!this.#counts(main, sub, tombstone)) return;
    const needed = keyBytesMax + end - start;
    if (this.#length + needed > this.#buffer.length) this.#makeRoom(needed);
    const at = writeRevisionKey(this.#view, this.#buffer, this.#length, main, sub, tombstone);
    this.#buffer.set(bytes.subarray(start, end), at);
    this.#length = at + end - start;
  }

  #counts(main: number, sub: number, tombstone: boolean): boolean {
    const { compactRevision, revision } = this.#rules;
    if (main > revision) return false;
    // What a compaction at the compact revision drops, or has yet to drop.
    if (main <= compactRevision && this.#keep !== undefined && !this.#keep.has(main, sub)) return false;
    // Older versions drop a tombstone exactly there, newer ones keep it; neither hashes it.
    return !(main === compactRevision && tombstone);
  }

  #makeRoom(needed: number): void {
    this.#flush();
    if (needed <= this.#buffer.length) return;
    this.#buffer = new Uint8Array(needed);
    this.#view = new DataView(this.#buffer.buffer);
  }

  #flush(): void {
    if (this.#length > 0) this.#crc = this.#crc32c(this.#crc, this.#buffer.subarray(0, this.#length));
    this.#length = 0;
  }

  /** The hash, as etcd's uint32. */
  finish(): number {
    this.#flush();
    return this.#crc >>> 0;
  }
}
