/**
 * The member's write-ahead log: entries, hard state and snapshot marks, durable before they are acted on.
 * Encoding happens here, in one call an append; the disk is the business of Rust threads.
 *
 * Thread: main. Invariants: tokens rise from append to append, and `onDurable(token)` means that all data
 * up to that token has been synced; after `onFatal` nothing is acknowledged any more.
 */
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { assert, type EntryBatch } from "../../base/index.js";
import {
  createWalDoor,
  openWalDoor,
  walErrorOf,
  WalFlag,
  withWalErrors,
  type WalDoor,
  type WalDoorOptions,
  type WalError,
  type WalRecovered,
} from "../../native/index.js";
import { decodeConfState, encodeConfState } from "../../proto/index.js";
import { RecordWriter, readEntries, type HardState } from "./record.js";
import { readStats, type WalStats } from "./stats.js";

/** Bytes that may wait for the disk before the member should take nothing new. */
export const walPendingBytesMax = 64 << 20;

export interface WalOptions {
  readonly dir: string;
  /** Default 64 MiB. */
  readonly segmentBytes?: number;
  /** --unsafe-no-fsync: acknowledge what the disk does not have yet. */
  readonly unsafeNoFsync?: boolean;
  /** Write past the page cache where the file system allows it; the default. */
  readonly direct?: boolean;
  /** Between attempts to prepare a segment on a full disk; default 1,000. */
  readonly spaceRetryMs?: number;
  /** How long the writer looks for more work before it sleeps; default 0. */
  readonly spinUs?: number;
  /** All that was appended with this token or a lower one is durable. Called once for many appends. */
  readonly onDurable: (token: number) => void;
  /** Writing failed: the member must stop. Called once. */
  readonly onFatal: (error: WalError) => void;
  /** The file system refuses direct I/O: called once, with the reason, at open. */
  readonly onBuffered?: (reason: string) => void;
  /** The disk is full (`low`): no further segment could be prepared, while the present one still has room; and its end. */
  readonly onSpace?: (low: boolean) => void;
}

/** Where the log's bytes go: files, by way of Rust, or a simulation's disk. */
export interface WalDoors {
  readonly create: typeof createWalDoor;
  readonly open: typeof openWalDoor;
}

const diskDoors: WalDoors = { create: createWalDoor, open: openWalDoor };

/** The members, as Raft knows them. */
export interface ConfState {
  readonly voters: readonly bigint[];
  readonly learners: readonly bigint[];
  readonly votersOutgoing: readonly bigint[];
  readonly learnersNext: readonly bigint[];
  readonly autoLeave: boolean;
}

/** Entries up to `index` are in the store. */
export interface SnapshotMark {
  readonly index: number;
  readonly term: number;
  readonly confState: ConfState;
}

/** What one append holds. */
export interface WalAppend {
  readonly batches: readonly EntryBatch[];
  readonly hardState: HardState | null;
  readonly token: number;
}

/** Told what the log holds: the newest mark, the hard state, then the entries behind the mark without gaps. */
export interface ReplayVisitor {
  snapshotMark(mark: SnapshotMark): void;
  hardStateRecord(state: HardState): void;
  /** The batch's bytes are its own for good. */
  entriesRecord(batch: EntryBatch): void;
}

/** A torn batch that was cut at open: the last one, which nobody had been told of. */
export interface WalCut {
  readonly segment: string;
  readonly offset: number;
  readonly bytes: number;
}

const segmentFile = /^[0-9a-f]{16}-[0-9a-f]{8}\.seg(\.tmp)?$/;

export class Wal {
  readonly #options: WalOptions;
  readonly #writer = new RecordWriter();
  readonly #progress = new Float64Array(2);
  #door: WalDoor | null = null;
  #recovered: WalRecovered = { metadata: new Uint8Array(0), lastIndex: 0, direct: true };
  /** Entries may be appended: a new log, or one that has been replayed. */
  #ready = false;
  #lastToken = -1;
  #durableToken = -1;
  #spaceLow = false;
  #failed = false;

  private constructor(options: WalOptions) {
    this.#options = options;
  }

  /** Makes a log that begins at entry 1; `metadata` is kept with it. Throws WalError. */
  static async create(options: WalOptions, metadata: Uint8Array, doors: WalDoors = diskDoors): Promise<Wal> {
    const wal = new Wal(options);
    wal.#attach(await doors.create(doorOptions(options), metadata, () => wal.#poll()));
    wal.#ready = true;
    return wal;
  }

  /** Opens a log; `replay` must follow. Throws WalError, WalCorruptError with the place among them. */
  static async open(options: WalOptions, doors: WalDoors = diskDoors): Promise<Wal> {
    const wal = new Wal(options);
    wal.#attach(await doors.open(doorOptions(options), () => wal.#poll()));
    return wal;
  }

  /** Whether the folder holds a log of ours. */
  static exists(dir: string): boolean {
    return existsSync(dir) && readdirSync(dir).some((name) => segmentFile.test(name) && name.endsWith(".seg"));
  }

  /** Removes a log that nobody was ever told of, and leaves the folder's other files. */
  static removeAll(dir: string): void {
    if (!existsSync(dir)) return;
    // The newest first: what a crash leaves begins with the first segment.
    const names = readdirSync(dir).filter((name) => segmentFile.test(name));
    for (const name of names.sort().reverse()) rmSync(join(dir, name));
  }

  /** What `create` was given. */
  get metadata(): Uint8Array {
    return this.#recovered.metadata;
  }

