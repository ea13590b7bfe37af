/**
 * Generations: the lives of a key, from a put that creates it to the tombstone that ends it.
 * Each key has one record, its newest generation, which also names the key's bytes; older generations hang behind it,
 * newest first, in records of the same shape. A record holds its newest revision itself, so that a read of the
 * present touches nothing else; the revisions before it are in the history.
 * Invariants: revisions grow along a key; every generation but a key's newest is closed (ends with a tombstone).
 */
import { assert } from "../../base/index.js";
import { RevisionHistory } from "./key-index-history.js";
import type { RevisionSet } from "./key-index-revision-set.js";

const chunkShift = 14;
const chunkRecords = 1 << chunkShift;
/** The first chunk begins with so many and doubles, so that a small index is small. */
const firstChunkRecords = 1 << 6;
const chunkMask = chunkRecords - 1;

/* A record is 48 bytes: three doubles (newest revision's main, creating main, version), then six words. */
const recordDoubles = 6;
const recordWords = 12;
const modMainAt = 0;
const createMainAt = 1;
const versionAt = 2;
/** The newest revision's sub; the top bit says that it is a tombstone. */
const modSubAt = 6;
const historyAt = 7;
const historyCountAt = 8;
/** The next older generation; in a free record, the next free one. */
const olderAt = 9;
const keyRefAt = 10;
const keyLengthAt = 11;

const closedBit = 0x80000000;
const subMask = 0x7fffffff;

export class GenerationTable {
  readonly #history = new RevisionHistory();
  readonly #doubles: Float64Array[] = [];
  readonly #words: Uint32Array[] = [];
  #used = 1;
  /** Records of all chunks. */
  #capacity = 0;
  #freeHead = 0;
  /** Newest records of dropped lists of older generations, released by `sweep`. */
  readonly #dropped: number[] = [];

  /* What the last read, put or tombstone found. */
  modMain = 0;
  modSub = 0;
  createMain = 0;
  version = 0;
  previousMain = 0;
  previousSub = 0;

  get memoryBytes(): number {
    return this.#capacity * recordWords * 4 + this.#history.memoryBytes;
  }

  keyRef(id: number): number {
    return this.#words[id >>> chunkShift]![(id & chunkMask) * recordWords + keyRefAt]!;
  }

  keyLength(id: number): number {
    return this.#words[id >>> chunkShift]![(id & chunkMask) * recordWords + keyLengthAt]!;
  }

  /** Whether the key's newest revision is a tombstone. */
  isClosed(id: number): boolean {
    return this.#words[id >>> chunkShift]![(id & chunkMask) * recordWords + modSubAt]! >= closedBit;
  }

  /** A record for a key of one revision. */
  create(
    keyRef: number,
    keyLength: number,
    main: number,
    sub: number,
    createMain: number,
    version: number,
    closed: boolean,
  ): number {
    const id = this.#allocate();
    this.#begin(id, main, sub, createMain, version);
    const words = this.#words[id >>> chunkShift]!;
    const w = (id & chunkMask) * recordWords;
    if (closed) words[w + modSubAt] = (sub | closedBit) >>> 0;
    words[w + olderAt] = 0;
    words[w + keyRefAt] = keyRef;
    words[w + keyLengthAt] = keyLength;
    return id;
  }

  /** Adds a put; true when it brought the key back to life. */
  put(id: number, main: number, sub: number): boolean {
    const words = this.#words[id >>> chunkShift]!;
    const w = (id & chunkMask) * recordWords;
    if (words[w + modSubAt]! < closedBit) {
      this.#advance(id, main, sub);
      return false;
    }
    this.#assertNewer(id, main, sub);
    const older = this.#allocate();
    this.#copy(id, older);
    // Not `words`: there may be another array in its place.
    this.#words[id >>> chunkShift]![w + olderAt] = older;
    this.#begin(id, main, sub, main, 1);
    return true;
  }

  /** Ends the key's life; false when it has none. */
  tombstone(id: number, main: number, sub: number): boolean {
    if (this.isClosed(id)) return false;
    this.#advance(id, main, sub);
    const words = this.#words[id >>> chunkShift]!;
    words[(id & chunkMask) * recordWords + modSubAt] = (sub | closedBit) >>> 0;
    return true;
  }

