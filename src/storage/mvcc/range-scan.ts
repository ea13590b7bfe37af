/**
 * A range read in slices at a pinned revision. Puts and deletes may go on between slices: they have higher
 * revisions and are not seen. A compaction takes away what a scan below it reads: whoever holds a suspended scan
 * looks whether `revision` is still at or above the compact revision before it goes on.
 */
import { assert } from "../../base/index.js";
import { emptyRecordView, type Backend } from "../backend/index.js";
import { RevisionStatus, type RangeQuery, type Revisions, type RangeSink, type SliceLimits } from "./contract.js";
import { cursorEnd, cursorItem, KeyIndexCursor, type KeyIndex } from "./key-index.js";
import { keyValueOverheadMax, writeKeyOnly, writeRevisions } from "./key-value.js";
import { readIndexed } from "./indexed-record.js";

/** Keys looked at in one call of the cursor: small, since those that do not live at the revision are not told. */
const visitMax = 16;

const Phase = { Records: 0, Count: 1, Done: 2 } as const;
type Phase = (typeof Phase)[keyof typeof Phase];

export class RangeScan {
  readonly #revisions: Revisions;
  readonly #backend: Backend;
  readonly #cursor: KeyIndexCursor;
  readonly #view = emptyRecordView();
  #scratch = new Uint8Array(1024);
  #phase: Phase = Phase.Done;
  #revision = 0;
  #limit = Infinity;
  #keysOnly = false;
  #returned = 0;
  #count = 0;
  #visitedBefore = 0;
  /** True: the rest is counted. False: one key more is looked for. */
  #countRest = false;

  /** Made by `MvccStore.newRangeScan`. */
  constructor(revisions: Revisions, index: KeyIndex, backend: Backend) {
    this.#revisions = revisions;
    this.#backend = backend;
    this.#cursor = new KeyIndexCursor(index);
  }

  /** The revision that is read. */
  get revision(): number {
    return this.#revision;
  }
  /** Keys in the range at that revision; right when done, and only if `count` or `countOnly` was asked or no limit was set. */
  get count(): number {
    return this.#count;
  }
  /** Records given to the sink so far. */
  get returned(): number {
    return this.#returned;
  }
  /** Keys that the last `next` has looked at. */
  get visited(): number {
    return this.#cursor.visited - this.#visitedBefore;
  }
  /** True when records beyond the limit exist; right when done. */
  get more(): boolean {
    return this.#count > this.#returned && this.#limit !== 0;
  }

  /** Pins the revision. Anything but Ok: nothing to read, and `next` must not be called. */
  start(query: RangeQuery): RevisionStatus {
    this.#phase = Phase.Done;
    const status = this.#revisions.checkRevision(query.revision);
    if (status !== RevisionStatus.Ok) return status;
    this.#revision = query.revision > 0 ? query.revision : this.#revisions.visibleRevision;
    this.#keysOnly = query.keysOnly;
    this.#limit = query.countOnly ? 0 : query.limit > 0 ? query.limit : Infinity;
    this.#countRest = query.count || query.countOnly;
    this.#returned = 0;
    this.#count = 0;
    this.#phase = query.countOnly ? Phase.Count : Phase.Records;
    const { bytes, keyStart, keyEnd, endStart, endEnd } = query;
    this.#cursor.seek(bytes, keyStart, keyEnd, bytes, endStart, endEnd, this.#revision);
    return status;
  }

  /** Reads one slice; true when the range is done. */
  next(sink: RangeSink, limits: SliceLimits): boolean {
    assert(this.#phase !== Phase.Done, "mvcc: a range that is done is read on");
    assert(this.#revision >= this.#revisions.compactRevision, "mvcc: a range is read on below the compact revision");
    let keys = limits.keys;
    this.#visitedBefore = this.#cursor.visited;
    if (this.#phase === Phase.Records) keys = this.#nextRecords(sink, keys, limits.bytes);
    if (this.#phase === Phase.Count && keys > 0) this.#countOn(keys);
    this.#count = this.#cursor.count;
    const isDone = this.#isDone();
    if (!isDone) this.#cursor.pause();
    return isDone;
  }

  #isDone(): boolean {
    return this.#phase === Phase.Done;
  }

  /** Gives records to the sink; returns how many keys may still be looked at in this slice. */
  #nextRecords(sink: RangeSink, keysMax: number, bytesMax: number): number {
    let keys = keysMax;
    let bytes = 0;
    while (keys > 0 && bytes < bytesMax) {
      if (this.#returned === this.#limit) {
        this.#phase = Phase.Count;
        return keys;
      }
      const state = this.#cursor.next(visitMax);
      if (state === cursorEnd) {
        this.#phase = Phase.Done;
        return 0;
      }
      if (state !== cursorItem) {
        keys -= visitMax;
        continue;
      }
      keys--;
      this.#returned++;
      bytes += this.#keysOnly ? this.#giveKey(sink) : this.#giveRecord(sink);
    }
    return 0;
  }

  #giveRecord(sink: RangeSink): number {
    const view = this.#view;
    readIndexed(this.#backend, this.#cursor.modMain, this.#cursor.modSub, view);
    sink.record(view.bytes, view.start, view.end);
    return view.end - view.start;
  }

  #giveKey(sink: RangeSink): number {
    const { keyBytes, keyStart, keyEnd, createMain, modMain, version } = this.#cursor;
    const needed = keyEnd - keyStart + keyValueOverheadMax;
    if (needed > this.#scratch.length) this.#scratch = new Uint8Array(needed * 2);
    const keyWritten = writeKeyOnly(this.#scratch, 0, keyBytes, keyStart, keyEnd);
    const end = writeRevisions(this.#scratch, keyWritten, createMain, modMain, version);
    sink.record(this.#scratch, 0, end);
    return end;
  }

  /** Counts what lies beyond the limit, or only looks whether anything does. */
  #countOn(keysMax: number): void {
    const state = this.#countRest ? this.#cursor.countRest(keysMax) : this.#cursor.next(keysMax);
    if (state === cursorEnd || (state === cursorItem && !this.#countRest)) this.#phase = Phase.Done;
  }
}
