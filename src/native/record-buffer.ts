/** Call-batch records gathered in one growing buffer. Thread: the one that made it. */

const bytesMin = 1 << 14;
/** A buffer that has grown larger is not kept once it is empty. */
const bytesKept = 1 << 20;
/** Up to so many bytes a loop copies faster than `set`. */
const loopBytesMax = 256;

export class RecordBuffer {
  bytes = new Uint8Array(bytesMin);
  length = 0;

  /** Copies the record `source[start, end)`. */
  append(source: Uint8Array, start: number, end: number): void {
    const needed = this.length + end - start;
    if (needed > this.bytes.length) {
      const grown = new Uint8Array(Math.max(needed, this.bytes.length * 2));
      grown.set(this.bytes.subarray(0, this.length));
      this.bytes = grown;
    }
    const into = this.bytes;
    let at = this.length;
    if (end - start <= loopBytesMax) for (let i = start; i < end; i++) into[at++] = source[i]!;
    else into.set(source.subarray(start, end), at);
    this.length = needed;
  }

  clear(): void {
    this.length = 0;
    if (this.bytes.length > bytesKept) this.bytes = new Uint8Array(bytesMin);
  }
}
