/**
 * The hashes that compactions make during their pass, the ten of the highest revisions. HashKV answers
 * from them first, even for a revision that a later compaction has passed.
 */
import type { KeyValueHash } from "./contract.js";

const hashesMax = 10;

export class CompactionHashes {
  #hashes: KeyValueHash[] = [];

  /** Keeps a hash; only of a compaction which looked at everything since a finished one. */
  store(hash: KeyValueHash): void {
    this.#hashes = [...this.#hashes, hash].toSorted((a, b) => a.revision - b.revision).slice(-hashesMax);
  }

  find(revision: number): KeyValueHash | undefined {
    return this.#hashes.find((hash) => hash.revision === revision);
  }

  /** In order of revision. */
  all(): readonly KeyValueHash[] {
    return this.#hashes;
  }
}
