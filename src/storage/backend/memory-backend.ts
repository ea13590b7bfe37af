/**
 * The backend's twin in memory: the same answers without LMDB, for simulation and pure tests. Slow and
 * obvious where LMDB's is fast. What a crash would leave is kept apart: `crashed()` gives a backend as a
 * restart would find it, with everything flushed and nothing else.
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
import { Bucket, metaKey, smallBuckets, type SmallBucket } from "./bucket.js";
import { StoreDamagedError } from "./checks.js";
import { bytesToText } from "./small-overlay.js";
import { decodeUint64, encodeUint64 } from "./uint64.js";

interface StoredRecord {
  readonly main: number;
  readonly sub: number;
  readonly tombstone: boolean;
  bytes: Uint8Array;
  /** Its removal's number among all removals; 0: it is there. */
  removal: number;
  /** A bit has flipped on the disk: its checksum is wrong. */
  damaged: boolean;
}

/** What would be left at some time: so many records and removals, and these small buckets. */
interface Snapshot {
  readonly records: number;
  readonly removals: number;
  readonly small: SmallContents;
  readonly index: number;
}

type SmallContents = ReadonlyMap<SmallBucket, Map<string, BackendEntry>>;

/** Rough bytes of a record beside its value, so that sizes grow as they would on disk. */
const recordOverheadBytes = 32;

function checkRecord({ main, sub, damaged }: StoredRecord): void {
  if (damaged) throw new StoreDamagedError(Bucket.Key, `revision ${main}.${sub}`);
}

/** A copy in which one bit is another. */
function flipped(bytes: Uint8Array, place: number): Uint8Array {
  const copy = copyOf(bytes);
  if (copy.length > 0) copy[place % copy.length]! ^= 1 << (place % 8);
  return copy;
}

function copyOfContents(contents: SmallContents): SmallContents {
  return new Map([...contents].map(([bucket, entries]) => [bucket, new Map(entries)]));
}

export class MemoryBackend implements Backend {
  /** When false, `commit` and `flush` wait for a call of `flushNow`, as a disk would let them wait. */
  readonly #flushAtOnce: boolean;
  readonly #openSnapshot: ((file: string) => MemoryBackend) | undefined;
  #records: StoredRecord[] = [];
  #small: SmallContents = new Map(smallBuckets.map((bucket) => [bucket, new Map()]));
  /** Entries whose checksums are wrong. */
  #damagedSmall = new Map<SmallBucket, Set<string>>(smallBuckets.map((bucket) => [bucket, new Set()]));
  #consistentIndex = 0;
  #term = 0;
  #bytes = 0;

  // As of the last ended entry, and as flushed.
  #ended: Snapshot;
  #flushed: Snapshot;
  #waiting: { index: number; removals: number; resolve: () => void }[] = [];
  /** Removals of records, and other changes between entries. */
  #removals = 0;
  #entryOpen = false;

  #recordMain = 0;
  #recordSub = 0;
  #recordTombstone = false;
  #block = new Uint8Array(0);

  /** `openSnapshot` finds what a snapshot's file holds. */
  constructor(
    options: { flushAtOnce: boolean; openSnapshot?: ((file: string) => MemoryBackend) | undefined } = {
      flushAtOnce: true,
    },
  ) {
    this.#flushAtOnce = options.flushAtOnce;
    this.#openSnapshot = options.openSnapshot;
    this.#ended = this.#flushed = this.#snapshot();
  }

