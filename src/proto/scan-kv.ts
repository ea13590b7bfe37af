/**
 * Requests of the hot path read in place: offsets and scalars of one message, without an object or bigint a request.
 * A scan object is kept and used again; its offsets refer to the bytes of its last `scan` and are good only as long as
 * these. Absent bytes fields have equal start and end. Rules of reading are those of wire.ts.
 * Any thread; none is reentrant.
 */
import { ProtoError, WireReader } from "./wire.js";

const noBytes = new Uint8Array(0);
const int32Bits = 32n;

/** Runs `read` over the fields of a message; false when the bytes do not parse. */
abstract class Scan {
  protected readonly reader = new WireReader(noBytes, 0);

  /** Reads `bytes[start, end)`; false when Go's parser would refuse them. */
  scan(bytes: Uint8Array, start: number, end: number): boolean {
    this.clear();
    this.reader.reset(bytes, start);
    try {
      while (this.reader.at < end) this.field(this.reader.tag(end), end);
    } catch (error) {
      if (error instanceof ProtoError) return false;
      throw error;
    }
    return true;
  }

  protected abstract clear(): void;
  protected abstract field(tag: number, end: number): void;
}

/** mvcc's and the API's view of an etcdserverpb.PutRequest. */
export class PutScan extends Scan {
  keyStart = 0;
  keyEnd = 0;
  valueStart = 0;
  valueEnd = 0;
  /** The lease's low and high 32 bits, signed. */
  leaseLow = 0;
  leaseHigh = 0;
  prevKv = false;
  ignoreValue = false;
  ignoreLease = false;

  get hasLease(): boolean {
    return (this.leaseLow | this.leaseHigh) !== 0;
  }

  get lease(): bigint {
    return this.hasLease ? (BigInt(this.leaseHigh) << int32Bits) | BigInt(this.leaseLow >>> 0) : 0n;
  }

  protected override clear(): void {
    this.keyStart = this.keyEnd = this.valueStart = this.valueEnd = 0;
    this.leaseLow = this.leaseHigh = 0;
    this.prevKv = this.ignoreValue = this.ignoreLease = false;
  }

  protected override field(tag: number, end: number): void {
    const reader = this.reader;
    switch (tag) {
      case 10:
        this.keyEnd = reader.span(end);
        this.keyStart = reader.spanStart;
        break;
      case 18:
        this.valueEnd = reader.span(end);
        this.valueStart = reader.spanStart;
        break;
      case 24:
        reader.varint(end);
        this.leaseLow = reader.lo;
        this.leaseHigh = reader.hi;
        break;
      case 32:
        this.prevKv = reader.bool(end);
        break;
      case 40:
        this.ignoreValue = reader.bool(end);
        break;
      case 48:
        this.ignoreLease = reader.bool(end);
        break;
      default:
        reader.skip(tag, end);
    }
  }
}

/** An etcdserverpb.RangeRequest; 64-bit operands are saturated. */
export class RangeScan extends Scan {
  keyStart = 0;
  keyEnd = 0;
  rangeEndStart = 0;
  rangeEndEnd = 0;
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

  protected override clear(): void {
    this.keyStart = this.keyEnd = this.rangeEndStart = this.rangeEndEnd = 0;
    this.limit = this.revision = this.sortOrder = this.sortTarget = 0;
    this.serializable = this.keysOnly = this.countOnly = false;
    this.minModRevision = this.maxModRevision = this.minCreateRevision = this.maxCreateRevision = 0;
  }

  protected override field(tag: number, end: number): void {
    const reader = this.reader;
    switch (tag) {
      case 10:
        this.keyEnd = reader.span(end);
        this.keyStart = reader.spanStart;
        break;
      case 18:
        this.rangeEndEnd = reader.span(end);
        this.rangeEndStart = reader.spanStart;
        break;
      case 24:
        this.limit = reader.int64Number(end);
        break;
      case 32:
        this.revision = reader.int64Number(end);
        break;
      case 40:
        this.sortOrder = reader.int32(end);
        break;
      case 48:
        this.sortTarget = reader.int32(end);
        break;
      case 56:
        this.serializable = reader.bool(end);
        break;
      case 64:
        this.keysOnly = reader.bool(end);
        break;
      case 72:
        this.countOnly = reader.bool(end);
        break;
      case 80:
        this.minModRevision = reader.int64Number(end);
        break;
      case 88:
        this.maxModRevision = reader.int64Number(end);
        break;
      case 96:
        this.minCreateRevision = reader.int64Number(end);
        break;
      case 104:
        this.maxCreateRevision = reader.int64Number(end);
        break;
      default:
        reader.skip(tag, end);
    }
  }
}

/** An etcdserverpb.DeleteRangeRequest. */
export class DeleteRangeScan extends Scan {
  keyStart = 0;
  keyEnd = 0;
  rangeEndStart = 0;
  rangeEndEnd = 0;
  prevKv = false;

  protected override clear(): void {
    this.keyStart = this.keyEnd = this.rangeEndStart = this.rangeEndEnd = 0;
    this.prevKv = false;
  }

  protected override field(tag: number, end: number): void {
    const reader = this.reader;
    switch (tag) {
      case 10:
        this.keyEnd = reader.span(end);
        this.keyStart = reader.spanStart;
        break;
      case 18:
        this.rangeEndEnd = reader.span(end);
        this.rangeEndStart = reader.spanStart;
        break;
      case 24:
        this.prevKv = reader.bool(end);
        break;
      default:
        reader.skip(tag, end);
    }
  }
}
