/**
 * The revisions of a generation except its newest one, oldest first, on typed arrays.
 * A history is a pair (reference, count) kept by its owner:
 *  - count 0: no block, reference 0;
 *  - up to `plainMax` revisions: one block of three words each (main low, main high, sub);
 *  - above: a chain of long blocks from the newest to the oldest, each with a header (previous block, count).
 * A dropped chain is released a few blocks at a time by `sweep`, because it may have hundreds of thousands.
 */
import { slabChunkMask, slabChunkShift, WordSlab } from "./key-index-slab.js";

const two32 = 4294967296;
const plainMax = 32;
/** The capacities of plain blocks; a history grows from one to the next. */
const capacities = [1, 2, 3, 4, 6, 8, 12, 16, 24, plainMax] as const;
const longCapacity = 64;
const longHeaderWords = 2;
const longClass = capacities.length;
/** The class of the plain block for each count. */
const classOfCount = Uint8Array.from({ length: plainMax + 1 }, (_, count) => capacities.findIndex((c) => c >= count));

export class RevisionHistory {
  readonly #slab = new WordSlab([...capacities.map((c) => c * 3), longHeaderWords + longCapacity * 3]);
  /** Newest blocks of dropped chains. Long chains are rare, so this is no list of per-key objects. */
  readonly #dropped: number[] = [];
  /** The revision that `find` found. */
  foundMain = 0;
  foundSub = 0;

  get memoryBytes(): number {
    return this.#slab.memoryBytes;
  }

  /** Appends a revision to a history of `count` and returns its new reference. */
  append(ref: number, count: number, main: number, sub: number): number {
    const to = count < plainMax ? this.#roomPlain(ref, count) : this.#roomLong(ref, count);
    const words = this.#slab.chunks[to >>> slabChunkShift]!;
    let at = to & slabChunkMask;
    at += count < plainMax ? count * 3 : longHeaderWords + words[at + 1]!++ * 3;
    words[at] = main % two32;
    words[at + 1] = Math.floor(main / two32);
    words[at + 2] = sub;
    return to;
  }

  /**
   * Finds the newest revision with main ≤ `atMain`, sets `foundMain` and `foundSub`, and returns how many revisions of
   * the history are newer; −1 when there is none.
   */
  find(ref: number, count: number, atMain: number): number {
    if (count <= plainMax) return this.#findInBlock(ref, 0, count, atMain);
    let newer = 0;
    let block = ref;
    while (block !== 0) {
      const words = this.#slab.chunks[block >>> slabChunkShift]!;
      const blockCount = words[(block & slabChunkMask) + 1]!;
      const found = this.#findInBlock(block, longHeaderWords, blockCount, atMain);
      if (found >= 0) return newer + found;
      newer += blockCount;
      block = words[block & slabChunkMask]!;
    }
    return -1;
  }

  /** Keeps the newest `keep` of `count` revisions and returns the new reference. */
  trim(ref: number, count: number, keep: number): number {
    if (keep === count) return ref;
    if (keep > plainMax) {
      this.#trimChain(ref, keep);
      return ref;
    }
    const to = keep === 0 ? 0 : this.#slab.allocate(classOfCount[keep]!);
    if (keep > 0) this.#copyNewest(ref, count, to, keep);
    this.release(ref, count);
    return to;
  }

  release(ref: number, count: number): void {
    if (count === 0) return;
    if (count <= plainMax) this.#slab.release(ref, classOfCount[count]!);
    else this.#dropped.push(ref);
  }

  /** Releases up to `blocksMax` blocks of dropped chains and returns how many. */
  sweep(blocksMax: number): number {
    let swept = 0;
    while (swept < blocksMax && this.#dropped.length > 0) {
      const block = this.#dropped.pop()!;
      const previous = this.#slab.chunks[block >>> slabChunkShift]![block & slabChunkMask]!;
      this.#slab.release(block, longClass);
      if (previous !== 0) this.#dropped.push(previous);
      swept++;
    }
    return swept;
  }