  /** Reads the key as it was at `atMain`: false when it was not alive. Sets modMain, modSub, createMain, version. */
  read(id: number, atMain: number): boolean {
    let record = id;
    while (record !== 0) {
      const doubles = this.#doubles[record >>> chunkShift]!;
      const words = this.#words[record >>> chunkShift]!;
      const d = (record & chunkMask) * recordDoubles;
      const w = (record & chunkMask) * recordWords;
      const modMain = doubles[d + modMainAt]!;
      if (modMain <= atMain) {
        const sub = words[w + modSubAt]!;
        if (sub >= closedBit) return false;
        this.modMain = modMain;
        this.modSub = sub;
        this.createMain = doubles[d + createMainAt]!;
        this.version = doubles[d + versionAt]!;
        return true;
      }
      const newer = this.#history.find(words[w + historyAt]!, words[w + historyCountAt]!, atMain);
      if (newer >= 0) {
        this.modMain = this.#history.foundMain;
        this.modSub = this.#history.foundSub;
        this.createMain = doubles[d + createMainAt]!;
        this.version = doubles[d + versionAt]! - newer - 1;
        return true;
      }
      record = words[w + olderAt]!;
    }
    return false;
  }

  /**
   * Drops what a compaction at `atMain` drops and adds the revision it keeps (the newest ≤ atMain, if any) to
   * `available`. True when nothing is left of the key: the caller then calls `release`.
   */
  compact(id: number, atMain: number, available: RevisionSet): boolean {
    const record = this.#oldestKept(id, atMain);
    if (record === 0) return true;
    const doubles = this.#doubles[record >>> chunkShift]!;
    const words = this.#words[record >>> chunkShift]!;
    const w = (record & chunkMask) * recordWords;
    this.#dropOlder(words[w + olderAt]!);
    words[w + olderAt] = 0;
    const modMain = doubles[(record & chunkMask) * recordDoubles + modMainAt]!;
    const count = words[w + historyCountAt]!;
    let keep = 0;
    if (modMain <= atMain) {
      available.add(modMain, words[w + modSubAt]! & subMask);
    } else {
      const newer = this.#history.find(words[w + historyAt]!, count, atMain);
      keep = newer < 0 ? count : newer + 1;
      if (newer >= 0) available.add(this.#history.foundMain, this.#history.foundSub);
    }
    words[w + historyAt] = this.#history.trim(words[w + historyAt]!, count, keep);
    words[w + historyCountAt] = keep;
    return false;
  }

  /**
   * Adds to `available` what etcd's compaction at `atMain` would keep, but for a tombstone, and changes nothing. Of a key
   * that one transaction there has deleted and put again etcd would keep the tombstone alone, so that nothing is added.
   */
  keep(id: number, atMain: number, available: RevisionSet): void {
    const record = this.#oldestKept(id, atMain);
    if (record === 0) return;
    const words = this.#words[record >>> chunkShift]!;
    const w = (record & chunkMask) * recordWords;
    const older = words[w + olderAt]!;
    if (older !== 0 && this.#doubles[older >>> chunkShift]![(older & chunkMask) * recordDoubles + modMainAt] === atMain)
      return;
    const modMain = this.#doubles[record >>> chunkShift]![(record & chunkMask) * recordDoubles + modMainAt]!;
    if (modMain <= atMain) {
      if (words[w + modSubAt]! < closedBit) available.add(modMain, words[w + modSubAt]!);
    } else if (this.#history.find(words[w + historyAt]!, words[w + historyCountAt]!, atMain) >= 0) {
      available.add(this.#history.foundMain, this.#history.foundSub);
    }
  }

  /** Releases a key's record and all behind it; the key's bytes are the caller's. */
  release(id: number): void {
    this.#dropped.push(id);
  }

  /** Releases up to `max` dropped records and history blocks and returns how many. */
  sweep(max: number): number {
    let swept = 0;
    while (swept < max && this.#dropped.length > 0) {
      const record = this.#dropped.pop()!;
      const words = this.#words[record >>> chunkShift]!;
      const w = (record & chunkMask) * recordWords;
      const older = words[w + olderAt]!;
      this.#history.release(words[w + historyAt]!, words[w + historyCountAt]!);
      words[w + olderAt] = this.#freeHead;
      this.#freeHead = record;
      if (older !== 0) this.#dropped.push(older);
      swept++;
    }
    return swept + this.#history.sweep(max - swept);
  }

  /**
   * The oldest generation which a compaction at `atMain` keeps; 0 when it keeps none.
   * A generation goes when its tombstone is below atMain. At atMain the tombstone stays, unless the same transaction
   * put the key again: then that put is the newest revision ≤ atMain.
   */
  #oldestKept(id: number, atMain: number): number {
    let kept = 0;
    let record = id;
    while (record !== 0) {
      const words = this.#words[record >>> chunkShift]!;
      const w = (record & chunkMask) * recordWords;
      if (words[w + modSubAt]! >= closedBit) {
        const modMain = this.#doubles[record >>> chunkShift]![(record & chunkMask) * recordDoubles + modMainAt]!;
        if (modMain < atMain) break;
        if (modMain === atMain && kept !== 0 && this.#reaches(kept, atMain)) break;
      }
      kept = record;
      record = words[w + olderAt]!;
    }
    return kept;
  }

  /** Whether the generation has a revision ≤ `atMain`. */
  #reaches(record: number, atMain: number): boolean {
    const words = this.#words[record >>> chunkShift]!;
    const w = (record & chunkMask) * recordWords;
    if (this.#doubles[record >>> chunkShift]![(record & chunkMask) * recordDoubles + modMainAt]! <= atMain) return true;
    return this.#history.find(words[w + historyAt]!, words[w + historyCountAt]!, atMain) >= 0;
  }

  /** Makes (main, sub) the newest revision of the key's newest generation. */
  #advance(id: number, main: number, sub: number): void {
    this.#assertNewer(id, main, sub);
    const doubles = this.#doubles[id >>> chunkShift]!;
    const words = this.#words[id >>> chunkShift]!;
    const d = (id & chunkMask) * recordDoubles;
    const w = (id & chunkMask) * recordWords;
    const count = words[w + historyCountAt]!;
    this.previousMain = doubles[d + modMainAt]!;
    this.previousSub = words[w + modSubAt]!;
    words[w + historyAt] = this.#history.append(words[w + historyAt]!, count, this.previousMain, this.previousSub);
    words[w + historyCountAt] = count + 1;
    doubles[d + modMainAt] = main;
    words[w + modSubAt] = sub;
    this.modMain = main;
    this.modSub = sub;
    this.createMain = doubles[d + createMainAt]!;
    this.version = doubles[d + versionAt] = doubles[d + versionAt]! + 1;
  }

  /** Fills a record with the first revision of a generation. */
  #begin(id: number, main: number, sub: number, createMain: number, version: number): void {
    const doubles = this.#doubles[id >>> chunkShift]!;
    const words = this.#words[id >>> chunkShift]!;
    const d = (id & chunkMask) * recordDoubles;
    const w = (id & chunkMask) * recordWords;
    doubles[d + modMainAt] = this.modMain = main;
    doubles[d + createMainAt] = this.createMain = createMain;
    doubles[d + versionAt] = this.version = version;
    words[w + modSubAt] = this.modSub = sub;
    words[w + historyAt] = 0;
    words[w + historyCountAt] = 0;
    this.previousMain = 0;
    this.previousSub = 0;
  }

  #assertNewer(id: number, main: number, sub: number): void {
    const newest = this.#doubles[id >>> chunkShift]![(id & chunkMask) * recordDoubles + modMainAt]!;
    if (main > newest) return;
    const newestSub = this.#words[id >>> chunkShift]![(id & chunkMask) * recordWords + modSubAt]! & subMask;
    assert(main === newest && sub > newestSub, "a key's revision does not grow");
  }

