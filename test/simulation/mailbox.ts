/** The twin of the addon's mailbox: messages from one simulated thread to another, whole and in order. */
import { copyOf } from "../../src/base/index.js";
import { mailboxPrefixBytes } from "../../src/native/index.js";
import type { Chance } from "./chance.js";
import type { Thread } from "./timeline.js";

const capacityBytes = 64 << 20;

export class SimulatedMailbox {
  readonly #receiver: Thread;
  readonly #chance: Chance;
  readonly #onWake: () => void;
  readonly #messages: Uint8Array[] = [];
  #bytes = 0;
  #woken = false;

  constructor(receiver: Thread, chance: Chance, onWake: () => void) {
    this.#receiver = receiver;
    this.#chance = chance;
    this.#onWake = onWake;
  }

  send(bytes: Uint8Array, length: number): boolean {
    if (this.#bytes > 0 && this.#bytes + length > capacityBytes) return false;
    this.#messages.push(copyOf(bytes, 0, length));
    this.#bytes += length;
    if (!this.#woken) {
      this.#woken = true;
      this.#receiver.run(this.#chance.around(0.02), this.#onWake);
    }
    return true;
  }

  /** As the addon's: each message behind its length, padded to 8 bytes; −n: the first takes n bytes and does not fit. */
  receive(into: Uint8Array): number {
    const view = new DataView(into.buffer, into.byteOffset, into.byteLength);
    let at = 0;
    let taken = 0;
    while (taken < this.#messages.length) {
      const message = this.#messages[taken]!;
      const end = at + mailboxPrefixBytes + Math.ceil(message.length / 8) * 8;
      if (end > into.length) break;
      view.setUint32(at, message.length, true);
      view.setUint32(at + 4, 0, true);
      into.fill(0, at + mailboxPrefixBytes + message.length, end);
      into.set(message, at + mailboxPrefixBytes);
      this.#bytes -= message.length;
      at = end;
      taken++;
    }
    const [first] = this.#messages;
    if (taken === 0 && first !== undefined) return -(mailboxPrefixBytes + Math.ceil(first.length / 8) * 8);
    this.#messages.splice(0, taken);
    if (at === 0) this.#woken = false;
    return at;
  }
}
