/**
 * An ordered map from key bytes to record ids: a B+tree over `KeyNodes`.
 * Invariants: all leaves have the same depth; leaves are linked in order of key; no node is empty but the root leaf
 * of an empty tree. `moves` grows whenever a slot may have moved, which invalidates (leaf, slot) positions.
 * An append at a leaf's end leaves it full and opens a new one, so that keys which come in order fill their leaves.
 */
import { arenaChunkShift, arenaUnitMask, type KeyArena } from "./key-index-arena.js";
import type { GenerationTable } from "./key-index-generations.js";
import { innerKind, KeyNodes, leafKind, slotsMax, type NodeKind } from "./key-index-nodes.js";

const half = slotsMax / 2;
/** A node this small is merged with a neighbour if the sum leaves room for some growth. */
const mergeBelow = slotsMax / 4;
const mergedMax = (slotsMax * 3) / 4;
/** 64 slots, at least a quarter filled: far more than 2^32 records can need. */
const heightMax = 32;

/** What the index, its cursors and its scans share. */
export interface KeyIndexParts {
  readonly arena: KeyArena;
  readonly records: GenerationTable;
  readonly tree: KeyTree;
}

export class KeyTree {
  readonly nodes: KeyNodes;
  readonly #arena: KeyArena;
  readonly #records: GenerationTable;
  #root: number;
  /** Levels of inner nodes above the leaves. */
  #height = 0;
  moves = 0;
  /** Records in the tree. */
  size = 0;
  /** The way to the leaf of the last `descend`: the inner nodes from the root, and the child's slot in each. */
  readonly #pathNodes = new Uint32Array(heightMax);
  readonly #pathSlots = new Uint8Array(heightMax);

  constructor(arena: KeyArena, records: GenerationTable) {
    this.nodes = new KeyNodes(arena, records);
    this.#arena = arena;
    this.#records = records;
    this.#root = this.nodes.create(leafKind);
  }

  /** The leaf in whose range the key lies. */
  descend(bytes: Uint8Array, start: number, end: number): number {
    let node = this.#root;
    for (let depth = 0; depth < this.#height; depth++) {
      const slot = this.nodes.childSlot(node, bytes, start, end);
      this.#pathNodes[depth] = node;
      this.#pathSlots[depth] = slot;
      node = this.nodes.value(node, slot);
    }
    return node;
  }

  /** The key's record, 0 when there is none. */
  find(bytes: Uint8Array, start: number, end: number): number {
    return this.nodes.find(this.descend(bytes, start, end), bytes, start, end);
  }

  /** Adds the record of a key that the leaf lacks; `descend` must just have found the leaf for that key. */
  insert(leaf: number, record: number): void {
    this.moves++;
    this.size++;
    const ref = this.#records.keyRef(record);
    const length = this.#records.keyLength(record);
    const chunk = this.#arena.chunks[ref >>> arenaChunkShift]!;
    const start = (ref & arenaUnitMask) << 2;
    const slot = this.nodes.lowerBound(leaf, leafKind, chunk, start, start + length);
    if (this.nodes.count(leaf) < slotsMax) {
      this.nodes.insert(leaf, leafKind, slot, record, ref, length);
      return;
    }
    const right = this.nodes.create(leafKind);
    this.nodes.linkAfter(leaf, right);
    if (slot < slotsMax) this.nodes.moveTail(leaf, right, leafKind, half);
    if (slot <= half) this.nodes.insert(leaf, leafKind, slot, record, ref, length);
    else this.nodes.insert(right, leafKind, slot === slotsMax ? 0 : slot - half, record, ref, length);
    this.#insertBesideLeaf(leaf, right);
  }

  /**
   * Takes the records of the leaf that `dead` marks (one byte a slot) out of the tree, and merges what has become
   * small. The records and their keys' bytes must still be there and stay the caller's to release.
   */
  removeMarked(leaf: number, dead: Uint8Array): void {
    this.moves++;
    const ref = this.nodes.keyRef(leaf, 0, leafKind);
    const chunk = this.#arena.chunks[ref >>> arenaChunkShift]!;
    const start = (ref & arenaUnitMask) << 2;
    this.descend(chunk, start, start + this.nodes.keyLength(leaf, 0, leafKind));
    for (let slot = this.nodes.count(leaf) - 1; slot >= 0; slot--) {
      if (dead[slot] === 0) continue;
      this.nodes.remove(leaf, leafKind, slot);
      this.size--;
    }
    this.#rebalance(leaf, this.#height - 1, leafKind);
  }

