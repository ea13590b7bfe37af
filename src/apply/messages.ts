/**
 * The messages between main and apply that travel through the addon's mailboxes.
 * Little-endian; every message begins 8-byte aligned with `u32 kind` and is padded to 8 bytes.
 *
 *   ENTRIES  main → apply: one committed EntryBatch, and who waits for each entry
 *     u32 kind = 1, u32 count, f64 firstIndex, f64 term, f64 raftTerm, f64 startMs,
 *     u32 callIds[count], u32 ends[count], u8 types[count], padding to 8, bytes[ends[count - 1]]
 *   READS    main → apply: calls that apply answers without the log
 *     u32 kind = 2, u32 recordsLength, f64 raftTerm, f64 minAppliedIndex, f64 commitIndex, u64 leaderId, f64 startMs,
 *     call-batch records as they came (each a multiple of 8 bytes)
 *   INSTALL  main → apply: entries before it come no more, the state is to be that of a received snapshot
 *     u32 kind = 5, u32 0, f64 index, f64 term
 *   PROGRESS apply → main: the newest one counts, older ones may be lost
 *     u32 kind = 3, u32 0, then f64 each: appliedIndex, flushedIndex, revision, compactRevision,
 *     dbSize, dbSizeInUse
 *   LEASES   apply → main: `lease-events.ts`
 *
 * Thread: encoders run on the sending thread, each into its own reused buffer, without an object a record.
 */
import { assert, type EntryBatch } from "../base/index.js";

export const ApplyMessageKind = { Entries: 1, Reads: 2, Progress: 3, Leases: 4, Install: 5 } as const;
export type ApplyMessageKind = (typeof ApplyMessageKind)[keyof typeof ApplyMessageKind];

/** In place of a call's ID: this member has proposed the entry, and nobody waits for it. */
export const nobodysCall = 0xffff_fffe;

const entriesHeaderBytes = 40;
const readsHeaderBytes = 48;
const installBytes = 24;
export const progressMessageBytes = 56;
const bufferBytesMin = 1 << 16;
/** A writer's buffer that has grown beyond this goes with its message. */
const bufferBytesKept = 1 << 20;

/** What main knows about Raft when it hands reads over. */
export interface ReadsHeader {
  raftTerm: number;
  /** Answer once appliedIndex has reached this; 0 = at once (serializable). */
  minAppliedIndex: number;
  commitIndex: number;
  /** 0n: no leader known. */
  leaderId: bigint;
  /** When the calls came, by main's clock. */
  startMs: number;
}

function paddedTo8(length: number): number {
  return Math.ceil(length / 8) * 8;
}

/**
 * Builds messages for apply. `bytes[0, length)` is the message built last, valid until the next one.
 * Usage: `writer.entries(...)`, or `beginReads`, then `appendRead` for each record, then `finishReads`;
 * each then `mailbox.send(writer.bytes, writer.length)`.
 */
export class ApplyMessageWriter {
  bytes = new Uint8Array(bufferBytesMin);
  #view = new DataView(this.bytes.buffer);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Bytes that `entries` will write for `batch`. */
  static entriesBytes(batch: EntryBatch): number {
    return paddedTo8(entriesHeaderBytes + 9 * batch.count) + paddedTo8(batch.bytes.length);
  }

  /**
   * A committed batch. `callIds[from + i]` waits for entry i, 0 = it is another member's, `nobodysCall` = ours, and
   * nobody waits. `raftTerm` is main's current term, for response headers; `startMs`: when our entries were proposed,
   * by main's clock.
   */
  entries(batch: EntryBatch, callIds: Uint32Array, from: number, raftTerm: number, startMs = 0): number {
    const { count, ends, types } = batch;
    assert(from + count <= callIds.length, "apply entries: fewer call IDs than entries");
    this.#reserve(ApplyMessageWriter.entriesBytes(batch));
    const view = this.#view;
    view.setUint32(0, ApplyMessageKind.Entries, true);
    view.setUint32(4, count, true);
    view.setFloat64(8, batch.firstIndex, true);
    view.setFloat64(16, batch.term, true);
    view.setFloat64(24, raftTerm, true);
    view.setFloat64(32, startMs, true);
    let at = entriesHeaderBytes;
    for (let i = 0; i < count; i++, at += 4) view.setUint32(at, callIds[from + i]!, true);
    for (let i = 0; i < count; i++, at += 4) view.setUint32(at, ends[i]!, true);
    this.bytes.set(types, at);
    at = paddedTo8(at + count);
    this.bytes.set(batch.bytes, at);
    this.#length = paddedTo8(at + batch.bytes.length);
    return this.#length;
  }

