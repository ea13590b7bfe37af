/**
 * CRC32C (Castagnoli), by the processor's instruction where it has one.
 * Thread: any.
 */
import { addon } from "./addon.js";

// The addon is built from this tree, or published with this version.
const native = addon as { crc32c(crc: number, bytes: Uint8Array): number };

/** The checksum of what had `crc` (0: nothing) followed by `bytes`. */
export function crc32c(crc: number, bytes: Uint8Array): number {
  return native.crc32c(crc, bytes);
}
