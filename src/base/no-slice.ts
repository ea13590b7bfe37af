/**
 * Marks the `slice` of every byte array as deprecated, so that the linter refuses it: whether the array is a Buffer, whose
 * `slice` is a view, its type does not tell. See `copyOf`.
 */
declare global {
  interface Uint8Array<TArrayBuffer extends ArrayBufferLike> {
    /** @deprecated A Buffer's is a view, no copy: `copyOf` copies, `subarray` does not. */
    slice(this: Uint8Array<ArrayBufferLike>, start?: number, end?: number): Uint8Array<ArrayBuffer>;
  }
}
export {};
