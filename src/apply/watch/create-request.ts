/** What a WatchCreateRequest asks to watch, and why it may be refused. */
import { ErrCompacted } from "../../errors/index.js";
import type { WatchCreateRequest } from "../../proto/index.js";
import { watchIdOf, type WatchStream } from "./watcher.js";

const emptyRange = "mvcc: watcher range is empty";
const duplicateId = "mvcc: duplicate watch ID provided on the WatchStream";

/** Keys as Latin-1 texts; see `Ranged`. */
export interface WatchedRange {
  readonly start: string;
  readonly end: string | null | undefined;
}

/** The text of the key `bytes[start, end)`. */
export function latin1(bytes: Uint8Array, start = 0, end = bytes.length): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("latin1");
}

/** An empty key is the smallest one; an empty range_end means the key alone, the byte 0 no end. */
export function rangeOf({ key, rangeEnd }: WatchCreateRequest): WatchedRange {
  const start = key.length === 0 ? "\0" : latin1(key);
  if (rangeEnd.length === 0) return { start, end: undefined };
  if (rangeEnd.length === 1 && rangeEnd[0] === 0) return { start, end: null };
  return { start, end: latin1(rangeEnd) };
}

/** The reason that the client is told, in the order in which etcd looks; null: the watch is made. */
export function refusalOf(request: WatchCreateRequest, range: WatchedRange, stream: WatchStream): string | null {
  if (request.startRevision < 0) return ErrCompacted.message;
  if (typeof range.end === "string" && range.start >= range.end) return emptyRange;
  if (request.watchId !== 0n && stream.watchers.has(watchIdOf(request.watchId))) return duplicateId;
  return null;
}
