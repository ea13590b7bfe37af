/**
 * Writes bodies into a response of uWebSockets.js so that nothing is lost and little is kept there. Its own ways have
 * two faults. A piece that is larger than the room left in its cork buffer is dropped when the socket takes nothing of
 * what was corked before. And with an `onWritable` handler it sends what it keeps only together with the next write.
 * So pieces that fit into the cork buffer are written one by one, each corked by itself, until one has to wait; and
 * when the socket has room again, what uWebSockets.js keeps is sent first.
 * Invariant: uWebSockets.js keeps at most two parts of a stream; the rest waits here.
 */
import type { BodySink } from "./exchange.js";
import type { UwsResponse } from "./uws.js";

/** With a chunk's frame this fits into uWebSockets.js's cork buffer, which has 16 KiB. */
const partBytesMax = 15 << 10;

export interface PacedStreamOptions {
  /** So much has been written to the response in this turn. */
  readonly headBytes: number;
  /** The response is not there any more. */
  readonly ended: () => void;
  /** More waits for the client here, or, below zero, less. */
  readonly changed: (bytes: number) => void;
}

/** See the module. It is written to from any callback. */
export class PacedStream implements BodySink {
  readonly #response: UwsResponse;
  readonly #waiting: Uint8Array[] = [];
  /** Written since the event loop went round: it may all be in one cork buffer. */
  #turnBytes: number;
  #isScheduled = false;
  /** uWebSockets.js has to wait for the client. */
  #isFull = false;
  #wasFull = false;
  #endsAfterwards = false;
  readonly #ended: () => void;
  readonly #changed: (bytes: number) => void;
  #isOver = false;
  #drained: () => void = () => {};

  constructor(response: UwsResponse, { headBytes, ended, changed }: PacedStreamOptions) {
    this.#response = response;
    this.#turnBytes = headBytes;
    this.#ended = ended;
    this.#changed = changed;
    this.#schedule();
    response.onWritable(() => {
      this.#writable();
      return true;
    });
  }

  write(piece: Uint8Array): boolean {
    if (this.#isOver) return true;
    const fits = piece.length + this.#turnBytes <= partBytesMax;
    if (fits && this.#waiting.length === 0 && !this.#isFull) {
      this.#writePart(piece);
      this.#schedule();
    } else {
      for (let at = 0; at < piece.length; at += partBytesMax) {
        this.#waiting.push(piece.subarray(at, at + partBytesMax));
      }
      this.#changed(piece.length);
      this.#schedule();
    }
    this.#wasFull = this.#isFull || this.#waiting.length > 0;
    return !this.#wasFull;
  }

  onDrain(callback: () => void): void {
    this.#drained = callback;
  }

  end(): void {
    this.#endsAfterwards = true;
    this.#pump();
  }

  /** The client has gone, and the response with it. */
  abandon(): void {
    this.#isOver = true;
    this.#changed(-this.#waiting.splice(0).reduce((sum, { length }) => sum + length, 0));
  }

  /** The rest is written outside of all callbacks of uWebSockets.js, where a cork holds nothing but one part. */
  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#turnBytes = 0;
      this.#pump();
    });
  }

  #writable(): void {
    if (this.#isOver) return;
    this.#isFull = false;
    // Sends what uWebSockets.js keeps; if that does not go, this is called again.
    this.#response.cork(() => {});
    if (this.#isScheduled) return;
    this.#pump();
  }

  #pump(): void {
    if (this.#isOver) return;
    let count = 0;
    let bytes = 0;
    while (!this.#isScheduled && !this.#isFull && count < this.#waiting.length) {
      const part = this.#waiting[count++]!;
      bytes += part.length;
      this.#writePart(part);
      this.#turnBytes = 0;
    }
    this.#waiting.splice(0, count);
    if (bytes > 0) this.#changed(-bytes);
    if (this.#waiting.length > 0) return;
    if (this.#endsAfterwards) {
      this.#isOver = true;
      this.#response.cork(() => this.#response.end());
      this.#ended();
    } else if (this.#wasFull && !this.#isFull) {
      this.#wasFull = false;
      this.#drained();
    }
  }

  #writePart(part: Uint8Array): void {
    this.#turnBytes += part.length + 16;
    this.#response.cork(() => (this.#isFull = !this.#response.write(part)));
  }
}

/** Sends a whole body as the client takes it; nothing of it is copied. `sent` is told how much is on its way. */
export function sendPaced(response: UwsResponse, body: Uint8Array, sent: (bytes: number) => void): void {
  let before = 0;
  const send = (from: number): boolean => {
    const [ok, isDone] = response.tryEnd(body.subarray(from), body.length);
    const now = isDone ? body.length : response.getWriteOffset();
    sent(now - before);
    before = now;
    return ok;
  };
  response.onWritable(send);
  response.cork(() => void send(0));
}
