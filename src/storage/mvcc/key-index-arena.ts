/**
 * The bytes of keys, in chunks of 4 MiB, of which the first begins small and doubles.
 * A reference counts 4-byte units over all chunks, so 32 bits reach 16 GiB; 0 means "none". A block's length is kept
 * by its owner. Blocks are rounded up to a size class and a freed block serves its own class again; keys of up to
 * 256 bytes lose at most 3 bytes, longer ones at most an eighth. A key longer than a chunk gets a chunk of its own.
 */
import { assert } from "../../base/index.js";

export const arenaChunkShift = 20;
const unitsPerChunk = 1 << arenaChunkShift;
export const arenaUnitMask = unitsPerChunk - 1;
const chunkBytes = unitsPerChunk * 4;
const firstChunkUnits = 1 << 12;
const chunksMax = 1 << (32 - arenaChunkShift);
/** Up to so many units every size is a class of its own; above there are 8 classes to each doubling. */
const exactUnits = 64;
/** Up to here a loop is faster than a view and its copy. */
const loopBytesMax = 128;
const classes = exactUnits + 8 * (arenaChunkShift - 6) + 1;

/** The class of a block of `units`. */
function classOf(units: number): number {
  if (units <= exactUnits) return units - 1;
  const shift = 28 - Math.clz32(units);
  const eighths = (units + (1 << shift) - 1) >>> shift;
  return exactUnits - 1 + (shift - 3) * 8 + eighths - 8;
}

/** The size of the blocks of a class, the inverse of `classOf`. */
function unitsOf(cls: number): number {
  if (cls < exactUnits) return cls + 1;
  const above = cls - exactUnits + 1;
  return (8 + (above & 7)) << ((above >>> 3) + 3);
}

export class KeyArena {
  /**
   * The bytes of a block start at `(ref & arenaUnitMask) * 4` in `chunks[ref >>> arenaChunkShift]`; `store` may put
   * another array there, and what the former one holds stays as it was.
   */
  readonly chunks: Uint8Array[] = [];
  /** The same memory as words, for the links of the free lists. */
  readonly #words: Uint32Array[] = [];
  readonly #freeHeads = new Uint32Array(classes);
  /** Places in `chunks` of released keys that had a chunk of their own. */
  readonly #freeChunks: number[] = [];
  #bumpChunk = 0;
  #bumpUnit = 0;
  /** Units of the chunk in which blocks begin. */
  #bumpCapacity = 0;
  #memoryBytes = 0;

  get memoryBytes(): number {
    return this.#memoryBytes;
  }

  /** Copies `bytes[start, end)` and returns its reference. */
  store(bytes: Uint8Array, start: number, end: number): number {
    const length = end - start;
    if (length > chunkBytes) return this.#storeAlone(bytes, start, end);
    const ref = this.#allocate(classOf(Math.max(1, (length + 3) >>> 2)));
    const chunk = this.chunks[ref >>> arenaChunkShift]!;
    const to = (ref & arenaUnitMask) << 2;
    if (length > loopBytesMax) chunk.set(bytes.subarray(start, end), to);
    else for (let i = 0; i < length; i++) chunk[to + i] = bytes[start + i]!;
    return ref;
  }

  release(ref: number, length: number): void {
    const place = ref >>> arenaChunkShift;
    if (length > chunkBytes) {
      this.#memoryBytes -= this.chunks[place]!.length;
      this.chunks[place] = new Uint8Array(0);
      this.#words[place] = new Uint32Array(0);
      this.#freeChunks.push(place);
      return;
    }
    const cls = classOf(Math.max(1, (length + 3) >>> 2));
    this.#words[place]![ref & arenaUnitMask] = this.#freeHeads[cls]!;
    this.#freeHeads[cls] = ref;
  }

  /**
   * Compares `bytes[start, end)` with the block: negative when it is less. The first `from` bytes are known to be
   * equal.
   */
  compare(ref: number, length: number, bytes: Uint8Array, start: number, end: number, from: number): number {
    const chunk = this.chunks[ref >>> arenaChunkShift]!;
    const base = (ref & arenaUnitMask) << 2;
    const common = Math.min(length, end - start);
    for (let i = from; i < common; i++) {
      const difference = bytes[start + i]! - chunk[base + i]!;
      if (difference !== 0) return difference;
    }
    return end - start - length;
  }

