/** Copies of bytes. */

/**
 * `bytes[start, end)` in memory of their own. `bytes.slice` would do that for a Uint8Array, but a Buffer is one, too, by
 * its type, and its `slice` is a view: the "copy" then changes when the memory is used again.
 */
export function copyOf(bytes: Uint8Array, start = 0, end = bytes.length): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(Math.max(0, end - start));
  copy.set(bytes.subarray(start, end));
  return copy;
}
