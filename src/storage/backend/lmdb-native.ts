/**
 * The part of lmdb 3.5.6 below its JavaScript: a write transaction given as one block of instructions.
 *
 * Why not its public calls: `transactionSync` runs the B-tree work and, even with its no-flush flag, the
 * fdatasync on the calling thread (seen with strace; p50 1.5–2.2 ms a 1,000 puts, p99 5–6 ms with the disk
 * in it); `put` in a batch makes a closure, a list node and a value buffer a record (0.7 ms a 1,000, p99
 * 5.4 ms, 30 % more CPU), and a flush that fails is printed to stderr while `flushed` never settles.
 * `Env.startWriting` is what these puts end in: a pool thread works the instructions off in one
 * transaction, commits and flushes, and calls back with a status. We write the same instructions
 * ourselves (0.05 µs a record), hold the apply thread for none of the rest, and see every error.
 *
 * Layout of the instructions (src/writer.cpp of the package), 32-bit words, each starting 8-byte aligned:
 *
 *   put     15 | flags, dbi, key length, key, …, value length, value address (a double)
 *   delete  13, dbi, key length, key, …
 *   pointer 3, unused, address of the next block (a double)
 *   end     0; LMDB writes its transaction ID into the word before it
 *
 * The value's address (a delete: the next instruction) is at the first multiple of 8 that is at most 16
 * bytes behind the key's end; the value's length is the word before it. LMDB sets bits in the first word:
 * finished, and failed when the put or delete had no effect.
 */
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { getSystemErrorName } from "node:util";

const lmdbVersion = "3.5.6";

export const Instruction = { Put: 15, Delete: 13, Pointer: 3, End: 0 } as const;
/** Added to Put: the key is above all others of its bucket, pages are filled to the brim. */
export const appendFlag = 0x20000;
/** Set by LMDB in an instruction that had no effect: an append out of order, a delete of nothing. */
export const failedFlag = 0x400_0000;

/**
 * What `startWriting` calls back with; any other number is an error of LMDB (negative) or the system.
 * `Done` is said after the fdatasync and the attempt to write the flushed meta page; whether that attempt
 * failed is swallowed (mdb_txn_commit returns success), so `sync` must be asked as well.
 */
export const WriteStatus = { Done: 0, Visible: 1 } as const;

/** The environment object below lmdb's stores. */
export interface LmdbEnv {
  startWriting(address: number, callback: (status: number) => void): void;
  sync(callback: (error?: Error) => void): void;
  stat(): TreeStat;
  freeStat(): TreeStat;
  info(): { lastPageNumber: number };
}

/** Pages of one tree. */
export interface TreeStat {
  pageSize: number;
  treeBranchPageCount: number;
  treeLeafPageCount: number;
  overflowPages: number;
}

interface LmdbAddon {
  getAddress(buffer: ArrayBuffer): number;
}

function loadAddon(): LmdbAddon {
  const main = createRequire(import.meta.url).resolve("lmdb");
  const lmdbRequire = createRequire(main);
  const { version } = lmdbRequire("../package.json") as { version: string };
  if (version !== lmdbVersion) {
    throw new Error(`backend: lmdb ${version} is installed, but the backend is written for ${lmdbVersion} exactly`);
  }
  const load = lmdbRequire("node-gyp-build-optional-packages") as (folder: string) => LmdbAddon;
  return load(dirname(dirname(main)));
}

const addon = loadAddon();

/** Where a buffer's memory lies; it stays there as long as the buffer is referenced. */
export function addressOf(buffer: ArrayBuffer): number {
  return addon.getAddress(buffer);
}

const lmdbErrors: Readonly<Record<number, string>> = {
  [-30799]: "MDB_KEYEXIST",
  [-30797]: "MDB_PAGE_NOTFOUND: the file is damaged",
  [-30796]: "MDB_CORRUPTED: the file is damaged",
  [-30795]: "MDB_PANIC: the meta page could not be written (the disk failed or is full)",
  [-30793]: "MDB_INVALID: not an LMDB file",
  [-30792]: "MDB_MAP_FULL: the map is full",
  [-30788]: "MDB_TXN_FULL",
  [-30781]: "MDB_BAD_VALSIZE",
};

/** A status other than those of `WriteStatus`, as text. */
export function describeStatus(status: number): string {
  if (status > 0) {
    const name = getSystemErrorName(-status);
    const whenFull = "make room and start again, what was acknowledged is kept";
    if (name === "ENOSPC") return `ENOSPC: no space left on the device; ${whenFull}`;
    if (name === "EIO") return `EIO: the device failed, or is full; if it is full, ${whenFull}`;
    return name;
  }
  return lmdbErrors[status] ?? `LMDB error ${status}`;
}
