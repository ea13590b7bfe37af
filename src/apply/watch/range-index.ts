/**
 * Watchers by what they watch: a hash of single keys, and a tree of ranges for all else, so that a change finds its
 * watchers without passing those of other keys.
 *
 * Watchers of one key, or of one range, are a list through the table, whose first is in the hash, or under the range's
 * node. The tree is a treap, ordered by (start, end), whose texts are Latin-1 and compare as the bytes do; each node
 * knows the greatest end below it.
 * Invariant: a watcher is in one index at most; nothing is added or removed while `match` runs.
 */
import type { Prng } from "../../base/index.js";
import { Buckets } from "./buckets.js";
import { none, type Watcher, type WatcherTable } from "./watcher-table.js";

/** Hears of each watcher whose range holds the key. */
export interface MatchVisitor {
  matched(watcher: Watcher): void;
}

class Node {
  readonly start: string;
  readonly end: string | null;
  readonly priority: number;
  /** The greatest end of this subtree; null: some range has none. */
  maxEnd: string | null;
  left: Node | null = null;
  right: Node | null = null;
  head: Watcher = none;

  constructor(start: string, end: string | null, priority: number) {
    this.start = start;
    this.end = end;
    this.maxEnd = end;
    this.priority = priority;
  }
}

function later(a: string | null, b: string | null): string | null {
  return a === null || b === null ? null : a > b ? a : b;
}

function compare(start: string, end: string | null, node: { start: string; end: string | null }): number {
  if (start !== node.start) return start < node.start ? -1 : 1;
  if (end === node.end) return 0;
  if (end === null || node.end === null) return end === null ? 1 : -1;
  return end < node.end ? -1 : 1;
}

function update(node: Node): Node {
  let { end } = node;
  if (node.left !== null) end = later(end, node.left.maxEnd);
  if (node.right !== null) end = later(end, node.right.maxEnd);
  node.maxEnd = end;
  return node;
}

/** Joins two trees, all of the first before the second. */
function join(a: Node | null, b: Node | null): Node | null {
  if (a === null) return b;
  if (b === null) return a;
  if (a.priority > b.priority) {
    a.right = join(a.right, b);
    return update(a);
  }
  b.left = join(a, b.left);
  return update(b);
}

function insert(root: Node | null, node: Node): Node {
  if (root === null) return node;
  if (compare(node.start, node.end, root) < 0) {
    root.left = insert(root.left, node);
    return root.left.priority > root.priority ? rotateRight(root, root.left) : update(root);
  }
  root.right = insert(root.right, node);
  return root.right.priority > root.priority ? rotateLeft(root, root.right) : update(root);
}

function rotateRight(root: Node, left: Node): Node {
  root.left = left.right;
  left.right = update(root);
  return update(left);
}

function rotateLeft(root: Node, right: Node): Node {
  root.right = right.left;
  right.left = update(root);
  return update(right);
}

function remove(root: Node | null, node: Node): Node | null {
  if (root === null) return null;
  if (root === node) return join(root.left, root.right);
  if (compare(node.start, node.end, root) < 0) root.left = remove(root.left, node);
  else root.right = remove(root.right, node);
  return update(root);
}

function latin1(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("latin1");
}

/** The indices that there are, under numbers that none has had before: a watcher's group. */
export class RangeIndices {
  readonly #table: WatcherTable;
  readonly #prng: Prng;
  readonly #open = new Map<number, RangeIndex>();
  #last = 0;

  constructor(table: WatcherTable, prng: Prng) {
    this.#table = table;
    this.#prng = prng;
  }

  open(): RangeIndex {
    this.#last = (this.#last + 1) & 0x7fff_ffff;
    const index = new RangeIndex(this.#last, this.#table, this.#prng);
    this.#open.set(this.#last, index);
    return index;
  }

  /** The index is not used any more; who was in it is in another one, or gone. */
  close(index: RangeIndex): void {
    this.#open.delete(index.number);
  }

  /** The one that the watcher is in. */
  of(watcher: Watcher): RangeIndex | undefined {
    return this.#open.get(this.#table.group(watcher));
  }
}

export class RangeIndex {
  readonly number: number;
  readonly #table: WatcherTable;
  readonly #prng: Prng;
  /** The first watcher of each single key. */
  readonly #singles: Buckets;
  #root: Node | null = null;
  #size = 0;

