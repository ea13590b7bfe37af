/**
 * The twin of the write-ahead log's disk: what a member's log leaves on a platter, sector by sector, and how it is
 * read back. Batches have the checks of the real ones (native/core/src/wal): a CRC over all of a batch that begins
 * with its place, chained to the batch before; so a torn last batch is told from damage by the same rule.
 *
 * Invariants: what `sync` has made durable stays, unless a fault damages it; what was only written survives a crash
 * sector by sector, as chance has it.
 */
import { copyOf } from "../../src/base/index.js";
import { crc32c } from "../../src/native/index.js";
import { WalCorruptError } from "../../src/storage/wal/index.js";
import type { Chance } from "./chance.js";
import { LogState, readRecords, type LogRecord } from "./log-records.js";

/** Far smaller than a real one, so that batches of the small entries here have several, and a crash can tear them. */
const sectorBytes = 64;
const headBytes = 32;
const magic = 0x5774_4531;
const segmentName = "0000000000000001-00000001.seg";
/** Released batches are dropped when there are so many. */
const droppedMin = 64;

/** Where a batch goes, in sectors, and what it follows. */
interface Place {
  readonly sector: number;
  readonly number: number;
  readonly crc: number;
}

interface Batch {
  readonly sector: number;
  readonly sectors: number;
  /** No entry in it has a higher index. */
  readonly maxIndex: number;
}

interface Written {
  /** Where it lands: where it belongs, unless it is misdirected. */
  readonly sector: number;
  readonly bytes: Uint8Array;
  readonly records: readonly LogRecord[];
  readonly misdirected: boolean;
}

/** What reading one batch gives. */
type Found =
  | { readonly kind: "batch"; readonly records: readonly LogRecord[]; readonly next: Place }
  | { readonly kind: "end" }
  /** Some of its sectors never got there. `sectors`: its length, where its head says so. */
  | { readonly kind: "torn"; readonly sectors: number | null }
  | { readonly kind: "damaged"; readonly reason: string };

/** What opening the log finds. */
export interface Recovered {
  readonly metadata: Uint8Array;
  readonly state: LogState;
  /** A torn batch was cut. */
  readonly cut: boolean;
}

export class LogDisk {
  /** Cluster and member ID, once durable. */
  metadata: Uint8Array | null = null;
  /** What a correct reader finds, damage aside. */
  durable = new LogState();
  /** Terms of all entries that were durable here, by index, as replaced since. */
  readonly terms: number[] = [];
  /** Entries up to here came as a snapshot. */
  installedIndex = 0;
  /** The next batch is written over an earlier one. */
  misdirectNext = false;
  /** What is on the platter is not what was written, so a reader must refuse it. */
  damaged = false;
  readonly #platter = new Map<number, Uint8Array>();
  #batches: Batch[] = [];
  /** State and place before the first batch that is kept. */
  #head = new LogState();
  #first: Place = { sector: 0, number: 0, crc: 0 };
  #next: Place = this.#first;
  #written: Written | null = null;
  /** Sectors before this one were synced. */
  #syncedEnd = 0;

