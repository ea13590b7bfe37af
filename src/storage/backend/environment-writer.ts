/**
 * Writes a new environment from its first entry to its last, before anybody else uses it. What was given since the
 * last `flush` is one write transaction, made on a thread of libuv's pool. A failure leaves a file that is of no use
 * to anyone; whoever builds it removes it.
 */
import { BlockPool } from "./blocks.js";
import type { Bucket } from "./bucket.js";
import { LmdbCommitter } from "./lmdb-committer.js";
import { LmdbStores } from "./lmdb-stores.js";
import { SegmentQueue } from "./segment-queue.js";

/** Unused blocks kept for the next transaction. */
const poolBytesMax = 16 << 20;

export class EnvironmentWriter {
  readonly #stores: LmdbStores;
  readonly #queue = new SegmentQueue(new BlockPool(poolBytesMax));
  readonly #committer: LmdbCommitter;
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

  /** Adds an entry; `append`: its key is above all others of the bucket. */
  put(bucket: Bucket, key: Uint8Array, value: Uint8Array, append: boolean): void {
    this.#queue.current().addPut(this.#stores.dbiOf(bucket), key, value, append);
  }

  delete(bucket: Bucket, key: Uint8Array): void {
    this.#queue.current().addDelete(this.#stores.dbiOf(bucket), key);
  }

  /** Writes what has been given, and resolves when it is on the disk. One at a time. */
  flush(): Promise<void> {
    if (!this.#queue.isFilling) return Promise.resolve();
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
