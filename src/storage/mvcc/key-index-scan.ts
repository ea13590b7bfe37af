/**
 * A pass over all keys in slices: compaction, or the search for HashKV's keep set.
 * Puts, tombstones and reads may go on between steps: what they add is newer than the scan's revision. Two
 * compactions must not overlap.
 */
import { arenaChunkShift, arenaUnitMask } from "./key-index-arena.js";
import { copyInto } from "./key-index-cursor.js";
import { leafKind, slotsMax } from "./key-index-nodes.js";
import { RevisionSet } from "./key-index-revision-set.js";
import type { KeyIndexParts } from "./key-index-tree.js";

/** Slots of the kept set that are made ready in the time of one key. */
const slotsPerKey = 16;
/** Dropped records and history blocks that are released after each leaf of a compaction. */
const sweepAfterLeaf = 4 * slotsMax;

export class KeyIndexScan {
  /**
   * The revisions ≤ the scan's revision that are kept, complete when `step` has returned false. A compaction keeps
   * each key's newest one, also a tombstone exactly at its revision; HashKV's set has no tombstones.
   */
  readonly available: RevisionSet;
  readonly #parts: KeyIndexParts;
  readonly #atRevision: number;
  readonly #drop: boolean;
  /** The first key not yet handled. */
  #position: Uint8Array = new Uint8Array(0);
  #positionLength = 0;
  #prepared = false;
  #walked = false;
  readonly #dead = new Uint8Array(slotsMax);
  readonly #deadRecords = new Uint32Array(slotsMax);

  /** With `drop` a compaction, else a keep set. */
  constructor(parts: KeyIndexParts, atRevision: number, drop: boolean) {
    this.#parts = parts;
    this.#atRevision = atRevision;
    this.#drop = drop;
    // Each key adds one revision at most, and later keys add none.
    this.available = new RevisionSet(parts.tree.size);
  }

  /** Handles about `keysMax` keys; true while there is more to do. */
  step(keysMax: number): boolean {
    if (!this.#prepared) {
      this.#prepared = !this.available.prepare(keysMax * slotsPerKey);
      return true;
    }
    let visited = 0;
    while (!this.#walked && visited < keysMax) visited += this.#walk(keysMax - visited);
    if (!this.#walked) return true;
    return this.#drop && this.#parts.records.sweep(keysMax) === keysMax;
  }

  /** Walks leaves from the position on until keys were dropped (slots may have moved then) or the budget is spent. */
  #walk(keysMax: number): number {
    const { tree, records } = this.#parts;
    const nodes = tree.nodes;
    let leaf = tree.descend(this.#position, 0, this.#positionLength);
    let slot = nodes.lowerBound(leaf, leafKind, this.#position, 0, this.#positionLength);
    let visited = 0;
    for (;;) {
      visited += nodes.count(leaf) - slot + 1;
      const dead = this.#drop ? this.#compactLeaf(leaf, slot) : this.#keepLeaf(leaf, slot);
      const next = nodes.next(leaf);
      if (next === 0) this.#walked = true;
      else if (dead > 0 || visited >= keysMax) this.#setPosition(next);
      if (dead > 0) this.#removeDead(leaf, dead);
      if (this.#drop) visited += records.sweep(sweepAfterLeaf);
      if (next === 0 || dead > 0 || visited >= keysMax) return visited;
      leaf = next;
      slot = 0;
    }
  }

  #keepLeaf(leaf: number, firstSlot: number): number {
    const { tree, records } = this.#parts;
    const count = tree.nodes.count(leaf);
    for (let slot = firstSlot; slot < count; slot++) {
      records.keep(tree.nodes.value(leaf, slot), this.#atRevision, this.available);
    }
    return 0;
  }

  /** Compacts the keys of a leaf, marks those of which nothing is left and returns their number. */
  #compactLeaf(leaf: number, firstSlot: number): number {
    const { tree, records } = this.#parts;
    const count = tree.nodes.count(leaf);
    let dead = 0;
    this.#dead.fill(0);
    for (let slot = firstSlot; slot < count; slot++) {
      const record = tree.nodes.value(leaf, slot);
      if (!records.compact(record, this.#atRevision, this.available)) continue;
      this.#dead[slot] = 1;
      this.#deadRecords[dead++] = record;
    }
    return dead;
  }

  #removeDead(leaf: number, dead: number): void {
    const { tree, records, arena } = this.#parts;
    tree.removeMarked(leaf, this.#dead);
    for (let i = 0; i < dead; i++) {
      const record = this.#deadRecords[i]!;
      arena.release(records.keyRef(record), records.keyLength(record));
      records.release(record);
    }
  }

  /** The scan goes on at the first key of a leaf. */
  #setPosition(leaf: number): void {
    const { tree, arena } = this.#parts;
    const ref = tree.nodes.keyRef(leaf, 0, leafKind);
    const start = (ref & arenaUnitMask) << 2;
    this.#positionLength = tree.nodes.keyLength(leaf, 0, leafKind);
    const chunk = arena.chunks[ref >>> arenaChunkShift]!;
    this.#position = copyInto(this.#position, chunk, start, start + this.#positionLength);
  }
}
