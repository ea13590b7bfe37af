/**
 * Watchers by what they watch: a hash of single keys, and a tree of ranges for all else, so that a change finds its
 * watchers without passing those of other keys. Keys are Latin-1 texts of their bytes, which compare as the bytes do.
 *
 * The tree is a treap, ordered by (start, end); each node knows the greatest end below it, and holds the watchers of
 * one range as a list through the watchers themselves.
 * Invariant: a watcher is in one index at most; nothing is added or removed while `match` runs.
 */
import type { Prng } from "../../base/index.js";

/** What can be in an index. */
export interface Ranged<Self> {
  /** First key of the range. */
  readonly start: string;
  /** Key behind the range; null: the range has no end; undefined: it is the key `start` alone. */
  readonly end: string | null | undefined;
  /** Neighbours in the list of the same range; the index's. */
  next: Self | null;
  previous: Self | null;
}

/** Hears of each item whose range holds the key. */
export interface MatchVisitor<Item> {
  matched(item: Item): void;
}

class Node<Item> {
  readonly start: string;
  readonly end: string | null;
  readonly priority: number;
  /** The greatest end of this subtree; null: some range has none. */
  maxEnd: string | null;
  left: Node<Item> | null = null;
  right: Node<Item> | null = null;
  head: Item | null = null;

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

function update<Item>(node: Node<Item>): Node<Item> {
  let { end } = node;
  if (node.left !== null) end = later(end, node.left.maxEnd);
  if (node.right !== null) end = later(end, node.right.maxEnd);
  node.maxEnd = end;
  return node;
}

/** Joins two trees, all of the first before the second. */
function join<Item>(a: Node<Item> | null, b: Node<Item> | null): Node<Item> | null {
  if (a === null) return b;
  if (b === null) return a;
  if (a.priority > b.priority) {
    a.right = join(a.right, b);
    return update(a);
  }
  b.left = join(a, b.left);
  return update(b);
}

function insert<Item>(root: Node<Item> | null, node: Node<Item>): Node<Item> {
  if (root === null) return node;
  if (compare(node.start, node.end, root) < 0) {
    root.left = insert(root.left, node);
    return root.left.priority > root.priority ? rotateRight(root, root.left) : update(root);
  }
  root.right = insert(root.right, node);
  return root.right.priority > root.priority ? rotateLeft(root, root.right) : update(root);
}

function rotateRight<Item>(root: Node<Item>, left: Node<Item>): Node<Item> {
  root.left = left.right;
  left.right = update(root);
  return update(left);
}

function rotateLeft<Item>(root: Node<Item>, right: Node<Item>): Node<Item> {
  root.right = right.left;
  right.left = update(root);
  return update(right);
}

function remove<Item>(root: Node<Item> | null, node: Node<Item>): Node<Item> | null {
  if (root === null) return null;
  if (root === node) return join(root.left, root.right);
  if (compare(node.start, node.end, root) < 0) root.left = remove(root.left, node);
  else root.right = remove(root.right, node);
  return update(root);
}

export class RangeIndex<Item extends Ranged<Item>> {
  readonly #prng: Prng;
  readonly #singles = new Map<string, Item>();
  #root: Node<Item> | null = null;
  #size = 0;

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  get size(): number {
    return this.#size;
  }

  add(item: Item): void {
    this.#size++;
    if (item.end === undefined) {
      this.#push(item, this.#singles.get(item.start) ?? null);
      this.#singles.set(item.start, item);
      return;
    }
    let node = this.#find(item.start, item.end);
    if (node === null) {
      node = new Node<Item>(item.start, item.end, this.#prng.uint32());
      this.#root = insert(this.#root, node);
    }
    this.#push(item, node.head);
    node.head = item;
  }

  /** Takes out an item that is in this index. */
  delete(item: Item): void {
    this.#size--;
    const { previous, next } = item;
    if (next !== null) next.previous = previous;
    if (previous !== null) previous.next = next;
    else this.#setHead(item, next);
    item.next = item.previous = null;
  }

  /** Tells of each item whose range holds `key`. */
  match(key: string, visitor: MatchVisitor<Item>): void {
    for (let item = this.#singles.get(key) ?? null; item !== null; item = item.next) visitor.matched(item);
    this.#stab(this.#root, key, visitor);
  }

  /** All items, in no particular order. */
  items(): Item[] {
    const all: Item[] = [];
    const list = (head: Item | null): void => {
      for (let item = head; item !== null; item = item.next) all.push(item);
    };
    const walk = (node: Node<Item> | null): void => {
      if (node === null) return;
      walk(node.left);
      list(node.head);
      walk(node.right);
    };
    for (const head of this.#singles.values()) list(head);
    walk(this.#root);
    return all;
  }

  #push(item: Item, head: Item | null): void {
    item.previous = null;
    item.next = head;
    if (head !== null) head.previous = item;
  }

  /** The first item of a list has gone. */
  #setHead(item: Item, head: Item | null): void {
    if (item.end === undefined) {
      if (head === null) this.#singles.delete(item.start);
      else this.#singles.set(item.start, head);
      return;
    }
    const node = this.#find(item.start, item.end)!;
    node.head = head;
    if (head === null) this.#root = remove(this.#root, node);
  }

  #find(start: string, end: string | null): Node<Item> | null {
    let node = this.#root;
    while (node !== null) {
      const order = compare(start, end, node);
      if (order === 0) return node;
      node = order < 0 ? node.left : node.right;
    }
    return null;
  }

  #stab(node: Node<Item> | null, key: string, visitor: MatchVisitor<Item>): void {
    if (node === null || (node.maxEnd !== null && node.maxEnd <= key)) return;
    this.#stab(node.left, key, visitor);
    if (node.start > key) return;
    if (node.end === null || key < node.end) {
      for (let item = node.head; item !== null; item = item.next) visitor.matched(item);
    }
    this.#stab(node.right, key, visitor);
  }
}
