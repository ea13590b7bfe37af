/**
 * Takes the replies that wait in the gateway's mailbox. A reply may be as large as a range is, so the buffer grows when
 * a message does not fit, and goes back afterwards.
 */
import { mailboxPrefixBytes } from "../../native/index.js";

/** What this needs of a Mailbox: `receive` throws when the first message does not fit. */
export interface Inbox {
  receive(into: Uint8Array): number;
}

const bufferBytesKept = 4 << 20;
const bufferBytesMax = 2 ** 32;

export class ReplyInbox {
  readonly #mailbox: Inbox;
  readonly #take: (bytes: Uint8Array, start: number, end: number) => void;
  #buffer = new Uint8Array(bufferBytesKept);

  /** `take` gets each message, a run of reply records, in a buffer that is used again. */
  constructor(mailbox: Inbox, take: (bytes: Uint8Array, start: number, end: number) => void) {
    this.#mailbox = mailbox;
    this.#take = take;
  }

  /** Takes all that waits. */
  drain(): void {
    for (let length = this.#receive(); length > 0; length = this.#receive()) {
      const view = new DataView(this.#buffer.buffer);
      for (let at = 0; at < length;) {
        const start = at + mailboxPrefixBytes;
        const end = start + view.getUint32(at, true);
        this.#take(this.#buffer, start, end);
        at = (end + 7) & ~7;
      }
    }
    if (this.#buffer.length > bufferBytesKept) this.#buffer = new Uint8Array(bufferBytesKept);
  }

  #receive(): number {
    for (;;) {
      try {
        return this.#mailbox.receive(this.#buffer);
      } catch (error) {
        if (this.#buffer.length >= bufferBytesMax) throw error;
        this.#buffer = new Uint8Array(2 * this.#buffer.length);
      }
    }
  }
}
