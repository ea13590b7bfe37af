/**
 * The whole file's consistency, as `bbolt check` and `etcdutl snapshot status` see it: every page is reachable or free,
 * and only once; keys ascend and lie in the range of their branch; elements lie within their pages.
 */
import { inlinePage, readBucketHeader, type BoltFile } from "./bolt-file.js";
import { BoltError, type BoltFault } from "./errors.js";
import { bucketFlag, PageFlag, pageHeaderBytes, readPageNumber } from "./format.js";
import { compareKeys, type TreePage } from "./page.js";

/** Something wrong with a file. */
export interface BoltFinding {
  readonly fault: BoltFault | "unreachable" | "twice";
  readonly message: string;
}

/** More are not told. */
const findingsMax = 100;
const levelsMax = 64;
/** Of a free list's page: the first element holds the count. */
const countIsElsewhere = 0xffff;

/** Keys that a page may hold: from `lo` on, below `hi`. */
interface KeyRange {
  readonly lo: Uint8Array | undefined;
  readonly hi: Uint8Array | undefined;
}

const allKeys: KeyRange = { lo: undefined, hi: undefined };

/** Checks everything; an empty list: the file is sound. Throws only what reading the file throws from the system. */
export function checkBolt(file: BoltFile): BoltFinding[] {
  return new Checker(file).run();
}

class Checker {
  readonly #file: BoltFile;
  readonly #findings: BoltFinding[] = [];
  /** A bit a page: reachable. */
  readonly #reached: Uint8Array;
  readonly #free: Uint8Array;

  constructor(file: BoltFile) {
    this.#file = file;
    this.#reached = new Uint8Array(Math.ceil(file.meta.highWater / 8));
    this.#free = new Uint8Array(this.#reached.length);
  }

  run(): BoltFinding[] {
    this.#guard(() => this.#freeList());
    this.#tree(this.#file.meta.root, allKeys, 0, 0);
    // Without a stored list, free is what nothing leads to.
    if (this.#file.meta.freeList !== null) this.#unreachable();
    return this.#findings;
  }

  #find(fault: BoltFinding["fault"], message: string): void {
    if (this.#findings.length < findingsMax) this.#findings.push({ fault, message });
  }

  /** Damage is a finding and ends what was being read. */
  #guard(read: () => void): void {
    if (this.#findings.length >= findingsMax) return;
    try {
      read();
    } catch (error) {
      if (!(error instanceof BoltError)) throw error;
      this.#find(error.fault, error.message);
    }
  }

  #freeList(): void {
    const { freeList, highWater } = this.#file.meta;
    if (freeList === null) return;
    const header = this.#file.header(freeList);
    if (header.flags !== PageFlag.FreeList) throw new BoltError("page", `page ${freeList} is not a free list`);
    this.#mark(freeList, 1 + header.overflow);
    const bytes = this.#file.bytes(freeList, 1 + header.overflow);
    const view = new DataView(bytes.buffer);
    const isLong = header.count === countIsElsewhere;
    const count = isLong ? readPageNumber(view, pageHeaderBytes) : header.count;
    const from = pageHeaderBytes + (isLong ? 8 : 0);
    if (from + count * 8 > bytes.length) throw new BoltError("page", `the free list is too short for ${count} pages`);
    for (let i = 0; i < count; i++) {
      const id = readPageNumber(view, from + i * 8);
      if (id < 2 || id >= highWater) this.#find("pointer", `page ${id} is free but not in the file`);
      else if (!setBit(this.#free, id)) this.#find("twice", `page ${id} is free twice`);
    }
  }

  /** Marks pages as reachable; false when one has been already. */
  #mark(id: number, pages: number): boolean {
    let once = true;
    for (let page = id; page < id + pages; page++) {
      if (hasBit(this.#free, page)) this.#find("twice", `page ${page} is both reachable and free`);
      if (setBit(this.#reached, page)) continue;
      this.#find("twice", `page ${page} is reached twice`);
      once = false;
    }
    return once;
  }

  #tree(id: number, keys: KeyRange, level: number, depth: number): void {
    this.#guard(() => {
      const { page, header } = this.#file.page(id);
      if (!this.#mark(id, 1 + header.overflow)) return;
      if (level === levelsMax) throw new BoltError("pointer", `page ${id} lies below ${level} others`);
      this.#keys(page, keys, `page ${id}`);
      if (page.isLeaf) this.#nested(page, depth);
      else this.#children(page, keys, level, depth);
    });
  }

  #children(page: TreePage, keys: KeyRange, level: number, depth: number): void {
    for (let i = 0; i < page.count; i++) {
      const hi = i + 1 < page.count ? page.key(i + 1) : keys.hi;
      this.#tree(page.child(i), { lo: page.key(i), hi }, level + 1, depth);
    }
  }

  #keys(page: TreePage, { lo, hi }: KeyRange, name: string): void {
    let last: Uint8Array | undefined;
    for (let i = 0; i < page.count; i++) {
      const key = page.key(i);
      if (page.isLeaf) page.value(i);
      if (last !== undefined && compareKeys(last, key) >= 0)
        this.#find("order", `key ${i} of ${name} is not above the last`);
      else if (lo !== undefined && compareKeys(key, lo) < 0)
        this.#find("order", `key ${i} of ${name} is below its range`);
      else if (hi !== undefined && compareKeys(key, hi) >= 0)
        this.#find("order", `key ${i} of ${name} is above its range`);
      last = key;
    }
  }

  /** The buckets in a leaf. */
  #nested(page: TreePage, depth: number): void {
    for (let i = 0; i < page.count; i++) {
      const flags = page.flags(i);
      if (flags === 0) continue;
      this.#guard(() => {
        if (flags !== bucketFlag) throw new BoltError("page", `an element has unknown flags ${flags}`);
        if (depth === levelsMax) throw new BoltError("bucket", "buckets are nested too deeply");
        const { root, inline } = readBucketHeader(page.value(i));
        if (inline === undefined) return this.#tree(root, allKeys, 0, depth + 1);
        const leaf = inlinePage(inline);
        this.#keys(leaf, allKeys, "a page within a bucket's value");
        this.#nested(leaf, depth + 1);
      });
    }
  }

  #unreachable(): void {
    for (let id = 2; id < this.#file.meta.highWater; id++) {
      if (!hasBit(this.#reached, id) && !hasBit(this.#free, id)) {
        this.#find("unreachable", `page ${id} is neither reachable nor free`);
      }
    }
  }
}

function hasBit(bits: Uint8Array, i: number): boolean {
  return (bits[Math.floor(i / 8)]! & (1 << (i % 8))) !== 0;
}

/** False when it was set already. */
function setBit(bits: Uint8Array, i: number): boolean {
  if (hasBit(bits, i)) return false;
  bits[Math.floor(i / 8)]! |= 1 << (i % 8);
  return true;
}
