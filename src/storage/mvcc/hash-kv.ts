/**
 * HashKV as etcd computes it: CRC-32C over the bucket's name and then over key and value of every record
 * up to the revision, without those that a compaction at the present compact revision drops or might have
 * dropped. Members compare these hashes, so every rule here is etcd's, its odd ones included.
 */
import { RevisionStatus, type HashResult, type MvccStoreOptions, type Revisions } from "./contract.js";
import type { KeyIndex } from "./key-index.js";
import { KeyHasher } from "./key-hasher.js";

/** One slice: a few milliseconds. */
const slice = { records: 1_000, bytes: 1 << 20 } as const;
const keysPerSlice = 4_000;

/**
 * Hashes what the store holds at `revision` (0: now), in slices. Puts may go on meanwhile; when a compaction is
 * scheduled, or a snapshot installed, meanwhile it begins anew, as if it had been asked after that.
 */
export async function hashKv(
  revisions: Revisions,
  index: KeyIndex,
  options: MvccStoreOptions,
  revision: number,
): Promise<HashResult> {
  for (;;) {
    const { compactRevision, epoch } = revisions;
    const isStale = (): boolean => revisions.compactRevision !== compactRevision || revisions.epoch !== epoch;
    const result = await tryHash(revisions, index, options, revision, isStale);
    if (result !== undefined) return result;
  }
}

async function tryHash(
  revisions: Revisions,
  index: KeyIndex,
  options: MvccStoreOptions,
  revision: number,
  isStale: () => boolean,
): Promise<HashResult | undefined> {
  const { currentRevision, compactRevision } = revisions;
  const failed = { hash: 0, compactRevision, revision, currentRevision };
  if (revision > 0 && revision < compactRevision) return { status: RevisionStatus.Compacted, ...failed };
  if (revision > currentRevision) return { status: RevisionStatus.Future, ...failed };
  const upTo = revision === 0 ? currentRevision : revision;
  const scan = index.keep(upTo);
  // Without a compaction no record is old enough to need the set.
  while (compactRevision > 0 && scan.step(keysPerSlice)) {
    await options.yield();
    if (isStale()) return undefined;
  }
  const keep = compactRevision > 0 ? scan.available : undefined;
  const hasher = new KeyHasher(options.crc32c, { compactRevision, revision: upTo, keep });
  const position = { main: 0, sub: 0 };
  while (position.main <= upTo && options.backend.scanRecords(position, slice, hasher)) {
    await options.yield();
    if (isStale()) return undefined;
  }
  return { status: RevisionStatus.Ok, hash: hasher.finish(), compactRevision, revision: upTo, currentRevision };
}
