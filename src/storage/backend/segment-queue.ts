/**
 * The write segments in memory: the one being filled, those that wait, and those that LMDB is writing.
 * Records are found in all of them. Knows nothing of LMDB but the numbers of its databases.
 */
import { assert } from "../../base/index.js";
import type { RecordView, RecordVisitor, ScanLimits, ScanPosition } from "./backend.js";
import type { BlockPool } from "./blocks.js";
import { WriteSegment } from "./write-segment.js";

export class SegmentQueue {
  readonly #pool: BlockPool;
  /** In order of age; the last one is being filled if `#filling`. */
  #segments: WriteSegment[] = [];
  #filling = false;
  /** Number of the first segment; they are numbered from 1 on, for ever. */
  #firstNumber = 1;

  constructor(pool: BlockPool) {
    this.#pool = pool;
  }

  /** The segment to add changes to. */
  current(): WriteSegment {
    if (this.#filling) return this.#segments[this.#segments.length - 1]!;
    const segment = new WriteSegment(this.#pool);
    this.#segments.push(segment);
    this.#filling = true;
    return segment;
  }

  get isFilling(): boolean {
    return this.#filling;
  }

  /** The number of the segment that `current` gives. */
  get currentNumber(): number {
    return this.#firstNumber + this.#segments.length - (this.#filling ? 1 : 0);
  }

  /** Ends the segment being filled. */
  end(): void {
    assert(this.#filling, "backend: no segment is being filled");
    this.#segments[this.#segments.length - 1]!.end();
    this.#filling = false;
  }

  /** Segments that are ended. */
  get endedCount(): number {
    return this.#segments.length - (this.#filling ? 1 : 0);
  }

  at(i: number): WriteSegment {
    return this.#segments[i]!;
  }

  /** Drops the oldest `count` segments; returns the number of the last one. */
  release(count: number): number {
    for (let i = 0; i < count; i++) this.#segments[i]!.release();
    this.#segments = this.#segments.slice(count);
    this.#firstNumber += count;
    return this.#firstNumber - 1;
  }

  /** Drops all segments; none may be with LMDB. Returns the number of the last one. */
  drop(): number {
    this.#filling = false;
    return this.release(this.#segments.length);
  }

  /** Memory held. */
  get bytes(): number {
    let sum = 0;
    for (let i = 0; i < this.#segments.length; i++) sum += this.#segments[i]!.bytes;
    return sum;
  }

  /** Main revision of the oldest record in memory; Infinity when there is none. */
  get firstMain(): number {
    for (let i = 0; i < this.#segments.length; i++) {
      const first = this.#segments[i]!.firstMain;
      if (first !== 0) return first;
    }
    return Infinity;
  }

  /** Points at a record in memory; false when it is not here. */
  readRecord(main: number, sub: number, tombstone: boolean, into: RecordView): boolean {
    for (let i = this.#segments.length - 1; i >= 0; i--) {
      const segment = this.#segments[i]!;
      const record = segment.find(main, sub);
      if (record === -1) continue;
      if (segment.isTombstone(record) !== tombstone) return false;
      segment.point(record, into);
      return true;
    }
    return false;
  }

  readonly #view: RecordView = { bytes: new Uint8Array(0), start: 0, end: 0 };

  /** As `Backend.scanRecords`, over the records in memory. */
  scan(position: ScanPosition, limits: ScanLimits, visitor: RecordVisitor): boolean {
    let records = 0;
    let bytes = 0;
    for (let i = 0; i < this.#segments.length; i++) {
      const segment = this.#segments[i]!;
      for (let r = segment.firstFrom(position.main, position.sub); r < segment.recordCount; r++) {
        if (records === limits.records || bytes >= limits.bytes) return true;
        segment.point(r, this.#view);
        const main = segment.mainOf(r, position.main);
        const sub = r - segment.firstRecordOf(main);
        const { start, end } = this.#view;
        visitor.visit(main, sub, segment.isTombstone(r), this.#view.bytes, start, end);
        position.main = main;
        position.sub = sub + 1;
        records++;
        bytes += end - start;
      }
    }
    return records > 0;
  }
}
