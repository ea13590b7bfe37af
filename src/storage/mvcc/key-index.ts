/**
 * The key index: from each key to its generations of revisions, in order of key, in memory.
 *
 * All of it lives in chunks of typed arrays (`key-index-*.ts`: arena of key bytes, records of generations, histories,
 * tree nodes), so that the garbage collector sees some hundreds of arrays and never a key, and growth copies nothing.
 * Keys go in as (bytes, start, end) and are copied. Results come in fields, which hold until the next call.
 * Invariant: a key's revisions grow; a key leaves the index only by compaction.
 */
import { assert } from "../../base/index.js";
import { KeyArena } from "./key-index-arena.js";
import { GenerationTable } from "./key-index-generations.js";
import { KeyIndexScan } from "./key-index-scan.js";
import { KeyTree } from "./key-index-tree.js";

export { cursorEnd, cursorItem, cursorMore, KeyIndexCursor } from "./key-index-cursor.js";
export { RevisionSet } from "./key-index-revision-set.js";
export { KeyIndexScan };

export class KeyIndex {
  /* For cursors and scans only. */
  arena: KeyArena = new KeyArena();
  records: GenerationTable = new GenerationTable();
  tree: KeyTree = new KeyTree(this.arena, this.records);
  #liveKeys = 0;

  /** Becomes what `other` is, which must not be used any more. Cursors must be paused; scans must begin anew. */
  adopt(other: KeyIndex): void {
    this.arena = other.arena;
    this.records = other.records;
    this.tree = other.tree;
    this.#liveKeys = other.#liveKeys;
  }

  /* Results of the last get, put or tombstone. */
  get modMain(): number {
    return this.records.modMain;
  }
  get modSub(): number {
    return this.records.modSub;
  }
  get createMain(): number {
    return this.records.createMain;
  }
  get version(): number {
    return this.records.version;
  }
  /** put, tombstone: the revision that was the newest before; 0 and 0 when the key was not alive. */
  get previousMain(): number {
    return this.records.previousMain;
  }
  get previousSub(): number {
    return this.records.previousSub;
  }

  /** Keys in the index, those that ended with a tombstone included. */
  get keys(): number {
    return this.tree.size;
  }

  /** Keys alive at the newest revision. */
  get liveKeys(): number {
    return this.#liveKeys;
  }

  /** Bytes of the chunks held. */
  get memoryBytes(): number {
    return this.arena.memoryBytes + this.records.memoryBytes + this.tree.nodes.memoryBytes;
  }

  /** Adds a put at (main, sub), which must be greater than all revisions of the key. */
  put(bytes: Uint8Array, start: number, end: number, main: number, sub: number): void {
    this.restorePut(bytes, start, end, main, main, sub, 1);
  }

  /** Adds a tombstone. False, and nothing changes, when the key is not alive. */
  tombstone(bytes: Uint8Array, start: number, end: number, main: number, sub: number): boolean {
    const record = this.tree.find(bytes, start, end);
    if (record === 0 || !this.records.tombstone(record, main, sub)) return false;
    this.#liveKeys--;
    return true;
  }

  /**
   * Finds the key as it was at `atRevision`; false when it was not alive then. Any revision not below the newest one,
   * Infinity included, reads the present.
   */
  get(bytes: Uint8Array, start: number, end: number, atRevision: number): boolean {
    const record = this.tree.find(bytes, start, end);
    return record !== 0 && this.records.read(record, atRevision);
  }

  /**
   * Adds a put record of the `key` bucket; records come in order of revision. What the record says of creation and
   * version counts only for the key's first one: those before it were compacted away.
   */
  restorePut(
    bytes: Uint8Array,
    start: number,
    end: number,
    createMain: number,
    main: number,
    sub: number,
    version: number,
  ): void {
    assert(main > 0, "put at revision 0");
    const leaf = this.tree.descend(bytes, start, end);
    const record = this.tree.nodes.find(leaf, bytes, start, end);
    if (record === 0) {
      this.#create(leaf, bytes, start, end, main, sub, createMain, version, false);
      this.#liveKeys++;
    } else if (this.records.put(record, main, sub)) {
      this.#liveKeys++;
    }
  }

  /** Adds a tombstone record of the `key` bucket. One of a key that is not alive is ignored, as etcd does. */
  restoreTombstone(bytes: Uint8Array, start: number, end: number, main: number, sub: number): void {
    const leaf = this.tree.descend(bytes, start, end);
    const record = this.tree.nodes.find(leaf, bytes, start, end);
    if (record === 0) this.#create(leaf, bytes, start, end, main, sub, 0, 1, true);
    else if (this.records.tombstone(record, main, sub)) this.#liveKeys--;
  }

  /**
   * Begins a compaction: its steps drop what etcd drops at `atRevision`, and `available` becomes the set of revisions
   * which the physical compaction keeps among those ≤ atRevision.
   */
  compaction(atRevision: number): KeyIndexScan {
    return new KeyIndexScan(this, atRevision, true);
  }

  /** Begins the search for HashKV's keep set at `atRevision`; it changes nothing. */
  keep(atRevision: number): KeyIndexScan {
    return new KeyIndexScan(this, atRevision, false);
  }

  #create(
    leaf: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    main: number,
    sub: number,
    createMain: number,
    version: number,
    closed: boolean,
  ): void {
    const ref = this.arena.store(bytes, start, end);
    this.tree.insert(leaf, this.records.create(ref, end - start, main, sub, createMain, version, closed));
  }
}
