/**
 * Walks the fields of a protobuf message in place: no object a field, none a message.
 * For bytes that `api/` (or the proposing member) has validated; a malformed one is still refused with `ProtoError`.
 * A caller compares `tag` (field number << 3 | wire type), so a known field with another wire type is passed over,
 * as Go's parser does with what it takes for an unknown field.
 */
import { ProtoError, WireType } from "../proto/index.js";

const safeMax = Number.MAX_SAFE_INTEGER;

export class FieldCursor {
  bytes: Uint8Array = new Uint8Array(0);
  /** The current field's tag. */
  tag = 0;
  /** A length-delimited field's bytes are `bytes[start, end)`. */
  start = 0;
  end = 0;
  /** A varint field's value in two halves, signed as `| 0` leaves them. */
  low = 0;
  high = 0;
  #at = 0;
  #stop = 0;

  /** Starts over on the message `bytes[start, end)`. */
  reset(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes;
    this.#at = start;
    this.#stop = end;
  }

  /** Where the next field begins. */
  get position(): number {
    return this.#at;
  }

  /** Moves to the next field; false at the message's end. */
  next(): boolean {
    if (this.#at >= this.#stop) return false;
    const first = this.bytes[this.#at]!;
    if (first < 0x80) {
      this.tag = first;
      this.#at++;
    } else {
      this.#varint();
      this.tag = this.low >>> 0;
    }
    switch (this.tag & 7) {
      case WireType.Varint:
        this.#varint();
        return true;
      case WireType.Bytes:
        this.#length();
        return true;
      case WireType.Fixed64:
        this.#skip(8);
        return true;
      case WireType.Fixed32:
        this.#skip(4);
        return true;
      case WireType.StartGroup:
        this.#group(this.tag >>> 3);
        return true;
      default:
        throw new ProtoError("apply: a field has an invalid wire type");
    }
  }

  /** The varint as int64, saturated to ±(2^53 − 1). */
  get int64(): number {
    const value = this.high * 0x1_0000_0000 + (this.low >>> 0);
    return value > safeMax ? safeMax : value < -safeMax ? -safeMax : value;
  }

  /** The varint as int64, exactly. */
  get int64Exact(): bigint {
    return (BigInt(this.high) << 32n) | BigInt(this.low >>> 0);
  }

  get bool(): boolean {
    return (this.low | this.high) !== 0;
  }

  #skip(count: number): void {
    this.#at += count;
    if (this.#at > this.#stop) throw new ProtoError("apply: a message is cut short");
  }

  #length(): void {
    const bytes = this.bytes;
    const first = bytes[this.#at]!;
    let length = first;
    if (first < 0x80) this.#at++;
    else {
      this.#varint();
      length = this.high === 0 ? this.low >>> 0 : Infinity;
    }
    this.start = this.#at;
    this.end = this.start + length;
    if (this.end > this.#stop) throw new ProtoError("apply: a message is cut short");
    this.#at = this.end;
  }

  /** Passes over an unknown group and all it holds. */
  #group(field: number): void {
    const open = [field];
    while (open.length > 0) {
      this.#varint();
      const tag = this.low >>> 0;
      if ((tag & 7) === WireType.EndGroup) open.pop();
      else if ((tag & 7) === WireType.StartGroup) open.push(tag >>> 3);
      else if ((tag & 7) === WireType.Varint) this.#varint();
      else if ((tag & 7) === WireType.Bytes) this.#length();
      else this.#skip((tag & 7) === WireType.Fixed64 ? 8 : 4);
    }
  }

  #varint(): void {
    const bytes = this.bytes;
    let at = this.#at;
    let byte = at < this.#stop ? bytes[at++]! : 0x80;
    if (byte < 0x80) {
      this.low = byte;
      this.high = 0;
      this.#at = at;
      return;
    }
    let low = byte & 0x7f;
    let high = 0;
    for (let shift = 7; shift < 70; shift += 7) {
      if (at >= this.#stop) break;
      byte = bytes[at++]!;
      if (shift < 28) low |= (byte & 0x7f) << shift;
      else if (shift === 28) {
        low |= (byte & 0x7f) << 28;
        high = (byte & 0x7f) >>> 4;
      } else high |= (byte & 0x7f) << (shift - 32);
      if (byte < 0x80) {
        this.low = low | 0;
        this.high = high | 0;
        this.#at = at;
        return;
      }
    }
    throw new ProtoError("apply: a varint is cut short or too long");
  }
}
