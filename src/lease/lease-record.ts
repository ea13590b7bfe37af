/**
 * A lease as the backend keeps it: leasepb.Lease under its int64 ID in big-endian bytes.
 * Written by halves of the ID, so that a grant makes no bigint.
 */
import { decodeLease } from "../proto/index.js";
import type { BackendEntry } from "../storage/backend/index.js";

export interface LeaseRecord {
  readonly low: number;
  readonly high: number;
  readonly ttl: number;
  readonly remainingTtl: number;
}

/** Writes an int64 given by halves as a varint. */
export function writeVarintHalves(low: number, high: number, bytes: Uint8Array, at: number): number {
  let lower = low >>> 0;
  let upper = high >>> 0;
  while (upper !== 0 || lower > 0x7f) {
    bytes[at++] = (lower & 0x7f) | 0x80;
    lower = ((lower >>> 7) | (upper << 25)) >>> 0;
    upper >>>= 7;
  }
  bytes[at++] = lower;
  return at;
}

/** Writes a safe integer, negative ones as int64. */
function writeNumber(value: number, bytes: Uint8Array, at: number): number {
  return writeVarintHalves((value % 0x1_0000_0000) >>> 0, Math.floor(value / 0x1_0000_0000) >>> 0, bytes, at);
}

/** The record's key: valid until the next call. */
export function recordKey(low: number, high: number): Uint8Array {
  keyView.setUint32(0, high);
  keyView.setUint32(4, low);
  return key;
}

const key = new Uint8Array(8);
const keyView = new DataView(key.buffer);
const value = new Uint8Array(40);

/** The record's value: valid until the next call. */
export function recordValue(low: number, high: number, ttl: number, remainingTtl: number): Uint8Array {
  value[0] = 0x08;
  let at = writeVarintHalves(low, high, value, 1);
  if (ttl !== 0) {
    value[at++] = 0x10;
    at = writeNumber(ttl, value, at);
  }
  if (remainingTtl !== 0) {
    value[at++] = 0x18;
    at = writeNumber(remainingTtl, value, at);
  }
  return value.subarray(0, at);
}

export function readRecord(entry: BackendEntry): LeaseRecord {
  const { ID, TTL, RemainingTTL } = decodeLease(entry.value, 0, entry.value.length);
  return {
    low: Number(ID & 0xffff_ffffn),
    high: Number((ID >> 32n) & 0xffff_ffffn),
    ttl: TTL,
    remainingTtl: RemainingTTL,
  };
}
