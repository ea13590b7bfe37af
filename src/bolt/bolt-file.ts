/**
 * Reads a bbolt file. Nothing in it is trusted: every number is checked before it leads anywhere, and no file, however
 * damaged or made up, makes reading endless: at most as many pages are read as the file has. Damage is a BoltError.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { BoltError } from "./errors.js";
import {
  bucketFlag,
  bucketHeaderBytes,
  pageBytesMax,
  pageBytesMin,
  readMeta,
  readPageNumber,
  type Meta,
} from "./format.js";
import { readPageHeader, TreePage, type PageHeader } from "./page.js";

/** Where the file's bytes are. */
export interface ByteSource {
  readonly size: number;
  /** Fills `into` from the file's byte `at` on; the range is within `size`. */
  read(at: number, into: Uint8Array): void;
}

/** A page never has more bytes: no value of bbolt does. */
const pageRunBytesMax = 2 ** 31;
/** Levels of a tree; ten would hold more than any file. */
const levelsMax = 64;

/** A bucket as its value tells. */
export interface BucketHeader {
  /** 0: its page is in `inline`. */
  readonly root: number;
  readonly sequence: bigint;
  readonly inline: Uint8Array | undefined;
}

/** One entry; the arrays are views of a page, which nobody changes. */
export interface BoltEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  /** The value is the header of a nested bucket. */
  readonly isBucket: boolean;
}

export class BoltFile {
  readonly meta: Meta;
  readonly #source: ByteSource;
  readonly #close: () => void;

  /** Opens the file at `path`; `bytes`: only so many of it, when something follows the database. */
  static open(path: string, bytes?: number): BoltFile {
    const fd = openSync(path, "r");
    try {
      const { size: whole } = fstatSync(fd);
      const size = Math.min(bytes ?? whole, whole);
      return new BoltFile({ size, read: (at, into) => readWhole(fd, at, into) }, () => closeSync(fd));
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  /** Throws when neither meta page is sound, or the file ends before its last page. */
  constructor(source: ByteSource, close: () => void = () => {}) {
    this.#source = source;
    this.#close = close;
    this.meta = newestMeta(source);
    const { highWater, pageBytes, root } = this.meta;
    if (highWater * pageBytes > source.size) {
      throw new BoltError("short", `the file has ${source.size} bytes, but ${highWater} pages of ${pageBytes}`);
    }
    this.#checkPointer(root, 1);
  }

  /** Ends the reading; nothing may be read any more. */
  close(): void {
    this.#close();
  }

  /** The buckets by name, in order. */
  *buckets(): Generator<{ readonly name: Uint8Array; readonly header: BucketHeader }> {
    for (const { key, value, isBucket } of this.entriesBelow(this.meta.root)) {
      if (!isBucket) throw new BoltError("bucket", "the root holds an entry that is no bucket");
      yield { name: key, header: readBucketHeader(value) };
    }
  }

  /** The bucket of that name; undefined when there is none. */
  bucket(name: Uint8Array | string): BucketHeader | undefined {
    const bytes = typeof name === "string" ? Buffer.from(name) : name;
    for (const bucket of this.buckets()) if (Buffer.compare(bucket.name, bytes) === 0) return bucket.header;
    return undefined;
  }

  /** The entries of a bucket, in the order in which they are stored. */
  entries(header: BucketHeader): Generator<BoltEntry> {
    if (header.inline === undefined) return this.entriesBelow(header.root);
    return leafEntries(inlinePage(header.inline));
  }

  /** The entries of the tree below page `root`. */
  *entriesBelow(root: number): Generator<BoltEntry> {
    const budget = { pages: this.meta.highWater };
    yield* this.#walk(root, 0, budget);
  }

  *#walk(id: number, level: number, budget: { pages: number }): Generator<BoltEntry> {
    const { page, header } = this.page(id);
    budget.pages -= 1 + header.overflow;
    if (budget.pages < 0 || level === levelsMax) throw new BoltError("pointer", "pages of a tree lead to each other");
    if (page.isLeaf) yield* leafEntries(page);
    else for (let i = 0; i < page.count; i++) yield* this.#walk(page.child(i), level + 1, budget);
  }

  /** Reads a branch or leaf page with what overflows of it. */
  page(id: number): { readonly page: TreePage; readonly header: PageHeader } {
    const header = this.header(id);
    const bytes = this.bytes(id, 1 + header.overflow);
    return { page: new TreePage(bytes, header, `page ${id}`), header };
  }

  /** Reads a page's header; its number and overflow are checked. */
  header(id: number): PageHeader {
    this.#checkPointer(id, 1);
    const bytes = new Uint8Array(16);
    this.#source.read(id * this.meta.pageBytes, bytes);
    const header = readPageHeader(bytes);
    if (header.id !== id) throw new BoltError("page", `page ${id} says that it is page ${header.id}`);
    this.#checkPointer(id, 1 + header.overflow);
    return header;
  }

  /** Reads whole pages. */
  bytes(id: number, pages: number): Uint8Array {
    const length = pages * this.meta.pageBytes;
    if (length > pageRunBytesMax) throw new BoltError("page", `page ${id} has ${length} bytes`);
    const bytes = new Uint8Array(length);
    this.#source.read(id * this.meta.pageBytes, bytes);
    return bytes;
  }

  #checkPointer(id: number, pages: number): void {
    if (id < 2 || id + pages > this.meta.highWater) {
      throw new BoltError("pointer", `${pages} pages from ${id} on are not among the file's ${this.meta.highWater}`);
    }
  }
}