  /** Compares `bytes[start, end)` with the first `length` bytes of the block, of which it may be longer: then 0. */
  comparePrefix(ref: number, length: number, bytes: Uint8Array, start: number, end: number): number {
    const chunk = this.chunks[ref >>> arenaChunkShift]!;
    const base = (ref & arenaUnitMask) << 2;
    const common = Math.min(length, end - start);
    for (let i = 0; i < common; i++) {
      const difference = bytes[start + i]! - chunk[base + i]!;
      if (difference !== 0) return difference;
    }
    return common === length ? 0 : -1;
  }

  /** How many bytes two blocks have in common at their start, at most `limit`. */
  commonLength(refA: number, refB: number, limit: number): number {
    const a = this.chunks[refA >>> arenaChunkShift]!;
    const b = this.chunks[refB >>> arenaChunkShift]!;
    const baseA = (refA & arenaUnitMask) << 2;
    const baseB = (refB & arenaUnitMask) << 2;
    let i = 0;
    while (i < limit && a[baseA + i] === b[baseB + i]) i++;
    return i;
  }

  /** Four bytes from `from` on as one big-endian number, zeros after the end: orders as the bytes do, ties aside. */
  head(ref: number, length: number, from: number): number {
    const base = (ref & arenaUnitMask) << 2;
    return headOf(this.chunks[ref >>> arenaChunkShift]!, base + from, base + length);
  }

  #allocate(cls: number): number {
    const free = this.#freeHeads[cls]!;
    if (free !== 0) {
      this.#freeHeads[cls] = this.#words[free >>> arenaChunkShift]![free & arenaUnitMask]!;
      return free;
    }
    const units = unitsOf(cls);
    while (this.#bumpUnit + units > this.#bumpCapacity) this.#grow();
    const ref = ((this.#bumpChunk << arenaChunkShift) | this.#bumpUnit) >>> 0;
    this.#bumpUnit += units;
    return ref;
  }

  #grow(): void {
    if (this.#bumpCapacity > 0 && this.#bumpCapacity < unitsPerChunk) {
      this.#memoryBytes += this.#bumpCapacity * 4;
      this.#bumpCapacity *= 2;
      const larger = new Uint8Array(this.#bumpCapacity * 4);
      larger.set(this.chunks[this.#bumpChunk]!);
      this.chunks[this.#bumpChunk] = larger;
      this.#words[this.#bumpChunk] = new Uint32Array(larger.buffer);
      return;
    }
    this.#bumpCapacity = this.chunks.length === 0 ? firstChunkUnits : unitsPerChunk;
    this.#bumpChunk = this.#addChunk(this.#bumpCapacity * 4);
    // The very first unit stays unused, as reference 0 means "none".
    this.#bumpUnit = this.#bumpChunk === 0 ? 1 : 0;
  }

  #storeAlone(bytes: Uint8Array, start: number, end: number): number {
    if (this.chunks.length === 0) this.#grow();
    const place = this.#addChunk((end - start + 3) & ~3);
    this.chunks[place]!.set(bytes.subarray(start, end));
    return (place << arenaChunkShift) >>> 0;
  }

  #addChunk(size: number): number {
    const place = this.#freeChunks.pop() ?? this.chunks.length;
    assert(place < chunksMax, "key arena is out of references");
    const chunk = new Uint8Array(size);
    this.chunks[place] = chunk;
    this.#words[place] = new Uint32Array(chunk.buffer);
    this.#memoryBytes += size;
    return place;
  }
}

/** As `KeyArena.head`, of `bytes[from, end)`; `from` may lie beyond the end. */
export function headOf(bytes: Uint8Array, from: number, end: number): number {
  if (end - from >= 4) {
    return ((bytes[from]! << 24) | (bytes[from + 1]! << 16) | (bytes[from + 2]! << 8) | bytes[from + 3]!) >>> 0;
  }
  let head = 0;
  for (let i = 0; i < 4; i++) head = (head << 8) | (from + i < end ? bytes[from + i]! : 0);
  return head >>> 0;
}
