/**
 * Blocks of 32-bit words in chunks of 1 MiB, with one free list a block size.
 * A reference is the word's number over all chunks, so 32 bits reach 16 GiB; 0 means "none".
 * Growth adds a chunk and never copies, so that no single allocation is slow. A freed block serves only blocks of the
 * same size again.
 */
import { assert } from "../../base/index.js";

export const slabChunkShift = 18;
const slabChunkWords = 1 << slabChunkShift;
export const slabChunkMask = slabChunkWords - 1;

export class WordSlab {
  /** Word `ref` is `chunks[ref >>> slabChunkShift][ref & slabChunkMask]`. */
  readonly chunks: Uint32Array[] = [];
  readonly #classWords: readonly number[];
  readonly #freeHeads: Uint32Array;
  /** The next unused word of the last chunk. */
  #used = slabChunkWords;

  /** `classWords[i]` is the size of the blocks of class i. */
  constructor(classWords: readonly number[]) {
    this.#classWords = classWords;
    this.#freeHeads = new Uint32Array(classWords.length);
  }

  get memoryBytes(): number {
    return this.chunks.length * slabChunkWords * 4;
  }

  /** A block of class `cls`; its words hold whatever was there before. */
  allocate(cls: number): number {
    const free = this.#freeHeads[cls]!;
    if (free !== 0) {
      this.#freeHeads[cls] = this.chunks[free >>> slabChunkShift]![free & slabChunkMask]!;
      return free;
    }
    const words = this.#classWords[cls]!;
    if (this.#used + words > slabChunkWords) this.#grow();
    const offset = this.#used;
    this.#used += words;
    return (((this.chunks.length - 1) << slabChunkShift) | offset) >>> 0;
  }

  release(ref: number, cls: number): void {
    this.chunks[ref >>> slabChunkShift]![ref & slabChunkMask] = this.#freeHeads[cls]!;
    this.#freeHeads[cls] = ref;
  }

  #grow(): void {
    assert(this.chunks.length < 1 << (32 - slabChunkShift), "key index slab is out of references");
    this.chunks.push(new Uint32Array(slabChunkWords));
    // Word 0 of the first chunk stays unused, as reference 0 means "none".
    this.#used = this.chunks.length === 1 ? 1 : 0;
  }
}
