/**
 * One page being filled: its elements in order, and their keys and values one after another.
 * Serves leaf and branch pages, and buckets within a value.
 */
import { copyOf } from "../base/index.js";
import { elementBytes, PageFlag, pageHeaderBytes, writePageNumber } from "./format.js";

const dataBytesMin = 8192;
const elementsMin = 256;

export class PageBuilder {
  readonly #flag: number;
  /** Of each element: its flags (leaf) or child page (branch). */
  #first = new Float64Array(elementsMin);
  #keyLengths = new Uint32Array(elementsMin);
  #valueLengths = new Uint32Array(elementsMin);
  #data = new Uint8Array(dataBytesMin);
  #dataLength = 0;
  count = 0;

  constructor(flag: typeof PageFlag.Leaf | typeof PageFlag.Branch) {
    this.#flag = flag;
  }

  /** Bytes of the page so far. */
  get bytes(): number {
    return pageHeaderBytes + this.count * elementBytes + this.#dataLength;
  }

  /** Adds an element; `first` is its flags or its child page. */
  add(first: number, key: Uint8Array, value?: Uint8Array): void {
    if (this.count === this.#first.length) this.#growElements();
    this.#first[this.count] = first;
    this.#keyLengths[this.count] = key.length;
    this.#valueLengths[this.count] = value?.length ?? 0;
    this.count++;
    this.#append(key);
    if (value !== undefined) this.#append(value);
  }

  #append(bytes: Uint8Array): void {
    const needed = this.#dataLength + bytes.length;
    if (needed > this.#data.length) {
      const grown = new Uint8Array(Math.max(needed, this.#data.length * 2));
      grown.set(this.#data.subarray(0, this.#dataLength));
      this.#data = grown;
    }
    this.#data.set(bytes, this.#dataLength);
    this.#dataLength = needed;
  }

  #growElements(): void {
    const { length } = this.#first;
    const first = new Float64Array(length * 2);
    first.set(this.#first);
    this.#first = first;
    this.#keyLengths = enlarged(this.#keyLengths);
    this.#valueLengths = enlarged(this.#valueLengths);
  }

  /** A copy of the first element's key; empty when there is none. */
  firstKey(): Uint8Array {
    return copyOf(this.#data, 0, this.count === 0 ? 0 : this.#keyLengths[0]!);
  }

  /** Takes the last element of a branch page away and returns it. */
  takeLast(): { child: number; key: Uint8Array } {
    this.count--;
    const length = this.#keyLengths[this.count]!;
    const key = copyOf(this.#data, this.#dataLength - length, this.#dataLength);
    this.#dataLength -= length;
    return { child: this.#first[this.count]!, key };
  }

  /** Writes the page into `out` (zeros so far, from `at` on) as page `id` with `overflow` further pages; empties it. */
  write(out: Uint8Array, at: number, id: number, overflow: number): void {
    const view = new DataView(out.buffer, out.byteOffset + at, this.bytes);
    writePageNumber(view, 0, id);
    view.setUint16(8, this.#flag, true);
    view.setUint16(10, this.count, true);
    view.setUint32(12, overflow, true);
    let data = pageHeaderBytes + this.count * elementBytes;
    out.set(this.#data.subarray(0, this.#dataLength), at + data);
    for (let i = 0, element = pageHeaderBytes; i < this.count; i++, element += elementBytes) {
      const keyLength = this.#keyLengths[i]!;
      if (this.#flag === PageFlag.Leaf) {
        view.setUint32(element, this.#first[i]!, true);
        view.setUint32(element + 4, data - element, true);
        view.setUint32(element + 8, keyLength, true);
        view.setUint32(element + 12, this.#valueLengths[i]!, true);
      } else {
        view.setUint32(element, data - element, true);
        view.setUint32(element + 4, keyLength, true);
        writePageNumber(view, element + 8, this.#first[i]!);
      }
      data += keyLength + this.#valueLengths[i]!;
    }
    this.#clear();
  }

  #clear(): void {
    this.count = 0;
    this.#dataLength = 0;
    // One large value must not hold its memory for ever.
    if (this.#data.length > 1 << 20) this.#data = new Uint8Array(dataBytesMin);
  }
}

function enlarged(old: Uint32Array): Uint32Array<ArrayBuffer> {
  const grown = new Uint32Array(old.length * 2);
  grown.set(old);
  return grown;
}
