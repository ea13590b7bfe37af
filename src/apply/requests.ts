/**
 * KV requests read in place: each class holds one request's fields, bytes as offsets into the buffer that was given.
 * Instances are reused; they are valid as long as that buffer is.
 */
import { SortOrder, SortTarget } from "../proto/index.js";
import { FieldCursor } from "./field-cursor.js";

const cursor = new FieldCursor();

/** etcdserverpb.PutRequest. */
export class PutFields {
  bytes: Uint8Array = cursor.bytes;
  keyStart = 0;
  keyEnd = 0;
  valueStart = 0;
  valueEnd = 0;
  /** The lease's int64 in two unsigned halves; 0, 0: none. */
  leaseLow = 0;
  leaseHigh = 0;
  previousKv = false;
  ignoreValue = false;
  ignoreLease = false;

  read(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes;
    this.keyStart = this.keyEnd = this.valueStart = this.valueEnd = start;
    this.leaseLow = this.leaseHigh = 0;
    this.previousKv = this.ignoreValue = this.ignoreLease = false;
    cursor.reset(bytes, start, end);
    while (cursor.next()) this.#field();
  }

  get hasLease(): boolean {
    return (this.leaseLow | this.leaseHigh) !== 0;
  }

  /** The previous record is needed before the put. */
  get needsPrevious(): boolean {
    return this.previousKv || this.ignoreValue || this.ignoreLease;
  }

  #field(): void {
    switch (cursor.tag) {
      case 0x0a:
        this.keyStart = cursor.start;
        this.keyEnd = cursor.end;
        break;
      case 0x12:
        this.valueStart = cursor.start;
        this.valueEnd = cursor.end;
        break;
      case 0x18:
        this.leaseLow = cursor.low >>> 0;
        this.leaseHigh = cursor.high >>> 0;
        break;
      case 0x20:
        this.previousKv = cursor.bool;
        break;
      case 0x28:
        this.ignoreValue = cursor.bool;
        break;
      case 0x30:
        this.ignoreLease = cursor.bool;
        break;
    }
  }
}

/** etcdserverpb.DeleteRangeRequest. */
export class DeleteRangeFields {
  bytes: Uint8Array = cursor.bytes;
  keyStart = 0;
  keyEnd = 0;
  endStart = 0;
  endEnd = 0;
  previousKv = false;

  read(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes;
    this.keyStart = this.keyEnd = this.endStart = this.endEnd = start;
    this.previousKv = false;
    cursor.reset(bytes, start, end);
    while (cursor.next()) {
      switch (cursor.tag) {
        case 0x0a:
          this.keyStart = cursor.start;
          this.keyEnd = cursor.end;
          break;
        case 0x12:
          this.endStart = cursor.start;
          this.endEnd = cursor.end;
          break;
        case 0x18:
          this.previousKv = cursor.bool;
          break;
      }
    }
  }
}

/** etcdserverpb.CompactionRequest; the revision is saturated. */
export class CompactionFields {
  revision = 0;
  physical = false;

  read(bytes: Uint8Array, start: number, end: number): void {
    this.revision = 0;
    this.physical = false;
    cursor.reset(bytes, start, end);
    while (cursor.next()) {
      if (cursor.tag === 0x08) this.revision = cursor.int64;
      else if (cursor.tag === 0x10) this.physical = cursor.bool;
    }
  }
}

/** etcdserverpb.RangeRequest. Operands are saturated to ±(2^53 − 1). */
export class RangeFields {
  bytes: Uint8Array = cursor.bytes;
  keyStart = 0;
  keyEnd = 0;
  endStart = 0;
  endEnd = 0;
  limit = 0;
  revision = 0;
  sortOrder = 0;
  sortTarget = 0;
  serializable = false;
  keysOnly = false;
  countOnly = false;
  minModRevision = 0;
  maxModRevision = 0;
  minCreateRevision = 0;
  maxCreateRevision = 0;

  read(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes;
    this.keyStart = this.keyEnd = this.endStart = this.endEnd = start;
    this.limit = this.revision = this.sortOrder = this.sortTarget = 0;
    this.serializable = this.keysOnly = this.countOnly = false;
    this.minModRevision = this.maxModRevision = this.minCreateRevision = this.maxCreateRevision = 0;
    cursor.reset(bytes, start, end);
    while (cursor.next()) this.#field();
  }

  get singleKey(): boolean {
    return this.endStart === this.endEnd;
  }

