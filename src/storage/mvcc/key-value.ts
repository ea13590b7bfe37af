/**
 * mvccpb.KeyValue on the hot path: written straight into a record, read in place.
 *
 *   1 key · 2 create_revision · 3 mod_revision · 4 version · 5 value · 6 lease; zero fields are left out,
 *   fields ascend. A tombstone holds field 1 only.
 */
import type { RecordView } from "../backend/index.js";

/** Reads the fields of one record in place; one instance is reused. Records are our own, so bad bytes throw. */
export class KeyValueReader {
  bytes: Uint8Array = new Uint8Array(0);
  keyStart = 0;
  keyEnd = 0;
  createRevision = 0;
  modRevision = 0;
  version = 0;
  valueStart = 0;
  valueEnd = 0;
  /** The lease's int64 in two halves, unsigned. */
  leaseLow = 0;
  leaseHigh = 0;

  /** Decodes `bytes[start, end)`. */
  read(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes;
    this.keyStart = this.keyEnd = this.valueStart = this.valueEnd = start;
    this.createRevision = this.modRevision = this.version = this.leaseLow = this.leaseHigh = 0;
    let at = start;
    while (at < end) at = this.#field(at);
    if (at !== end) throw new Error("mvcc: a stored record is cut short");
  }

  readView(view: RecordView): void {
    this.read(view.bytes, view.start, view.end);
  }

  /** Reads the field at `at` and returns where the next one begins. */
  #field(at: number): number {
    const tag = this.bytes[at]!;
    this.#varint(at + 1);
    const next = this.#next;
    switch (tag) {
      case 0x0a:
        this.keyStart = next;
        return (this.keyEnd = next + this.#low);
      case 0x2a:
        this.valueStart = next;
        return (this.valueEnd = next + this.#low);
      case 0x10:
        this.createRevision = this.#high * 0x1_0000_0000 + this.#low;
        return next;
      case 0x18:
        this.modRevision = this.#high * 0x1_0000_0000 + this.#low;
        return next;
      case 0x20:
        this.version = this.#high * 0x1_0000_0000 + this.#low;
        return next;
      case 0x30:
        this.leaseLow = this.#low;
        this.leaseHigh = this.#high;
        return next;
      default:
        throw new Error(`mvcc: a stored record has the unknown field tag ${tag}`);
    }
  }

  #low = 0;
  #high = 0;
  #next = 0;

  /** Decodes a varint into 2 × 32 bits. */
  #varint(at: number): void {
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.bytes[at++];
      if (byte === undefined) break;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high |= bits >>> 4;
      } else high |= bits << (shift - 32);
      if (byte < 0x80) {
        this.#low = low >>> 0;
        this.#high = high >>> 0;
        this.#next = at;
        return;
      }
    }
    throw new Error("mvcc: a stored record has a bad varint");
  }
}