/** Reads a bucket's header from its value. */
export function readBucketHeader(value: Uint8Array): BucketHeader {
  if (value.length < bucketHeaderBytes) throw new BoltError("bucket", `a bucket's header has ${value.length} bytes`);
  const view = new DataView(value.buffer, value.byteOffset, bucketHeaderBytes);
  const root = readPageNumber(view, 0);
  const inline = root === 0 ? value.subarray(bucketHeaderBytes) : undefined;
  return { root, sequence: view.getBigUint64(8, true), inline };
}

/** The page within a bucket's value. */
export function inlinePage(bytes: Uint8Array): TreePage {
  const page = new TreePage(bytes, readPageHeader(bytes), "a page within a bucket's value");
  if (!page.isLeaf) throw new BoltError("bucket", "a page within a bucket's value is no leaf");
  return page;
}

function* leafEntries(page: TreePage): Generator<BoltEntry> {
  for (let i = 0; i < page.count; i++) {
    const flags = page.flags(i);
    if (flags > bucketFlag) throw new BoltError("page", `an element has unknown flags ${flags}`);
    yield { key: page.key(i), value: page.value(i), isBucket: flags === bucketFlag };
  }
}

/** Of two sound meta pages the one with the higher transaction ID counts. */
function newestMeta(source: ByteSource): Meta {
  const first = metaAt(source, 0);
  const second = first === undefined ? secondMeta(source) : metaAt(source, first.pageBytes);
  const newest = first !== undefined && (second === undefined || first.txid > second.txid) ? first : second;
  if (newest === undefined) throw new BoltError("meta", "the file has no sound meta page");
  return newest;
}

/** With the first one lost, the size of pages is not known. */
function secondMeta(source: ByteSource): Meta | undefined {
  for (let size = pageBytesMin; size <= pageBytesMax; size *= 2) {
    const meta = metaAt(source, size);
    if (meta?.pageBytes === size) return meta;
  }
  return undefined;
}

function metaAt(source: ByteSource, at: number): Meta | undefined {
  const bytes = new Uint8Array(80);
  if (at + bytes.length > source.size) return undefined;
  source.read(at, bytes);
  return readMeta(bytes);
}

function readWhole(fd: number, at: number, into: Uint8Array): void {
  for (let done = 0; done < into.length;) {
    const count = readSync(fd, into, done, into.length - done, at + done);
    if (count === 0) throw new BoltError("short", "the file became shorter while it was read");
    done += count;
  }
}
