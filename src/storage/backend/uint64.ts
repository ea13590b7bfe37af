/** uint64, big-endian, as `meta` stores the consistent index and the term. */

export function encodeUint64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
  return bytes;
}

/** Decodes a value from the disk; anything but a safe integer of 8 bytes is an error. */
export function decodeUint64(bytes: Uint8Array): number {
  if (bytes.length !== 8) throw new Error(`backend: a number in meta has ${bytes.length} bytes instead of 8`);
  const value = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new Error(`backend: unsafe number ${value} in meta`);
  return Number(value);
}
