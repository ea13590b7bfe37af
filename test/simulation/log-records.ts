/**
 * Records of the log as `src/storage/wal` hands them to its disk (native/core/src/wal/codec.rs describes the bytes),
 * read for the twin of that disk; and the state that a log's records come to.
 */
import { copyOf } from "../../src/base/index.js";

const headerBytes = 24;
const entriesHeadBytes = 16;
const flagInstall = 1;
const two32 = 2 ** 32;

export const RecordKind = { HardState: 4, SnapshotMark: 5, Entries: 6 } as const;

export interface HardState {
  readonly term: number;
  readonly vote: bigint;
  readonly commit: number;
}

export interface Mark {
  readonly index: number;
  readonly term: number;
  readonly install: boolean;
  readonly confState: Uint8Array;
}

/** One entries record; `bytes` is the whole record. */
export interface EntriesRecord {
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly term: number;
  readonly bytes: Uint8Array;
}

export type LogRecord =
  | { readonly kind: "hardState"; readonly state: HardState }
  | { readonly kind: "mark"; readonly mark: Mark }
  | { readonly kind: "entries"; readonly entries: EntriesRecord };

function u64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * two32;
}

function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / two32), true);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Reads `bytes[0, length)`, which holds whole records. */
export function readRecords(bytes: Uint8Array, length: number): LogRecord[] {
  const records: LogRecord[] = [];
  const view = viewOf(bytes);
  for (let at = 0; at < length; at += view.getUint32(at + 4, true)) {
    const size = view.getUint32(at + 4, true);
    if (size < headerBytes || at + size > length) throw new Error("log twin: record length");
    records.push(readRecord(copyOf(bytes, at, at + size)));
  }
  return records;
}

function readRecord(bytes: Uint8Array): LogRecord {
  const view = viewOf(bytes);
  const index = u64(view, 16);
  const data = bytes.subarray(headerBytes, bytes.length - view.getUint8(9));
  switch (view.getUint8(8)) {
    case RecordKind.HardState: {
      const vote = view.getBigUint64(headerBytes + 8, true);
      return { kind: "hardState", state: { term: u64(view, headerBytes), vote, commit: u64(view, headerBytes + 16) } };
    }
    case RecordKind.SnapshotMark: {
      const install = (view.getUint16(10, true) & flagInstall) !== 0;
      return { kind: "mark", mark: { index, term: u64(view, headerBytes), install, confState: copyOf(data, 8) } };
    }
    case RecordKind.Entries: {
      const lastIndex = index + view.getUint32(headerBytes + 8, true) - 1;
      return { kind: "entries", entries: { firstIndex: index, lastIndex, term: u64(view, headerBytes), bytes } };
    }
    default:
      throw new Error("log twin: record kind");
  }
}

/** The record with the entries `first` to `last` alone. */
export function sliceEntries(record: EntriesRecord, first: number, last: number): EntriesRecord {
  if (first === record.firstIndex && last === record.lastIndex) return record;
  const view = viewOf(record.bytes);
  const total = view.getUint32(headerBytes + 8, true);
  const endsAt = headerBytes + entriesHeadBytes;
  const dataAt = endsAt + total * 5;
  const [lo, hi] = [first - record.firstIndex, last - record.firstIndex + 1];
  const endOf = (i: number): number => (i === 0 ? 0 : view.getUint32(endsAt + (i - 1) * 4, true));
  const [from, to] = [endOf(lo), endOf(hi)];
  const dataBytes = entriesHeadBytes + (hi - lo) * 5 + to - from;
  const padding = -dataBytes & 7;
  const bytes = new Uint8Array(headerBytes + dataBytes + padding);
  const into = viewOf(bytes);
  into.setUint32(4, bytes.length, true);
  into.setUint32(8, RecordKind.Entries | (padding << 8), true);
  setU64(into, 16, first);
  setU64(into, headerBytes, record.term);
  into.setUint32(headerBytes + 8, hi - lo, true);
  into.setUint32(headerBytes + 12, to - from, true);
  for (let i = lo; i < hi; i++) into.setUint32(endsAt + (i - lo) * 4, endOf(i + 1) - from, true);
  const typesAt = endsAt + (hi - lo) * 4;
  bytes.set(record.bytes.subarray(endsAt + total * 4 + lo, endsAt + total * 4 + hi), typesAt);
  bytes.set(record.bytes.subarray(dataAt + from, dataAt + to), typesAt + hi - lo);
  return { firstIndex: first, lastIndex: last, term: record.term, bytes };
}

/** What a log holds: its newest mark and hard state, and the entries behind the mark. */
export class LogState {
  mark: Mark | null = null;
  hardState: HardState | null = null;
  entries: EntriesRecord[] = [];

  clone(): LogState {
    const copy = new LogState();
    copy.mark = this.mark;
    copy.hardState = this.hardState;
    copy.entries = [...this.entries];
    return copy;
  }

  get lastIndex(): number {
    return this.entries.at(-1)?.lastIndex ?? this.mark?.index ?? 0;
  }

  /** The term of the entry there. */
  get lastTerm(): number {
    return this.entries.at(-1)?.term ?? this.mark?.term ?? 0;
  }

  /** The term of entry `index`; 0 when it is not here. */
  termOf(index: number): number {
    let lo = 0;
    let hi = this.entries.length - 1;
    while (lo <= hi) {
      const middle = (lo + hi) >>> 1;
      const record = this.entries[middle]!;
      if (index < record.firstIndex) hi = middle - 1;
      else if (index > record.lastIndex) lo = middle + 1;
      else return record.term;
    }
    return index === this.mark?.index ? this.mark.term : 0;
  }

  apply(record: LogRecord): void {
    switch (record.kind) {
      case "hardState":
        this.hardState = record.state;
        break;
      case "mark":
        this.#mark(record.mark);
        break;
      case "entries":
        this.#append(record.entries);
        break;
    }
  }

  #mark(mark: Mark): void {
    if (!mark.install && mark.index <= (this.mark?.index ?? -1)) return;
    this.mark = mark;
    if (mark.install) this.entries = [];
    else this.#dropTo(mark.index);
  }

  #dropTo(index: number): void {
    let gone = 0;
    while (gone < this.entries.length && this.entries[gone]!.lastIndex <= index) gone++;
    this.entries.splice(0, gone);
    const first = this.entries[0];
    if (first !== undefined && first.firstIndex <= index) {
      this.entries[0] = sliceEntries(first, index + 1, first.lastIndex);
    }
  }

  #append(record: EntriesRecord): void {
    const { firstIndex } = record;
    while (this.entries.length > 0 && this.entries.at(-1)!.firstIndex >= firstIndex) this.entries.pop();
    const last = this.entries.at(-1);
    if (last !== undefined && last.lastIndex >= firstIndex) {
      this.entries[this.entries.length - 1] = sliceEntries(last, last.firstIndex, firstIndex - 1);
    }
    if (this.entries.length > 0 && this.entries.at(-1)!.lastIndex !== firstIndex - 1) {
      throw new Error(`log twin: entry ${firstIndex} leaves a gap`);
    }
    if (this.entries.length === 0 && firstIndex > (this.mark?.index ?? 0) + 1) {
      throw new Error(`log twin: entry ${firstIndex} leaves a gap behind the mark`);
    }
    this.entries.push(record);
    if (this.mark !== null && firstIndex <= this.mark.index) this.#dropTo(this.mark.index);
  }
}
