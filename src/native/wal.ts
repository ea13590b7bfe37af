/**
 * The write-ahead log in Rust (native/core/src/wal), as native/addon/src/wal.rs declares it.
 * Files are opened, read and closed on other threads; `append` only copies bytes into a queue, `appendHere` may wait
 * for a quick disk.
 * Thread: the one that opened the log. storage/wal makes a log of entries out of this one of bytes.
 */
import { addon } from "./addon.js";
import { walErrorOf } from "./wal-errors.js";

export interface WalDoorOptions {
  readonly dir: string;
  readonly segmentBytes: number;
  readonly batchBytesMax: number;
  readonly noFsync: boolean;
  readonly direct: boolean;
  readonly spinUs: number;
  readonly spaceRetryMs: number;
}

/** What a log held when it was opened. */
export interface WalRecovered {
  readonly metadata: Uint8Array;
  readonly hardState?: { readonly term: number; readonly vote: bigint; readonly commit: number };
  readonly mark?: { readonly index: number; readonly term: number; readonly confState: Uint8Array };
  readonly lastIndex: number;
  /** A torn batch that was cut. */
  readonly cut?: { readonly segment: string; readonly offset: number; readonly bytes: number };
  /** Writes go past the page cache. */
  readonly direct: boolean;
}

/** An open log. */
export interface WalDoor {
  takeRecovered(): WalRecovered | null;
  /** Entries records, the next piece; empty at the end. Rejects with text for `walErrorOf`. */
  nextChunk(): Promise<Uint8Array>;
  /** Queues whole records; returns the bytes that wait to be written. */
  append(records: Uint8Array, length: number, token: number): number;
  /** Likewise, but where the log rests and its disk is quick this thread writes and syncs: true, they are durable. */
  appendHere(records: Uint8Array, length: number, token: number): boolean;
  release(index: number): void;
  /** Fills in the newest durable token (-1: none) and `WalFlag` bits; what comes later wakes again. */
  poll(into: Float64Array): void;
  stats(into: Float64Array): void;
  failure(): string | null;
  close(): Promise<void>;
}

/** Bits that `poll` tells. */
export const WalFlag = { Failed: 1, SpaceLow: 2 } as const;

/** Numbers that `stats` fills in: fsync counts by bucket and their seconds, the same of writes, bytes written. */
export const walStatsNumbers = 33;
/** Upper bounds of the buckets in seconds; one more counts what is above. */
export const walBuckets: readonly number[] = Array.from({ length: 14 }, (_, i) => 0.001 * 2 ** i);

// The addon is built from this tree, or published with this version.
const native = addon as {
  walCreate(options: WalDoorOptions, metadata: Uint8Array, onWake: () => void): Promise<WalDoor>;
  walOpen(options: WalDoorOptions, onWake: () => void): Promise<WalDoor>;
};

/** Makes a log. `onWake` says that `poll` has news, at times before the promise is fulfilled. Throws WalError. */
export function createWalDoor(options: WalDoorOptions, metadata: Uint8Array, onWake: () => void): Promise<WalDoor> {
  return withWalErrors(native.walCreate(options, metadata, onWake));
}

/** Opens a log: checks all of it, and cuts a torn batch. Throws WalError. */
export function openWalDoor(options: WalDoorOptions, onWake: () => void): Promise<WalDoor> {
  return withWalErrors(native.walOpen(options, onWake));
}

/** Gives a promise's rejection its class. */
export async function withWalErrors<T>(promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    throw walErrorOf(error instanceof Error ? error.message : String(error));
  }
}
