/**
 * Finds the request ID in a committed entry: the key by which its proposer waits for it.
 * Runs once for every committed entry, so it reads in place and makes nothing.
 */
import { EntryType, type EntryBatch } from "../base/index.js";
import type { RequestIdGenerator } from "./request-id.js";

/** Field 100, length-delimited: the RequestHeader. */
const headerTag = 802;
/** RequestHeader.ID, a varint. */
const idTag = 8;

let cursor = 0;

/** Reads a varint of at most 32 bits that matter; moves `cursor` behind it. */
function readVarint(bytes: Uint8Array, end: number): number {
  let value = 0;
  let shift = 1;
  while (cursor < end) {
    const byte = bytes[cursor++]!;
    value += (byte & 0x7f) * shift;
    if (byte < 0x80) return value;
    shift *= 128;
  }
  return value;
}

/**
 * The sequence of the request ID in the InternalRaftRequest `bytes[start, end)`, if `ids` made it; else -1.
 * Anything that is not such a request gives -1 too.
 */
export function ownSequenceOf(bytes: Uint8Array, start: number, end: number, ids: RequestIdGenerator): number {
  cursor = start;
  while (cursor < end) {
    const tag = readVarint(bytes, end);
    if ((tag & 7) !== 2) {
      if ((tag & 7) !== 0) return -1;
      readVarint(bytes, end);
      continue;
    }
    const length = readVarint(bytes, end);
    if (tag === headerTag) return bytes[cursor] === idTag ? readId(bytes, cursor + 1, end, ids.prefix) : -1;
    cursor += length;
  }
  return -1;
}

/** Takes a 64-bit varint apart into its 16 high and 48 low bits. */
function readId(bytes: Uint8Array, at: number, end: number, prefix: number): number {
  let low = 0;
  let high = 0;
  let lowScale = 1;
  let highScale = 1;
  for (let i = 0; i < 10 && at < end; i++) {
    const byte = bytes[at++]!;
    const bits = byte & 0x7f;
    // Groups 0..3 hold bits 0..27, groups 4..9 hold bits 28..63.
    if (i < 4) {
      low += bits * lowScale;
      lowScale *= 128;
    } else {
      high += bits * highScale;
      highScale *= 128;
    }
    if (byte < 0x80) break;
  }
  const highOfSequence = 2 ** 20;
  if (Math.floor(high / highOfSequence) !== prefix) return -1;
  return (high % highOfSequence) * 2 ** 28 + low;
}

/** The highest sequence of this member's own requests in its log; -1: there is none. */
export function highestOwnSequence(batches: readonly EntryBatch[], ids: RequestIdGenerator): number {
  let highest = -1;
  for (const batch of batches) {
    for (let index = batch.firstIndex; index <= batch.lastIndex; index++) {
      if (batch.typeOf(index) !== EntryType.Normal) continue;
      highest = Math.max(highest, ownSequenceOf(batch.bytes, batch.startOf(index), batch.endOf(index), ids));
    }
  }
  return highest;
}
