/**
 * The store: the state that writes, ranges, restore and hash share, and the write path.
 * See `index.ts` for how it is used.
 */
import { assert } from "../../base/index.js";
import { Bucket, metaKey, revisionKey, RevisionKeyReader, type Backend, type RecordView } from "../backend/index.js";
import { Compaction, type ScheduledCompaction } from "./compaction.js";
import { CompactionHashes } from "./compaction-hashes.js";
import {
  RevisionStatus,
  type HashResult,
  type KeyValueHash,
  type MvccStoreOptions,
  type Revisions,
  type TxnChanges,
} from "./contract.js";
import { hashKv } from "./hash-kv.js";
import { hashStore } from "./hash-store.js";
import { readIndexed } from "./indexed-record.js";
import { cursorItem, cursorMore, KeyIndex, KeyIndexCursor } from "./key-index.js";
import { keyValueOverheadMax, writeKeyOnly, writeRevisions, writeValueAndLease } from "./key-value.js";
import { RangeScan } from "./range-scan.js";
import { restoreIndex } from "./restore.js";

/** Keys that a cursor may look at in one call of a delete. */
const visitMax = 1024;
/** A transaction with so many changes is a long one: who is told of them may look at them as they are made. */
const partChanges = 1024;

/** The changes of the transaction just ended, read from the backend's memory. */
class Changes implements TxnChanges {
  readonly #backend: Backend;
  #deletes = new Uint8Array(64);
  revision = 0;
  count = 0;

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  add(isDelete: boolean): void {
    if (this.count === this.#deletes.length) {
      const larger = new Uint8Array(this.count * 2);
      larger.set(this.#deletes);
      this.#deletes = larger;
    }
    this.#deletes[this.count++] = isDelete ? 1 : 0;
  }

  isDelete(i: number): boolean {
    return this.#deletes[i] === 1;
  }

  read(i: number, into: RecordView): void {
    const found = this.#backend.readRecord(this.revision, i, this.isDelete(i), into);
    assert(found, "mvcc: a change of this transaction is not in the backend");
  }
}

export class MvccStore implements Revisions {
  readonly #options: MvccStoreOptions;
  readonly #backend: Backend;
  readonly #index = new KeyIndex();
  readonly #deleteCursor = new KeyIndexCursor(this.#index);
  readonly #changes: Changes;
  #currentRevision = 1;
  #compactRevision = -1;
  /** In order of revision; the first one may be under way. */
  readonly #compactions: ScheduledCompaction[] = [];
  #inTxn = false;
  #epoch = 0;

  /** Hashes made by compactions; HashKV answers from them first. */
  readonly compactionHashes = new CompactionHashes();
  /** Called at each `end` of a transaction that changed something. Watches hang here. */
  onChanges: ((changes: TxnChanges) => void) | undefined = undefined;
  /** Called after each `partChanges` changes of a transaction, with those made so far; more may follow. */
  onPart: ((changes: TxnChanges) => void) | undefined = undefined;

  private constructor(options: MvccStoreOptions) {
    this.#options = options;
    this.#backend = options.backend;
    this.#changes = new Changes(options.backend);
  }

  /** Builds the store from the backend's records, in slices. */
  static async open(options: MvccStoreOptions): Promise<MvccStore> {
    const store = new MvccStore(options);
    const lastMain = await restoreIndex(store.#index, options);
    store.#restoreRevisions(lastMain);
    return store;
  }

  /**
   * Becomes what `other` is: the same history, further on, as a snapshot of it has it. The backend has gone over to
   * it. Ranges under way go on, unless what they read is compacted there; compactions and hashes begin anew.
   */
  adopt(other: MvccStore): void {
    assert(!this.#inTxn, "mvcc: a snapshot within a write transaction");
    this.#index.adopt(other.#index);
    this.#currentRevision = other.#currentRevision;
    this.#compactRevision = other.#compactRevision;
    this.#compactions.splice(0, Infinity, ...other.#compactions);
    this.#epoch++;
  }

  /** The last record may have been compacted away, so the compactions' revisions count as well. */
  #restoreRevisions(lastMain: number): void {
    const finished = this.#readCompactRevision(metaKey.finishedCompactRevision);
    const scheduled = this.#readCompactRevision(metaKey.scheduledCompactRevision);
    this.#currentRevision = Math.max(1, lastMain, finished, scheduled);
    this.#compactRevision = finished;
    // As in etcd one to revision 0, which removes nothing, counts only once it has finished.
    if (scheduled <= Math.max(0, finished)) return;
    this.#compactRevision = scheduled;
    this.#compactions.push({ revision: scheduled, previousRevision: finished, hashes: false });
  }

  #readCompactRevision(key: Uint8Array): number {
    const value = this.#backend.get(Bucket.Meta, key);
    if (value === undefined) return -1;
    const revision = new RevisionKeyReader();
    revision.read(value, 0, value.length);
    return revision.main;
  }

