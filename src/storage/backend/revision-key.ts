/**
 * The key of a record in the `key` bucket, as etcd writes it: main revision (8 bytes, big-endian), '_',
 * sub revision (8 bytes, big-endian), and for a tombstone one more byte, 't'.
 */
export const revisionKeyBytes = 17;
export const tombstoneKeyBytes = 18;
const separator = 0x5f;
const tombstoneMark = 0x74;
const twoTo32 = 0x1_0000_0000;

/** Writes the key at `at` and returns its end. `view` and `bytes` are of the same memory. */
export function writeRevisionKey(
  view: DataView,
  bytes: Uint8Array,
  at: number,
  main: number,
  sub: number,
  tombstone: boolean,
): number {
  view.setUint32(at, Math.floor(main / twoTo32));
  view.setUint32(at + 4, main % twoTo32);
  bytes[at + 8] = separator;
  view.setUint32(at + 9, Math.floor(sub / twoTo32));
  view.setUint32(at + 13, sub % twoTo32);
  if (!tombstone) return at + revisionKeyBytes;
  bytes[at + 17] = tombstoneMark;
  return at + tombstoneKeyBytes;
}

function readUint64(bytes: Uint8Array, at: number): number {
  const high = bytes[at]! * 0x100_0000 + ((bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!);
  const low = bytes[at + 4]! * 0x100_0000 + ((bytes[at + 5]! << 16) | (bytes[at + 6]! << 8) | bytes[at + 7]!);
  const value = high * twoTo32 + low;
  if (!Number.isSafeInteger(value)) throw new Error(`backend: unsafe revision ${value} in the key bucket`);
  return value;
}

/** A decoded key; one instance is reused. */
export class RevisionKeyReader {
  main = 0;
  sub = 0;
  tombstone = false;

  /** Decodes `bytes[start, end)`; the bytes come from the disk, so anything wrong is an error. */
  read(bytes: Uint8Array, start: number, end: number): void {
    const length = end - start;
    const tombstone = length === tombstoneKeyBytes && bytes[start + 17] === tombstoneMark;
    if ((length !== revisionKeyBytes && !tombstone) || bytes[start + 8] !== separator) {
      throw new Error(`backend: a key of the key bucket is not a revision (${length} bytes)`);
    }
    this.main = readUint64(bytes, start);
    this.sub = readUint64(bytes, start + 9);
    this.tombstone = tombstone;
  }
}

/** A new key as bytes, for the places that are not hot (meta's compact revisions). */
export function revisionKey(main: number, sub: number): Uint8Array {
  const bytes = new Uint8Array(revisionKeyBytes);
  writeRevisionKey(new DataView(bytes.buffer), bytes, 0, main, sub, false);
  return bytes;
}
