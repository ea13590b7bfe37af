/**
 * The nodes of the key index's B+tree: layout, search and moves inside one node.
 * A node has up to 64 slots. Slot i of a leaf is a key's record; slot i of an inner node is a child, before which
 * stands separator i, a byte string of the arena: keys of child i − 1 < separator i ≤ keys of child i. Slot 0 of an
 * inner node has no separator, so keys there begin at slot 1.
 * Every key of a node starts with the same `prefix` bytes, and a slot's head is the four bytes after them, so that a
 * search runs over neighbouring words and looks at the arena only for the prefix and for equal heads.
 */
import { headOf, type KeyArena } from "./key-index-arena.js";
import type { GenerationTable } from "./key-index-generations.js";
import { slabChunkMask, slabChunkShift, WordSlab } from "./key-index-slab.js";

export const slotsMax = 64;
const countAt = 0;
const prefixAt = 1;
/* The neighbours of a leaf, 0 at the ends. */
const nextAt = 2;
const previousAt = 3;
const headsAt = 4;
const valuesAt = headsAt + slotsMax;
const separatorRefAt = valuesAt + slotsMax;
const separatorLengthAt = separatorRefAt + slotsMax;
const leafClass = 0;
const innerClass = 1;

/** Which kind of node a call is about; also the first slot that has a key. */
export const leafKind = 0;
export const innerKind = 1;
export type NodeKind = typeof leafKind | typeof innerKind;

export class KeyNodes {
  readonly #slab = new WordSlab([separatorRefAt, separatorLengthAt + slotsMax]);
  readonly #arena: KeyArena;
  readonly #records: GenerationTable;
  /** Whether the key given to the last `lowerBound` stands at the slot it returned. */
  matched = false;

  constructor(arena: KeyArena, records: GenerationTable) {
    this.#arena = arena;
    this.#records = records;
  }

  get memoryBytes(): number {
    return this.#slab.memoryBytes;
  }

  create(kind: NodeKind): number {
    const node = this.#slab.allocate(kind === leafKind ? leafClass : innerClass);
    this.#words(node).fill(0, node & slabChunkMask, (node & slabChunkMask) + headsAt);
    return node;
  }

  release(node: number, kind: NodeKind): void {
    this.#slab.release(node, kind === leafKind ? leafClass : innerClass);
  }

  count(node: number): number {
    return this.#words(node)[(node & slabChunkMask) + countAt]!;
  }

  next(leaf: number): number {
    return this.#words(leaf)[(leaf & slabChunkMask) + nextAt]!;
  }

  /** The record or child in a slot. */
  value(node: number, slot: number): number {
    return this.#words(node)[(node & slabChunkMask) + valuesAt + slot]!;
  }

  keyRef(node: number, slot: number, kind: NodeKind): number {
    if (kind === leafKind) return this.#records.keyRef(this.value(node, slot));
    return this.#words(node)[(node & slabChunkMask) + separatorRefAt + slot]!;
  }

  keyLength(node: number, slot: number, kind: NodeKind): number {
    if (kind === leafKind) return this.#records.keyLength(this.value(node, slot));
    return this.#words(node)[(node & slabChunkMask) + separatorLengthAt + slot]!;
  }

