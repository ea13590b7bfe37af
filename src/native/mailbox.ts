/**
 * A mailbox: a bounded queue of byte messages from any JS threads to one.
 * The handle is a number, so it can be given to a worker, which attaches to the same mailbox.
 *
 * Invariants: messages arrive whole and in the order in which they were sent; at most the capacity waits, and
 * beyond it `send` says false. The receiver is woken once for all that has come since it found nothing left.
 * Thread: any may send, one receives.
 */
import { addon } from "./addon.js";

/** As declared in native/addon/src/mailbox.rs. */
interface MailboxDoor {
  readonly handle: number;
  send(bytes: Uint8Array, length: number): boolean;
  receive(into: Uint8Array): number;
  onWake(callback: () => void): void;
  clearWake(): void;
  close(): void;
}
interface MailboxDoorClass {
  new (capacityBytes: number): MailboxDoor;
  attach(handle: number): MailboxDoor;
}

// The addon is built from this tree, or published with this version.
const { MailboxDoor: Door } = addon as { MailboxDoor: MailboxDoorClass };

/** Bytes before each received message: `{u32 length, u32 0}`. */
export const mailboxPrefixBytes = 8;

export class Mailbox {
  readonly #door: MailboxDoor;

  /** A number opens a new mailbox of that many bytes. */
  constructor(capacityBytes: number | { attachTo: number }) {
    this.#door = typeof capacityBytes === "number" ? new Door(capacityBytes) : Door.attach(capacityBytes.attachTo);
  }

  /** The mailbox that another thread opened. Throws when it has been closed. */
  static attach(handle: number): Mailbox {
    return new Mailbox({ attachTo: handle });
  }

  /** Names this mailbox in every thread of the process. */
  get handle(): number {
    return this.#door.handle;
  }

  /** Sends a copy of `bytes[0, length)`; false when the mailbox is full, or closed. An empty one takes any size. */
  send(bytes: Uint8Array, length: number): boolean {
    return this.#door.send(bytes, length);
  }

  /**
   * Copies whole messages into `into`, each as `{u32 length, u32 0, bytes, zeros up to a multiple of 8}`, and
   * returns the bytes written. 0: nothing is left, and the next message wakes again; so call it until 0.
   * Negative: nothing was copied, since the first message takes so many bytes (`InboxBuffer` gives them).
   */
  receive(into: Uint8Array): number {
    return this.#door.receive(into);
  }

  /** `callback` runs on this thread when messages have come. Keeps the thread alive until `close` or `clearWake`. */
  onWake(callback: () => void): void {
    this.#door.onWake(callback);
  }

  /** Ends the wake-ups. */
  clearWake(): void {
    this.#door.clearWake();
  }

  /** Refuses further messages, in every thread, and ends the wake-ups. */
  close(): void {
    this.#door.close();
  }
}
