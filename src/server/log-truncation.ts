/**
 * When the Raft log may be cut: the state that LMDB has flushed stands for the log up to there, so a snapshot
 * mark is written to the WAL, older segments are released, and the log in memory keeps only what slow
 * followers may still ask for (--snapshot-count, --snapshot-catchup-entries).
 *
 * Thread: main. Invariant: a mark lies neither above what LMDB has flushed nor above what Raft knows to be applied.
 */
import { EntryType, type EntryBatch } from "../base/index.js";
import type { ConfState, RawNode, Snapshot } from "../raft/index.js";

const noData = new Uint8Array(0);
/**
 * A member without others keeps nothing for slow followers: its log in memory is cut each time that it has so many
 * entries or bytes that LMDB has flushed. A member that joins a young cluster can be sent its whole log all the same.
 */
const loneEntriesMax = 1000;
const loneBytesMax = 2 << 20;

/** What to cut. */
export interface Cut {
  /** null: only memory is cut. */
  readonly mark: { readonly index: number; readonly term: number; readonly confState: ConfState } | null;
  /** Entries up to here leave memory. */
  readonly compactIndex: number;
}

export interface LogTruncationOptions {
  readonly snapshotCount: number;
  readonly catchupEntries: number;
  /** The log in memory is cut before it grows beyond this, however few its entries. */
  readonly logBytesMax: number;
}

export class LogTruncation {
  readonly #options: LogTruncationOptions;
  /** Configurations by the index that made them, ascending; the first is the one at the last mark. */
  readonly #confStates: { readonly index: number; readonly confState: ConfState }[];
  #markIndex: number;
  /** Bytes of entries appended since the last mark that cut them, and since memory was cut last. */
  #bytes = 0;
  #bytesInMemory = 0;

  constructor(options: LogTruncationOptions, start: { index: number; confState: ConfState }) {
    this.#options = options;
    this.#markIndex = start.index;
    this.#confStates = [{ index: start.index, confState: start.confState }];
  }

  /** Entries with this many bytes have been appended. */
  appended(bytes: number): void {
    this.#bytes += bytes;
    this.#bytesInMemory += bytes;
  }

  /** The conf change at `index` has been applied; one that a snapshot holds has been overtaken by it. */
  confChanged(index: number, confState: ConfState): void {
    if (index > this.#markIndex) this.#confStates.push({ index, confState });
  }

  /** The log begins anew behind a snapshot from another member. */
  installed(snapshot: { readonly index: number; readonly confState: ConfState }): void {
    this.#markIndex = snapshot.index;
    this.#confStates.splice(0, Infinity, snapshot);
    this.#bytes = 0;
  }

  /**
   * The newest state on the disk, as a snapshot for a follower: what is sent is at least as new. null: there is none,
   * or the log cannot go on from it.
   */
  snapshotAt(flushedIndex: number, node: Pick<RawNode, "termOf">): Snapshot | null {
    const term = node.termOf(flushedIndex);
    if (flushedIndex === 0 || term === 0 || flushedIndex < this.#markIndex) return null;
    const { confState } = this.#confStates.findLast(({ index }) => index <= flushedIndex)!;
    return { index: flushedIndex, term, confState, data: noData };
  }

  /**
   * What to cut now that LMDB has flushed up to `flushedIndex`; null: nothing. While a snapshot is being sent, memory
   * keeps what its receiver will ask for next, as far as bytes allow; a lone member's keeps nothing.
   */
  next(
    flushedIndex: number,
    node: Pick<RawNode, "termOf" | "firstIndex">,
    followers: "none" | "some" | "being sent a snapshot" = "some",
  ): Cut | null {
    if (flushedIndex <= this.#markIndex) return null;
    const isLone = followers === "none";
    const isSending = followers === "being sent a snapshot";
    const overBytes = this.#bytes > this.#options.logBytesMax;
    if (flushedIndex - this.#markIndex < this.#options.snapshotCount && !overBytes)
      return isLone ? this.#nextLone(flushedIndex, node) : null;
    while (this.#confStates.length > 1 && this.#confStates[1]!.index <= flushedIndex) this.#confStates.shift();
    this.#markIndex = flushedIndex;
    if (!isSending || overBytes) this.#bytes = this.#bytesInMemory = 0;
    const kept = overBytes || isLone ? 0 : isSending ? Infinity : this.#options.catchupEntries;
    return {
      mark: { index: flushedIndex, term: node.termOf(flushedIndex), confState: this.#confStates[0]!.confState },
      compactIndex: Math.max(flushedIndex - kept, node.firstIndex - 1),
    };
  }

  #nextLone(flushedIndex: number, { firstIndex }: Pick<RawNode, "firstIndex">): Cut | null {
    const entries = flushedIndex - firstIndex + 1;
    if (entries <= 0 || (entries < loneEntriesMax && this.#bytesInMemory < loneBytesMax)) return null;
    this.#bytesInMemory = 0;
    return { mark: null, compactIndex: flushedIndex };
  }
}

/** Whether entry `i` of the batch changes the configuration; an empty one is a change that was dropped. */
export function isConfChange(batch: EntryBatch, i: number): boolean {
  return batch.types[i] !== EntryType.Normal;
}
