/**
 * The backend on LMDB. Changes go into write segments in memory; a segment's write transaction starts
 * with the entry that fills it or when the batch interval is over, and runs on another thread.
 *
 * The environment lies in a folder of its own (`<data-dir>/member/db`, files data.mdb and lock.mdb), so
 * that a real etcd's file `member/snap/db` is never mistaken for it. Thread: apply, the only writer.
 *
 * After `onFatal` the process must end without running exit handlers (SIGKILL itself): lmdb's own exit
 * handler flushes once more, and after a failed flush that would confirm pages which are lost.
 */
import { assert, copyOf } from "../../base/index.js";
import type {
  Backend,
  BackendEntry,
  BackendSizes,
  RecordView,
  RecordVisitor,
  ScanLimits,
  ScanPosition,
} from "./backend.js";
import { BlockPool } from "./blocks.js";
import { Bucket, buckets, metaKey, type SmallBucket } from "./bucket.js";
import { checksKey, checksumBytes, checksumOf, type Digests } from "./checks.js";
import { LmdbCommitter, type Flushed } from "./lmdb-committer.js";
import type { LmdbBackendOptions } from "./lmdb-options.js";
import { LmdbStores, type RevisionKey } from "./lmdb-stores.js";
import { Rebuilding } from "./rebuilding.js";
import { SegmentQueue } from "./segment-queue.js";
import { SmallOverlay } from "./small-overlay.js";
import { decodeUint64, encodeUint64 } from "./uint64.js";
import { Waiters } from "./waiters.js";

/** Keys of LMDB end here with pages of 4 KiB. */
const keyBytesMax = 1978;
/** Unused blocks kept for the next segments. */
const poolBytesMax = 16 << 20;

export class LmdbBackend implements Backend {
  readonly #options: LmdbBackendOptions;
  #stores: LmdbStores;
  /** As of all changes but the records of the segment being filled. */
  #digests: Digests;
  readonly #queue: SegmentQueue;
  readonly #committer: LmdbCommitter;
  readonly #overlay = new SmallOverlay();
  readonly #startChanges: number;
  readonly #keyDbi: number;

  #consistentIndex = 0;
  #term = 0;
  #flushedIndex = 0;
  /** Numbers of the segment with the last change between entries, and of the last one flushed. */
  #apartNumber = 0;
  #flushedNumber = 0;
  /** Changes were made since the last `endEntry`. */
  #entryOpen = false;
  /** The interval ended, or `commit` was called, while an entry was open. */
  #commitWanted = false;
  #timer: NodeJS.Timeout | undefined;
  readonly #rebuilding: Rebuilding;
  readonly #waiters = new Waiters();
  #sizes: BackendSizes | undefined;
  /** There has been a transaction since. */
  #sizesStale = false;
  #sizesMs = 0;

  // The record begun last.
  #recordMain = 0;
  #recordSub = 0;
  #recordTombstone = false;
  #lastMain = 0;
  #lastSub = 0;

  readonly #revision: RevisionKey = { main: 0, sub: 0, tombstone: false };

  /** Opens the environment, making it when it is absent. Throws when the files are not ours or unusable. */
  static open(options: LmdbBackendOptions): LmdbBackend {
    return new LmdbBackend(options);
  }

