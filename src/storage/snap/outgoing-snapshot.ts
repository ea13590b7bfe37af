/** A snapshot's file on its way from the snapshot thread to another member. Thread: main. */
import type { SnapshotState } from "./messages.js";

export class OutgoingSnapshot {
  readonly state: SnapshotState;
  readonly #post: (type: "writable" | "cancel") => void;
  #piece: Uint8Array | null = null;
  #ended = false;
  #error: string | null = null;
  #wake: () => void = () => {};

  /** `post` tells the thread that a piece has been taken, or that no more is wanted. */
  constructor(state: SnapshotState, post: (type: "writable" | "cancel") => void) {
    this.state = state;
    this.#post = post;
  }

  /** The file's bytes in order. Throws when the file cannot be read to its end; one that is not read up is dropped. */
  async *pieces(): AsyncGenerator<Uint8Array, void> {
    try {
      for (;;) {
        while (this.#piece === null && !this.#ended) await new Promise<void>((resolve) => (this.#wake = resolve));
        const piece = this.#piece;
        if (piece === null) break;
        this.#piece = null;
        yield piece;
        this.#post("writable");
      }
      if (this.#error !== null) throw new Error(this.#error);
    } finally {
      this.drop();
    }
  }

  /** No more is wanted. */
  drop(): void {
    if (!this.#ended) this.#post("cancel");
  }

  /** The thread has sent a piece. */
  take(piece: Uint8Array): void {
    this.#piece = piece;
    this.#wake();
  }

  /** The thread has sent all, or given up. */
  end(error: string | null): void {
    this.#ended = true;
    this.#error = error;
    this.#wake();
  }
}
