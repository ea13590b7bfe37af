/**
 * Blocks of 32-bit words in chunks of 1 MiB, with one free list a block size.
 * A reference is the word's number over all chunks, so 32 bits reach 16 GiB; 0 means "none".
 * The first chunk begins small and doubles, so that a small index is small; from there on growth adds a chunk and never
 * copies, so that no single allocation is slow. A freed block serves only blocks of the same size again.
 */
import { assert } from "../../base/index.js";

export const slabChunkShift = 18;
const slabChunkWords = 1 << slabChunkShift;
const firstChunkWords = 1 << 11;
export const slabChunkMask = slabChunkWords - 1;

export class WordSlab {
  /** Word `ref` is `chunks[ref >>> slabChunkShift][ref & slabChunkMask]`; `allocate` may put another array there. */
  readonly chunks: Uint32Array[] = [];
  readonly #classWords: readonly number[];
  readonly #freeHeads: Uint32Array;
  /** The next unused word of the last chunk, and the chunk's size. */
  #used = 0;
  #capacity = 0;

  /** `classWords[i]` is the size of the blocks of class i. */
  constructor(classWords: readonly number[]) {
    this.#classWords = classWords;
    this.#freeHeads = new Uint32Array(classWords.length);
  }

  get memoryBytes(): number {
    return (Math.max(0, this.chunks.length - 1) * slabChunkWords + this.#capacity) * 4;
  }

  /** A block of class `cls`; its words hold whatever was there before. */
  allocate(cls: number): number {
    const free = this.#freeHeads[cls]!;
    if (free !== 0) {
      this.#freeHeads[cls] = this.chunks[free >>> slabChunkShift]![free & slabChunkMask]!;
      return free;
    }
    const words = this.#classWords[cls]!;
    if (this.#used + words > this.#capacity) this.#grow();
    const offset = this.#used;
    this.#used += words;
    return (((this.chunks.length - 1) << slabChunkShift) | offset) >>> 0;
  }

  release(ref: number, cls: number): void {
    this.chunks[ref >>> slabChunkShift]![ref & slabChunkMask] = this.#freeHeads[cls]!;
    this.#freeHeads[cls] = ref;
  }

  #grow(): void {
    if (this.chunks.length === 1 && this.#capacity < slabChunkWords) {
      this.#capacity *= 2;
      const larger = new Uint32Array(this.#capacity);
      larger.set(this.chunks[0]!);
      this.chunks[0] = larger;
      return;
    }
    assert(this.chunks.length < 1 << (32 - slabChunkShift), "key index slab is out of references");
    this.#capacity = this.chunks.length === 0 ? firstChunkWords : slabChunkWords;
    this.chunks.push(new Uint32Array(this.#capacity));
    // Word 0 of the first chunk stays unused, as reference 0 means "none".
    this.#used = this.chunks.length === 1 ? 1 : 0;
  }
}
