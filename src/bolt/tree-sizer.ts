/**
 * The sizing pass of one tree: how many pages `TreeWriter` will make of entries of these sizes.
 * Both follow the rules below, so that the sizes come out equal.
 *
 * Pages leave in the order in which they are complete, children before their parents. A branch page that is full
 * hands its last child on to the next one, so that none but a lone page ever has fewer than two children: bbolt
 * panics when it rebalances below a branch with a single child.
 */
import { elementBytes, pageBytes, pageHeaderBytes, pagesFor } from "./format.js";

/** Pages are filled so far, as by etcd's defrag: room for later writes of the one who opens the file. */
const fillBytes = Math.floor(pageBytes * 0.9);
/** Children that a full branch page must have, the one that it hands on included. */
const fullChildrenMin = 3;
/** As in bbolt's own splitting: two values a little longer than a page share three pages, where each by itself has two. */
const fullEntriesMin = 2;

/** Whether a leaf page with `count` elements in `bytes` is to be closed before one of `added` bytes comes. */
export function isLeafFull(count: number, bytes: number, added: number): boolean {
  return count >= fullEntriesMin && bytes + added > fillBytes;
}

/** Likewise of a branch page, which holds one child more than it keeps. */
export function isBranchFull(count: number, bytes: number): boolean {
  return count >= fullChildrenMin && bytes > fillBytes;
}

/** A branch page being filled. */
interface BranchSize {
  count: number;
  bytes: number;
  firstKey: number;
  lastKey: number;
}

export class TreeSizer {
  /** Pages so far. */
  pages = 0;
  /** Pages of the one closed last: at the end, of the root. */
  rootPages = 0;
  /** Entries so far. */
  entries = 0;
  #count = 0;
  #bytes = pageHeaderBytes;
  #firstKey = 0;
  readonly #branches: BranchSize[] = [];

  /** Adds an entry by the lengths of its key and value. */
  add(keyLength: number, valueLength: number): void {
    const added = elementBytes + keyLength + valueLength;
    if (isLeafFull(this.#count, this.#bytes, added)) this.#closeLeaf();
    if (this.#count === 0) this.#firstKey = keyLength;
    this.#count++;
    this.#bytes += added;
    this.entries++;
  }

  /** Bytes of the whole tree as a single leaf page, or Infinity when it has more. */
  get leafBytes(): number {
    return this.pages === 0 ? this.#bytes : Infinity;
  }

  /** Closes all pages. */
  finish(): void {
    this.#closeLeaf();
    for (let level = 0; this.#branches[level]!.count > 1; level++) {
      const { bytes, firstKey } = this.#branches[level]!;
      this.#page(bytes);
      this.#addChild(level + 1, firstKey);
    }
  }

  #closeLeaf(): void {
    this.#page(this.#bytes);
    this.#addChild(0, this.#firstKey);
    this.#count = 0;
    this.#bytes = pageHeaderBytes;
  }

  #addChild(level: number, keyLength: number): void {
    const branch = (this.#branches[level] ??= { count: 0, bytes: pageHeaderBytes, firstKey: keyLength, lastKey: 0 });
    const added = elementBytes + keyLength;
    if (isBranchFull(branch.count, branch.bytes)) {
      const last = elementBytes + branch.lastKey;
      this.#page(branch.bytes - last);
      this.#addChild(level + 1, branch.firstKey);
      branch.count = 1;
      branch.bytes = pageHeaderBytes + last;
      branch.firstKey = branch.lastKey;
    }
    branch.count++;
    branch.bytes += added;
    branch.lastKey = keyLength;
  }

  #page(bytes: number): void {
    this.rootPages = pagesFor(bytes);
    this.pages += this.rootPages;
  }
}
