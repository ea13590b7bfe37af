/**
 * A range of the key index read in slices at one revision.
 * Between slices the index may change in every way; then `pause()` must be called before, which copies the key of the
 * position, and the next call finds it again. Within a slice only changes that move no slot are allowed: tombstones,
 * and puts of keys that are in the index. A key put for the first time after `seek` is newer than the range's
 * revision, so whether the cursor meets it makes no difference. A compaction beyond the range's revision takes its
 * revisions away: the owner must check that before going on.
 */
import { assert } from "../../base/index.js";
import { arenaChunkShift, arenaUnitMask } from "./key-index-arena.js";
import { leafKind } from "./key-index-nodes.js";
import type { KeyIndexParts } from "./key-index-tree.js";

/** What `next` and `countRest` return. */
export const cursorEnd = 0;
export const cursorItem = 1;
export const cursorMore = 2;

const noBytes = new Uint8Array(0);
const bufferBytesMin = 256;

/** `buffer`, or a larger one, with `bytes[start, end)` at its start. */
export function copyInto(buffer: Uint8Array, bytes: Uint8Array, start: number, end: number): Uint8Array {
  const length = end - start;
  const target = length <= buffer.length ? buffer : new Uint8Array(Math.max(bufferBytesMin, length * 2));
  for (let i = 0; i < length; i++) target[i] = bytes[start + i]!;
  return target;
}

export class KeyIndexCursor {
  /* The item at which `next` stopped. The bytes are only to be read, and only until a slot of the index moves. */
  keyBytes: Uint8Array = noBytes;
  keyStart = 0;
  keyEnd = 0;
  modMain = 0;
  modSub = 0;
  createMain = 0;
  version = 0;
  /** Items found since `seek`. */
  count = 0;
  /** Keys looked at since `seek`, those that do not live at the revision too. */
  visited = 0;

  readonly #parts: KeyIndexParts;
  #atRevision = 0;
  #single = false;
  #openEnd = false;
  #done = true;
  /** The range's end. */
  #end: Uint8Array = noBytes;
  #endLength = 0;
  /** Where a paused cursor goes on: at this key, or after it. */
  #position: Uint8Array = noBytes;
  #positionLength = 0;
  #afterPosition = false;
  #paused = true;
  /* The next slot to look at, and the slot at which the range ends in this leaf. */
  #leaf = 0;
  #slot = 0;
  #limit = 0;
  /** Whether a slot was looked at since the position was found; then slot − 1 is the last one. */
  #moved = false;
  #moves = 0;

  constructor(parts: KeyIndexParts) {
    this.#parts = parts;
  }

  /**
   * Begins a range. `end` is as on etcd's wire: empty = the single key, one zero byte = open end. Key and end are
   * copied. Any `atRevision` not below the newest one (or Infinity) reads the present.
   */
  seek(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    end: Uint8Array,
    endStart: number,
    endEnd: number,
    atRevision: number,
  ): void {
    this.#position = copyInto(this.#position, key, keyStart, keyEnd);
    this.#positionLength = keyEnd - keyStart;
    this.#end = copyInto(this.#end, end, endStart, endEnd);
    this.#endLength = endEnd - endStart;
    this.#single = this.#endLength === 0;
    this.#openEnd = this.#endLength === 1 && this.#end[0] === 0;
    this.#atRevision = atRevision;
    this.#afterPosition = false;
    this.#paused = true;
    this.#done = false;
    this.count = this.visited = 0;
  }

  /**
   * cursorItem: the fields are set; cursorEnd: nothing more; cursorMore: `visitMax` keys were looked at and none of
   * them lives at the revision: call again, or pause.
   */
  next(visitMax: number): number {
    let visited = 0;
    while (visited < visitMax) {
      const record = this.#step();
      if (record === 0) return cursorEnd;
      visited++;
      if (!this.#parts.records.read(record, this.#atRevision)) continue;
      this.count++;
      this.#show(record);
      return cursorItem;
    }
    return cursorMore;
  }

  /** Counts what is left, at most `visitMax` keys a call: cursorEnd when done, else cursorMore. */
  countRest(visitMax: number): number {
    const records = this.#parts.records;
    for (let visited = 0; visited < visitMax; visited++) {
      const record = this.#step();
      if (record === 0) return cursorEnd;
      if (records.read(record, this.#atRevision)) this.count++;
    }
    return cursorMore;
  }

  /** To be called before slots of the index may move under a cursor that is to go on. */
  pause(): void {
    if (this.#paused || this.#done) return;
    this.#paused = true;
    if (!this.#moved) return;
    const { tree, records, arena } = this.#parts;
    const record = tree.nodes.value(this.#leaf, this.#slot - 1);
    const ref = records.keyRef(record);
    const start = (ref & arenaUnitMask) << 2;
    this.#positionLength = records.keyLength(record);
    const chunk = arena.chunks[ref >>> arenaChunkShift]!;
    this.#position = copyInto(this.#position, chunk, start, start + this.#positionLength);
    this.#afterPosition = true;
  }

  /** The next record of the range, alive or not; 0 at the end. */
  #step(): number {
    if (this.#done) return 0;
    this.visited++;
    if (this.#single) {
      this.#done = true;
      return this.#parts.tree.find(this.#position, 0, this.#positionLength);
    }
    if (this.#paused) this.#resume();
    const nodes = this.#parts.tree.nodes;
    assert(this.#moves === this.#parts.tree.moves, "the key index moved under a cursor that was not paused");
    while (this.#slot >= this.#limit) {
      const next = this.#limit < nodes.count(this.#leaf) ? 0 : nodes.next(this.#leaf);
      if (next === 0) {
        this.#done = true;
        return 0;
      }
      this.#enter(next, 0);
    }
    this.#moved = true;
    return nodes.value(this.#leaf, this.#slot++);
  }

  #resume(): void {
    const tree = this.#parts.tree;
    const leaf = tree.descend(this.#position, 0, this.#positionLength);
    const slot = tree.nodes.lowerBound(leaf, leafKind, this.#position, 0, this.#positionLength);
    this.#enter(leaf, tree.nodes.matched && this.#afterPosition ? slot + 1 : slot);
    this.#moved = false;
    this.#paused = false;
    this.#moves = tree.moves;
  }

  /** Goes to a slot of a leaf and finds where in this leaf the range ends. */
  #enter(leaf: number, slot: number): void {
    const { tree, records, arena } = this.#parts;
    const count = tree.nodes.count(leaf);
    this.#leaf = leaf;
    this.#slot = slot;
    this.#limit = count;
    if (this.#openEnd || count === 0) return;
    const last = tree.nodes.value(leaf, count - 1);
    const order = arena.compare(records.keyRef(last), records.keyLength(last), this.#end, 0, this.#endLength, 0);
    if (order <= 0) this.#limit = tree.nodes.lowerBound(leaf, leafKind, this.#end, 0, this.#endLength);
  }

  #show(record: number): void {
    const { records, arena } = this.#parts;
    const ref = records.keyRef(record);
    this.keyBytes = arena.chunks[ref >>> arenaChunkShift]!;
    this.keyStart = (ref & arenaUnitMask) << 2;
    this.keyEnd = this.keyStart + records.keyLength(record);
    this.modMain = records.modMain;
    this.modSub = records.modSub;
    this.createMain = records.createMain;
    this.version = records.version;
  }
}