  /** The first slot whose key is ≥ `bytes[start, end)` (the count, if none); sets `matched`. */
  lowerBound(node: number, kind: NodeKind, bytes: Uint8Array, start: number, end: number): number {
    this.matched = false;
    const words = this.#words(node);
    const at = node & slabChunkMask;
    const count = words[at + countAt]!;
    if (count <= kind) return kind;
    const prefix = words[at + prefixAt]!;
    const order = this.#arena.comparePrefix(this.keyRef(node, kind, kind), prefix, bytes, start, end);
    if (order !== 0) return order < 0 ? kind : count;
    const heads = at + headsAt;
    const head = headOf(bytes, start + prefix, end);
    let lo: number = kind;
    let hi = count;
    while (lo < hi) {
      const middle = (lo + hi) >>> 1;
      if (words[heads + middle]! < head) lo = middle + 1;
      else hi = middle;
    }
    while (hi < count && words[heads + hi] === head) hi++;
    while (lo < hi) {
      const middle = (lo + hi) >>> 1;
      const ref = this.keyRef(node, middle, kind);
      const compared = this.#arena.compare(ref, this.keyLength(node, middle, kind), bytes, start, end, prefix);
      if (compared === 0) {
        this.matched = true;
        return middle;
      }
      if (compared > 0) lo = middle + 1;
      else hi = middle;
    }
    return lo;
  }

  /**
   * The record of a key in a leaf, 0 when it is not there. Unlike `lowerBound` it takes the prefix for granted and
   * compares the whole key at the end, which spares a look at another key.
   */
  find(leaf: number, bytes: Uint8Array, start: number, end: number): number {
    const words = this.#words(leaf);
    const at = leaf & slabChunkMask;
    const count = words[at + countAt]!;
    const heads = at + headsAt;
    const head = headOf(bytes, start + words[at + prefixAt]!, end);
    let lo = 0;
    let hi = count;
    while (lo < hi) {
      const middle = (lo + hi) >>> 1;
      if (words[heads + middle]! < head) lo = middle + 1;
      else hi = middle;
    }
    while (hi < count && words[heads + hi] === head) hi++;
    while (lo < hi) {
      const middle = (lo + hi) >>> 1;
      const record = words[at + valuesAt + middle]!;
      const ref = this.#records.keyRef(record);
      const compared = this.#arena.compare(ref, this.#records.keyLength(record), bytes, start, end, 0);
      if (compared === 0) return record;
      if (compared > 0) lo = middle + 1;
      else hi = middle;
    }
    return 0;
  }

  /** The slot of the child in whose range the key lies. */
  childSlot(inner: number, bytes: Uint8Array, start: number, end: number): number {
    const slot = this.lowerBound(inner, innerKind, bytes, start, end);
    return this.matched ? slot : slot - 1;
  }

  /** Puts a value and its key (for a leaf, the key of the record) into a slot of a node that is not full. */
  insert(node: number, kind: NodeKind, slot: number, value: number, keyRef: number, keyLength: number): void {
    const words = this.#words(node);
    const at = node & slabChunkMask;
    const count = words[at + countAt]!;
    if (count <= kind) words[at + prefixAt] = keyLength;
    else if (slot === kind || slot === count) this.#shortenPrefix(node, kind, keyRef, keyLength);
    const lanes = kind === leafKind ? 2 : 4;
    for (let lane = 0; lane < lanes; lane++) {
      const from = at + headsAt + lane * slotsMax + slot;
      words.copyWithin(from + 1, from, from + count - slot);
    }
    words[at + countAt] = count + 1;
    words[at + headsAt + slot] = this.#arena.head(keyRef, keyLength, words[at + prefixAt]!);
    words[at + valuesAt + slot] = value;
    if (kind === leafKind) return;
    words[at + separatorRefAt + slot] = keyRef;
    words[at + separatorLengthAt + slot] = keyLength;
  }

  /** Appends a child without separator to an empty inner node. */
  insertFirstChild(inner: number, child: number): void {
    const at = inner & slabChunkMask;
    this.#words(inner)[at + countAt] = 1;
    this.#words(inner)[at + valuesAt] = child;
  }

  /** Takes a slot out. The arena's bytes stay; the common prefix stays common. */
  remove(node: number, kind: NodeKind, slot: number): void {
    const words = this.#words(node);
    const at = node & slabChunkMask;
    const count = words[at + countAt]!;
    const lanes = kind === leafKind ? 2 : 4;
    for (let lane = 0; lane < lanes; lane++) {
      const from = at + headsAt + lane * slotsMax + slot;
      words.copyWithin(from, from + 1, from + count - slot);
    }
    words[at + countAt] = count - 1;
  }

