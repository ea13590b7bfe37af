/**
 * Digests of what apply changes, entry by entry: two members that have applied the same entries must have made the
 * same changes, down to the bytes. And a digest of a whole store.
 */
import type { Backend, MemoryBackend, SmallBucket } from "../../src/storage/backend/index.js";

/** FNV-1a over bytes, in two halves that differ in their start, as one safe integer. */
function mixed(digest: number, bytes: Uint8Array, from: number, to: number): number {
  let low = digest >>> 0;
  let high = Math.floor(digest / 2 ** 32) >>> 0;
  for (let i = from; i < to; i++) {
    low = Math.imul(low ^ bytes[i]!, 0x01000193) >>> 0;
    high = Math.imul(high ^ bytes[i]! ^ (low & 0xff), 0x01000193) >>> 0;
  }
  return (high & 0x1f_ffff) * 2 ** 32 + low;
}

function mixedNumber(digest: number, value: number): number {
  numberBytes.setFloat64(0, value);
  return mixed(digest, numberView, 0, 8);
}
const numberBytes = new DataView(new ArrayBuffer(8));
const numberView = new Uint8Array(numberBytes.buffer);

const text = new TextEncoder();
const start = 0x811c9dc5;

/** Makes `backend` tell `ended` of every entry, with a digest of what the entry has changed. */
export function observeState(
  backend: MemoryBackend,
  ended: (index: number, term: number, digest: number) => void,
): void {
  const { put, delete: remove, beginRecord, endRecord, endEntry } = backend;
  let digest = start;
  let main = 0;
  let sub = 0;
  const note = (bytes: Uint8Array): void => {
    digest = mixed(mixedNumber(digest, bytes.length), bytes, 0, bytes.length);
  };
  backend.put = (bucket, key, value) => {
    for (const bytes of [text.encode(bucket), key, value]) note(bytes);
    put.call(backend, bucket, key, value);
  };
  backend.delete = (bucket, key) => {
    for (const bytes of [text.encode(bucket), key]) note(bytes);
    remove.call(backend, bucket, key);
  };
  backend.beginRecord = (recordMain, recordSub, tombstone, valueBytesMax) => {
    main = recordMain;
    sub = recordSub * 2 + (tombstone ? 1 : 0);
    return beginRecord.call(backend, recordMain, recordSub, tombstone, valueBytesMax);
  };
  backend.endRecord = (end) => {
    digest = mixed(mixedNumber(mixedNumber(digest, main), sub), backend.recordBlock, 0, end);
    endRecord.call(backend, end);
  };
  backend.endEntry = (index, term, confState) => {
    if (confState !== undefined) note(confState);
    const ofEntry = digest;
    // The backend itself stores index and term now, by `put`.
    endEntry.call(backend, index, term, confState);
    digest = start;
    ended(index, term, ofEntry);
  };
}

/** A digest of all that a backend holds. */
export function wholeDigest(backend: Backend, buckets: readonly SmallBucket[]): number {
  let digest = start;
  for (const bucket of buckets) {
    for (const { key, value } of backend.entries(bucket)) {
      digest = mixed(mixedNumber(digest, key.length), key, 0, key.length);
      digest = mixed(mixedNumber(digest, value.length), value, 0, value.length);
    }
  }
  const position = { main: 0, sub: 0 };
  const limits = { records: 1 << 20, bytes: 1 << 30 };
  const visit = (main: number, sub: number, dead: boolean, bytes: Uint8Array, start: number, end: number): void => {
    digest = mixed(mixedNumber(mixedNumber(digest, main), sub * 2 + (dead ? 1 : 0)), bytes, start, end);
  };
  while (backend.scanRecords(position, limits, { visit })) continue;
  return digest;
}
