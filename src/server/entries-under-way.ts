/**
 * How many bytes of the Raft log have not come to apply yet. Entries that a new leader replaces, or a snapshot takes
 * the place of, never come to apply and count no longer.
 * Thread: main. Holds the log's own batches, nothing of its own.
 */
import type { EntryBatch } from "../base/index.js";

export class EntriesUnderWay {
  /** Consecutive; those before `#first` are with apply. */
  readonly #batches: EntryBatch[] = [];
  #first = 0;
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** `batch` is in the log; what was there from its first entry on is not any more. */
  appended(batch: EntryBatch): void {
    while (this.#batches.length > this.#first && this.#batches.at(-1)!.lastIndex >= batch.firstIndex) {
      const replaced = this.#batches.pop()!;
      this.#bytes -= replaced.bytes.length;
      if (replaced.firstIndex < batch.firstIndex) this.#push(replaced.slice(replaced.firstIndex, batch.firstIndex - 1));
    }
    this.#push(batch);
  }

  /** Apply has got everything up to `index`. */
  handedTo(index: number): void {
    for (; this.#first < this.#batches.length; this.#first++) {
      const batch = this.#batches[this.#first]!;
      if (batch.firstIndex > index) break;
      this.#bytes -= batch.bytes.length;
      if (batch.lastIndex <= index) continue;
      const rest = batch.slice(index + 1, batch.lastIndex);
      this.#batches[this.#first] = rest;
      this.#bytes += rest.bytes.length;
      break;
    }
    // Moving the rest costs no more than what has gone.
    if (this.#first * 2 < this.#batches.length) return;
    this.#batches.splice(0, this.#first);
    this.#first = 0;
  }

  /** A snapshot takes the place of the whole log. */
  clear(): void {
    this.#batches.length = 0;
    this.#first = 0;
    this.#bytes = 0;
  }

  #push(batch: EntryBatch): void {
    this.#batches.push(batch);
    this.#bytes += batch.bytes.length;
  }
}