  /** A plain block of `count` revisions with room for one more. */
  #roomPlain(ref: number, count: number): number {
    const cls = classOfCount[count + 1]!;
    if (count === 0) return this.#slab.allocate(cls);
    const clsNow = classOfCount[count]!;
    if (cls === clsNow) return ref;
    const to = this.#slab.allocate(cls);
    this.#copyWords(ref & slabChunkMask, ref, to & slabChunkMask, to, count * 3);
    this.#slab.release(ref, clsNow);
    return to;
  }

  /** The newest long block with room for one more; a full plain block becomes a chain here. */
  #roomLong(ref: number, count: number): number {
    const words = this.#slab.chunks[ref >>> slabChunkShift]!;
    if (count > plainMax && words[(ref & slabChunkMask) + 1]! < longCapacity) return ref;
    const to = this.#slab.allocate(longClass);
    const at = to & slabChunkMask;
    const toWords = this.#slab.chunks[to >>> slabChunkShift]!;
    if (count > plainMax) {
      toWords[at] = ref;
      toWords[at + 1] = 0;
      return to;
    }
    toWords[at] = 0;
    toWords[at + 1] = count;
    this.#copyWords(ref & slabChunkMask, ref, at + longHeaderWords, to, count * 3);
    this.#slab.release(ref, classOfCount[count]!);
    return to;
  }

  #findInBlock(ref: number, header: number, count: number, atMain: number): number {
    if (count === 0) return -1;
    const words = this.#slab.chunks[ref >>> slabChunkShift]!;
    const base = (ref & slabChunkMask) + header;
    let lo = 0;
    let hi = count;
    while (lo < hi) {
      const middle = (lo + hi) >>> 1;
      const at = base + middle * 3;
      if (words[at]! + words[at + 1]! * two32 <= atMain) lo = middle + 1;
      else hi = middle;
    }
    if (lo === 0) return -1;
    const at = base + (lo - 1) * 3;
    this.foundMain = words[at]! + words[at + 1]! * two32;
    this.foundSub = words[at + 2]!;
    return count - lo;
  }

  /** Shortens a chain to its newest `keep` revisions, which stay a chain. */
  #trimChain(ref: number, keep: number): void {
    let block = ref;
    let reached = 0;
    for (;;) {
      const words = this.#slab.chunks[block >>> slabChunkShift]!;
      const at = block & slabChunkMask;
      const count = words[at + 1]!;
      reached += count;
      if (reached < keep) {
        block = words[at]!;
        continue;
      }
      if (words[at] !== 0) this.#dropped.push(words[at]!);
      words[at] = 0;
      const left = count - (reached - keep);
      const first = at + longHeaderWords + (count - left) * 3;
      words.copyWithin(at + longHeaderWords, first, at + longHeaderWords + count * 3);
      words[at + 1] = left;
      return;
    }
  }

  /** Copies the newest `keep` ≤ plainMax revisions of a history into the plain block `to`. */
  #copyNewest(ref: number, count: number, to: number, keep: number): void {
    const toAt = to & slabChunkMask;
    if (count <= plainMax) {
      this.#copyWords((ref & slabChunkMask) + (count - keep) * 3, ref, toAt, to, keep * 3);
      return;
    }
    let left = keep;
    let block = ref;
    while (left > 0) {
      const words = this.#slab.chunks[block >>> slabChunkShift]!;
      const at = block & slabChunkMask;
      const blockCount = words[at + 1]!;
      const take = Math.min(left, blockCount);
      left -= take;
      this.#copyWords(at + longHeaderWords + (blockCount - take) * 3, block, toAt + left * 3, to, take * 3);
      block = words[at]!;
    }
  }

  /** Copies words between the chunks of two blocks, given the offsets inside them. */
  #copyWords(fromOffset: number, from: number, toOffset: number, to: number, count: number): void {
    const source = this.#slab.chunks[from >>> slabChunkShift]!;
    const target = this.#slab.chunks[to >>> slabChunkShift]!;
    for (let i = 0; i < count; i++) target[toOffset + i] = source[fromOffset + i]!;
  }
}
