/**
 * Checksums in the store, which LMDB has none of. Each stored value ends in the CRC32C of key and value, and the database
 * `checks` says with each transaction what each bucket holds: how many entries, and the sum of their checksums. A bit
 * that flips is noticed by the first, an entry that is lost or stale by the second. Nothing of it leaves the backend.
 *
 * Everything is checked at start, by `native/core/src/environment/`, which has the layout; each value again when it is
 * read. `consistent_index` and `term` of `meta`, written with each transaction, are outside its digest: the index is
 * repeated beside the digests.
 */
import { crc32c, entryChecksum } from "../../native/index.js";
import { buckets, type Bucket } from "./bucket.js";

/** The database beside etcd's buckets, and its keys. */
export const checksDatabase = "checks";
const encoder = new TextEncoder();
export const checksKey = { layout: encoder.encode("layout"), digests: encoder.encode("digests") } as const;
/** The version of all that is ours in the store. */
export const layoutVersion = encoder.encode("1");
/** A checksum behind a value. */
export const checksumBytes = 4;
/** Sums are kept modulo this, so that they are exact numbers. */
const sumModulus = 2 ** 48;

/** What is stored is not what was written: the member must end, and answer nothing from it. */
export class StoreDamagedError extends Error {
  override readonly name = "StoreDamagedError";

  constructor(bucket: string, entry: string) {
    super(
      `backend: ${entry} of the bucket "${bucket}" fails its checksum: the disk or the memory of this machine has ` +
        "changed it. Nothing was changed; replace this member, or restore a snapshot",
    );
  }
}

/** An entry's key for people. */
export function keyText(key: Uint8Array): string {
  return JSON.stringify(Buffer.from(key).toString("latin1"));
}

/** The checksum of a stored value, which is `stored[0, length)`. Throws when it is wrong. */
export function checkStored(
  bucket: Bucket | typeof checksDatabase,
  key: Uint8Array,
  stored: Uint8Array,
  length: number,
): number {
  const checksum = entryChecksum(key, stored, length);
  if (checksum < 0) throw new StoreDamagedError(bucket, `the entry ${keyText(key)}`);
  return checksum;
}

/** The checksum of an entry. */
export function checksumOf(key: Uint8Array, value: Uint8Array): number {
  return crc32c(crc32c(0, key), value);
}

/** A value as it is stored. */
export function withChecksum(key: Uint8Array, value: Uint8Array): Uint8Array {
  const stored = new Uint8Array(value.length + checksumBytes);
  stored.set(value);
  new DataView(stored.buffer).setUint32(value.length, checksumOf(key, value), true);
  return stored;
}

/** Count and sum of each bucket as they will be with what has been given so far. */
export class Digests {
  readonly #counts = new Float64Array(buckets.length);
  readonly #sums = new Float64Array(buckets.length);

  /** Notes entries that come (`count` above 0) or go, and the sum of their checksums. */
  add(bucket: Bucket, count: number, checksums: number): void {
    const i = buckets.indexOf(bucket);
    this.#counts[i]! += count;
    const sum = this.#sums[i]! + (count < 0 ? sumModulus - (checksums % sumModulus) : checksums);
    this.#sums[i] = sum % sumModulus;
  }

  /** As it is stored: the index, then of each bucket its name's length, name, count and sum, little-endian. */
  encode(consistentIndex: number): Uint8Array {
    const names = buckets.map((bucket) => encoder.encode(bucket));
    const bytes = new Uint8Array(names.reduce((sum, name) => sum + 17 + name.length, 8));
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, BigInt(consistentIndex), true);
    let at = 8;
    names.forEach((name, i) => {
      bytes[at] = name.length;
      bytes.set(name, at + 1);
      at += 1 + name.length;
      view.setBigUint64(at, BigInt(this.#counts[i]!), true);
      view.setBigUint64(at + 8, BigInt(this.#sums[i]!), true);
      at += 16;
    });
    return bytes;
  }

  /** What `encode` made, or nothing. It has passed its checksum. */
  static decode(bytes: Uint8Array | undefined): Digests {
    const digests = new Digests();
    if (bytes === undefined) return digests;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const decoder = new TextDecoder();
    for (let at = 8; at < bytes.length;) {
      const name = decoder.decode(bytes.subarray(at + 1, at + 1 + bytes[at]!));
      at += 1 + bytes[at]!;
      const i = (buckets as readonly string[]).indexOf(name);
      digests.#counts[i] = Number(view.getBigUint64(at, true));
      digests.#sums[i] = Number(view.getBigUint64(at + 8, true));
      at += 16;
    }
    return digests;
  }
}