  /** The snapshot of the entry at `index`, of `term`, is to be installed. */
  install(index: number, term: number): void {
    this.#reserve(installBytes);
    this.#view.setUint32(0, ApplyMessageKind.Install, true);
    this.#view.setUint32(4, 0, true);
    this.#view.setFloat64(8, index, true);
    this.#view.setFloat64(16, term, true);
    this.#length = installBytes;
  }

  /** Starts a READS message. */
  beginReads(header: ReadsHeader): void {
    this.#reserve(readsHeaderBytes);
    const view = this.#view;
    view.setUint32(0, ApplyMessageKind.Reads, true);
    view.setFloat64(8, header.raftTerm, true);
    view.setFloat64(16, header.minAppliedIndex, true);
    view.setFloat64(24, header.commitIndex, true);
    view.setBigUint64(32, header.leaderId, true);
    view.setFloat64(40, header.startMs, true);
    this.#length = readsHeaderBytes;
  }

  /** Copies one whole call-batch record `source[start, end)` into the READS message. */
  appendRead(source: Uint8Array, start: number, end: number): void {
    const count = end - start;
    this.#reserve(this.#length + count);
    if (count > 256) this.bytes.set(source.subarray(start, end), this.#length);
    else for (let i = 0, to = this.#length; i < count; i++) this.bytes[to + i] = source[start + i]!;
    this.#length += count;
  }

  /** Ends the READS message and returns its length; `readsEmpty` tells whether sending it is worth while. */
  finishReads(): number {
    this.#view.setUint32(4, this.#length - readsHeaderBytes, true);
    return this.#length;
  }

  /** No record has been appended since `beginReads`. */
  get readsEmpty(): boolean {
    return this.#length === readsHeaderBytes;
  }

  /** The message has been copied: a buffer that has grown large for it goes. */
  trim(): void {
    if (this.bytes.length > bufferBytesKept) this.#resize(bufferBytesMin, 0);
  }

  #reserve(size: number): void {
    if (size > this.bytes.length) this.#resize(Math.max(size, 2 * this.bytes.length), this.#length);
  }

  #resize(size: number, kept: number): void {
    const bytes = new Uint8Array(size);
    bytes.set(this.bytes.subarray(0, kept));
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}

/** Reads one ENTRIES or READS message in place. Reused; valid until the buffer below is. */
export class ApplyMessageReader {
  #bytes: Uint8Array = new Uint8Array(0);
  #view = new DataView(this.#bytes.buffer);
  #start = 0;
  #callIds = 0;
  #ends = 0;
  #types = 0;
  #data = 0;

  /** Starts over on the message that begins at `start`; returns its kind. */
  reset(bytes: Uint8Array, start: number): ApplyMessageKind {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }
    this.#start = start;
    const kind = this.#view.getUint32(start, true) as ApplyMessageKind;
    if (kind === ApplyMessageKind.Entries) {
      const count = this.count;
      this.#callIds = start + entriesHeaderBytes;
      this.#ends = this.#callIds + 4 * count;
      this.#types = this.#ends + 4 * count;
      this.#data = start + paddedTo8(entriesHeaderBytes + 9 * count);
    }
    return kind;
  }

  get bytes(): Uint8Array {
    return this.#bytes;
  }

  // ENTRIES

