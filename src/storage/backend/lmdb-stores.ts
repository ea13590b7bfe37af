/**
 * The LMDB environment and its databases, one a bucket, opened as the backend needs them.
 *
 * - `overlappingSync`: a commit is visible before it is flushed; never `noSync`.
 * - `safeRestore`: after any crash the file opens at the last flushed transaction, never at one that only
 *   the page cache has seen. lmdb's default trusts the page cache when the boot ID is unchanged, which is
 *   wrong for a disk that was detached and came back. The WAL replays what is missing, since
 *   `flushedIndex` lets it go of nothing younger.
 */
import { resolve } from "node:path";
import { open, type Database, type RootDatabase } from "lmdb";
import { assert } from "../../base/index.js";
import { entryChecksum } from "../../native/index.js";
import { Bucket, buckets, type SmallBucket } from "./bucket.js";
import type { BackendEntry, BackendSizes, RecordVisitor, ScanLimits, ScanPosition } from "./backend.js";
import {
  checksDatabase,
  checksKey,
  checksumBytes,
  checkStored,
  Digests,
  layoutVersion,
  StoreDamagedError,
  withChecksum,
} from "./checks.js";
import { prepareEnvironment } from "./lmdb-file.js";
import type { LmdbEnv, TreeStat } from "./lmdb-native.js";
import { revisionKeyBytes, RevisionKeyReader, tombstoneKeyBytes, writeRevisionKey } from "./revision-key.js";

/** Address space of the map, at least; only what is written takes room. */
const mapBytesMin = 64 * 1024 ** 3;
/** The map is so many times the quota: MAP_FULL must never meet apply. */
const mapPerQuota = 16;

/**
 * Pages of the file that hold nothing even where hardly anything is stored: LMDB writes changed pages anew and uses
 * those of the last two commits only later. bbolt's files have none of them, and a quota of a few pages, as etcd's own
 * tests set it, is to hold as much here.
 */
const ownPages = 8;

/** A revision as a key of the `key` database; one object is reused for all calls. */
export interface RevisionKey {
  main: number;
  sub: number;
  tombstone: boolean;
}

/** What lmdb's objects have beside their declarations. */
interface DatabaseInternals {
  readonly env: LmdbEnv;
  readonly db: { readonly dbi: number; stat(): TreeStat };
  /** Length of the value read last. */
  readonly lastSize: number;
}

export type SmallDatabase = Database<Uint8Array, Uint8Array> & DatabaseInternals;
export type KeyDatabase = Database<number, RevisionKey & Uint8Array> & DatabaseInternals;

/** Checks records against their checksums; their keys are made in memory of its own. */
class RecordChecker {
  readonly #bytes = new Uint8Array(tombstoneKeyBytes);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #putKey = this.#bytes.subarray(0, revisionKeyBytes);

