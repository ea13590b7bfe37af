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
  #isOver = false;
  #drained: () => void = () => {};

  /** `headBytes` have been written to the response in this turn; `ended`: it is not there any more. */
  constructor(response: UwsResponse, { headBytes, ended }: { headBytes: number; ended: () => void }) {
    this.#response = response;
    this.#turnBytes = headBytes;
    this.#ended = ended;
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
    this.#waiting.length = 0;
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
    while (!this.#isScheduled && !this.#isFull && count < this.#waiting.length) {
      this.#writePart(this.#waiting[count++]!);
      this.#turnBytes = 0;
    }
    this.#waiting.splice(0, count);
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

/** Sends a whole body as the client takes it; nothing of it is copied. `done`: all of it is on its way. */
export function sendPaced(response: UwsResponse, body: Uint8Array, done: () => void): void {
  const send = (rest: Uint8Array): boolean => {
    const [ok, isDone] = response.tryEnd(rest, body.length);
    if (isDone) done();
    return ok;
  };
  response.onWritable((offset) => send(body.subarray(offset)));
  response.cork(() => void send(body));
}