  /** What a restart finds after a crash now. */
  crashed(): MemoryBackend {
    const backend = new MemoryBackend({ flushAtOnce: this.#flushAtOnce, openSnapshot: this.#openSnapshot });
    const { records, removals } = this.#flushed;
    backend.#records = this.#records
      .slice(0, records)
      .filter(({ removal }) => removal === 0 || removal > removals)
      .map((record) => ({ ...record, removal: 0 }));
    backend.#small = copyOfContents(this.#flushed.small);
    backend.#damagedSmall = new Map([...this.#damagedSmall].map(([bucket, texts]) => [bucket, new Set(texts)]));
    backend.#consistentIndex = backend.#readMetaNumber(metaKey.consistentIndex);
    backend.#term = backend.#readMetaNumber(metaKey.term);
    backend.#bytes = backend.#records.reduce((sum, record) => sum + record.bytes.length + recordOverheadBytes, 0);
    backend.#ended = backend.#flushed = backend.#snapshot();
    return backend;
  }

  #snapshot(): Snapshot {
    return {
      records: this.#records.length,
      removals: this.#removals,
      small: copyOfContents(this.#small),
      index: this.#consistentIndex,
    };
  }

  /**
   * Flips a bit of what is on the disk, chosen by `place` (any number). Returns what was hit, or undefined when nothing is
   * there. Reading it fails from then on, as CRC32C finds every single bit.
   */
  flipBit(place: number): string | undefined {
    const records = this.#records.slice(0, this.#flushed.records).filter(({ removal }) => removal === 0);
    const small = [...this.#flushed.small].flatMap(([bucket, entries]) =>
      [...entries.keys()].map((text) => ({ bucket, text })),
    );
    if (records.length + small.length === 0) return undefined;
    const i = place % (records.length + small.length);
    const record = records[i];
    if (record !== undefined) {
      record.damaged = true;
      record.bytes = flipped(record.bytes, place);
      return `revision ${record.main}.${record.sub}`;
    }
    const { bucket, text } = small[i - records.length]!;
    this.#damagedSmall.get(bucket)!.add(text);
    for (const contents of [this.#flushed.small, this.#ended.small, this.#small]) {
      const entry = contents.get(bucket)!.get(text);
      if (entry !== undefined) contents.get(bucket)!.set(text, { key: entry.key, value: flipped(entry.value, place) });
    }
    return `${bucket} ${JSON.stringify(text)}`;
  }

  #checkSmall(bucket: SmallBucket, text: string): void {
    if (this.#damagedSmall.get(bucket)!.has(text))
      throw new StoreDamagedError(bucket, `the entry ${JSON.stringify(text)}`);
  }

  #readMetaNumber(key: Uint8Array): number {
    const value = this.get("meta", key);
    return value === undefined ? 0 : decodeUint64(value);
  }

  get consistentIndex(): number {
    return this.#consistentIndex;
  }
  get term(): number {
    return this.#term;
  }
  get flushedIndex(): number {
    return this.#flushed.index;
  }
  get overlayBytes(): number {
    return 0;
  }
  get isFull(): boolean {
    return false;
  }

  put(bucket: SmallBucket, key: Uint8Array, value: Uint8Array): void {
    this.#entryOpen = true;
    this.#putSmall(bucket, key, value);
  }

  #putSmall(bucket: SmallBucket, key: Uint8Array, value: Uint8Array): void {
    assert(key.length > 0, "backend: a key of a small bucket is empty");
    const text = bytesToText(key);
    this.#damagedSmall.get(bucket)!.delete(text);
    this.#small.get(bucket)!.set(text, { key: copyOf(key), value: copyOf(value) });
  }

  putApart(bucket: SmallBucket, key: Uint8Array, value: Uint8Array): void {
    assert(!this.#entryOpen, "backend: a change that is no entry's within an entry");
    this.#removals++;
    this.#putSmall(bucket, key, value);
  }

  deleteRecord(main: number, sub: number, tombstone: boolean): void {
    assert(!this.#entryOpen, "backend: a change that is no entry's within an entry");
    const record = this.#records[this.#search(main, sub)];
    assert(
      record?.main === main && record.sub === sub && record.tombstone === tombstone && record.removal === 0,
      "backend: a record to remove is not there",
    );
    record.removal = ++this.#removals;
    this.#bytes -= record.bytes.length + recordOverheadBytes;
  }

  delete(bucket: SmallBucket, key: Uint8Array): void {
    this.#entryOpen = true;
    this.#small.get(bucket)!.delete(bytesToText(key));
  }

  get(bucket: SmallBucket, key: Uint8Array): Uint8Array | undefined {
    const text = bytesToText(key);
    this.#checkSmall(bucket, text);
    const entry = this.#small.get(bucket)!.get(text);
    return entry === undefined ? undefined : copyOf(entry.value);
  }

  entries(bucket: SmallBucket): BackendEntry[] {
    const sorted = [...this.#small.get(bucket)!].toSorted((a, b) => (a[0] < b[0] ? -1 : 1));
    return sorted.map(([text, { key, value }]) => {
      this.#checkSmall(bucket, text);
      return { key: copyOf(key), value: copyOf(value) };
    });
  }

  beginRecord(main: number, sub: number, tombstone: boolean, valueBytesMax: number): number {
    this.#recordMain = main;
    this.#recordSub = sub;
    this.#recordTombstone = tombstone;
    this.#block = new Uint8Array(valueBytesMax);
    return 0;
  }

  get recordBlock(): Uint8Array {
    return this.#block;
  }

  endRecord(end: number): void {
    const main = this.#recordMain;
    const sub = this.#recordSub;
    const last = this.#records.at(-1);
    assert(
      last === undefined || main > last.main || (main === last.main && sub > last.sub),
      "backend: a record's revision is not above the last one",
    );
    const bytes = copyOf(this.#block, 0, end);
    this.#entryOpen = true;
    this.#records.push({ main, sub, tombstone: this.#recordTombstone, bytes, removal: 0, damaged: false });
    this.#bytes += bytes.length + recordOverheadBytes;
  }

  /** The first record at or after a revision. */
  #search(main: number, sub: number): number {
    let low = 0;
    let high = this.#records.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const record = this.#records[middle]!;
      if (record.main < main || (record.main === main && record.sub < sub)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  readRecord(main: number, sub: number, tombstone: boolean, into: RecordView): boolean {
    const record = this.#records[this.#search(main, sub)];
    if (record?.main !== main || record.sub !== sub || record.tombstone !== tombstone) return false;
    if (record.removal !== 0) return false;
    checkRecord(record);
    into.bytes = record.bytes;
    into.start = 0;
    into.end = record.bytes.length;
    return true;
  }

  scanRecords(position: ScanPosition, limits: ScanLimits, visitor: RecordVisitor): boolean {
    let records = 0;
    let bytes = 0;
    for (let i = this.#search(position.main, position.sub); i < this.#records.length; i++) {
      if (records === limits.records || bytes >= limits.bytes) break;
      const record = this.#records[i]!;
      if (record.removal !== 0) continue;
      checkRecord(record);
      visitor.visit(record.main, record.sub, record.tombstone, record.bytes, 0, record.bytes.length);
      position.main = record.main;
      position.sub = record.sub + 1;
      records++;
      bytes += record.bytes.length;
    }
    return records > 0;
  }

  endEntry(index: number, term: number, confState?: Uint8Array): void {
    assert(index > this.#consistentIndex, "backend: the consistent index does not grow");
    assert(term >= this.#term, "backend: the term goes back");
    this.#consistentIndex = index;
    this.#term = term;
    this.#putSmall("meta", metaKey.consistentIndex, encodeUint64(index));
    this.#putSmall("meta", metaKey.term, encodeUint64(term));
    if (confState !== undefined) this.#putSmall("meta", metaKey.confState, confState);
    this.#entryOpen = false;
    this.#ended = this.#snapshot();
    if (this.#flushAtOnce) this.flushNow();
  }

  commit(): void {
    if (!this.#entryOpen && this.#removals > this.#ended.removals) this.#ended = this.#snapshot();
    if (this.#flushAtOnce) this.flushNow();
  }

  /** What was ended is now on the disk. */
  flushNow(): void {
    this.#flushed = this.#ended;
    const { index, removals } = this.#flushed;
    const reached = this.#waiting.filter((waiter) => waiter.index <= index && waiter.removals <= removals);
    this.#waiting = this.#waiting.filter((waiter) => !reached.includes(waiter));
    for (const waiter of reached) waiter.resolve();
  }

  flush(): Promise<void> {
    this.commit();
    const { index, removals } = this.#ended;
    if (index <= this.#flushed.index && removals <= this.#flushed.removals) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ index, removals, resolve }));
  }

  room(): Promise<void> {
    return Promise.resolve();
  }

  /** Memory is read without. */
  get openReads(): number {
    return 0;
  }

  sizes(): BackendSizes {
    return { total: this.#bytes, inUse: this.#bytes };
  }

  /** There are no free pages in memory. */
  async defragment(): Promise<void> {
    await this.flush();
  }

  async beginInstall(file: string): Promise<Backend> {
    assert(this.#openSnapshot !== undefined, "backend: a snapshot without a disk");
    return this.#openSnapshot(file).crashed();
  }

  async finishInstall(fresh: Backend, adopt: () => void): Promise<void> {
    assert(!this.#entryOpen, "backend: a snapshot within an entry");
    assert(fresh instanceof MemoryBackend, "backend: not one of its own kind");
    this.#records = fresh.#records;
    this.#small = fresh.#small;
    this.#damagedSmall = fresh.#damagedSmall;
    this.#consistentIndex = fresh.#consistentIndex;
    this.#term = fresh.#term;
    this.#bytes = fresh.#bytes;
    this.#removals++;
    this.#ended = this.#snapshot();
    this.flushNow();
    adopt();
  }

  async close(): Promise<void> {
    this.flushNow();
  }
}