  /** The checksum of the record in `stored[0, length)`. Throws when it is wrong. */
  check(main: number, sub: number, tombstone: boolean, stored: Uint8Array, length: number): number {
    writeRevisionKey(this.#view, this.#bytes, 0, main, sub, tombstone);
    const checksum = entryChecksum(tombstone ? this.#bytes : this.#putKey, stored, length);
    if (checksum < 0) throw new StoreDamagedError(Bucket.Key, `revision ${main}.${sub}`);
    return checksum;
  }
}

/** Hands the records of an iteration to the visitor where LMDB has them, without an array for each. */
class RecordDecoder {
  readonly #key = new RevisionKeyReader();
  readonly #checker: RecordChecker;
  visitor: RecordVisitor | undefined;
  /** Position and checksum of the record visited last. */
  main = 0;
  sub = 0;
  checksum = 0;

  constructor(checker: RecordChecker) {
    this.#checker = checker;
  }

  /** lmdb calls this with the key's bytes first … */
  readKey = (bytes: Uint8Array, start: number, end: number): RevisionKeyReader => {
    this.#key.read(bytes, start, end);
    return this.#key;
  };

  /** … then this with the value's; what it returns becomes the value. */
  decode = (bytes: Uint8Array, size: number): number => {
    const { main, sub, tombstone } = this.#key;
    this.main = main;
    this.sub = sub;
    this.checksum = this.#checker.check(main, sub, tombstone, bytes, size);
    const end = size - checksumBytes;
    this.visitor?.visit(main, sub, tombstone, bytes, 0, end);
    return end;
  };
}

/** lmdb has one buffer for the keys of reads, so its view is kept. */
let keyTarget = new Uint8Array(0);
let keyView: DataView = new DataView(keyTarget.buffer);

/** lmdb calls this to put a key into its own buffer. */
function writeKey(key: RevisionKey | Uint8Array, target: Uint8Array, start: number): number {
  if (key instanceof Uint8Array) {
    target.set(key, start);
    return start + key.length;
  }
  if (target !== keyTarget) {
    keyTarget = target as Uint8Array<ArrayBuffer>;
    keyView = new DataView(target.buffer, target.byteOffset, target.length);
  }
  return writeRevisionKey(keyView, target, start, key.main, key.sub, key.tombstone);
}

/** How every thread opens the environment in `directory`; the first one's map size is everybody's. */
export function environmentOptions(directory: string, quotaBytes: number): object {
  return {
    path: directory,
    noSubdir: false,
    maxDbs: 2 * buckets.length,
    maxReaders: 1024,
    mapSize: Math.max(mapBytesMin, mapPerQuota * quotaBytes),
    overlappingSync: true,
    safeRestore: true,
    permissionsMode: 0o600,
    encoding: "binary",
    keyEncoding: "binary",
  };
}

function openEnvironment(directory: string, options: object): RootDatabase & DatabaseInternals {
  try {
    return open(options as Parameters<typeof open>[0]) as RootDatabase & DatabaseInternals;
  } catch (error) {
    throw new Error(`backend: cannot open ${directory}: ${(error as Error).message}`, { cause: error });
  }
}

export class LmdbStores {
  readonly root: RootDatabase & DatabaseInternals;
  readonly key: KeyDatabase;
  readonly checker = new RecordChecker();
  readonly decoder = new RecordDecoder(this.checker);
  readonly #checks: SmallDatabase;
  readonly #small = new Map<Bucket, SmallDatabase>();

  /** Opens the environment, making it when it is absent. */
  static open(options: { directory: string; quotaBytes: number }): LmdbStores {
    const directory = resolve(options.directory);
    prepareEnvironment(directory, (making) => new LmdbStores(making, options.quotaBytes).#markAndClose());
    return new LmdbStores(directory, options.quotaBytes);
  }

  /** Opens an environment that another thread has open, or that was open a moment ago. */
  static reopen(options: { directory: string; quotaBytes: number }): LmdbStores {
    return new LmdbStores(resolve(options.directory), options.quotaBytes);
  }

  private constructor(directory: string, quotaBytes: number) {
    this.root = openEnvironment(directory, environmentOptions(directory, quotaBytes));
    this.key = this.#openKey();
    for (const bucket of buckets) if (bucket !== "key") this.#small.set(bucket, this.#openSmall(bucket));
    this.#checks = this.#openSmall(checksDatabase);
  }

  /** Says in a new environment what it is. */
  #markAndClose(): void {
    this.#checks.putSync(checksKey.layout, withChecksum(checksKey.layout, layoutVersion));
    this.close();
  }

  /** What the buckets held with the last transaction. */
  readDigests(): Digests {
    const stored = this.#checks.getBinary(checksKey.digests);
    if (stored === undefined) return new Digests();
    checkStored(checksDatabase, checksKey.digests, stored, stored.length);
    return Digests.decode(stored.subarray(0, stored.length - checksumBytes));
  }

  /** A copy of a value of a small bucket. */
  readSmall(bucket: SmallBucket, key: Uint8Array): Uint8Array | undefined {
    const stored = this.small(bucket).getBinary(key);
    if (stored === undefined) return undefined;
    checkStored(bucket, key, stored, stored.length);
    return Uint8Array.from(stored.subarray(0, stored.length - checksumBytes));
  }

  /** Copies of all entries of a small bucket. */
  readEntries(bucket: SmallBucket): BackendEntry[] {
    const entries: BackendEntry[] = [];
    for (const { key, value: stored } of this.small(bucket).getRange({})) {
      checkStored(bucket, key, stored, stored.length);
      entries.push({
        key: Uint8Array.from(key),
        value: Uint8Array.from(stored.subarray(0, stored.length - checksumBytes)),
      });
    }
    return entries;
  }

  #openKey(): KeyDatabase {
    const options = {
      name: "key",
      encoder: { encode: (value: Uint8Array) => value, decode: this.decoder.decode },
      keyEncoder: { writeKey, readKey: this.decoder.readKey },
    };
    return this.root.openDB(options as unknown as { name: string }) as unknown as KeyDatabase;
  }

  #openSmall(bucket: Bucket | typeof checksDatabase): SmallDatabase {
    return this.root.openDB({ name: bucket, encoding: "binary", keyEncoding: "binary" }) as unknown as SmallDatabase;
  }

