/**
 * The size of entries as raftpb encodes them, by which etcd limits messages and what is being applied.
 */
import { EntryType, type EntryBatch } from "../base/index.js";

/** Bytes that `value` takes as a varint. */
function varintSize(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  if (value < 0x1000_0000) return 4;
  let size = 4;
  for (let rest = Math.floor(value / 0x1000_0000); rest > 0; rest = Math.floor(rest / 0x80)) size += 1;
  return size;
}

/** Bytes of the entry at position `i` of the batch: term, index, the type when not normal, the data when there is any. */
function entrySize(batch: EntryBatch, i: number): number {
  const length = batch.ends[i]! - (i === 0 ? 0 : batch.ends[i - 1]!);
  const data = length === 0 ? 0 : 1 + varintSize(length) + length;
  const type = batch.types[i] === EntryType.Normal ? 0 : 2;
  return 2 + varintSize(batch.term) + varintSize(batch.firstIndex + i) + type + data;
}

/** Encoded bytes of all entries of `batches`. */
export function encodedSize(batches: readonly EntryBatch[]): number {
  let size = 0;
  for (const batch of batches) {
    for (let i = 0; i < batch.count; i++) size += entrySize(batch, i);
  }
  return size;
}

/** Bytes of data alone, by which proposals are limited. */
export function payloadSize(batches: readonly EntryBatch[]): number {
  let size = 0;
  for (const batch of batches) size += batch.bytes.length;
  return size;
}

/** How many entries there are in `batches`. */
export function entryCount(batches: readonly EntryBatch[]): number {
  let count = 0;
  for (const batch of batches) count += batch.count;
  return count;
}

/** Takes entries in order until `bytesMax` is used up; the first is always taken, whatever its size. */
export class SizeBudget {
  #room: number;
  #taken = false;

  constructor(bytesMax: number) {
    this.#room = bytesMax;
  }

  /** Takes from entry `first` to at most `last`; returns the last one that fits, `first - 1` for none. */
  take(batch: EntryBatch, first: number, last: number): number {
    if (this.#room === Number.POSITIVE_INFINITY) return last;
    for (let index = first; index <= last; index++) {
      const size = entrySize(batch, index - batch.firstIndex);
      if (size > this.#room && this.#taken) return index - 1;
      this.#room -= size;
      this.#taken = true;
    }
    return last;
  }
}