  /** The revision of the last ended write transaction that changed something; 1 in an empty store. */
  get currentRevision(): number {
    return this.#currentRevision;
  }
  /** The highest revision compacted away; −1 when there was no compaction. */
  get compactRevision(): number {
    return this.#compactRevision;
  }
  /** Compactions that are scheduled and not finished; after a restart, one that was interrupted. */
  get pendingCompactions(): readonly ScheduledCompaction[] {
    return this.#compactions;
  }
  get epoch(): number {
    return this.#epoch;
  }
  /** Keys that live now. */
  get liveKeys(): number {
    return this.#index.liveKeys;
  }

  /** Begins a write transaction; only one is open at a time. */
  begin(): void {
    assert(!this.#inTxn, "mvcc: a write transaction is open already");
    this.#inTxn = true;
    this.#changes.revision = this.#currentRevision + 1;
    this.#changes.count = 0;
  }

  /** Changes made so far in the open transaction. */
  get changeCount(): number {
    return this.#inTxn ? this.#changes.count : 0;
  }

  /** What a read inside the open transaction sees: the current revision, +1 once something changed. */
  get visibleRevision(): number {
    return this.#inTxn && this.#changes.count > 0 ? this.#changes.revision : this.#currentRevision;
  }

  /**
   * Stores `key` = `bytes[keyStart, keyEnd)` with the value `valueBytes[valueStart, valueEnd)` and the lease
   * given as the two halves of its int64 (0, 0: none). `valueBytes` may be a view's bytes.
   */
  put(
    bytes: Uint8Array,
    keyStart: number,
    keyEnd: number,
    valueBytes: Uint8Array,
    valueStart: number,
    valueEnd: number,
    leaseLow: number,
    leaseHigh: number,
  ): void {
    assert(this.#inTxn, "mvcc: put outside a write transaction");
    const backend = this.#backend;
    const index = this.#index;
    const revision = this.#changes.revision;
    const sub = this.#changes.count;
    index.put(bytes, keyStart, keyEnd, revision, sub);
    const bytesMax = keyEnd - keyStart + (valueEnd - valueStart) + keyValueOverheadMax;
    const start = backend.beginRecord(revision, sub, false, bytesMax);
    const block = backend.recordBlock;
    const keyWritten = writeKeyOnly(block, start, bytes, keyStart, keyEnd);
    const revisionsWritten = writeRevisions(block, keyWritten, index.createMain, revision, index.version);
    backend.endRecord(
      writeValueAndLease(block, revisionsWritten, valueBytes, valueStart, valueEnd, leaseLow, leaseHigh),
    );
    this.#options.keyLeases?.keyPut(bytes, keyStart, keyEnd, leaseLow, leaseHigh);
    this.#changed(false);
  }

  /**
   * Deletes the keys of a range (range_end as in `RangeQuery`) as the transaction sees it, in order of key,
   * and returns their number. Previous records are to be read before (`RangeScan` at `visibleRevision`).
   */
  deleteRange(bytes: Uint8Array, keyStart: number, keyEnd: number, endStart: number, endEnd: number): number {
    this.beginDeleteRange(bytes, keyStart, keyEnd, endStart, endEnd);
    let deleted = 0;
    let found: number;
    do {
      found = this.deleteNext(visitMax);
      if (found !== -1) deleted += found;
    } while (found !== -1);
    return deleted;
  }

  /** As `deleteRange` of one key, without a cursor. */
  deleteKey(bytes: Uint8Array, start: number, end: number): void {
    assert(this.#inTxn, "mvcc: delete outside a write transaction");
    if (this.findKey(bytes, start, end, this.visibleRevision)) this.#deleteKey(bytes, start, end);
  }

  /** As `deleteRange`, in slices: `deleteNext` is called until it returns −1. Nothing else may change meanwhile. */
  beginDeleteRange(bytes: Uint8Array, keyStart: number, keyEnd: number, endStart: number, endEnd: number): void {
    assert(this.#inTxn, "mvcc: delete outside a write transaction");
    this.#deleteCursor.seek(bytes, keyStart, keyEnd, bytes, endStart, endEnd, this.visibleRevision);
  }

  /** Deletes up to `keysMax` keys of the range; returns how many, or −1 when the range is done. */
  deleteNext(keysMax: number): number {
    const cursor = this.#deleteCursor;
    let deleted = 0;
    while (deleted < keysMax) {
      const state = cursor.next(visitMax);
      if (state === cursorItem) {
        this.#deleteKey(cursor.keyBytes, cursor.keyStart, cursor.keyEnd);
        deleted++;
      } else if (state === cursorMore) return deleted;
      else return deleted > 0 ? deleted : -1;
    }
    return deleted;
  }

  #deleteKey(bytes: Uint8Array, start: number, end: number): void {
    const backend = this.#backend;
    const revision = this.#changes.revision;
    const sub = this.#changes.count;
    const at = backend.beginRecord(revision, sub, true, end - start + keyValueOverheadMax);
    backend.endRecord(writeKeyOnly(backend.recordBlock, at, bytes, start, end));
    const deleted = this.#index.tombstone(bytes, start, end, revision, sub);
    assert(deleted, "mvcc: a key to delete is not alive");
    this.#options.keyLeases?.keyDeleted(bytes, start, end);
    this.#changed(true);
  }

  #changed(isDelete: boolean): void {
    this.#changes.add(isDelete);
    if (this.#changes.count % partChanges === 0) this.onPart?.(this.#changes);
  }

  /** Ends the transaction; returns the header's revision (grown by one if something changed). */
  end(): number {
    assert(this.#inTxn, "mvcc: no write transaction to end");
    this.#inTxn = false;
    if (this.#changes.count > 0) {
      this.#currentRevision = this.#changes.revision;
      this.onChanges?.(this.#changes);
    }
    return this.#currentRevision;
  }

  /**
   * Schedules a compaction, as an effect of the entry in hand: from now on nothing below `revision` can be read.
   * What is not Ok says why not: there was one at least as high, or the revision has not come yet.
   */
  compact(revision: number): RevisionStatus {
    assert(!this.#inTxn, "mvcc: a compaction within a write transaction");
    if (revision <= this.#compactRevision) return RevisionStatus.Compacted;
    if (revision > this.#currentRevision) return RevisionStatus.Future;
    const hashes = this.#compactions.length === 0;
    this.#compactions.push({ revision, previousRevision: this.#compactRevision, hashes });
    this.#compactRevision = revision;
    this.#backend.put(Bucket.Meta, metaKey.scheduledCompactRevision, revisionKey(revision, 0));
    return RevisionStatus.Ok;
  }

  /** The physical part of the compaction scheduled first; undefined when there is none. */
  beginCompaction(): Compaction | undefined {
    const scheduled = this.#compactions[0];
    return scheduled === undefined ? undefined : new Compaction(this.#options, this.#index, scheduled);
  }

  /** After its last record: `finishedCompactRev` goes to the disk with the next commit, the hash is kept. */
  endCompaction(compaction: Compaction): KeyValueHash {
    assert(compaction.scheduled === this.#compactions[0], "mvcc: a compaction ends that is not the first");
    const hash = compaction.finish();
    this.#compactions.shift();
    if (compaction.scheduled.hashes) this.compactionHashes.store(hash);
    return hash;
  }

  /** Whether `revision` can be read; 0 or negative always can. */
  checkRevision(revision: number): RevisionStatus {
    if (revision > this.visibleRevision) return RevisionStatus.Future;
    return revision > 0 && revision < this.#compactRevision ? RevisionStatus.Compacted : RevisionStatus.Ok;
  }

  /**
   * Looks a key up at `revision` (≤ 0: the latest visible), which must have passed `checkRevision`;
   * true when it lives there, and then `found…` tell about it. Costs the index only.
   */
  findKey(bytes: Uint8Array, keyStart: number, keyEnd: number, revision: number): boolean {
    return this.#index.get(bytes, keyStart, keyEnd, revision > 0 ? revision : this.visibleRevision);
  }

  get foundModRevision(): number {
    return this.#index.modMain;
  }
  get foundCreateRevision(): number {
    return this.#index.createMain;
  }
  get foundVersion(): number {
    return this.#index.version;
  }

  /** As `findKey`, and points `into` at the marshalled mvccpb.KeyValue, until the next call of store or backend. */
  readKey(bytes: Uint8Array, keyStart: number, keyEnd: number, revision: number, into: RecordView): boolean {
    if (!this.findKey(bytes, keyStart, keyEnd, revision)) return false;
    readIndexed(this.#backend, this.#index.modMain, this.#index.modSub, into);
    return true;
  }

  /** A scan of ranges; keep it and start it again and again. */
  newRangeScan(): RangeScan {
    return new RangeScan(this, this.#index, this.#backend);
  }

  /** etcd's HashKV: 0 = the current revision; a negative revision hashes the bucket's name alone. */
  hashKv(revision: number): Promise<HashResult> {
    const known = this.compactionHashes.find(revision);
    if (known === undefined) return hashKv(this, this.#index, this.#options, revision);
    return Promise.resolve({ status: RevisionStatus.Ok, ...known, currentRevision: this.#currentRevision });
  }

  /**
   * etcd's Hash, of all buckets as they are at the call. No compaction may remove records until it resolves, and
   * everything removed before must be flushed.
   */
  async hash(): Promise<number> {
    for (;;) {
      const epoch = this.#epoch;
      const hash = await hashStore(this.#backend, this.#options, this.#currentRevision);
      if (epoch === this.#epoch) return hash;
    }
  }
}
