/**
 * Memory that LMDB reads while JavaScript goes on: blocks of plain ArrayBuffers at known addresses.
 * A block belongs to one write segment from `take` until LMDB has flushed that segment, then it goes back
 * to the pool. Never SharedArrayBuffers: their values arrive corrupt in LMDB.
 */
import { addressOf } from "./lmdb-native.js";

export class Block {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly words: Uint32Array;
  readonly doubles: Float64Array;
  readonly address: number;

  constructor(size: number, address: (buffer: ArrayBuffer) => number) {
    const buffer = new ArrayBuffer(size);
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.words = new Uint32Array(buffer);
    this.doubles = new Float64Array(buffer);
    this.address = address(buffer);
  }
}

/** Size of all pooled blocks. */
export const blockBytes = 128 << 10;

export class BlockPool {
  readonly #free: Block[] = [];
  readonly #freeMax: number;
  readonly #address: (buffer: ArrayBuffer) => number;

  /** Keeps at most `bytesMax` of unused blocks. `address` is replaced where no LMDB is (the twin in memory). */
  constructor(bytesMax: number, address: (buffer: ArrayBuffer) => number = addressOf) {
    this.#freeMax = Math.ceil(bytesMax / blockBytes);
    this.#address = address;
  }

  /** A block of `blockBytes`, or a larger one of its own for a larger need. Its contents are old. */
  take(bytesNeeded: number): Block {
    if (bytesNeeded > blockBytes) return new Block((bytesNeeded + 7) & ~7, this.#address);
    return this.#free.pop() ?? new Block(blockBytes, this.#address);
  }

  give(block: Block): void {
    if (block.bytes.length === blockBytes && this.#free.length < this.#freeMax) this.#free.push(block);
  }
}
