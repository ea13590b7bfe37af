/**
 * The physical part of one compaction, in slices: first the index drops what nobody can read any more and tells which
 * revisions are kept, then the records are walked in order, those not kept are removed, and all are hashed.
 *
 *   stepIndex until false → (all records up to the revision are on the disk) → stepRecords until Done → finish
 *
 * Reads, puts and deletes go on between slices; they are above its revision. A crash at any point leaves the scheduled
 * revision above the finished one, and the whole pass is done again: what was removed by then is not met again.
 */
import { assert } from "../../base/index.js";
import { Bucket, metaKey, revisionKey, type Backend, type RecordVisitor } from "../backend/index.js";
import type { KeyValueHash, MvccStoreOptions } from "./contract.js";
import type { KeyIndex, KeyIndexScan } from "./key-index.js";
import { KeyHasher } from "./key-hasher.js";

/** One slice: well below a millisecond. */
const sliceKeys = 400;
const sliceRecords = 250;
const sliceBytes = 256 << 10;

export const CompactionStep = { More: 0, ChunkEnd: 1, Done: 2 } as const;
export type CompactionStep = (typeof CompactionStep)[keyof typeof CompactionStep];

/** A compaction that the log has ordered. */
export interface ScheduledCompaction {
  readonly revision: number;
  /** The compact revision before it: the hash is of all since. */
  readonly previousRevision: number;
  /** The one before it had finished when it was scheduled, so that its hash tells of everything since that. */
  readonly hashes: boolean;
}

export class Compaction implements RecordVisitor {
  readonly scheduled: ScheduledCompaction;
  readonly #backend: Backend;
  readonly #crc32c: MvccStoreOptions["crc32c"];
  readonly #scan: KeyIndexScan;
  readonly #position = { main: 0, sub: 0 };
  #hasher: KeyHasher | null = null;
  #inChunk = 0;
  #passed = false;
  #removed = 0;
  #indexDone = false;

  constructor({ backend, crc32c }: MvccStoreOptions, index: KeyIndex, scheduled: ScheduledCompaction) {
    this.scheduled = scheduled;
    this.#backend = backend;
    this.#crc32c = crc32c;
    this.#scan = index.compaction(scheduled.revision);
  }

  /** Records removed so far. */
  get removed(): number {
    return this.#removed;
  }

  /** One slice of the index; true while there is more. */
  stepIndex(): boolean {
    if (!this.#indexDone) this.#indexDone = !this.#scan.step(sliceKeys);
    return !this.#indexDone;
  }

  /** One slice of the records; a chunk ends with `chunkMax` of them. */
  stepRecords(chunkMax: number): CompactionStep {
    assert(this.#indexDone, "mvcc: a compaction removes records before it knows which are kept");
    const { revision, previousRevision } = this.scheduled;
    this.#hasher ??= new KeyHasher(this.#crc32c, {
      compactRevision: previousRevision,
      revision,
      keep: this.#scan.available,
    });
    const limits = { records: Math.min(sliceRecords, chunkMax - this.#inChunk), bytes: sliceBytes };
    const isEnd = !this.#backend.scanRecords(this.#position, limits, this);
    if (isEnd || this.#passed) return CompactionStep.Done;
    if (this.#inChunk < chunkMax) return CompactionStep.More;
    this.#inChunk = 0;
    return CompactionStep.ChunkEnd;
  }

  /** Takes one record of the scan. */
  visit(main: number, sub: number, tombstone: boolean, bytes: Uint8Array, start: number, end: number): void {
    if (main > this.scheduled.revision) {
      this.#passed = true;
      return;
    }
    this.#inChunk++;
    if (!this.#scan.available.has(main, sub)) {
      this.#backend.deleteRecord(main, sub, tombstone);
      this.#removed++;
    }
    this.#hasher!.visit(main, sub, tombstone, bytes, start, end);
  }

  /** After the last record: the store says so on the disk, with the next commit. Returns the hash. */
  finish(): KeyValueHash {
    const { revision, previousRevision } = this.scheduled;
    this.#backend.putApart(Bucket.Meta, metaKey.finishedCompactRevision, revisionKey(revision, 0));
    return { hash: this.#hasher!.finish(), compactRevision: previousRevision, revision };
  }
}
