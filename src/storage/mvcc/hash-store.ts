/**
 * etcd's Hash: CRC-32C over all buckets in order of name, each one's name and then key and value of all its entries,
 * without what may differ between members that are equal. What comes later than the call does not count.
 */
import { Bucket, buckets, metaKey, type Backend, type BackendEntry, type SmallBucket } from "../backend/index.js";
import type { MvccStoreOptions } from "./contract.js";
import { KeyHasher } from "./key-hasher.js";

/** One slice: a few milliseconds. */
const slice = { records: 1_000, bytes: 1 << 20 } as const;

const ignored = [metaKey.consistentIndex, metaKey.term, metaKey.storageVersion];
const encoder = new TextEncoder();

export async function hashStore(
  backend: Backend,
  { crc32c, yield: yieldNow, keyLeases }: MvccStoreOptions,
  currentRevision: number,
): Promise<number> {
  // There may be very many leases: their table gives them in slices.
  const leases = keyLeases?.bucketBytes?.();
  const small = new Map<Bucket, BackendEntry[]>();
  for (const bucket of buckets) {
    if (bucket === Bucket.Key || (bucket === Bucket.Lease && leases !== undefined)) continue;
    small.set(bucket, entriesOf(backend, bucket));
  }
  let crc = 0;
  for (const bucket of buckets) {
    if (bucket === Bucket.Lease && leases !== undefined) {
      crc = crc32c(crc, encoder.encode(bucket));
      for (const piece of leases) {
        crc = crc32c(crc, piece);
        await yieldNow();
      }
      continue;
    }
    if (bucket !== Bucket.Key) {
      crc = hashSmall(crc32c, crc, bucket, small.get(bucket)!);
      continue;
    }
    const rules = { compactRevision: -1, revision: currentRevision, keep: undefined };
    const hasher = new KeyHasher(crc32c, rules, crc);
    const position = { main: 0, sub: 0 };
    while (position.main <= currentRevision && backend.scanRecords(position, slice, hasher)) await yieldNow();
    crc = hasher.finish();
  }
  return crc >>> 0;
}

function entriesOf(backend: Backend, bucket: SmallBucket): BackendEntry[] {
  const entries = backend.entries(bucket);
  if (bucket !== Bucket.Meta) return entries;
  return entries.filter(({ key }) => !ignored.some((name) => Buffer.compare(name, key) === 0));
}

function hashSmall(
  crc32c: MvccStoreOptions["crc32c"],
  crc: number,
  bucket: SmallBucket,
  entries: readonly BackendEntry[],
): number {
  crc = crc32c(crc, encoder.encode(bucket));
  for (const { key, value } of entries) crc = crc32c(crc32c(crc, key), value);
  return crc;
}
