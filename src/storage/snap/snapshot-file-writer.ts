/**
 * The store at one commit as a bbolt file for another member, in pieces. What the file says of itself (index, term,
 * configuration) is of the same commit, so whoever installs it stands exactly there.
 */
import { copyOf } from "../../base/index.js";
import { PageOutput, sizeBuckets, writeBuckets, type BoltLayout, type BucketSource } from "../../bolt/index.js";
import {
  Bucket,
  buckets,
  clusterVersionKey,
  decodeUint64,
  metaKey,
  type PinnedRead,
  type SmallBucket,
} from "../backend/index.js";
import type { SnapshotState } from "./messages.js";

/** Bytes of a piece. */
export const pieceBytes = 512 << 10;

const encoder = new TextEncoder();
const noBytes = new Uint8Array(0);

/** All buckets of a pinned store, for a file. */
export function bucketSources(read: PinnedRead): BucketSource[] {
  return buckets.map((name) => ({ name: encoder.encode(name), open: () => read.open(name) }));
}

export class SnapshotFileWriter {
  readonly #read: PinnedRead;
  readonly #sources: readonly BucketSource[];

  constructor(read: PinnedRead) {
    this.#read = read;
    this.#sources = bucketSources(read);
  }

  /** The sizing pass; it must end before the rest. */
  size(): Generator<undefined, BoltLayout> {
    return sizeBuckets(this.#sources);
  }

  stateOf(layout: BoltLayout): SnapshotState {
    const meta = (key: Uint8Array): Uint8Array | undefined => this.#read.get(Bucket.Meta, key);
    const number = (key: Uint8Array): number => decodeUint64(meta(key) ?? new Uint8Array(8));
    return {
      fileBytes: layout.fileBytes,
      index: number(metaKey.consistentIndex),
      term: number(metaKey.term),
      confState: meta(metaKey.confState) ?? noBytes,
      members: this.#rows(Bucket.Members).map(({ value }) => value),
      removedMembers: this.#rows(Bucket.MembersRemoved).map(({ key }) => key),
      clusterVersion: this.#read.get(Bucket.Cluster, clusterVersionKey) ?? null,
    };
  }

  /** Copies of a bucket's few entries. */
  #rows(bucket: SmallBucket): { readonly key: Uint8Array; readonly value: Uint8Array }[] {
    const cursor = this.#read.open(bucket);
    const rows: { key: Uint8Array; value: Uint8Array }[] = [];
    while (cursor.next()) rows.push({ key: copyOf(cursor.key), value: copyOf(cursor.value) });
    cursor.close();
    return rows;
  }

  /** A step yields the next piece, the receiver's own, or null: nothing is complete yet. */
  *write(layout: BoltLayout): Generator<Uint8Array<ArrayBuffer> | null, void> {
    const output = new PageOutput();
    for (const _ of writeBuckets(this.#sources, layout, output, pieceBytes)) {
      if (output.length < pieceBytes) yield null;
      else yield* pieces(output, false);
    }
    yield* pieces(output, true);
  }
}

/** Whole pieces of what was written, and at the end the rest. */
function* pieces(output: PageOutput, isEnd: boolean): Generator<Uint8Array<ArrayBuffer>, void> {
  let from = 0;
  for (; output.length - from >= pieceBytes; from += pieceBytes) yield copyOf(output.bytes, from, from + pieceBytes);
  if (isEnd && from < output.length) yield copyOf(output.bytes, from, output.length);
  output.drop(isEnd ? output.length : from);
}
