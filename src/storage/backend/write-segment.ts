/**
 * Changes of whole entries on their way to LMDB: the instructions of their write transaction, the values
 * that the instructions point to, and a table by which records are found while they are in memory.
 *
 * Life: filled → ended (nothing may be added) → given to LMDB → flushed → released.
 * Invariants: records ascend in revision; the main revisions of a segment are consecutive, each with its
 * subs 0, 1, …; a revision is never spread over two segments.
 */
import { assert } from "../../base/index.js";
import type { RecordView } from "./backend.js";
import { stampEntries } from "../../native/index.js";
import type { Block, BlockPool } from "./blocks.js";
import { checksumBytes } from "./checks.js";
import { appendFlag, failedFlag, Instruction } from "./lmdb-native.js";
import { writeRevisionKey } from "./revision-key.js";

/** Room kept at a block's end for a pointer to the next block or the end mark, and LMDB's transaction ID. */
const tailBytes = 32;
/** Bytes of an instruction beside its key. */
const instructionBytes = 48;
const recordsAtFirst = 1024;
/** Of the table of entries to be stamped: numbers an entry, and the mark of a record. */
const stampWords = 4;
const recordMark = 1 << 31;

/** Entries from this one on have their keys and their values in these blocks. */
interface StampRun {
  readonly from: number;
  readonly keys: Block;
  readonly values: Block;
}

function grown<T extends Uint32Array>(table: T, copy: (length: number) => T): T {
  const larger = copy(table.length * 2);
  larger.set(table);
  return larger;
}

const newTable = (length: number): Uint32Array => new Uint32Array(length);

export class WriteSegment {
  readonly #pool: BlockPool;

  /** Changes so far, those of meta's index and term aside. */
  changes = 0;
  /** Consistent index of the last entry ended in this segment. */
  consistentIndex = 0;

  readonly #instructions: Block[] = [];
  #instructionBlock: Block;
  /** The next instruction's word in the last block. */
  #word = 2;

  readonly #values: Block[] = [];
  #valueBlock: Block;
  #valueAt = 0;
  #memory = 0;

  /** Main revision of the first record, 0 when there is none. */
  firstMain = 0;
  lastMain = 0;
  #records = 0;
  /** By main − firstMain: its first record. */
  #firstRecords = newTable(recordsAtFirst);
  /** By record: value block, start, end. */
  #recordBlocks = newTable(recordsAtFirst);
  #recordStarts = newTable(recordsAtFirst);
  #recordEnds = newTable(recordsAtFirst);
  #recordTombstones = new Uint8Array(recordsAtFirst);

  /** By put: where its key and value are, for `stamp`. */
  #stampTable = newTable(stampWords * recordsAtFirst);
  #puts = 0;
  #stampedPuts = 0;
  #stampRuns: StampRun[] = [];

  constructor(pool: BlockPool) {
    this.#pool = pool;
    this.#instructionBlock = this.#newInstructionBlock(0);
    this.#valueBlock = this.#newValueBlock(0);
  }

  /** Memory held. */
  get bytes(): number {
    return this.#memory;
  }

  get recordCount(): number {
    return this.#records;
  }