  /** Moves the slots from `first` on to the end of another node, whose neighbours' keys are all less. */
  moveTail(from: number, to: number, kind: NodeKind, first: number): void {
    const source = this.#words(from);
    const target = this.#words(to);
    const sourceAt = from & slabChunkMask;
    const targetAt = to & slabChunkMask;
    const moved = source[sourceAt + countAt]! - first;
    const held = target[targetAt + countAt]!;
    const lanes = kind === leafKind ? 2 : 4;
    for (let lane = 1; lane < lanes; lane++) {
      const fromAt = sourceAt + headsAt + lane * slotsMax + first;
      const toAt = targetAt + headsAt + lane * slotsMax + held;
      for (let i = 0; i < moved; i++) target[toAt + i] = source[fromAt + i]!;
    }
    target[targetAt + countAt] = held + moved;
    source[sourceAt + countAt] = first;
    this.#rebuildHeads(from, kind);
    this.#rebuildHeads(to, kind);
  }

  /** Gives slot 0 of an inner node a separator, so that it may stand behind other slots: `moveTail` must follow. */
  setFirstSeparator(inner: number, ref: number, length: number): void {
    const at = inner & slabChunkMask;
    this.#words(inner)[at + separatorRefAt] = ref;
    this.#words(inner)[at + separatorLengthAt] = length;
  }

  /** Links a new leaf in after another. */
  linkAfter(leaf: number, added: number): void {
    const next = this.next(leaf);
    this.#words(leaf)[(leaf & slabChunkMask) + nextAt] = added;
    this.#words(added)[(added & slabChunkMask) + previousAt] = leaf;
    this.#words(added)[(added & slabChunkMask) + nextAt] = next;
    if (next !== 0) this.#words(next)[(next & slabChunkMask) + previousAt] = added;
  }

  unlink(leaf: number): void {
    const next = this.next(leaf);
    const previous = this.#words(leaf)[(leaf & slabChunkMask) + previousAt]!;
    if (previous !== 0) this.#words(previous)[(previous & slabChunkMask) + nextAt] = next;
    if (next !== 0) this.#words(next)[(next & slabChunkMask) + previousAt] = previous;
  }

  /** Sets the longest common prefix and all heads anew. */
  #rebuildHeads(node: number, kind: NodeKind): void {
    const count = this.count(node);
    if (count <= kind) return;
    const first = this.keyRef(node, kind, kind);
    const last = this.keyRef(node, count - 1, kind);
    const limit = Math.min(this.keyLength(node, kind, kind), this.keyLength(node, count - 1, kind));
    this.#setPrefix(node, kind, first === last ? limit : this.#arena.commonLength(first, last, limit));
  }

  /** Makes the prefix one which the given key has as well. */
  #shortenPrefix(node: number, kind: NodeKind, keyRef: number, keyLength: number): void {
    const prefix = this.#words(node)[(node & slabChunkMask) + prefixAt]!;
    const limit = Math.min(prefix, keyLength);
    const common = this.#arena.commonLength(this.keyRef(node, kind, kind), keyRef, limit);
    if (common < prefix) this.#setPrefix(node, kind, common);
  }

  #setPrefix(node: number, kind: NodeKind, prefix: number): void {
    const words = this.#words(node);
    const at = node & slabChunkMask;
    const count = words[at + countAt]!;
    words[at + prefixAt] = prefix;
    for (let slot: number = kind; slot < count; slot++) {
      const ref = this.keyRef(node, slot, kind);
      words[at + headsAt + slot] = this.#arena.head(ref, this.keyLength(node, slot, kind), prefix);
    }
  }

  #words(node: number): Uint32Array {
    return this.#slab.chunks[node >>> slabChunkShift]!;
  }
}