  private constructor(options: LmdbBackendOptions) {
    this.#options = options;
    this.#stores = LmdbStores.open(options);
    this.#digests = this.#stores.readDigests();
    this.#keyDbi = this.#stores.key.db.dbi;
    this.#queue = new SegmentQueue(new BlockPool(poolBytesMax));
    this.#startChanges = Math.min(options.batchChangesMax, options.transactionChangesMax);
    this.#committer = new LmdbCommitter({
      env: this.#stores.env,
      queue: this.#queue,
      changesMax: Math.max(options.batchChangesMax, this.#startChanges),
      onFlushed: (flushed) => this.#flushedSegments(flushed),
      onError: (error) => this.#fail(error),
    });
    this.#rebuilding = new Rebuilding(options, this.#committer, (error) => this.#fail(error));
    this.#consistentIndex = this.#flushedIndex = this.#readMetaNumber(metaKey.consistentIndex);
    this.#term = this.#readMetaNumber(metaKey.term);
    this.#noteLastRecord();
  }

  #readMetaNumber(key: Uint8Array): number {
    const value = this.get("meta", key);
    return value === undefined ? 0 : decodeUint64(value);
  }

  #noteLastRecord(): void {
    const { key, decoder } = this.#stores;
    const end = { main: 0, sub: 0, tombstone: false } as RevisionKey & Uint8Array;
    for (const _ of key.getRange({ reverse: true, limit: 1, end })) {
      this.#lastMain = decoder.main;
      this.#lastSub = decoder.sub;
    }
  }

  get consistentIndex(): number {
    return this.#consistentIndex;
  }
  get term(): number {
    return this.#term;
  }
  get flushedIndex(): number {
    return this.#flushedIndex;
  }
  get overlayBytes(): number {
    return this.#queue.bytes;
  }
  get isFull(): boolean {
    return this.#queue.bytes >= this.#options.overlayBytesMax;
  }

  put(bucket: SmallBucket, key: Uint8Array, value: Uint8Array): void {
    assert(key.length > 0 && key.length <= keyBytesMax, "backend: a key of a small bucket is empty or too long");
    this.#entryOpen = true;
    this.#writeSmall(bucket, key, value);
  }

  #writeSmall(bucket: SmallBucket, key: Uint8Array, value: Uint8Array): void {
    const segment = this.#queue.current();
    this.#forgetSmall(bucket, key);
    this.#digests.add(bucket, 1, checksumOf(key, value));
    segment.addPut(this.#stores.small(bucket).db.dbi, key, value);
    this.#overlay.set(bucket, copyOf(key), copyOf(value), this.#queue.currentNumber);
  }

  /** Takes an entry that is to change out of the digest. */
  #forgetSmall(bucket: SmallBucket, key: Uint8Array): void {
    const change = this.#overlay.get(bucket, key);
    const value = change === undefined ? this.#stores.readSmall(bucket, key) : change.value;
    if (value !== undefined) this.#digests.add(bucket, -1, checksumOf(key, value));
  }

  putApart(bucket: SmallBucket, key: Uint8Array, value: Uint8Array): void {
    assert(!this.#entryOpen, "backend: a change that is no entry's within an entry");
    this.#writeSmall(bucket, key, value);
    this.#apartNumber = this.#queue.currentNumber;
  }

  deleteRecord(main: number, sub: number, tombstone: boolean): void {
    assert(!this.#entryOpen, "backend: a change that is no entry's within an entry");
    this.#digests.add(Bucket.Key, -1, this.#stores.recordChecksum(this.#revisionOf(main, sub, tombstone)));
    this.#queue.current().addRecordDelete(this.#keyDbi, main, sub, tombstone);
    this.#apartNumber = this.#queue.currentNumber;
  }

  #revisionOf(main: number, sub: number, tombstone: boolean): RevisionKey & Uint8Array {
    const revision = this.#revision;
    revision.main = main;
    revision.sub = sub;
    revision.tombstone = tombstone;
    return revision as RevisionKey & Uint8Array;
  }

  delete(bucket: SmallBucket, key: Uint8Array): void {
    assert(key.length > 0 && key.length <= keyBytesMax, "backend: a key of a small bucket is empty or too long");
    this.#entryOpen = true;
    this.#forgetSmall(bucket, key);
    this.#queue.current().addDelete(this.#stores.small(bucket).db.dbi, key);
    this.#overlay.set(bucket, copyOf(key), undefined, this.#queue.currentNumber);
  }

  get(bucket: SmallBucket, key: Uint8Array): Uint8Array | undefined {
    const change = this.#overlay.get(bucket, key);
    if (change !== undefined) return change.value === undefined ? undefined : copyOf(change.value);
    return this.#stores.readSmall(bucket, key);
  }

  entries(bucket: SmallBucket): BackendEntry[] {
    return this.#overlay.merge(bucket, this.#stores.readEntries(bucket));
  }

  beginRecord(main: number, sub: number, tombstone: boolean, valueBytesMax: number): number {
    this.#recordMain = main;
    this.#recordSub = sub;
    this.#recordTombstone = tombstone;
    return this.#queue.current().reserveValue(valueBytesMax);
  }

  get recordBlock(): Uint8Array {
    return this.#queue.current().valueBytes;
  }

  endRecord(end: number): void {
    const main = this.#recordMain;
    const sub = this.#recordSub;
    assert(
      main > this.#lastMain || (main === this.#lastMain && sub > this.#lastSub),
      "backend: a record's revision is not above the last one",
    );
    this.#lastMain = main;
    this.#lastSub = sub;
    this.#entryOpen = true;
    this.#queue.current().addRecord(this.#keyDbi, main, sub, this.#recordTombstone, end);
  }

  readRecord(main: number, sub: number, tombstone: boolean, into: RecordView): boolean {
    if (this.#queue.readRecord(main, sub, tombstone, into)) return true;
    const { key, checker } = this.#stores;
    const bytes = key.getBinaryFast(this.#revisionOf(main, sub, tombstone));
    if (bytes === undefined) return false;
    const size = key.lastSize;
    checker.check(main, sub, tombstone, bytes, size);
    into.bytes = bytes;
    into.start = 0;
    into.end = size - checksumBytes;
    return true;
  }

  scanRecords(position: ScanPosition, limits: ScanLimits, visitor: RecordVisitor): boolean {
    if (position.main < this.#queue.firstMain) {
      const visited = this.#stores.scan(position, limits, visitor, this.#queue.firstMain);
      if (visited > 0) return true;
    }
    return this.#queue.scan(position, limits, visitor);
  }

  endEntry(index: number, term: number, confState?: Uint8Array): void {
    assert(index > this.#consistentIndex, "backend: the consistent index does not grow");
    assert(term >= this.#term, "backend: the term goes back");
    if (confState !== undefined) this.#writeSmall("meta", metaKey.confState, confState);
    this.#consistentIndex = index;
    this.#term = term;
    this.#entryOpen = false;
    const segment = this.#queue.current();
    segment.consistentIndex = index;
    if (
      this.#commitWanted ||
      segment.changes >= this.#startChanges ||
      segment.bytes >= this.#options.transactionBytesMax
    ) {
      this.commit();
    } else if (this.#timer === undefined) this.#startTimer();
  }

  #startTimer(): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.commit();
    }, this.#options.batchIntervalMs);
    this.#timer.unref();
  }

  commit(): void {
    this.#commitWanted = this.#entryOpen;
    if (this.#entryOpen || !this.#queue.isFilling) return;
    const segment = this.#queue.current();
    segment.consistentIndex = this.#consistentIndex;
    segment.addPut(this.#metaDbi, metaKey.consistentIndex, encodeUint64(this.#consistentIndex));
    segment.addPut(this.#metaDbi, metaKey.term, encodeUint64(this.#term));
    this.#digests.add(Bucket.Key, segment.recordCount, segment.stamp());
    segment.addPut(this.#stores.checksDbi, checksKey.digests, this.#digests.encode(this.#consistentIndex));
    segment.stamp();
    this.#queue.end();
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#committer.start();
  }

  get #metaDbi(): number {
    return this.#stores.small("meta").db.dbi;
  }

  #flushedSegments(flushed: Flushed): void {
    this.#flushedIndex = this.#queue.at(flushed.segments - 1).consistentIndex;
    // Reads must see the transaction before its records leave the memory.
    this.#stores.root.resetReadTxn();
    this.#flushedNumber = this.#queue.release(flushed.segments);
    this.#overlay.drop(this.#flushedNumber);
    this.#sizesStale = true;
    this.#options.onCommit?.({ ...flushed, flushedIndex: this.#flushedIndex });
    this.#waiters.wake();
  }

  #fail(error: Error): void {
    this.#waiters.fail(error);
    this.#options.onFatal(error);
  }

  flush(): Promise<void> {
    const index = this.#consistentIndex;
    const apart = this.#apartNumber;
    this.commit();
    return this.#waiters.wait(() => this.#flushedIndex >= index && this.#flushedNumber >= apart);
  }

  room(): Promise<void> {
    if (this.isFull) this.commit();
    return this.#waiters.wait(() => !this.isFull);
  }

  get openReads(): number {
    return this.#stores.openReads;
  }

  sizes(): BackendSizes {
    const now = performance.now();
    if (this.#sizes === undefined || (this.#sizesStale && now - this.#sizesMs >= this.#options.sizesAgeMsMax)) {
      this.#sizes = this.#stores.sizes();
      this.#sizesStale = false;
      this.#sizesMs = now;
    }
    return this.#sizes;
  }

  async defragment(): Promise<void> {
    await this.#rebuilding.defragment(this.sizes().inUse, () => this.#swap());
  }

  async beginInstall(file: string): Promise<Backend> {
    const directory = await this.#rebuilding.build(file);
    return LmdbBackend.open({ ...this.#options, directory });
  }

  finishInstall(fresh: Backend, adopt: () => void): Promise<void> {
    assert(!this.#entryOpen, "backend: a snapshot within an entry");
    assert(fresh instanceof LmdbBackend, "backend: not one of its own kind");
    return this.#rebuilding.replace(() => {
      this.#takeOver(fresh);
      adopt();
    });
  }

  /** Goes over to the environment that is now in the directory; no transaction is under way. */
  #swap(): void {
    const former = this.#stores;
    const stores = LmdbStores.reopen(this.#options);
    // Instructions that wait for their transaction name the buckets by number.
    for (const bucket of buckets) {
      assert(stores.dbiOf(bucket) === former.dbiOf(bucket), "backend: a bucket has another number when rebuilt");
    }
    assert(stores.checksDbi === former.checksDbi, "backend: a bucket has another number when rebuilt");
    this.#stores = stores;
    // The digests go on: they are of what waits for its transaction, too.
    this.#sizes = undefined;
    this.#committer.env = stores.env;
    former.close();
  }

  /** Likewise, and to what it holds. */
  #takeOver(fresh: LmdbBackend): void {
    this.#swap();
    fresh.#stores.close();
    this.#flushedNumber = this.#queue.drop();
    this.#overlay.drop(this.#flushedNumber);
    this.#digests = fresh.#digests;
    this.#commitWanted = false;
    this.#consistentIndex = this.#flushedIndex = fresh.#consistentIndex;
    this.#term = fresh.#term;
    this.#lastMain = fresh.#lastMain;
    this.#lastSub = fresh.#lastSub;
    this.#waiters.wake();
  }

  async close(): Promise<void> {
    await this.#rebuilding.cancel();
    await this.flush();
    clearTimeout(this.#timer);
    this.#stores.close();
  }
}
