/** A watch's responses for a reader who takes them when it likes; its owner stops sending when they are not taken. */
import type { EtcdError } from "../../errors/index.js";
import type { StreamListener } from "./call-client.js";

export class WatchInbox implements StreamListener {
  #responses: Uint8Array[] = [];
  #asked = false;
  /** Null: it goes on. */
  #end: { readonly error: EtcdError | undefined } | null = null;
  #wake: () => void = () => {};

  message(bytes: Uint8Array, asks: boolean): void {
    this.#responses.push(new Uint8Array(bytes));
    this.#asked ||= asks;
    this.#wake();
  }

  end(error: EtcdError | undefined): void {
    this.#end = { error };
    this.#wake();
  }

  /** All that waits, once there is something; undefined when the watch has ended well. Throws what it ended with. */
  async next(): Promise<readonly Uint8Array[] | undefined> {
    while (this.#responses.length === 0) {
      if (this.#end?.error !== undefined) throw this.#end.error;
      if (this.#end !== null) return undefined;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return this.#responses.splice(0);
  }

  /** Whether the sender waits to hear that all has been taken; it is to be told once. */
  takeAsked(): boolean {
    const asked = this.#asked;
    this.#asked = false;
    return asked;
  }
}