  /** The torn batch that opening the log has cut. */
  get cut(): WalCut | null {
    return this.#recovered.cut ?? null;
  }

  /** Index of the last entry when the log was opened, or of the mark if there is none. */
  get recoveredLastIndex(): number {
    return this.#recovered.lastIndex;
  }

  /** Gives the log to `visitor`, reading piece by piece on another thread. Throws WalError. */
  async replay(visitor: ReplayVisitor): Promise<void> {
    assert(!this.#ready, "wal: replay comes once, right after open");
    const { mark, hardState } = this.#recovered;
    if (mark !== undefined) visitor.snapshotMark({ ...mark, confState: confStateOf(mark.confState) });
    if (hardState !== undefined) visitor.hardStateRecord(hardState);
    for (;;) {
      const chunk = await withWalErrors(this.#opened().nextChunk());
      if (chunk.length === 0) break;
      readEntries(chunk, (batch) => visitor.entriesRecord(batch));
    }
    this.#ready = true;
  }

  /**
   * Queues entries and hard state for the disk, as one: after a crash all of it is there or nothing.
   * Entries at or below the last index replace what was there from their first index on.
   * Returns the bytes that wait, see `walPendingBytesMax`.
   */
  append(work: WalAppend): number {
    this.#encode(work);
    return this.#send(work.token);
  }

  /**
   * Like `append`, but where the log rests and its disk has been quick lately, this thread itself writes and waits for
   * the disk, some 0.1 ms. True: all is durable up to the token, and `onDurable` is not called for it.
   */
  appendHere(work: WalAppend): boolean {
    this.#encode(work);
    this.#checkToken(work.token);
    const writer = this.#writer;
    const isDurable = this.#opened().appendHere(writer.bytes, writer.length, work.token);
    writer.clear();
    if (isDurable) this.#durableToken = work.token;
    return isDurable;
  }

  /** Notes that entries up to the mark are durable in the store. */
  appendSnapshotMark(mark: SnapshotMark, token: number): number {
    this.#writer.snapshotMark({ ...mark, install: false, confState: encodeConfState(mark.confState) });
    return this.#send(token);
  }

  /** Notes a snapshot from another member: all earlier entries are void, the log starts anew behind it. */
  appendInstall(mark: SnapshotMark, hardState: HardState, token: number): number {
    this.#writer.snapshotMark({ ...mark, install: true, confState: encodeConfState(mark.confState) });
    this.#writer.hardState(hardState);
    return this.#send(token);
  }

  #encode({ batches, hardState }: WalAppend): void {
    const writer = this.#writer;
    for (let i = 0; i < batches.length; i++) writer.entries(batches[i]!);
    if (hardState !== null) writer.hardState(hardState);
  }

  #checkToken(token: number): void {
    assert(this.#ready, "wal: append before the log was replayed");
    assert(token >= this.#lastToken, "wal: token went back");
    this.#lastToken = token;
  }

  #send(token: number): number {
    this.#checkToken(token);
    const writer = this.#writer;
    const waiting = this.#opened().append(writer.bytes, writer.length, token);
    writer.clear();
    return waiting;
  }

  /** Entries up to `index` are not needed any more; those behind the newest mark are kept all the same. */
  release(index: number): void {
    this.#opened().release(index);
  }

  /** Counters of the log since it was opened. */
  stats(): WalStats {
    return readStats(this.#opened());
  }

  /** Writes what is queued, tells of it, and gives everything back. */
  async close(): Promise<void> {
    const door = this.#opened();
    await door.close();
    this.#poll();
  }

  #opened(): WalDoor {
    assert(this.#door !== null, "wal: not open");
    return this.#door;
  }

  #attach(door: WalDoor): void {
    const recovered = door.takeRecovered();
    assert(recovered !== null, "wal: opened twice");
    this.#recovered = recovered;
    this.#door = door;
    if (!recovered.direct && (this.#options.direct ?? true)) this.#options.onBuffered?.("O_DIRECT: invalid argument");
    // A wake-up may have come before there was anything to poll.
    this.#poll();
  }

  /** Looks how far the log is, and tells it. */
  #poll(): void {
    if (this.#door === null) return;
    this.#door.poll(this.#progress);
    const durable = this.#progress[0]!;
    const flags = this.#progress[1]!;
    if (flags !== 0 || this.#spaceLow) this.#flags(flags);
    if (durable > this.#durableToken) {
      this.#durableToken = durable;
      this.#options.onDurable(durable);
    }
  }

  #flags(flags: number): void {
    const low = (flags & WalFlag.SpaceLow) !== 0;
    if (low !== this.#spaceLow) {
      this.#spaceLow = low;
      this.#options.onSpace?.(low);
    }
    if ((flags & WalFlag.Failed) !== 0 && !this.#failed) {
      this.#failed = true;
      this.#options.onFatal(walErrorOf(this.#opened().failure() ?? "wal: failed"));
    }
  }
}

function doorOptions(options: WalOptions): WalDoorOptions {
  return {
    dir: options.dir,
    segmentBytes: options.segmentBytes ?? 64 << 20,
    batchBytesMax: 4 << 20,
    noFsync: options.unsafeNoFsync ?? false,
    direct: options.direct ?? true,
    spinUs: options.spinUs ?? 0,
    spaceRetryMs: options.spaceRetryMs ?? 1000,
  };
}

function confStateOf(bytes: Uint8Array): ConfState {
  const decoded = decodeConfState(bytes);
  return { ...decoded, autoLeave: decoded.autoLeave ?? false };
}
