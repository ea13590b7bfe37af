/**
 * The check of an LMDB file and the checksums in it; `native/core/src/environment/` has the layout.
 * Thread: any.
 */
import { addon } from "./addon.js";

// The addon is built from this tree, or published with this version.
const native = addon as {
  environmentFault(path: string): string | null;
  environmentStamp(keys: Uint8Array, values: Uint8Array, table: Uint32Array): number;
  environmentChecksum(key: Uint8Array, stored: Uint8Array, length: number): number;
};

/** What is wrong with the LMDB file at `path`, which nobody writes meanwhile; null: nothing. Reads all of it. */
export function environmentFault(path: string): string | null {
  return native.environmentFault(path);
}

/**
 * Writes the checksum of each entry behind its value and returns the sum of those of records. `table` has four numbers
 * an entry: start of its key in `keys`, length of the key (top bit: a record), start and end of its value in `values`.
 */
export function stampEntries(keys: Uint8Array, values: Uint8Array, table: Uint32Array): number {
  return native.environmentStamp(keys, values, table);
}

/** The checksum of an entry whose stored value is `stored[0, length)`, its last four bytes the checksum; −1: it is wrong. */
export function entryChecksum(key: Uint8Array, stored: Uint8Array, length: number): number {
  return native.environmentChecksum(key, stored, length);
}
