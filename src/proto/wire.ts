/**
 * The protobuf wire format: what the generated codecs in gen/ stand on.
 * Reading accepts what Go's parser accepts (protobuf-go 1.36): the last value wins, sub-messages merge, a known field
 * with another wire type is an unknown field, packed and unpacked lists are the same. Unknown fields are dropped:
 * nothing here is decoded and sent on; requests travel as the bytes they came in.
 * Any thread; no state but the reader's.
 */
import { isUtf8 } from "node:buffer";

/** The bytes are not a protobuf message of the wanted type. */
export class ProtoError extends Error {
  override readonly name = "ProtoError";
}

/** protobuf-go's texts. */
export const invalidWireFormat = "cannot parse invalid wire-format data";
export const invalidUtf8 = "string field contains invalid UTF-8";
export const recursionTooDeep = "exceeded maximum recursion depth";

/** How deep messages (and, apart from them, groups) may nest, as in protobuf-go. */
export const depthMax = 10_000;
export const fieldNumberMax = 2 ** 29 - 1;
const safeMax = Number.MAX_SAFE_INTEGER;

export const WireType = { Varint: 0, Fixed64: 1, Bytes: 2, StartGroup: 3, EndGroup: 4, Fixed32: 5 } as const;

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();

function malformed(): never {
  throw new ProtoError(invalidWireFormat);
}

/**
 * A cursor over one message's bytes; sub-messages are read by the same cursor with a nearer end.
 * 64-bit values are read into `lo` and `hi`, so that no bigint is made for a field that is a number.
 */
export class WireReader {
  #bytes: Uint8Array;
  at: number;
  /** The value read last by `varint`: its low and high 32 bits, signed. */
  lo = 0;
  hi = 0;
  /** Where the value read last by `span` starts. */
  spanStart = 0;
  #depth: number;
  readonly #skipsTooDeep: boolean;

  /**
   * `depth` bounds how deep messages may nest. What is deeper is an error or, if `skipsTooDeep`, read as an empty message.
   */
  constructor(bytes: Uint8Array, start: number, depth = depthMax, skipsTooDeep = false) {
    this.#bytes = bytes;
    this.at = start;
    this.#depth = depth;
    this.#skipsTooDeep = skipsTooDeep;
  }

  /** Starts over on other bytes: for readers that are kept. */
  reset(bytes: Uint8Array, start: number): void {
    this.#bytes = bytes;
    this.at = start;
  }

  /** A field's tag, number << 3 | wire type, as an unsigned 32-bit value. Groups' ends are refused here. */
  tag(end: number): number {
    const first = this.#bytes[this.at]!;
    if (first < 0x80 && first >= 8) {
      this.at++;
      if ((first & 7) === WireType.EndGroup) malformed();
      return first;
    }
    this.varint(end);
    const tag = this.lo >>> 0;
    if (this.hi !== 0 || tag >>> 3 === 0 || tag >>> 3 > fieldNumberMax) malformed();
    if ((tag & 7) === WireType.EndGroup) malformed();
    return tag;
  }

  /** int32 and enums: the low 32 bits. */
  int32(end: number): number {
    this.varint(end);
    return this.lo | 0;
  }

  uint32(end: number): number {
    this.varint(end);
    return this.lo >>> 0;
  }

  bool(end: number): boolean {
    this.varint(end);
    return (this.lo | this.hi) !== 0;
  }

  /** int64 as a number, saturated to ±(2^53 − 1). */
  int64Number(end: number): number {
    this.varint(end);
    const value = (this.hi | 0) * 4_294_967_296 + (this.lo >>> 0);
    return value > safeMax ? safeMax : value < -safeMax ? -safeMax : value;
  }

  /** uint64 as a number, saturated to 2^53 − 1. */
  uint64Number(end: number): number {
    this.varint(end);
    const value = (this.hi >>> 0) * 4_294_967_296 + (this.lo >>> 0);
    return value > safeMax ? safeMax : value;
  }

