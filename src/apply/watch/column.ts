/** A list of numbers in chunks: it grows without being copied, however long it becomes. */

const chunkBits = 12;
const chunkLength = 1 << chunkBits;
const chunkMask = chunkLength - 1;

export class Column {
  readonly #chunks: Float64Array[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(value: number): void {
    const at = this.#length++;
    let chunk = this.#chunks[at >>> chunkBits];
    if (chunk === undefined) {
      // Most lists are short, and there are many of them.
      chunk = new Float64Array(at === 0 ? 8 : chunkLength);
      this.#chunks.push(chunk);
    } else if (at < chunkLength && at === chunk.length) chunk = this.#enlarge(chunk);
    chunk[at & chunkMask] = value;
  }

  get(at: number): number {
    return this.#chunks[at >>> chunkBits]![at & chunkMask]!;
  }

  set(at: number, value: number): void {
    this.#chunks[at >>> chunkBits]![at & chunkMask] = value;
  }

  /** Forgets all; the first chunk's memory is kept. */
  clear(): void {
    this.#length = 0;
    this.#chunks.length = Math.min(this.#chunks.length, 1);
  }

  /** The first chunk, which is not of full length yet. */
  #enlarge(chunk: Float64Array): Float64Array {
    const larger = new Float64Array(Math.min(chunkLength, 4 * chunk.length));
    larger.set(chunk);
    this.#chunks[0] = larger;
    return larger;
  }
}