  /** Writes one batch of whole records; it is not durable yet. Tells where it will land. */
  write(records: Uint8Array, chance: Chance): "in its place" | "misdirected" {
    if (this.#written !== null) throw new Error("log twin: a batch while another is in flight");
    const bytes = sealed(records, this.#next);
    const read = readRecords(records, records.length);
    const sector = this.#misdirected(chance) ?? this.#next.sector;
    this.#written = { sector, bytes, records: read, misdirected: sector !== this.#next.sector };
    const sectors = bytes.length / sectorBytes;
    const maxIndex = Math.max(0, ...read.map((record) => (record.kind === "entries" ? record.entries.lastIndex : 0)));
    this.#batches.push({ sector: this.#next.sector, sectors, maxIndex });
    this.#next = { sector: this.#next.sector + sectors, number: this.#next.number + 1, crc: bodyCrcOf(bytes) };
    return this.#written.misdirected ? "misdirected" : "in its place";
  }

  #misdirected(chance: Chance): number | null {
    if (!this.misdirectNext || this.#batches.length < 2) return null;
    this.misdirectNext = false;
    return this.#batches[chance.below(this.#batches.length)]!.sector;
  }

  /** What was written is durable. */
  sync(): void {
    const written = this.#written;
    if (written === null) return;
    this.#written = null;
    for (let i = 0; i < written.bytes.length / sectorBytes; i++) this.#put(written, i);
    this.#syncedEnd = this.#next.sector;
    this.#count(written.records);
  }

  #put({ sector, bytes, misdirected }: Written, i: number): void {
    if (misdirected) this.damaged = true;
    this.#platter.set(sector + i, copyOf(bytes, i * sectorBytes, (i + 1) * sectorBytes));
  }

  #count(records: readonly LogRecord[]): void {
    for (const record of records) {
      this.durable.apply(record);
      if (record.kind === "entries") {
        const { firstIndex, lastIndex, term } = record.entries;
        this.terms.length = Math.max(firstIndex, this.installedIndex + 1);
        for (let i = firstIndex; i <= lastIndex; i++) this.terms[i] = term;
      } else if (record.kind === "mark" && record.mark.install) {
        this.installedIndex = record.mark.index;
        this.terms.length = record.mark.index;
        this.terms[record.mark.index] = record.mark.term;
      }
    }
  }

  /** Whether entry `index` of `term` is durable here, or was until a snapshot covered it. */
  holds(index: number, term: number): boolean {
    return index < this.installedIndex || this.terms[index] === term;
  }

  /** Power is lost: of what was written and not synced, any sectors survive. Tells what has become of it. */
  crash(chance: Chance): "nothing" | "lost" | "torn" | "whole" {
    const written = this.#written;
    this.#written = null;
    if (written === null) return "nothing";
    const sectors = written.bytes.length / sectorBytes;
    const how = chance.below(4);
    let kept = 0;
    for (let i = 0; i < sectors; i++) {
      if (how === 0 || (how > 1 && chance.below(2) === 0)) continue;
      this.#put(written, i);
      kept++;
    }
    // All of it got there: a reader will find it, so it counts from now on.
    if (kept === sectors) this.#count(written.records);
    return kept === 0 ? "lost" : kept === sectors ? "whole" : "torn";
  }

