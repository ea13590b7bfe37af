/**
 * Cuts a body that comes in pieces into its JSON objects: the requests of a stream. Anything else breaks the stream, as
 * every other value is no message. Whether an object is well-formed is for whoever decodes it.
 * Each byte is looked at once, however it comes; an object has at most `bytesMax`.
 */
import { copyOf } from "../../base/index.js";

const quote = 0x22;
const backslash = 0x5c;
/** A buffer that has grown beyond this goes with its object. */
const bufferBytesKept = 4096;

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

export class JsonStream {
  readonly #bytesMax: number;
  readonly #take: (value: Uint8Array) => void;
  #buffer = new Uint8Array(256);
  #length = 0;
  /** Objects and arrays that are open; 0: between values. */
  #depth = 0;
  #isInString = false;
  #isEscaped = false;
  #state: "open" | "broken" | "tooLarge" = "open";

  /** `take` gets each object, in memory of its own. It may throw: then the stream is broken. */
  constructor(bytesMax: number, take: (value: Uint8Array) => void) {
    this.#bytesMax = bytesMax;
    this.#take = take;
  }

  /** "broken": something was no object. "tooLarge": one was too long. Then nothing more is taken. */
  get state(): "open" | "broken" | "tooLarge" {
    return this.#state;
  }

  /** Takes a piece, which is copied where it must be kept. */
  push(piece: Uint8Array): void {
    let start = 0;
    for (let at = 0; at < piece.length && this.#state === "open"; at++) {
      const byte = piece[at]!;
      if (this.#depth === 0) {
        if (isSpace(byte)) continue;
        if (byte !== 0x7b) return this.#stop("broken");
        start = at;
        this.#depth = 1;
      } else if (this.#closes(byte)) {
        this.#keep(piece.subarray(start, at + 1));
        this.#give();
      }
    }
    if (this.#state === "open" && this.#depth > 0) this.#keep(piece.subarray(start));
  }

  /** The body is over: what is unfinished breaks it. */
  end(): void {
    if (this.#state === "open" && this.#depth > 0) this.#stop("broken");
  }

  /** Takes a byte within an object; true when it is its last. */
  #closes(byte: number): boolean {
    if (this.#isInString) {
      if (this.#isEscaped) this.#isEscaped = false;
      else if (byte === backslash) this.#isEscaped = true;
      else if (byte === quote) this.#isInString = false;
      return false;
    }
    if (byte === quote) this.#isInString = true;
    else if (byte === 0x7b || byte === 0x5b) this.#depth++;
    else if (byte === 0x7d || byte === 0x5d) this.#depth--;
    return this.#depth === 0;
  }

  #keep(piece: Uint8Array): void {
    const length = this.#length + piece.length;
    if (length > this.#bytesMax) return this.#stop("tooLarge");
    if (length > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(length, 2 * this.#buffer.length));
      larger.set(this.#buffer.subarray(0, this.#length));
      this.#buffer = larger;
    }
    this.#buffer.set(piece, this.#length);
    this.#length = length;
  }

  #give(): void {
    if (this.#state !== "open") return;
    const value = copyOf(this.#buffer, 0, this.#length);
    this.#length = 0;
    if (this.#buffer.length > bufferBytesKept) this.#buffer = new Uint8Array(0);
    try {
      this.#take(value);
    } catch (error) {
      this.#stop("broken");
      throw error;
    }
  }

  #stop(state: "broken" | "tooLarge"): void {
    this.#state = state;
    this.#buffer = new Uint8Array(0);
  }
}
