/**
 * The buffer into which a thread receives batches: small while little comes, as large as is usual when that is filled,
 * and larger for as long as records come that need it.
 *
 *   const length = inbox.receive((into) => mailbox.receive(into));   // then `inbox.bytes[0, length)`
 *   inbox.done(length);                                              // nobody reads it any more
 *
 * Thread: the one that receives.
 */

const bytesMin = 1 << 15;
/** Enough for some thousand requests, and little enough to stay in the processor's cache. */
export const inboxBytesUsual = 1 << 18;

/** Copies whole records into `into` and returns their bytes; −n: the first has n bytes and does not fit. */
export type Receive = (into: Uint8Array) => number;

export class InboxBuffer {
  #bytes = new Uint8Array(bytesMin);
  #view = new DataView(this.#bytes.buffer);

  get bytes(): Uint8Array {
    return this.#bytes;
  }
  get view(): DataView {
    return this.#view;
  }

  /** Receives into the buffer, which grows when the first record does not fit. */
  receive(receive: Receive): number {
    const length = receive(this.#bytes);
    if (length >= 0) return length;
    this.#replace(2 ** Math.ceil(Math.log2(-length)));
    return receive(this.#bytes);
  }

  /** What filled `length` bytes is done with. */
  done(length: number): void {
    const size = this.#bytes.length;
    if (size > inboxBytesUsual && length <= inboxBytesUsual) this.#replace(inboxBytesUsual);
    else if (size < inboxBytesUsual && 2 * length > size) this.#replace(2 * size);
  }

  /** Somebody goes on reading the buffer: another one takes its place. */
  renew(): void {
    this.#replace(Math.min(this.#bytes.length, inboxBytesUsual));
  }

  #replace(size: number): void {
    this.#bytes = new Uint8Array(size);
    this.#view = new DataView(this.#bytes.buffer);
  }
}