  get hasRevisionFilters(): boolean {
    return (
      this.minModRevision !== 0 ||
      this.maxModRevision !== 0 ||
      this.minCreateRevision !== 0 ||
      this.maxCreateRevision !== 0
    );
  }

  /** The order in which the store yields keys is taken for the wanted one when the limit is applied. */
  get defaultOrder(): boolean {
    return (
      this.sortOrder === SortOrder.NONE || (this.sortTarget === SortTarget.KEY && this.sortOrder === SortOrder.ASCEND)
    );
  }

  /** The records must be put in another order: also when the order is NONE, but the target is not the key. */
  get needsSort(): boolean {
    return this.sortTarget !== SortTarget.KEY || this.sortOrder === SortOrder.DESCEND;
  }

  #field(): void {
    switch (cursor.tag) {
      case 0x0a:
        this.keyStart = cursor.start;
        this.keyEnd = cursor.end;
        break;
      case 0x12:
        this.endStart = cursor.start;
        this.endEnd = cursor.end;
        break;
      case 0x18:
        this.limit = cursor.int64;
        break;
      case 0x20:
        this.revision = cursor.int64;
        break;
      case 0x28:
        this.sortOrder = cursor.low;
        break;
      case 0x30:
        this.sortTarget = cursor.low;
        break;
      default:
        this.#laterField();
    }
  }

  #laterField(): void {
    switch (cursor.tag) {
      case 0x38:
        this.serializable = cursor.bool;
        break;
      case 0x40:
        this.keysOnly = cursor.bool;
        break;
      case 0x48:
        this.countOnly = cursor.bool;
        break;
      case 0x50:
        this.minModRevision = cursor.int64;
        break;
      case 0x58:
        this.maxModRevision = cursor.int64;
        break;
      case 0x60:
        this.minCreateRevision = cursor.int64;
        break;
      case 0x68:
        this.maxCreateRevision = cursor.int64;
        break;
    }
  }
}

/** Tags of Compare's target_union, by CompareTarget. */
const unionTagOfTarget = [0x20, 0x28, 0x30, 0x3a, 0x40] as const;

/** etcdserverpb.Compare. */
export class CompareFields {
  bytes: Uint8Array = cursor.bytes;
  result = 0;
  target = 0;
  keyStart = 0;
  keyEnd = 0;
  endStart = 0;
  endEnd = 0;
  #unionTag = 0;
  #operandLow = 0;
  #operandHigh = 0;
  #valueStart = 0;
  #valueEnd = 0;

  read(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes;
    this.result = this.target = this.#unionTag = 0;
    this.keyStart = this.keyEnd = this.endStart = this.endEnd = this.#valueStart = this.#valueEnd = start;
    cursor.reset(bytes, start, end);
    while (cursor.next()) this.#field();
  }

  get singleKey(): boolean {
    return this.endStart === this.endEnd;
  }

  // The operand of the target; zero or empty when the union holds another target's.

  get #matches(): boolean {
    return this.#unionTag === unionTagOfTarget[this.target];
  }
  /** The operand's int64 as a number, saturated. */
  get operand(): number {
    if (!this.#matches) return 0;
    const value = this.#operandHigh * 0x1_0000_0000 + (this.#operandLow >>> 0);
    return Math.max(-Number.MAX_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, value));
  }
  get operandLow(): number {
    return this.#matches ? this.#operandLow >>> 0 : 0;
  }
  /** Signed. */
  get operandHigh(): number {
    return this.#matches ? this.#operandHigh : 0;
  }
  get valueStart(): number {
    return this.#matches ? this.#valueStart : 0;
  }
  get valueEnd(): number {
    return this.#matches ? this.#valueEnd : 0;
  }

  #field(): void {
    switch (cursor.tag) {
      case 0x08:
        this.result = cursor.low;
        break;
      case 0x10:
        this.target = cursor.low;
        break;
      case 0x1a:
        this.keyStart = cursor.start;
        this.keyEnd = cursor.end;
        break;
      case 0x20:
      case 0x28:
      case 0x30:
      case 0x40:
        this.#unionTag = cursor.tag;
        this.#operandLow = cursor.low;
        this.#operandHigh = cursor.high;
        break;
      case 0x3a:
        this.#unionTag = cursor.tag;
        this.#valueStart = cursor.start;
        this.#valueEnd = cursor.end;
        break;
      case 0x202: // 64 << 3 | Bytes
        this.endStart = cursor.start;
        this.endEnd = cursor.end;
        break;
    }
  }
}