  int64(end: number): bigint {
    this.varint(end);
    return (this.hi | 0) === 0 ? BigInt(this.lo >>> 0) : (BigInt(this.hi | 0) << 32n) | BigInt(this.lo >>> 0);
  }

  uint64(end: number): bigint {
    this.varint(end);
    return this.hi === 0 ? BigInt(this.lo >>> 0) : (BigInt(this.hi >>> 0) << 32n) | BigInt(this.lo >>> 0);
  }

  /** A length; returns where its bytes end, which is not beyond `end`. */
  length(end: number): number {
    this.varint(end);
    const stop = this.at + (this.lo >>> 0);
    if (this.hi !== 0 || stop > end) malformed();
    return stop;
  }

  /** Passes over length-delimited bytes: they are [spanStart, what is returned). */
  span(end: number): number {
    const stop = this.length(end);
    this.spanStart = this.at;
    this.at = stop;
    return stop;
  }

  /** A view of the field's bytes: it shares the message's memory. */
  bytes(end: number): Uint8Array {
    const stop = this.length(end);
    const start = this.at;
    this.at = stop;
    return this.#bytes.subarray(start, stop);
  }

  /** A string; bytes that are no UTF-8 are refused, as in proto3. */
  string(end: number): string {
    const bytes = this.bytes(end);
    if (bytes.length === 0) return "";
    if (!isUtf8(bytes)) throw new ProtoError(invalidUtf8);
    return decoder.decode(bytes);
  }