  /** Gives the parent a separator between two leaves, the second of which is new. */
  #insertBesideLeaf(leaf: number, right: number): void {
    const last = this.nodes.count(leaf) - 1;
    const lastRef = this.nodes.keyRef(leaf, last, leafKind);
    const firstRef = this.nodes.keyRef(right, 0, leafKind);
    const firstLength = this.nodes.keyLength(right, 0, leafKind);
    const limit = Math.min(this.nodes.keyLength(leaf, last, leafKind), firstLength);
    // The shortest start of the right leaf's first key that is greater than the left one's last key.
    const length = this.#arena.commonLength(lastRef, firstRef, limit) + 1;
    const start = (firstRef & arenaUnitMask) << 2;
    const separator = this.#arena.store(this.#arena.chunks[firstRef >>> arenaChunkShift]!, start, start + length);
    this.#insertChild(this.#height - 1, right, separator, length);
  }

  /** Puts a child and its separator behind the slot on the path at `depth`, splitting upwards where it is full. */
  #insertChild(depth: number, child: number, separator: number, length: number): void {
    if (depth < 0) {
      this.#growRoot(child, separator, length);
      return;
    }
    const node = this.#pathNodes[depth]!;
    const slot = this.#pathSlots[depth]! + 1;
    if (this.nodes.count(node) < slotsMax) {
      this.nodes.insert(node, innerKind, slot, child, separator, length);
      return;
    }
    const right = this.nodes.create(innerKind);
    if (slot === slotsMax) {
      this.nodes.insertFirstChild(right, child);
      this.#insertChild(depth - 1, right, separator, length);
      return;
    }
    const middle = this.nodes.keyRef(node, half, innerKind);
    const middleLength = this.nodes.keyLength(node, half, innerKind);
    this.nodes.moveTail(node, right, innerKind, half);
    if (slot <= half) this.nodes.insert(node, innerKind, slot, child, separator, length);
    else this.nodes.insert(right, innerKind, slot - half, child, separator, length);
    this.#insertChild(depth - 1, right, middle, middleLength);
  }

  #growRoot(child: number, separator: number, length: number): void {
    const root = this.nodes.create(innerKind);
    this.nodes.insertFirstChild(root, this.#root);
    this.nodes.insert(root, innerKind, 1, child, separator, length);
    this.#root = root;
    this.#height++;
  }

  /** Merges a node with a neighbour under the same parent (on the path at `depth`) or takes it out when empty. */
  #rebalance(node: number, depth: number, kind: NodeKind): void {
    if (depth < 0) {
      this.#shrinkRoot();
      return;
    }
    const count = this.nodes.count(node);
    if (count > mergeBelow) return;
    const parent = this.#pathNodes[depth]!;
    const slot = this.#pathSlots[depth]!;
    if (count === 0) this.#removeChild(parent, slot, kind);
    else if (this.#fits(count, parent, slot + 1)) this.#merge(parent, slot, kind);
    else if (this.#fits(count, parent, slot - 1)) this.#merge(parent, slot - 1, kind);
    else return;
    this.#rebalance(parent, depth - 1, innerKind);
  }

  #fits(count: number, parent: number, slot: number): boolean {
    if (slot < 0 || slot >= this.nodes.count(parent)) return false;
    return count + this.nodes.count(this.nodes.value(parent, slot)) <= mergedMax;
  }

  /** Moves all of the child after `slot` into the one at `slot`. */
  #merge(parent: number, slot: number, kind: NodeKind): void {
    const left = this.nodes.value(parent, slot);
    const right = this.nodes.value(parent, slot + 1);
    const separator = this.nodes.keyRef(parent, slot + 1, innerKind);
    const length = this.nodes.keyLength(parent, slot + 1, innerKind);
    // Between inner nodes the separator comes down with the first child; between leaves it is no longer needed.
    if (kind === innerKind) this.nodes.setFirstSeparator(right, separator, length);
    this.nodes.moveTail(right, left, kind, 0);
    if (kind === leafKind) {
      this.nodes.unlink(right);
      this.#arena.release(separator, length);
    }
    this.nodes.remove(parent, innerKind, slot + 1);
    this.nodes.release(right, kind);
  }

  /** Takes an empty child out of its parent, which may be empty then. */
  #removeChild(parent: number, slot: number, kind: NodeKind): void {
    const child = this.nodes.value(parent, slot);
    const separatorSlot = slot === 0 ? 1 : slot;
    if (separatorSlot < this.nodes.count(parent)) {
      const length = this.nodes.keyLength(parent, separatorSlot, innerKind);
      this.#arena.release(this.nodes.keyRef(parent, separatorSlot, innerKind), length);
    }
    if (kind === leafKind) this.nodes.unlink(child);
    this.nodes.remove(parent, innerKind, slot);
    this.nodes.release(child, kind);
  }

  #shrinkRoot(): void {
    while (this.#height > 0 && this.nodes.count(this.#root) <= 1) {
      const root = this.#root;
      const empty = this.nodes.count(root) === 0;
      this.#root = empty ? this.nodes.create(leafKind) : this.nodes.value(root, 0);
      this.#height = empty ? 0 : this.#height - 1;
      this.nodes.release(root, innerKind);
    }
  }
}
