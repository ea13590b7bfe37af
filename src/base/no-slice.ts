/**
 * Marks a byte array's `slice` as deprecated, so that the linter refuses it: see `copyOf`. Where the array is certain to
 * be no Buffer, the compiler knows it as Uint8Array<ArrayBuffer>, for which this does not hold.
 */
declare global {
  interface Uint8Array<TArrayBuffer extends ArrayBufferLike> {
    /** @deprecated A Buffer's is a view, no copy: `copyOf` copies, `subarray` does not. */
    slice(this: Uint8Array<ArrayBufferLike>, start?: number, end?: number): Uint8Array<ArrayBuffer>;
  }
}
export {};
