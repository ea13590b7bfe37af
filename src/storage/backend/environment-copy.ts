/**
 * Copies the environment in use into a new one while transactions go on, without the free pages of the old one.
 *
 * Records of the `key` bucket never change once written, so they are copied in passes, each from where the last one
 * stopped and each from a read transaction of its own: none is held long, and what is written meanwhile is met by a
 * later pass. The small buckets change in place; they are copied once, at the end, when the old environment is not
 * written any more. No record may be removed meanwhile: compaction waits.
 *
 * Thread: any but apply's. Memory: one write transaction.
 */
import { Bucket, smallBuckets, type SmallBucket } from "./bucket.js";
import type { EnvironmentWriter } from "./environment-writer.js";
import type { PinnedCursor, PinnedRead, PinnedReader } from "./pinned-reader.js";

/** A write transaction of the copy; a flush of more would hold up that of the log for longer. */
const transactionBytes = 2 << 20;
/** A read transaction is held for so much. */
const passBytes = 32 << 20;
/** When a pass meets no more than so much, the rest is copied with the writer of the old environment halted. */
const restBytes = 2 << 20;
/** So often the end is reached without catching up before copying takes no more rests, and then before it gives up. */
const restedRoundsMax = 4;
const roundsMax = 12;
/** Beyond what there was at first, so much is copied with rests, and as much again without, before it gives up. */
const outrunBytesMax = 64 << 20;

/** Revisions with their tombstone mark are no longer. */
const recordKeyBytesMax = 18;
/** Records between two looks at the clock. */
const recordsPerLook = 64;

export interface EnvironmentCopyOptions {
  readonly from: PinnedReader;
  readonly into: EnvironmentWriter;
  /** About how much there is to copy at first. */
  readonly bytesInUse: number;
  /** Lets others of this thread run now and then; throws to end the copy. */
  readonly turn: () => Promise<void> | undefined;
  /** Awaited after a write transaction that took so long: what others get of the disk. */
  readonly rest: (tookMs: number) => Promise<void>;
}

export class EnvironmentCopy {
  readonly #options: EnvironmentCopyOptions;
  /** Key of the record that was copied last. */
  readonly #last = new Uint8Array(recordKeyBytesMax);
  #lastLength = 0;
  #rests = true;

  constructor(options: EnvironmentCopyOptions) {
    this.#options = options;
  }

  /** Copies records until little is left that others have written meanwhile, or they write faster than it copies. */
  async copy(): Promise<void> {
    const hurryAt = this.#options.bytesInUse + outrunBytesMax;
    let sinceEnd = 0;
    let copied = 0;
    for (let rounds = 0; rounds < roundsMax && copied < 2 * hurryAt;) {
      const { bytes, reachedEnd } = await this.#pinned((read) => this.#records(read, passBytes));
      sinceEnd += bytes;
      copied += bytes;
      if (copied >= hurryAt) this.#rests = false;
      if (!reachedEnd) continue;
      if (sinceEnd <= restBytes) break;
      sinceEnd = 0;
      if (++rounds >= restedRoundsMax) this.#rests = false;
    }
    await this.#flush();
  }

  /** Copies the rest and everything else. The old environment must not be written from now on. */
  async finish(): Promise<void> {
    this.#rests = false;
    await this.#pinned(async (read) => {
      await this.#records(read, Infinity);
      for (const bucket of smallBuckets) await this.#bucket(read, bucket);
    });
    await this.#flush();
  }

  async #pinned<T>(work: (read: PinnedRead) => Promise<T>): Promise<T> {
    const read = this.#options.from.pin();
    try {
      return await work(read);
    } finally {
      read.release();
    }
  }

  async #records(read: PinnedRead, bytesMax: number): Promise<{ bytes: number; reachedEnd: boolean }> {
    const start = this.#last.subarray(0, this.#lastLength);
    const cursor = this.#lastLength === 0 ? read.open(Bucket.Key) : read.open(Bucket.Key, start);
    let bytes = 0;
    for (let records = 0; bytes < bytesMax; records++) {
      if (!cursor.next()) return { bytes, reachedEnd: true };
      if (records === 0 && Buffer.compare(cursor.key, start) === 0) continue;
      this.#last.set(cursor.key);
      this.#lastLength = cursor.keyLength;
      bytes += cursor.valueLength;
      const pause = this.#put(Bucket.Key, cursor, records);
      if (pause !== undefined) await pause;
    }
    cursor.close();
    return { bytes, reachedEnd: false };
  }

  async #bucket(read: PinnedRead, bucket: SmallBucket): Promise<void> {
    const cursor = read.open(bucket);
    for (let entries = 0; cursor.next(); entries++) {
      const pause = this.#put(bucket, cursor, entries);
      if (pause !== undefined) await pause;
    }
  }

  /** Adds an entry; what it returns is to be awaited: most entries only go into memory. */
  #put(bucket: Bucket, cursor: PinnedCursor, count: number): Promise<void> | undefined {
    const { into, turn } = this.#options;
    into.put(bucket, cursor.key, cursor.value, true);
    if (into.bytes >= transactionBytes) return this.#flush();
    return count % recordsPerLook === 0 ? turn() : undefined;
  }

  async #flush(): Promise<void> {
    const { into, rest } = this.#options;
    const began = performance.now();
    await into.flush();
    if (this.#rests) await rest(performance.now() - began);
  }
}