  /** One bit of what is durable turns over. False: there is nothing yet. */
  flipBit(chance: Chance): boolean {
    const sectors = [...this.#platter.keys()].filter((sector) => sector < this.#syncedEnd);
    if (sectors.length === 0) return false;
    this.#platter.get(chance.pick(sectors))![chance.below(sectorBytes)]! ^= 1 << chance.below(8);
    this.damaged = true;
    return true;
  }

  /** Entries up to `index` are not needed any more; those behind the newest mark are kept all the same. */
  release(index: number): void {
    const until = Math.min(index, this.durable.mark?.index ?? 0);
    const kept = this.#batches.findIndex(({ maxIndex }) => maxIndex > until);
    const count = Math.min(kept === -1 ? this.#batches.length : kept, this.#batches.length - 2);
    if (count >= droppedMin && this.#written === null) this.#drop(count);
  }

  /** Forgets the first batches; the state that they came to is the head now. */
  #drop(count: number): void {
    for (const { sector, sectors } of this.#batches.splice(0, count)) {
      const found = this.#read(this.#first);
      // Damage in what is not needed is never noticed, nor need it be; here the chain stays whole.
      if (found.kind !== "batch") return;
      for (const record of found.records) if (record.kind === "hardState") this.#head.apply(record);
      this.#first = found.next;
      for (let i = 0; i < sectors; i++) this.#platter.delete(sector + i);
    }
    this.#head.mark = this.durable.mark;
  }

  /** Reads the whole log, and cuts a torn last batch. Throws WalCorruptError. */
  recover(): Recovered {
    if (this.metadata === null) throw new Error("log twin: no log was made");
    const state = this.#head.clone();
    const batches: Batch[] = [];
    let place = this.#first;
    let cut = false;
    for (;;) {
      const found = this.#read(place);
      if (found.kind === "damaged") throw corrupt(place.sector, found.reason);
      if (found.kind === "end") break;
      if (found.kind === "torn") {
        this.#cut(place, found.sectors);
        cut = true;
        break;
      }
      let maxIndex = 0;
      for (const record of found.records) {
        state.apply(record);
        if (record.kind === "entries") maxIndex = Math.max(maxIndex, record.entries.lastIndex);
      }
      batches.push({ sector: place.sector, sectors: found.next.sector - place.sector, maxIndex });
      place = found.next;
    }
    this.#batches = batches;
    this.#next = place;
    this.#syncedEnd = place.sector;
    return { metadata: this.metadata, state, cut };
  }

  #read(place: Place): Found {
    const head = this.#platter.get(place.sector);
    if (head === undefined) {
      return [...this.#platter.keys()].some((sector) => sector >= place.sector)
        ? { kind: "torn", sectors: null }
        : { kind: "end" };
    }
    const view = new DataView(head.buffer);
    if (!isHead(head, place)) return { kind: "damaged", reason: "batch head" };
    const bodyLength = view.getUint32(8, true);
    const sectors = Math.ceil((headBytes + bodyLength) / sectorBytes);
    const bytes = new Uint8Array(sectors * sectorBytes);
    for (let i = 0; i < sectors; i++) {
      const sector = this.#platter.get(place.sector + i);
      if (sector === undefined) return { kind: "torn", sectors };
      bytes.set(sector, i * sectorBytes);
    }
    const crc = view.getUint32(12, true);
    if (crc32c(0, bytes.subarray(headBytes)) !== crc) return { kind: "damaged", reason: "batch CRC" };
    const records = readRecords(bytes.subarray(headBytes, headBytes + bodyLength), bodyLength);
    return { kind: "batch", records, next: { sector: place.sector + sectors, number: place.number + 1, crc } };
  }

  /** A batch at `place` is torn: nothing can follow it. */
  #cut(place: Place, sectors: number | null): void {
    const behind = [...this.#platter.keys()].filter((sector) => sector >= place.sector);
    const follows = behind.some((sector) =>
      sectors === null ? isHeadAnywhere(this.#platter.get(sector)!, sector) : sector >= place.sector + sectors,
    );
    if (follows) throw corrupt(place.sector, "torn batch, but more follows it");
    for (const sector of behind) this.#platter.delete(sector);
  }
}

function corrupt(sector: number, reason: string): WalCorruptError {
  const offset = sector * sectorBytes;
  const message = `wal: ${segmentName} is damaged at ${offset}: ${reason}`;
  return new WalCorruptError(message, { segment: segmentName, offset, reason });
}

/** A batch with its head: CRC of the head, magic, body's length and CRC, the former batch's CRC, number, place. */
function sealed(records: Uint8Array, { sector, number, crc }: Place): Uint8Array {
  const length = Math.ceil((headBytes + records.length) / sectorBytes) * sectorBytes;
  const bytes = new Uint8Array(length).fill(0xff);
  bytes.set(records, headBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(4, magic, true);
  view.setUint32(8, records.length, true);
  view.setUint32(12, crc32c(0, bytes.subarray(headBytes)), true);
  view.setUint32(16, crc, true);
  view.setUint32(20, number, true);
  view.setFloat64(24, sector, true);
  view.setUint32(0, crc32c(0, bytes.subarray(4, headBytes)), true);
  return bytes;
}

function bodyCrcOf(batch: Uint8Array): number {
  return new DataView(batch.buffer).getUint32(12, true);
}

/** Whether a sector is the head of some batch that belongs there. */
function isHeadAnywhere(sector: Uint8Array, at: number): boolean {
  const view = new DataView(sector.buffer);
  return view.getUint32(0, true) === crc32c(0, sector.subarray(4, headBytes)) && view.getFloat64(24, true) === at;
}

/** Whether a sector is the head of the very batch that belongs there. */
function isHead(sector: Uint8Array, place: Place): boolean {
  const view = new DataView(sector.buffer);
  const follows = view.getUint32(16, true) === place.crc && view.getUint32(20, true) === place.number;
  return view.getUint32(4, true) === magic && follows && isHeadAnywhere(sector, place.sector);
}
