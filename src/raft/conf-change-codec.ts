/**
 * Reads just as much of an encoded configuration change as a leader must know before it appends one.
 * The full codec is proto/'s; these bytes come from clients and peers, so a fault is a result, not an assert.
 */
import { EntryType } from "../base/index.js";

/** ConfChangeV2.changes. */
const changesField = 2;

/**
 * Whether the change has no elements, which asks to leave a joint configuration. Null when `data` is no message.
 * A version 1 change always has its one element.
 */
export function isEmptyConfChange(type: EntryType, data: Uint8Array): boolean | null {
  let empty = true;
  for (let at = 0; at < data.length;) {
    const key = varintEnd(data, at);
    if (key < 0) return null;
    const field = data[at]! >>> 3;
    const wireType = data[at]! & 7;
    // No known field needs a key of more than one byte; longer ones are unknown fields.
    if (key === at + 1 && field === changesField && wireType === 2) empty = false;
    at = fieldEnd(data, key, wireType);
    if (at < 0 || at > data.length) return null;
  }
  return type === EntryType.ConfChangeV2 && empty;
}

/** Where the varint at `at` ends, -1 when it does not. */
function varintEnd(data: Uint8Array, at: number): number {
  for (let i = at; i < data.length && i < at + 10; i++) {
    if (data[i]! < 0x80) return i + 1;
  }
  return -1;
}

/** Where the value at `at` ends, -1 when it does not or has a type that does not exist. */
function fieldEnd(data: Uint8Array, at: number, wireType: number): number {
  switch (wireType) {
    case 0:
      return varintEnd(data, at);
    case 1:
      return at + 8;
    case 2: {
      const start = varintEnd(data, at);
      if (start < 0) return -1;
      let length = 0;
      for (let i = start - 1; i >= at; i--) length = length * 128 + (data[i]! & 0x7f);
      return start + length;
    }
    case 5:
      return at + 4;
    default:
      return -1;
  }
}