  /** Flushes and closes; no transaction may be on its way. lmdb's promise is kept already: it has no writes of its own. */
  close(): void {
    void this.root.close();
  }

  small(bucket: Bucket): SmallDatabase {
    return this.#small.get(bucket)!;
  }

  /** Visits records on disk from `position` up to, not including, the main revision `end`. */
  scan(position: ScanPosition, limits: ScanLimits, visitor: RecordVisitor, end: number): number {
    const { key, decoder } = this;
    const start = { main: position.main, sub: position.sub, tombstone: false };
    const stop = { main: Math.min(end, Number.MAX_SAFE_INTEGER), sub: 0, tombstone: false };
    let records = 0;
    let bytes = 0;
    decoder.visitor = visitor;
    try {
      const range = { start, end: stop, limit: limits.records } as unknown as Parameters<typeof key.getRange>[0];
      for (const { value: size } of key.getRange(range)) {
        records++;
        bytes += size;
        if (bytes >= limits.bytes) break;
      }
    } finally {
      decoder.visitor = undefined;
    }
    if (records > 0) {
      position.main = decoder.main;
      position.sub = decoder.sub + 1;
    }
    return records;
  }

  /** The checksum of a record that is there; mostly of the one that a scan has just visited. */
  recordChecksum(revision: RevisionKey & Uint8Array): number {
    const { main, sub, tombstone } = revision;
    const { decoder, key, checker } = this;
    if (decoder.main === main && decoder.sub === sub) return decoder.checksum;
    const stored = key.getBinaryFast(revision);
    assert(stored !== undefined, "backend: a record to remove is not there");
    return checker.check(main, sub, tombstone, stored, key.lastSize);
  }

  /** LMDB's number of a bucket in this environment. */
  dbiOf(bucket: Bucket): number {
    return bucket === "key" ? this.key.db.dbi : this.small(bucket).db.dbi;
  }

  /** Likewise of the database of checks. */
  get checksDbi(): number {
    return this.#checks.db.dbi;
  }

  get env(): LmdbEnv {
    return this.root.env;
  }

  /** Of the lines of LMDB's table of readers, which tell a process, a thread and a transaction or "-". */
  get openReads(): number {
    return (this.root.readerList().match(/^ *\d+ +[\da-f]+ +\d+$/gm) ?? []).length;
  }

  /**
   * Pages of the file but LMDB's own, and pages in use: the two meta pages, the free list's and main tree's, and the
   * buckets'.
   */
  sizes(): BackendSizes {
    this.root.resetReadTxn();
    const stats = this.root.getStats() as { lastPageNumber: number; root: TreeStat; free: TreeStat };
    let pages = 2 + pagesOf(stats.root) + pagesOf(stats.free) + pagesOf(this.key.db.stat());
    for (const database of this.#small.values()) pages += pagesOf(database.db.stat());
    const { pageSize } = stats.root;
    const inUse = pages * pageSize;
    return { total: Math.max((stats.lastPageNumber + 1 - ownPages) * pageSize, inUse), inUse };
  }
}

function pagesOf(tree: TreeStat): number {
  return tree.treeBranchPageCount + tree.treeLeafPageCount + tree.overflowPages;
}