  constructor(number: number, table: WatcherTable, prng: Prng) {
    this.number = number;
    this.#table = table;
    this.#prng = prng;
    this.#singles = new Buckets(table.byKey);
  }

  get size(): number {
    return this.#size;
  }

  /** Takes a watcher that is in no list, and in no other index that is used any more. */
  add(watcher: Watcher): void {
    const table = this.#table;
    this.#size++;
    table.setGroup(watcher, this.number);
    if (table.isSingle(watcher)) return this.#addSingle(watcher);
    const [start, end] = [table.startText(watcher), table.endText(watcher)];
    let node = this.#find(start, end);
    if (node === null) {
      node = new Node(start, end, this.#prng.uint32());
      this.#root = insert(this.#root, node);
    }
    this.#putFirst(watcher, node.head);
    node.head = watcher;
  }

  /** Takes out a watcher that is in this index. */
  delete(watcher: Watcher): void {
    const table = this.#table;
    this.#size--;
    table.setGroup(watcher, none);
    const [before, after] = [table.previous(watcher), table.next(watcher)];
    table.link(before, after);
    if (before !== none) return;
    if (table.isSingle(watcher)) this.#replaceFirst(watcher, after);
    else this.#setHead(watcher, after);
  }

  /** Tells of each watcher whose range holds the key `bytes[start, end)`. */
  match(bytes: Uint8Array, start: number, end: number, visitor: MatchVisitor): void {
    const table = this.#table;
    if (this.#singles.size > 0) {
      let watcher = this.#singles.first(table.hashOf(bytes, start, end));
      while (watcher !== none && !table.startsAt(watcher, bytes, start, end)) watcher = table.byKey.next(watcher);
      for (; watcher !== none; watcher = table.next(watcher)) visitor.matched(watcher);
    }
    if (this.#root !== null) this.#stab(this.#root, latin1(bytes, start, end), visitor);
  }

  /** All watchers, in no particular order. */
  all(): Watcher[] {
    const table = this.#table;
    const found: Watcher[] = [];
    const list = (head: Watcher): void => {
      for (let watcher = head; watcher !== none; watcher = table.next(watcher)) found.push(watcher);
    };
    const walk = (node: Node | null): void => {
      if (node === null) return;
      walk(node.left);
      list(node.head);
      walk(node.right);
    };
    for (const first of this.#singles.all()) list(first);
    walk(this.#root);
    return found;
  }

  #putFirst(watcher: Watcher, head: Watcher): void {
    this.#table.link(none, watcher);
    this.#table.link(watcher, head);
  }

  #addSingle(watcher: Watcher): void {
    const table = this.#table;
    let first = this.#singles.first(table.byKey.hash(watcher));
    while (first !== none && !table.haveOneStart(first, watcher)) first = table.byKey.next(first);
    this.#putFirst(watcher, first);
    if (first === none) this.#singles.add(watcher);
    else this.#singles.replace(first, watcher);
  }

  /** The first watcher of a key has gone, and left the rest of its list. */
  #replaceFirst(watcher: Watcher, after: Watcher): void {
    if (after === none) this.#singles.delete(watcher);
    else this.#singles.replace(watcher, after);
  }

  /** The first watcher of a range has gone. */
  #setHead(watcher: Watcher, head: Watcher): void {
    const node = this.#find(this.#table.startText(watcher), this.#table.endText(watcher))!;
    node.head = head;
    if (head === none) this.#root = remove(this.#root, node);
  }

  #find(start: string, end: string | null): Node | null {
    let node = this.#root;
    while (node !== null) {
      const order = compare(start, end, node);
      if (order === 0) return node;
      node = order < 0 ? node.left : node.right;
    }
    return null;
  }

  #stab(node: Node | null, key: string, visitor: MatchVisitor): void {
    if (node === null || (node.maxEnd !== null && node.maxEnd <= key)) return;
    this.#stab(node.left, key, visitor);
    if (node.start > key) return;
    if (node.end === null || key < node.end) {
      for (let watcher = node.head; watcher !== none; watcher = this.#table.next(watcher)) visitor.matched(watcher);
    }
    this.#stab(node.right, key, visitor);
  }
}
