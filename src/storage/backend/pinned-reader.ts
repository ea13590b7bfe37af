/**
 * Reads all of the store as it was at one commit, on any thread but apply's: it opens the environment itself (LMDB
 * shares one among the threads of a process) and holds a read transaction. While one is held, pages that it sees are
 * not used anew and the file may grow, so whoever pins bounds the time.
 */
import { open, type RootDatabase } from "lmdb";
import { Bucket, buckets, type SmallBucket } from "./bucket.js";
import { checksumBytes, checkStored } from "./checks.js";
import { environmentIdentity } from "./lmdb-file.js";
import { environmentOptions } from "./lmdb-stores.js";

/** Stands on one entry of a bucket after another, its checksum checked; the arrays are valid until the next call. */
export interface PinnedCursor {
  next(): boolean;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly keyLength: number;
  readonly valueLength: number;
  close(): void;
}

/** What lmdb-js's transactions have beside their declarations. */
type ReadTransaction = ReturnType<RootDatabase["useReadTransaction"]>;
type EntryDatabase = Omit<RootDatabase, "getRange"> & {
  getRange(options: { start: Uint8Array; transaction: ReadTransaction }): Iterable<unknown>;
};

/** Keeps what lmdb says of the entry it stands on. */
class EntryView {
  bucket: Bucket = Bucket.Key;
  keyBytes: Uint8Array = new Uint8Array(0);
  keyStart = 0;
  keyEnd = 0;
  valueBytes: Uint8Array = new Uint8Array(0);
  valueLength = 0;

  readKey = (bytes: Uint8Array, start: number, end: number): EntryView => {
    this.keyBytes = bytes;
    this.keyStart = start;
    this.keyEnd = end;
    return this;
  };

  decode = (bytes: Uint8Array, size: number): number => {
    checkStored(this.bucket, this.keyBytes.subarray(this.keyStart, this.keyEnd), bytes, size);
    this.valueBytes = bytes;
    this.valueLength = size - checksumBytes;
    return this.valueLength;
  };

  writeKey = (key: Uint8Array, target: Uint8Array, start: number): number => {
    target.set(key, start);
    return start + key.length;
  };
}

/** The environment on this thread. */
export class PinnedReader {
  readonly #directory: string;
  readonly #identity: string;
  readonly #root: RootDatabase;
  readonly #view = new EntryView();
  readonly #databases = new Map<Bucket, EntryDatabase>();

  /** The apply thread has the environment in `directory` open. */
  constructor(directory: string) {
    this.#directory = directory;
    this.#identity = environmentIdentity(directory);
    this.#root = open(environmentOptions(directory, 0) as Parameters<typeof open>[0]);
    const { decode, readKey, writeKey } = this.#view;
    for (const name of buckets) {
      const options = {
        name,
        encoder: { encode: (value: Uint8Array) => value, decode },
        keyEncoder: { writeKey, readKey },
      };
      this.#databases.set(name, this.#root.openDB(options as unknown as { name: string }) as unknown as EntryDatabase);
    }
  }

  /** Another file has taken the place of the one that is open here: its own must be opened to see what is new. */
  get isReplaced(): boolean {
    return environmentIdentity(this.#directory) !== this.#identity;
  }

  /** Pins what has been committed until now. */
  pin(): PinnedRead {
    this.#root.resetReadTxn();
    return new PinnedRead(this.#root.useReadTransaction(), this.#databases, this.#view);
  }

  /** All pins must have been released. */
  async close(): Promise<void> {
    await this.#root.close();
  }
}

/** The store at one commit. */
export class PinnedRead {
  readonly #transaction: ReadTransaction;
  readonly #databases: ReadonlyMap<Bucket, EntryDatabase>;
  readonly #view: EntryView;
  readonly #cursors = new Set<EntryCursorOfLmdb>();
  #released = false;

  constructor(transaction: ReadTransaction, databases: ReadonlyMap<Bucket, EntryDatabase>, view: EntryView) {
    this.#transaction = transaction;
    this.#databases = databases;
    this.#view = view;
  }

  /** The bucket's entries from the first (or from `start`) on, in order of key. Cursors of a thread share their arrays. */
  open(bucket: Bucket, start: Uint8Array = firstKey): PinnedCursor {
    const database = this.#databases.get(bucket)!;
    const entries = database.getRange({ start, transaction: this.#transaction })[Symbol.iterator]();
    const cursor = new EntryCursorOfLmdb(bucket, entries, this.#view, (closed) => this.#cursors.delete(closed));
    this.#cursors.add(cursor);
    return cursor;
  }

  /** A copy of one value; for buckets of few entries. */
  get(bucket: SmallBucket, key: Uint8Array): Uint8Array | undefined {
    const cursor = this.open(bucket);
    try {
      while (cursor.next()) if (Buffer.compare(cursor.key, key) === 0) return Uint8Array.from(cursor.value);
      return undefined;
    } finally {
      cursor.close();
    }
  }

  /** Ends the read transaction, its cursors first. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    for (const cursor of this.#cursors) cursor.close();
    this.#transaction.done();
  }
}

/** Not above any key: none is empty. */
const firstKey = new Uint8Array(1);

class EntryCursorOfLmdb implements PinnedCursor {
  readonly #bucket: Bucket;
  readonly #entries: Iterator<unknown>;
  readonly #view: EntryView;
  readonly #onClose: (cursor: EntryCursorOfLmdb) => void;
  #closed = false;

  constructor(
    bucket: Bucket,
    entries: Iterator<unknown>,
    view: EntryView,
    onClose: (cursor: EntryCursorOfLmdb) => void,
  ) {
    this.#bucket = bucket;
    this.#entries = entries;
    this.#view = view;
    this.#onClose = onClose;
  }

  next(): boolean {
    if (this.#closed) return false;
    this.#view.bucket = this.#bucket;
    if (this.#entries.next().done !== true) return true;
    this.#end();
    return false;
  }

  get key(): Uint8Array {
    return this.#view.keyBytes.subarray(this.#view.keyStart, this.#view.keyEnd);
  }
  get value(): Uint8Array {
    return this.#view.valueBytes.subarray(0, this.#view.valueLength);
  }
  get keyLength(): number {
    return this.#view.keyEnd - this.#view.keyStart;
  }
  get valueLength(): number {
    return this.#view.valueLength;
  }

  close(): void {
    if (this.#closed) return;
    this.#entries.return?.();
    this.#end();
  }

  #end(): void {
    this.#closed = true;
    this.#onClose(this);
  }
}