  #dropOlder(record: number): void {
    if (record !== 0) this.#dropped.push(record);
  }

  #copy(from: number, to: number): void {
    const source = this.#words[from >>> chunkShift]!;
    const target = this.#words[to >>> chunkShift]!;
    const sourceAt = (from & chunkMask) * recordWords;
    const targetAt = (to & chunkMask) * recordWords;
    for (let i = 0; i < recordWords; i++) target[targetAt + i] = source[sourceAt + i]!;
  }

  #allocate(): number {
    const free = this.#freeHead;
    if (free !== 0) {
      this.#freeHead = this.#words[free >>> chunkShift]![(free & chunkMask) * recordWords + olderAt]!;
      return free;
    }
    if (this.#used >= this.#capacity) this.#grow();
    return this.#used++;
  }

  #grow(): void {
    const first = this.#words[0];
    const place = this.#capacity < chunkRecords ? 0 : this.#words.length;
    const records = first === undefined ? firstChunkRecords : place === 0 ? 2 * this.#capacity : chunkRecords;
    const words = new Uint32Array(records * recordWords);
    if (first !== undefined && place === 0) words.set(first);
    this.#words[place] = words;
    this.#doubles[place] = new Float64Array(words.buffer);
    this.#capacity = place * chunkRecords + records;
  }
}