  /** Enters a sub-message: counts its depth and returns its end. `leave` must follow. */
  enter(end: number): number {
    const stop = this.length(end);
    if (--this.#depth <= 0) {
      if (!this.#skipsTooDeep) throw new ProtoError(recursionTooDeep);
      this.at = stop;
    }
    return stop;
  }

  leave(): void {
    this.#depth++;
  }

  /** Passes over the value of an unknown field. */
  skip(tag: number, end: number): void {
    this.at = skipField(this.#bytes, this.at, end, tag);
    if (this.at < 0) malformed();
  }

  /** Reads a varint into `lo` and `hi`. */
  varint(end: number): void {
    const bytes = this.#bytes;
    let at = this.at;
    if (at < end && bytes[at]! < 0x80) {
      this.lo = bytes[at]!;
      this.hi = 0;
      this.at = at + 1;
      return;
    }
    let lo = 0;
    let hi = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (at >= end) malformed();
      const byte = bytes[at++]!;
      if (shift < 28) lo |= (byte & 0x7f) << shift;
      else if (shift === 28) {
        lo |= (byte & 0x7f) << 28;
        hi = (byte & 0x7f) >>> 4;
      } else hi |= (byte & 0x7f) << (shift - 32);
      if (byte < 0x80) {
        if (shift === 63 && byte > 1) malformed();
        this.lo = lo;
        this.hi = hi;
        this.at = at;
        return;
      }
    }
    malformed();
  }
}

/** Where the varint at `at` ends; -1 when it is cut off or longer than 64 bits. */
export function skipVarint(bytes: Uint8Array, at: number, end: number): number {
  for (let count = 0; count < 10; count++, at++) {
    if (at >= end) return -1;
    const byte = bytes[at]!;
    if (byte < 0x80) return count === 9 && byte > 1 ? -1 : at + 1;
  }
  return -1;
}

/** Where the length-delimited value at `at` ends; -1 when it does not end by `end`. */
export function skipBytes(bytes: Uint8Array, at: number, end: number): number {
  const start = skipVarint(bytes, at, end);
  if (start < 0) return -1;
  let length = 0;
  for (let i = start - 1; i >= at; i--) length = length * 128 + (bytes[i]! & 0x7f);
  return start + length > end ? -1 : start + length;
}

/** Where the value of the field with `tag` ends, its tag being read already; -1 when it is malformed. */
export function skipField(bytes: Uint8Array, at: number, end: number, tag: number): number {
  switch (tag & 7) {
    case WireType.Varint:
      return skipVarint(bytes, at, end);
    case WireType.Fixed64:
      return at + 8 > end ? -1 : at + 8;
    case WireType.Bytes:
      return skipBytes(bytes, at, end);
    case WireType.StartGroup:
      return skipGroup(bytes, at, end, tag >>> 3);
    case WireType.Fixed32:
      return at + 4 > end ? -1 : at + 4;
    default:
      return -1;
  }
}

/** Groups may nest; their open field numbers are kept on a stack of our own, since a client chooses the depth. */
function skipGroup(bytes: Uint8Array, at: number, end: number, field: number): number {
  const open = [field];
  while (open.length > 0) {
    const tagEnd = skipVarint(bytes, at, end);
    if (tagEnd < 0) return -1;
    const type = bytes[at]! & 7;
    let number = 0;
    for (let i = tagEnd - 1; i > at; i--) number = number * 128 + (bytes[i]! & 0x7f);
    number = number * 16 + ((bytes[at]! & 0x7f) >>> 3);
    if (number < 1 || number > 0x7fff_ffff) return -1;
    at = tagEnd;
    if (type === WireType.EndGroup) {
      if (open.pop() !== number) return -1;
    } else if (type === WireType.StartGroup) {
      if (open.push(number) > depthMax + 1) return -1;
    } else {
      at = skipField(bytes, at, end, type);
      if (at < 0) return -1;
    }
  }
  return at;
}

// Writing. Sizes first, then bytes into a buffer that is large enough: `at` in, the new `at` out.

/** Bytes of a varint of a non-negative safe integer or, for a negative one, of its 64-bit two's complement. */
export function sizeVarint(value: number): number {
  if (value < 0) return 10;
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  if (value < 0x1000_0000) return 4;
  if (value < 0x8_0000_0000) return 5;
  if (value < 0x400_0000_0000) return 6;
  if (value < 0x2_0000_0000_0000) return 7;
  return 8;
}

export function sizeVarint64(value: bigint): number {
  let rest = BigInt.asUintN(64, value);
  if (rest <= 0x1f_ffff_ffff_ffffn) return sizeVarint(Number(rest));
  let size = 7;
  for (rest >>= 49n; rest > 0n; rest >>= 7n) size++;
  return size;
}

export function writeVarint(value: number, bytes: Uint8Array, at: number): number {
  if (value < 0) return writeVarint64(BigInt(value), bytes, at);
  while (value > 0x7fff_ffff) {
    bytes[at++] = (value % 128) | 0x80;
    value = Math.floor(value / 128);
  }
  while (value > 0x7f) {
    bytes[at++] = (value & 0x7f) | 0x80;
    value >>>= 7;
  }
  bytes[at++] = value;
  return at;
}

export function writeVarint64(value: bigint, bytes: Uint8Array, at: number): number {
  const rest = BigInt.asUintN(64, value);
  let lo = Number(rest & 0xffff_ffffn);
  let hi = Number(rest >> 32n);
  while (hi !== 0 || lo > 0x7f) {
    bytes[at++] = (lo & 0x7f) | 0x80;
    lo = ((lo >>> 7) | (hi << 25)) >>> 0;
    hi >>>= 7;
  }
  bytes[at++] = lo;
  return at;
}

/** A length-delimited value's size, its length prefix included. */
export function sizeDelimited(length: number): number {
  return sizeVarint(length) + length;
}

export function writeBytes(value: Uint8Array, bytes: Uint8Array, at: number): number {
  at = writeVarint(value.length, bytes, at);
  bytes.set(value, at);
  return at + value.length;
}

export function sizeString(value: string): number {
  return sizeDelimited(Buffer.byteLength(value));
}

export function writeString(value: string, bytes: Uint8Array, at: number): number {
  const length = Buffer.byteLength(value);
  at = writeVarint(length, bytes, at);
  if (length > 0) encoder.encodeInto(value, bytes.subarray(at, at + length));
  return at + length;
}

/** The value of an absent bytes field. Shared: never written to. */
export const emptyBytes = new Uint8Array(0);