  #newInstructionBlock(bytesNeeded: number): Block {
    const block = this.#pool.take(bytesNeeded);
    this.#instructions.push(block);
    this.#memory += block.bytes.length;
    return block;
  }

  #newValueBlock(bytesNeeded: number): Block {
    const block = this.#pool.take(bytesNeeded);
    this.#values.push(block);
    this.#memory += block.bytes.length;
    return block;
  }

  /** The block that values are now written to. */
  get valueBytes(): Uint8Array {
    return this.#valueBlock.bytes;
  }

  /** Makes `valueBytesMax` bytes free in `valueBytes` and returns where. */
  reserveValue(valueBytesMax: number): number {
    if (this.#valueAt + valueBytesMax + checksumBytes > this.#valueBlock.bytes.length) {
      this.#valueBlock = this.#newValueBlock(valueBytesMax + checksumBytes);
      this.#valueAt = 0;
    }
    return this.#valueAt;
  }

  /** Adds the record whose value is now in `valueBytes` from `reserveValue`'s place to `end`. */
  addRecord(dbi: number, main: number, sub: number, tombstone: boolean, end: number): void {
    const start = this.#valueAt;
    const word = this.#reserveInstruction(24);
    const block = this.#instructionBlock;
    const keyStart = (word + 3) << 2;
    const keyEnd = writeRevisionKey(block.view, block.bytes, keyStart, main, sub, tombstone);
    this.#finishPut(word, dbi, keyStart, keyEnd, start, end, Instruction.Put | appendFlag, recordMark);
    this.#noteRecord(main, sub, tombstone, start, end);
  }

  /** Adds a put of a small bucket, or, with `append`, of a key above all others of its bucket, maybe that of a record. */
  addPut(dbi: number, key: Uint8Array, value: Uint8Array, append = false, isRecord = false): void {
    const start = this.reserveValue(value.length);
    this.#valueBlock.bytes.set(value, start);
    const word = this.#reserveInstruction(key.length);
    const keyStart = (word + 3) << 2;
    this.#instructionBlock.bytes.set(key, keyStart);
    const flags = append ? Instruction.Put | appendFlag : Instruction.Put;
    this.#finishPut(
      word,
      dbi,
      keyStart,
      keyStart + key.length,
      start,
      start + value.length,
      flags,
      isRecord ? recordMark : 0,
    );
    this.changes++;
  }

  /** Adds a delete of a small bucket. */
  addDelete(dbi: number, key: Uint8Array): void {
    const word = this.#reserveInstruction(key.length);
    const keyStart = (word + 3) << 2;
    this.#instructionBlock.bytes.set(key, keyStart);
    this.#finishDelete(word, dbi, keyStart, keyStart + key.length);
  }

  #finishDelete(word: number, dbi: number, keyStart: number, keyEnd: number): void {
    const { words } = this.#instructionBlock;
    words[word] = Instruction.Delete;
    words[word + 1] = dbi;
    words[word + 2] = keyEnd - keyStart;
    this.#word = ((keyEnd + 16) >> 3) << 1;
    this.changes++;
  }

  /** Adds the removal of a record. */
  addRecordDelete(dbi: number, main: number, sub: number, tombstone: boolean): void {
    const word = this.#reserveInstruction(24);
    const { bytes, view } = this.#instructionBlock;
    const keyStart = (word + 3) << 2;
    const keyEnd = writeRevisionKey(view, bytes, keyStart, main, sub, tombstone);
    this.#finishDelete(word, dbi, keyStart, keyEnd);
  }

  #finishPut(
    word: number,
    dbi: number,
    keyStart: number,
    keyEnd: number,
    start: number,
    end: number,
    flags: number,
    mark: number,
  ): void {
    const { words, doubles } = this.#instructionBlock;
    const pointer = (keyEnd + 16) >> 3;
    words[word] = flags;
    words[word + 1] = dbi;
    words[word + 2] = keyEnd - keyStart;
    words[(pointer << 1) - 1] = end + checksumBytes - start;
    doubles[pointer] = this.#valueBlock.address + start;
    this.#word = (pointer << 1) + 2;
    this.#valueAt = end + checksumBytes;
    this.#noteStamp(keyStart, (keyEnd - keyStart) | mark, start, end);
  }

  #noteStamp(keyStart: number, keyLength: number, start: number, end: number): void {
    const run = this.#stampRuns[this.#stampRuns.length - 1];
    if (run === undefined || run.keys !== this.#instructionBlock || run.values !== this.#valueBlock) {
      this.#stampRuns.push({ from: this.#puts, keys: this.#instructionBlock, values: this.#valueBlock });
    }
    const at = stampWords * this.#puts++;
    if (at === this.#stampTable.length) this.#stampTable = grown(this.#stampTable, newTable);
    const table = this.#stampTable;
    table[at] = keyStart;
    table[at + 1] = keyLength;
    table[at + 2] = start;
    table[at + 3] = end;
  }

  /** Writes the checksum behind each value added since the last call; returns the sum of those of records. */
  stamp(): number {
    let sum = 0;
    const runs = this.#stampRuns;
    for (let i = 0; i < runs.length; i++) {
      const { from, keys, values } = runs[i]!;
      const to = i + 1 < runs.length ? runs[i + 1]!.from : this.#puts;
      const first = Math.max(from, this.#stampedPuts);
      if (first >= to) continue;
      sum += stampEntries(keys.bytes, values.bytes, this.#stampTable.subarray(stampWords * first, stampWords * to));
    }
    this.#stampedPuts = this.#puts;
    this.#stampRuns = runs.slice(-1);
    return sum;
  }

  /** The word of an instruction with a key of that length, in a new block if this one is full. */
  #reserveInstruction(keyBytes: number): number {
    const needed = instructionBytes + keyBytes + tailBytes;
    if ((this.#word << 2) + needed > this.#instructionBlock.bytes.length) {
      const full = this.#instructionBlock;
      const word = this.#word;
      this.#instructionBlock = this.#newInstructionBlock(needed);
      this.#word = 2;
      point(full, word, this.#instructionBlock.address + 8);
    }
    return this.#word;
  }

  #noteRecord(main: number, sub: number, tombstone: boolean, start: number, end: number): void {
    if (this.firstMain === 0) this.firstMain = this.lastMain = main;
    const i = this.#records++;
    if (sub === 0) this.#noteMain(main, i);
    assert(main === this.lastMain, "backend: a record's main revision is not the next one");
    assert(
      sub === i - this.#firstRecords[main - this.firstMain]!,
      "backend: a record's sub revision is not the next one",
    );
    if (i === this.#recordEnds.length) this.#growRecords();
    this.#recordBlocks[i] = this.#values.length - 1;
    this.#recordStarts[i] = start;
    this.#recordEnds[i] = end;
    this.#recordTombstones[i] = tombstone ? 1 : 0;
    this.changes++;
  }

  #noteMain(main: number, record: number): void {
    assert(record === 0 || main === this.lastMain + 1, "backend: a record's main revision is not the next one");
    const i = main - this.firstMain;
    if (i === this.#firstRecords.length) this.#firstRecords = grown(this.#firstRecords, newTable);
    this.#firstRecords[i] = record;
    this.lastMain = main;
  }

  #growRecords(): void {
    this.#recordBlocks = grown(this.#recordBlocks, newTable);
    this.#recordStarts = grown(this.#recordStarts, newTable);
    this.#recordEnds = grown(this.#recordEnds, newTable);
    const tombstones = new Uint8Array(this.#recordEnds.length);
    tombstones.set(this.#recordTombstones);
    this.#recordTombstones = tombstones;
  }

  /** The record of a revision as a number for `point`, `isTombstone`; −1 when it is not here. */
  find(main: number, sub: number): number {
    if (this.firstMain === 0 || main < this.firstMain || main > this.lastMain) return -1;
    const i = main - this.firstMain;
    const record = this.#firstRecords[i]! + sub;
    const end = main === this.lastMain ? this.#records : this.#firstRecords[i + 1]!;
    return record < end ? record : -1;
  }

  /** The first record at or after a revision; `recordCount` when there is none. */
  firstFrom(main: number, sub: number): number {
    if (this.firstMain === 0 || main > this.lastMain) return this.#records;
    if (main < this.firstMain) return 0;
    const i = main - this.firstMain;
    const end = main === this.lastMain ? this.#records : this.#firstRecords[i + 1]!;
    return Math.min(this.#firstRecords[i]! + sub, end);
  }

  isTombstone(record: number): boolean {
    return this.#recordTombstones[record] === 1;
  }

  point(record: number, into: RecordView): void {
    into.bytes = this.#values[this.#recordBlocks[record]!]!.bytes;
    into.start = this.#recordStarts[record]!;
    into.end = this.#recordEnds[record]!;
  }

  /** Where the first record of a main revision lies. */
  firstRecordOf(main: number): number {
    return this.#firstRecords[main - this.firstMain]!;
  }

  /** The main revision of a record, which is known to be `from` or later. */
  mainOf(record: number, from: number): number {
    let main = Math.max(from, this.firstMain);
    while (main < this.lastMain && this.firstRecordOf(main + 1) <= record) main++;
    return main;
  }

  /** Ends the instructions; all have been stamped. */
  end(): void {
    assert(this.#stampedPuts === this.#puts, "backend: an entry is without its checksum");
    this.#instructionBlock.words[this.#word] = Instruction.End;
  }

  /** Where LMDB begins to read the instructions. */
  get address(): number {
    return this.#instructions[0]!.address + 8;
  }

  /** Lets LMDB go on with `next` in the same transaction; both are ended. */
  linkTo(next: WriteSegment): void {
    point(this.#instructionBlock, this.#word, next.address);
  }

  /** After the transaction: true when every append took effect. */
  appendsSucceeded(): boolean {
    for (let i = 0; i < this.#instructions.length; i++) {
      const words = this.#instructions[i]!.words;
      for (let word = 2; ;) {
        const flags = words[word]!;
        const kind = flags & 15;
        if (kind !== Instruction.Put && kind !== Instruction.Delete) break;
        if ((flags & appendFlag) !== 0 && (flags & failedFlag) !== 0) return false;
        const next = ((((word + 3) << 2) + words[word + 2]! + 16) >> 3) << 1;
        word = kind === Instruction.Put ? next + 2 : next;
      }
    }
    return true;
  }

  /** Gives the blocks back; the segment is not to be touched again. */
  release(): void {
    for (const block of this.#instructions) this.#pool.give(block);
    for (const block of this.#values) this.#pool.give(block);
  }
}

/** Writes a pointer instruction at `word`. */
function point(block: Block, word: number, address: number): void {
  block.words[word] = Instruction.Pointer;
  block.doubles[(word >> 1) + 1] = address;
}
