/**
 * Type signatures first; the bodies follow in the next commits.
 */
import type { RevisionSet } from "./key-index-revision-set.js";

export declare class KeyIndex {
  /* Results of the last get, put or tombstone (no object per call). */
  modMain: number;
  modSub: number;
  createMain: number;
  createSub: number;
  version: number;
  /** put, tombstone: the revision this one replaced; 0, 0 when the key was not alive. */
  previousMain: number;
  previousSub: number;

  /** Keys in the index, tombstoned ones included. */
  get keys(): number;
  /** Keys alive at the newest revision (etcd_debugging_mvcc_keys_total). */
  get liveKeys(): number;
  /** Bytes of all typed arrays held. */
  get memoryBytes(): number;

  put(bytes: Uint8Array, start: number, end: number, main: number, sub: number): void;
  /** False when the key is not alive; nothing changes then. */
  tombstone(bytes: Uint8Array, start: number, end: number, main: number, sub: number): boolean;
  /** Sets modMain, modSub, createMain, createSub, version. Any atRevision >= the newest (or Infinity) reads the newest. */
  get(bytes: Uint8Array, start: number, end: number, atRevision: number): boolean;

  /** For each put record of the `key` bucket, in revision order. */
  restorePut(
    bytes: Uint8Array,
    start: number,
    end: number,
    createMain: number,
    main: number,
    sub: number,
    version: number,
  ): void;
  /** For each tombstone record of the `key` bucket, in revision order. */
  restoreTombstone(bytes: Uint8Array, start: number, end: number, main: number, sub: number): void;

  /** Trims the index to `atRevision` in steps; `available` is what the physical compaction keeps. */
  compaction(atRevision: number): KeyIndexScan;
  /** HashKV's keep set at `atRevision` (etcd's, without tombstones that end a generation); changes nothing. */
  keep(atRevision: number): KeyIndexScan;
}

/** A pass over all keys in slices. Puts, tombstones and reads may go on between steps. */
export declare class KeyIndexScan {
  readonly available: RevisionSet;
  /** Handles about `keysMax` keys; true while there is more to do. */
  step(keysMax: number): boolean;
}

export const cursorEnd = 0;
export const cursorItem = 1;
export const cursorMore = 2;

/** A range read at one revision. Reusable: seek again for the next range. */
export declare class KeyIndexCursor {
  constructor(index: KeyIndex);
  /* The item that next() stopped at; keyBytes is only to be read, and only until the index changes. */
  keyBytes: Uint8Array;
  keyStart: number;
  keyEnd: number;
  modMain: number;
  modSub: number;
  createMain: number;
  createSub: number;
  version: number;
  /** Items found by next() and countRest() since seek(). */
  count: number;

  /**
   * `end` as on etcd's wire: empty = the single key, one zero byte = open end. It is copied, the caller's buffer
   * is free again afterwards.
   */
  seek(
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    end: Uint8Array,
    endStart: number,
    endEnd: number,
    atRevision: number,
  ): void;
  /**
   * cursorItem: the fields are set; cursorEnd: nothing more; cursorMore: looked at visitMax keys without finding an
   * item (long runs of dead keys), call again or pause().
   */
  next(visitMax: number): number;
  /** Counts the rest of the range without setting fields: cursorEnd when done, else cursorMore. */
  countRest(visitMax: number): number;
  /**
   * Must be called before the index changes under a cursor that will go on (tombstones excepted: they move nothing);
   * it copies the position's key, and the next call seeks it again.
   */
  pause(): void;
}
