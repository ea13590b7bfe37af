/**
 * HashKV as etcd computes it: CRC-32C over the bucket's name and then over key and value of every record
 * up to the revision, without those that a compaction at the present compact revision drops or might have
 * dropped. Members compare these hashes, so every rule here is etcd's, its odd ones included.
 */
import type { RecordVisitor } from "../backend/index.js";
import { RevisionStatus, type HashResult, type MvccStoreOptions, type Revisions } from "./contract.js";
import type { KeyIndex, RevisionSet } from "./key-index.js";
import { KeyHasher } from "./key-hasher.js";

/** One slice: a few milliseconds. */
const slice = { records: 1_000, bytes: 1 << 20 } as const;
const keysPerSlice = 4_000;

/** Hashes what the store holds at `revision` (0: now), in slices. Puts may go on meanwhile. */
export async function hashKv(
  revisions: Revisions,
  index: KeyIndex,
  options: MvccStoreOptions,
  revision: number,
): Promise<HashResult> {
  const { currentRevision, compactRevision } = revisions;
  const failed = { hash: 0, compactRevision, revision, currentRevision };
  if (revision > 0 && revision < compactRevision) return { status: RevisionStatus.Compacted, ...failed };
  if (revision > currentRevision) return { status: RevisionStatus.Future, ...failed };
  const upTo = revision === 0 ? currentRevision : revision;
  const keep = compactRevision > 0 ? await keepSet(index, upTo, options.yield) : undefined;
  const hasher = new KeyHasher(options.crc32c, { compactRevision, revision: upTo, keep });
  await hashRecords(options, hasher, upTo);
  return { status: RevisionStatus.Ok, hash: hasher.finish(), compactRevision, revision: upTo, currentRevision };
}

/** Without a compaction no record is old enough to need the set. */
async function keepSet(index: KeyIndex, revision: number, yieldNow: () => Promise<void>): Promise<RevisionSet> {
  const scan = index.keep(revision);
  while (scan.step(keysPerSlice)) await yieldNow();
  return scan.available;
}

async function hashRecords(options: MvccStoreOptions, hasher: KeyHasher, upTo: number): Promise<void> {
  const { backend } = options;
  const position = { main: 0, sub: 0 };
  const visitor: RecordVisitor = hasher;
  while (position.main <= upTo && backend.scanRecords(position, slice, visitor)) await options.yield();
}
