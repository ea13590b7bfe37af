/**
 * Writes a new environment from its first entry to its last, before anybody else uses it. What was given since the
 * last `flush` is one write transaction, made on a thread of libuv's pool. A failure leaves a file that is of no use
 * to anyone; whoever builds it removes it.
 */
import { BlockPool } from "./blocks.js";
import { Bucket, metaKey, smallBuckets, type SmallBucket } from "./bucket.js";
import { checksKey, checksumOf, Digests } from "./checks.js";
import { LmdbCommitter } from "./lmdb-committer.js";
import { LmdbStores } from "./lmdb-stores.js";
import { SegmentQueue } from "./segment-queue.js";
import { bytesToText } from "./small-overlay.js";
import { decodeUint64 } from "./uint64.js";

/** Entries of `meta` outside its digest. */
const consistentIndexText = bytesToText(metaKey.consistentIndex);
const termText = bytesToText(metaKey.term);
/** Unused blocks kept for the next transaction. */
const poolBytesMax = 16 << 20;

export class EnvironmentWriter {
  readonly #stores: LmdbStores;
  readonly #queue = new SegmentQueue(new BlockPool(poolBytesMax));
  readonly #committer: LmdbCommitter;
  readonly #digests = new Digests();
  readonly #smallChecksums = new Map<SmallBucket, Map<string, number>>(smallBuckets.map((name) => [name, new Map()]));
  #consistentIndex = 0;
  #newRecords = 0;
  #settle: { resolve: () => void; reject: (error: Error) => void } | null = null;

  /** Makes the environment in `directory`; the map's size is that of the backend with this quota. */
  constructor(options: { directory: string; quotaBytes: number }) {
    this.#stores = LmdbStores.open(options);
    this.#committer = new LmdbCommitter({
      env: this.#stores.env,
      queue: this.#queue,
      changesMax: Number.POSITIVE_INFINITY,
      onFlushed: ({ segments }) => {
        this.#queue.release(segments);
        this.#settle?.resolve();
      },
      onError: (error) => this.#settle?.reject(error),
    });
  }

  /** Bytes in memory that the next `flush` writes. */
  get bytes(): number {
    return this.#queue.bytes;
  }

  /** Adds an entry; `append`: its key is above all others of the bucket. A record is put once. */
  put(bucket: Bucket, key: Uint8Array, value: Uint8Array, append: boolean): void {
    const isRecord = bucket === Bucket.Key;
    this.#queue.current().addPut(this.#stores.dbiOf(bucket), key, value, append, isRecord);
    if (isRecord) this.#newRecords++;
    else this.#noteSmall(bucket, key, value);
  }

  /** Keeps the digest of a bucket whose entries may be put again or removed. */
  #noteSmall(bucket: SmallBucket, key: Uint8Array, value: Uint8Array | null): void {
    const text = bytesToText(key);
    if (bucket === Bucket.Meta && text === consistentIndexText) {
      this.#consistentIndex = value === null ? 0 : decodeUint64(value);
      return;
    }
    if (bucket === Bucket.Meta && text === termText) return;
    const checksums = this.#smallChecksums.get(bucket)!;
    const former = checksums.get(text);
    if (former !== undefined) this.#digests.add(bucket, -1, former);
    checksums.delete(text);
    if (value === null) return;
    const checksum = checksumOf(key, value);
    this.#digests.add(bucket, 1, checksum);
    checksums.set(text, checksum);
  }

  /** Removes an entry of a small bucket. */
  delete(bucket: SmallBucket, key: Uint8Array): void {
    this.#noteSmall(bucket, key, null);
    this.#queue.current().addDelete(this.#stores.dbiOf(bucket), key);
  }

  /** Writes what has been given, and resolves when it is on the disk. One at a time. */
  flush(): Promise<void> {
    if (!this.#queue.isFilling) return Promise.resolve();
    const segment = this.#queue.current();
    this.#digests.add(Bucket.Key, this.#newRecords, segment.stamp());
    this.#newRecords = 0;
    segment.addPut(this.#stores.checksDbi, checksKey.digests, this.#digests.encode(this.#consistentIndex));
    segment.stamp();
    this.#queue.end();
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#committer.start();
    });
  }

  close(): void {
    this.#stores.close();
  }
}
