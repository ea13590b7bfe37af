/** Takes the replies that wait in the gateway's mailbox. One may be as large as a range is. */
import { InboxBuffer, mailboxPrefixBytes } from "../../native/index.js";

/** What this needs of a Mailbox. */
export interface Inbox {
  receive(into: Uint8Array): number;
}

export class ReplyInbox {
  readonly #mailbox: Inbox;
  readonly #take: (bytes: Uint8Array, start: number, end: number) => void;
  readonly #inbox = new InboxBuffer();

  /** `take` gets each message, a run of reply records, in a buffer that is used again. */
  constructor(mailbox: Inbox, take: (bytes: Uint8Array, start: number, end: number) => void) {
    this.#mailbox = mailbox;
    this.#take = take;
  }

  /** Takes all that waits. */
  drain(): void {
    const inbox = this.#inbox;
    for (;;) {
      const length = inbox.receive((into) => this.#mailbox.receive(into));
      const { bytes, view } = inbox;
      for (let at = 0; at < length;) {
        const start = at + mailboxPrefixBytes;
        const end = start + view.getUint32(at, true);
        this.#take(bytes, start, end);
        at = (end + 7) & ~7;
      }
      inbox.done(length);
      if (length === 0) return;
    }
  }
}
