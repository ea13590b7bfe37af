/**
 * Short byte strings that live long, many of them in one allocation. An allocation each would cost the collector more
 * than the bytes themselves: a buffer object, its record of foreign memory, and the memory's own head.
 */
import { copyOf } from "./copy-of.js";

/** A block lives as long as anything in it, so strings that are kept in order and dropped in order waste little. */
const blockBytes = 64 << 10;
/** Longer ones have an allocation of their own. */
const shortBytesMax = 4 << 10;

export class ByteSlab {
  #block = new Uint8Array(0);
  #length = 0;

  /** A copy of `bytes[0, length)` that is never changed again. */
  copy(bytes: Uint8Array, length: number): Uint8Array {
    if (length > shortBytesMax) return copyOf(bytes, 0, length);
    if (this.#length + length > this.#block.length) {
      this.#block = new Uint8Array(blockBytes);
      this.#length = 0;
    }
    const start = this.#length;
    this.#length += length;
    this.#block.set(bytes.subarray(0, length), start);
    return this.#block.subarray(start, this.#length);
  }
}
