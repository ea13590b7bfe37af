/**
 * When the Raft log may be cut: the state that LMDB has flushed stands for the log up to there, so a snapshot
 * mark is written to the WAL, older segments are released, and the log in memory keeps only what slow
 * followers may still ask for (--snapshot-count, --snapshot-catchup-entries).
 *
 * Thread: main. Invariant: a mark never lies above what LMDB has flushed.
 */
import { EntryType, type EntryBatch } from "../base/index.js";
import type { ConfState, RawNode } from "../raft/index.js";

/** What to cut. */
export interface Cut {
  readonly mark: { readonly index: number; readonly term: number; readonly confState: ConfState };
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
  /** Bytes of entries appended since the last cut. */
  #bytes = 0;

  constructor(options: LogTruncationOptions, start: { index: number; confState: ConfState }) {
    this.#options = options;
    this.#markIndex = start.index;
    this.#confStates = [{ index: start.index, confState: start.confState }];
  }

  /** Entries with this many bytes have been appended. */
  appended(bytes: number): void {
    this.#bytes += bytes;
  }

  /** The conf change at `index` has been applied. */
  confChanged(index: number, confState: ConfState): void {
    this.#confStates.push({ index, confState });
  }

  /** What to cut now that LMDB has flushed up to `flushedIndex`; null: nothing. */
  next(flushedIndex: number, node: Pick<RawNode, "termOf" | "firstIndex">): Cut | null {
    if (flushedIndex <= this.#markIndex) return null;
    const overBytes = this.#bytes > this.#options.logBytesMax;
    if (flushedIndex - this.#markIndex < this.#options.snapshotCount && !overBytes) return null;
    while (this.#confStates.length > 1 && this.#confStates[1]!.index <= flushedIndex) this.#confStates.shift();
    this.#markIndex = flushedIndex;
    this.#bytes = 0;
    const kept = overBytes ? 0 : this.#options.catchupEntries;
    return {
      mark: { index: flushedIndex, term: node.termOf(flushedIndex), confState: this.#confStates[0]!.confState },
      compactIndex: Math.max(flushedIndex - kept, node.firstIndex - 1),
    };
  }
}

/** Whether entry `i` of the batch changes the configuration; an empty one is a change that was dropped. */
export function isConfChange(batch: EntryBatch, i: number): boolean {
  return batch.types[i] !== EntryType.Normal;
}
