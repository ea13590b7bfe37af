/** What a WatchCreateRequest asks to watch, and why it may be refused. */
import { ErrCompacted } from "../../errors/index.js";
import type { WatchCreateRequest } from "../../proto/index.js";
import type { WatchStream } from "./watch-stream.js";
import { none, watchIdOf } from "./watcher-table.js";

const emptyRange = "mvcc: watcher range is empty";
const duplicateId = "mvcc: duplicate watch ID provided on the WatchStream";

/** See `WatcherOptions`. */
export interface WatchedRange {
  readonly start: Uint8Array;
  readonly end: Uint8Array | null | undefined;
}

const smallestKey = Uint8Array.of(0);

/** An empty key is the smallest one; an empty range_end means the key alone, the byte 0 no end. */
export function rangeOf({ key, rangeEnd }: WatchCreateRequest): WatchedRange {
  const start = key.length === 0 ? smallestKey : key;
  if (rangeEnd.length === 0) return { start, end: undefined };
  if (rangeEnd.length === 1 && rangeEnd[0] === 0) return { start, end: null };
  return { start, end: rangeEnd };
}

/** The reason that the client is told, in the order in which etcd looks; null: the watch is made. */
export function refusalOf(request: WatchCreateRequest, range: WatchedRange, stream: WatchStream): string | null {
  if (request.startRevision < 0) return ErrCompacted.message;
  if (range.end instanceof Uint8Array && Buffer.compare(range.start, range.end) >= 0) return emptyRange;
  if (request.watchId !== 0n && stream.find(watchIdOf(request.watchId)) !== none) return duplicateId;
  return null;
}
