/** Where written pages gather until they are taken away; one buffer, reused. */
import { assert } from "../base/index.js";
import { pageBytes } from "./format.js";

const bufferBytesMin = 256 << 10;

export class PageOutput {
  /** `bytes[0, length)` are whole pages that wait to be taken. */
  bytes = new Uint8Array(bufferBytesMin);
  length = 0;
  /** Number of the page to be written next. */
  nextPage = 0;

  /** Appends `pages` pages of zeros and returns where they begin in `bytes`. */
  take(pages: number): number {
    const at = this.length;
    const end = at + pages * pageBytes;
    if (end > this.bytes.length) {
      const grown = new Uint8Array(Math.max(end, this.bytes.length * 2));
      grown.set(this.bytes.subarray(0, at));
      this.bytes = grown;
    }
    this.bytes.fill(0, at, end);
    this.length = end;
    this.nextPage += pages;
    return at;
  }

  /** Forgets the first `count` bytes. */
  drop(count: number): void {
    assert(count <= this.length, "bolt: more is dropped than was written");
    this.bytes.copyWithin(0, count, this.length);
    this.length -= count;
    if (this.length === 0 && this.bytes.length > 16 * bufferBytesMin) this.bytes = new Uint8Array(bufferBytesMin);
  }
}
