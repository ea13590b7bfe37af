/**
 * Call records that apply answers without a ReadIndex, gathered over a batch.
 * Thread: main.
 */
import type { CallBatchReader } from "../../native/index.js";

const bytesMin = 1 << 16;
/** A buffer that has grown larger is not kept beyond its batch. */
const bytesKept = 4 << 20;

export class LocalReads {
  #bytes = new Uint8Array(bytesMin);
  #length = 0;

  /** Copies the record that the reader stands at. */
  add({ bytes, recordStart, recordEnd }: CallBatchReader): void {
    const needed = this.#length + recordEnd - recordStart;
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = grown;
    }
    this.#bytes.set(bytes.subarray(recordStart, recordEnd), this.#length);
    this.#length = needed;
  }

  /** Sends what has gathered. */
  flush(core: { readSerializable(bytes: Uint8Array, length: number): void }): void {
    if (this.#length > 0) core.readSerializable(this.#bytes, this.#length);
    this.#length = 0;
    if (this.#bytes.length > bytesKept) this.#bytes = new Uint8Array(bytesMin);
  }
}
