/**
 * Records of 64 bytes, one line of the processor's cache each, in blocks that are never moved once they are of full
 * size: nothing for the collector to walk, and no pause as they become many.
 * A record has 16 fields of 32 bits; doubles take two each.
 */

const fieldBits = 4;
const recordBits = 10;
const recordsPerBlock = 1 << recordBits;
const recordMask = recordsPerBlock - 1;
const recordsMin = 16;
const bytesPerRecord = 64;

export class Slab {
  readonly #ints: Int32Array[] = [];
  readonly #doubles: Float64Array[] = [];
  #capacity = 0;

  /** Records below `count` can be used from now on; new ones are all zeros. */
  reserve(count: number): void {
    while (count > this.#capacity) this.#grow();
  }

  /** Records from `count` on are not used any more: the blocks that hold nothing else go. */
  trim(count: number): void {
    const blocks = Math.max(1, Math.ceil(count / recordsPerBlock));
    if (blocks >= this.#ints.length) return;
    this.#ints.length = this.#doubles.length = blocks;
    this.#capacity = blocks * recordsPerBlock;
  }

  /** Of the fields 0 to 15. */
  int(record: number, field: number): number {
    return this.#ints[record >>> recordBits]![((record & recordMask) << fieldBits) | field]!;
  }
  setInt(record: number, field: number, value: number): void {
    this.#ints[record >>> recordBits]![((record & recordMask) << fieldBits) | field] = value;
  }

  /** Of the double at the fields 2 × `field` and 2 × `field` + 1. */
  double(record: number, field: number): number {
    return this.#doubles[record >>> recordBits]![((record & recordMask) << (fieldBits - 1)) | field]!;
  }
  setDouble(record: number, field: number, value: number): void {
    this.#doubles[record >>> recordBits]![((record & recordMask) << (fieldBits - 1)) | field] = value;
  }

  /** Only the first block is copied as it grows: most slabs are small. */
  #grow(): void {
    if (this.#capacity >= recordsPerBlock)
      return this.#setBlock(this.#ints.length, new Int32Array(recordsPerBlock << fieldBits));
    const records = this.#capacity === 0 ? recordsMin : Math.min(recordsPerBlock, 4 * this.#capacity);
    const block = new Int32Array(records << fieldBits);
    if (this.#capacity > 0) block.set(this.#ints[0]!);
    this.#setBlock(0, block);
  }

  #setBlock(at: number, block: Int32Array): void {
    this.#ints[at] = block;
    this.#doubles[at] = new Float64Array(block.buffer);
    this.#capacity = at * recordsPerBlock + block.byteLength / bytesPerRecord;
  }
}
