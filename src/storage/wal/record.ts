/**
 * Records of the log, built in place and read back. `native/core/src/wal/codec.rs` is the twin and
 * describes the bytes; checksums are its business.
 *
 * Thread: the log's owner. A writer allocates nothing a record once its buffer has grown.
 */
import { assert, EntryBatch } from "../../base/index.js";

/** Kinds of records that are built or read here. */
const Kind = { HardState: 4, SnapshotMark: 5, Entries: 6 } as const;

const headerBytes = 24;
const entriesHeadBytes = 16;
/** Of a snapshot mark: the log starts anew behind it. */
const flagInstall = 1;
/** An append goes to disk as one batch, which is never longer. */
const appendBytesMax = 2 ** 30 - 4096;
const two32 = 2 ** 32;
const bufferBytesMin = 16 << 10;
/** A larger buffer is given up after use. */
const bufferBytesKept = 4 << 20;
/** So few ends are copied one by one, without a view for them. */
const endsCopiedSingly = 16;

/** Raft's hard state. */
export interface HardState {
  readonly term: number;
  readonly vote: bigint;
  readonly commit: number;
}

/** Builds the records of one append. */
export class RecordWriter {
  bytes = new Uint8Array(bufferBytesMin);
  #view = new DataView(this.bytes.buffer);
  #length = 0;

  /** Bytes of the records so far. */
  get length(): number {
    return this.#length;
  }

  clear(): void {
    this.#length = 0;
    if (this.bytes.length > bufferBytesKept) this.#resize(bufferBytesMin);
  }

  entries(batch: EntryBatch): void {
    const { ends, types, bytes } = batch;
    assert(batch.firstIndex > 0, "wal: entries without a place in the log");
    const at = this.#begin(entriesHeadBytes + ends.length * 5 + bytes.length, Kind.Entries, 0, batch.firstIndex);
    this.#u64(at, batch.term);
    this.#view.setUint32(at + 8, ends.length, true);
    this.#view.setUint32(at + 12, bytes.length, true);
    const endsAt = at + entriesHeadBytes;
    this.#ends(endsAt, ends);
    this.bytes.set(types, endsAt + ends.length * 4);
    this.bytes.set(bytes, endsAt + ends.length * 5);
  }

  hardState(state: HardState): void {
    const at = this.#begin(24, Kind.HardState, 0, 0);
    this.#u64(at, state.term);
    this.#view.setBigUint64(at + 8, state.vote, true);
    this.#u64(at + 16, state.commit);
  }

  snapshotMark(mark: { index: number; term: number; install: boolean; confState: Uint8Array }): void {
    const flags = mark.install ? flagInstall : 0;
    const at = this.#begin(8 + mark.confState.length, Kind.SnapshotMark, flags, mark.index);
    this.#u64(at, mark.term);
    this.bytes.set(mark.confState, at + 8);
  }

  /** Starts a record with so much data and returns where the data goes; the padding is zeroed. */
  #begin(dataBytes: number, kind: number, flags: number, index: number): number {
    const padding = -dataBytes & 7;
    const length = headerBytes + dataBytes + padding;
    const start = this.#length;
    const end = start + length;
    assert(end <= appendBytesMax, "wal: append too long");
    if (end > this.bytes.length) this.#resize(Math.max(end, this.bytes.length * 2));
    this.#view.setUint32(start, 0, true);
    this.#view.setUint32(start + 4, length, true);
    this.#view.setUint32(start + 8, kind | (padding << 8) | (flags << 16), true);
    this.#view.setUint32(start + 12, 0, true);
    this.#u64(start + 16, index);
    this.bytes.fill(0, end - padding, end);
    this.#length = end;
    return start + headerBytes;
  }

  #u64(at: number, value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, "wal: number out of range");
    this.#view.setUint32(at, value >>> 0, true);
    this.#view.setUint32(at + 4, Math.floor(value / two32), true);
  }

  #ends(at: number, ends: Uint32Array): void {
    if (ends.length > endsCopiedSingly) {
      this.bytes.set(new Uint8Array(ends.buffer, ends.byteOffset, ends.byteLength), at);
      return;
    }
    for (let i = 0; i < ends.length; i++) this.#view.setUint32(at + i * 4, ends[i]!, true);
  }

  #resize(size: number): void {
    const bytes = new Uint8Array(size);
    bytes.set(this.bytes.subarray(0, this.#length));
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}

/**
 * Gives each entries record of `chunk` to `visit`, as views of the chunk, which must not be used again
 * for anything else. Rust has checked the records when it read them.
 */
export function readEntries(chunk: Uint8Array, visit: (batch: EntryBatch) => void): void {
  const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  for (let start = 0; start < chunk.length; start += view.getUint32(start + 4, true)) {
    assert(view.getUint8(start + 8) === Kind.Entries, "wal: replay gave another record than entries");
    const at = start + headerBytes;
    const count = view.getUint32(at + 8, true);
    const size = view.getUint32(at + 12, true);
    const endsAt = at + entriesHeadBytes;
    const bytesAt = endsAt + count * 5;
    visit(
      new EntryBatch({
        term: readU64(view, at),
        firstIndex: readU64(view, start + 16),
        ends: new Uint32Array(chunk.buffer, chunk.byteOffset + endsAt, count),
        types: chunk.subarray(endsAt + count * 4, bytesAt),
        bytes: chunk.subarray(bytesAt, bytesAt + size),
      }),
    );
  }
}

function readU64(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * two32 + view.getUint32(at, true);
}
