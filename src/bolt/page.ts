/**
 * One page as read: its header and elements, each checked against the page's bounds before it is used.
 * Keys and values are views of the page.
 */
import { BoltError } from "./errors.js";
import { elementBytes, keyBytesMax, PageFlag, pageHeaderBytes, readPageNumber } from "./format.js";

/** What a page's header says. */
export interface PageHeader {
  readonly id: number;
  readonly flags: number;
  readonly count: number;
  /** Pages that follow and belong to it. */
  readonly overflow: number;
}

/** Reads a header from the first bytes of a page. */
export function readPageHeader(bytes: Uint8Array): PageHeader {
  if (bytes.length < pageHeaderBytes) throw new BoltError("page", `a page of ${bytes.length} bytes has no header`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, pageHeaderBytes);
  return {
    id: readPageNumber(view, 0),
    flags: view.getUint16(8, true),
    count: view.getUint16(10, true),
    overflow: view.getUint32(12, true),
  };
}

/** A branch or leaf page. */
export class TreePage {
  readonly isLeaf: boolean;
  readonly count: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #name: string;

  /** `bytes` is the page with what overflows; `name` says in errors which one. */
  constructor(bytes: Uint8Array, header: PageHeader, name: string) {
    const { flags, count } = header;
    if (flags !== PageFlag.Leaf && flags !== PageFlag.Branch) {
      throw new BoltError("page", `${name} is neither branch nor leaf: flags ${flags}`);
    }
    if (pageHeaderBytes + count * elementBytes > bytes.length) {
      throw new BoltError("page", `${name} is too short for ${count} elements`);
    }
    this.isLeaf = flags === PageFlag.Leaf;
    if (!this.isLeaf && count === 0) throw new BoltError("page", `${name}, a branch, has no child`);
    this.count = count;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#name = name;
  }

  /** Flags of a leaf's element: 0, or 1 for a bucket. */
  flags(i: number): number {
    return this.#view.getUint32(this.#at(i), true);
  }

  /** The page below a branch's element. */
  child(i: number): number {
    return readPageNumber(this.#view, this.#at(i) + 8);
  }

  key(i: number): Uint8Array {
    const at = this.#at(i);
    const start = at + this.#view.getUint32(at + (this.isLeaf ? 4 : 0), true);
    const length = this.#view.getUint32(at + (this.isLeaf ? 8 : 4), true);
    if (length > keyBytesMax) throw new BoltError("page", `${this.#name} has a key of ${length} bytes`);
    return this.#slice(start, length, i);
  }

  /** The value of a leaf's element. */
  value(i: number): Uint8Array {
    const at = this.#at(i);
    const start = at + this.#view.getUint32(at + 4, true) + this.#view.getUint32(at + 8, true);
    return this.#slice(start, this.#view.getUint32(at + 12, true), i);
  }

  #at(i: number): number {
    return pageHeaderBytes + i * elementBytes;
  }

  #slice(start: number, length: number, i: number): Uint8Array {
    if (start < pageHeaderBytes + this.count * elementBytes || start + length > this.#bytes.length) {
      throw new BoltError("page", `element ${i} of ${this.#name} lies outside of it`);
    }
    return this.#bytes.subarray(start, start + length);
  }
}

/** Compares keys as bbolt orders them. */
export function compareKeys(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b);
}