  get count(): number {
    return this.#view.getUint32(this.#start + 4, true);
  }
  get firstIndex(): number {
    return this.#view.getFloat64(this.#start + 8, true);
  }
  get term(): number {
    return this.#view.getFloat64(this.#start + 16, true);
  }
  /** Of ENTRIES: main's term. */
  get raftTerm(): number {
    return this.#view.getFloat64(this.#start + 24, true);
  }
  /** Of ENTRIES: when our own ones were proposed, by main's clock. */
  get startMs(): number {
    return this.#view.getFloat64(this.#start + 32, true);
  }
  callId(i: number): number {
    return this.#view.getUint32(this.#callIds + 4 * i, true);
  }
  entryType(i: number): number {
    return this.#bytes[this.#types + i]!;
  }
  /** Where entry i's data starts in `bytes`. */
  entryStart(i: number): number {
    return i === 0 ? this.#data : this.#data + this.#view.getUint32(this.#ends + 4 * (i - 1), true);
  }
  /** Where entry i's data ends in `bytes`. */
  entryEnd(i: number): number {
    return this.#data + this.#view.getUint32(this.#ends + 4 * i, true);
  }

  // INSTALL

  /** Of INSTALL: which snapshot. */
  get installMark(): { readonly index: number; readonly term: number } {
    return { index: this.#view.getFloat64(this.#start + 8, true), term: this.#view.getFloat64(this.#start + 16, true) };
  }

  // READS

  /** Of READS. */
  readsHeader(into: ReadsHeader): void {
    into.raftTerm = this.#view.getFloat64(this.#start + 8, true);
    into.minAppliedIndex = this.#view.getFloat64(this.#start + 16, true);
    into.commitIndex = this.#view.getFloat64(this.#start + 24, true);
    into.leaderId = this.#view.getBigUint64(this.#start + 32, true);
    into.startMs = this.#view.getFloat64(this.#start + 40, true);
  }
  /** Of READS: where the call-batch records lie in `bytes`. */
  get recordsStart(): number {
    return this.#start + readsHeaderBytes;
  }
  get recordsEnd(): number {
    return this.recordsStart + this.#view.getUint32(this.#start + 4, true);
  }
}

/** How far apply is, as main sees it. */
export interface ApplyProgress {
  appliedIndex: number;
  /** consistent_index that LMDB has flushed: WAL segments below it may go. */
  flushedIndex: number;
  revision: number;
  compactRevision: number;
  dbSize: number;
  dbSizeInUse: number;
}

/** A progress of nothing yet. */
export function emptyProgress(): ApplyProgress {
  return {
    appliedIndex: 0,
    flushedIndex: 0,
    revision: 0,
    compactRevision: -1,
    dbSize: 0,
    dbSizeInUse: 0,
  };
}

/** Writes a PROGRESS message at the start of `into`; returns its length. */
export function writeProgress(into: DataView, progress: ApplyProgress): number {
  into.setUint32(0, ApplyMessageKind.Progress, true);
  into.setUint32(4, 0, true);
  into.setFloat64(8, progress.appliedIndex, true);
  into.setFloat64(16, progress.flushedIndex, true);
  into.setFloat64(24, progress.revision, true);
  into.setFloat64(32, progress.compactRevision, true);
  into.setFloat64(40, progress.dbSize, true);
  into.setFloat64(48, progress.dbSizeInUse, true);
  return progressMessageBytes;
}

/** Reads the PROGRESS message that begins at `start`. */
export function readProgress(from: DataView, start: number, into: ApplyProgress): void {
  assert(from.getUint32(start, true) === ApplyMessageKind.Progress, "apply message: not a progress");
  into.appliedIndex = from.getFloat64(start + 8, true);
  into.flushedIndex = from.getFloat64(start + 16, true);
  into.revision = from.getFloat64(start + 24, true);
  into.compactRevision = from.getFloat64(start + 32, true);
  into.dbSize = from.getFloat64(start + 40, true);
  into.dbSizeInUse = from.getFloat64(start + 48, true);
}
