/**
 * Finds the first JSON value of a body, with the errors of Go's encoding/json: the gateway's first step, after which
 * the value is known to be well-formed. What follows the value is ignored, as in etcd.
 * Works without recursion; nesting is bounded as in Go.
 */
import { quoteByte } from "./go-text.js";

/** A malformed body; the message is Go's. */
export class JsonSyntaxError extends Error {
  override readonly name = "JsonSyntaxError";
}

/** How deep objects and arrays may nest. */
const depthMax = 10_000;
const unexpectedEnd = "unexpected EOF";

/** What is expected next. */
const Expect = {
  Value: 0,
  /** Right after `[`. */
  ValueOrEnd: 1,
  /** Right after `{`. */
  KeyOrEnd: 2,
  Key: 3,
  Colon: 4,
  /** After a value within an object or array. */
  CommaOrEnd: 5,
} as const;

function fail(byte: number, context: string): never {
  throw new JsonSyntaxError(`invalid character ${quoteByte(byte)} ${context}`);
}

/** Where the body's first value starts and ends; undefined when there is none. */
export function scanValue(bytes: Uint8Array): { start: number; end: number } | undefined {
  const start = skipSpace(bytes, 0);
  return start === bytes.length ? undefined : { start, end: new Scanner(bytes).value(start) };
}

/** The first byte from `at` on that is not JSON's white space. */
export function skipSpace(bytes: Uint8Array, at: number): number {
  while (at < bytes.length) {
    const byte = bytes[at]!;
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) break;
    at++;
  }
  return at;
}

class Scanner {
  readonly #bytes: Uint8Array;
  /** Open objects (true) and arrays. */
  readonly #open: boolean[] = [];

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Where the value that starts at `at` ends. */
  value(at: number): number {
    const bytes = this.#bytes;
    let expect: number = Expect.Value;
    for (;;) {
      at = skipSpace(bytes, at);
      if (at >= bytes.length) throw new JsonSyntaxError(unexpectedEnd);
      const byte = bytes[at]!;
      switch (expect) {
        case Expect.KeyOrEnd:
        case Expect.Key:
          if (byte === 0x7d && expect === Expect.KeyOrEnd) {
            expect = this.#close();
            at++;
            break;
          }
          if (byte !== 0x22) fail(byte, "looking for beginning of object key string");
          at = this.#string(at + 1);
          expect = Expect.Colon;
          break;
        case Expect.Colon:
          if (byte !== 0x3a) fail(byte, "after object key");
          at++;
          expect = Expect.Value;
          break;
        case Expect.CommaOrEnd:
          expect = this.#afterValue(byte);
          at++;
          break;
        default:
          if (byte === 0x5d && expect === Expect.ValueOrEnd) {
            expect = this.#close();
            at++;
          } else if (byte === 0x7b || byte === 0x5b) {
            expect = this.#openOne(byte);
            at++;
          } else {
            at = this.#scalar(at);
            expect = Expect.CommaOrEnd;
          }
      }
      if (expect === Expect.CommaOrEnd && this.#open.length === 0) return at;
    }
  }

  #openOne(byte: number): number {
    const isObject = byte === 0x7b;
    if (this.#open.push(isObject) > depthMax) fail(byte, "exceeded max depth");
    return isObject ? Expect.KeyOrEnd : Expect.ValueOrEnd;
  }

  #close(): number {
    this.#open.pop();
    return Expect.CommaOrEnd;
  }

  #afterValue(byte: number): number {
    const isObject = this.#open[this.#open.length - 1]!;
    if (byte === 0x2c) return isObject ? Expect.Key : Expect.Value;
    if (byte === (isObject ? 0x7d : 0x5d)) return this.#close();
    fail(byte, isObject ? "after object key:value pair" : "after array element");
  }

  #scalar(at: number): number {
    const byte = this.#bytes[at]!;
    switch (byte) {
      case 0x22:
        return this.#string(at + 1);
      case 0x74:
        return this.#literal(at, "true");
      case 0x66:
        return this.#literal(at, "false");
      case 0x6e:
        return this.#literal(at, "null");
      default:
        if (byte === 0x2d || isDigit(byte)) return this.#number(at);
        fail(byte, "looking for beginning of value");
    }
  }

  /** The byte at `at`; the body must not end there. */
  #byte(at: number): number {
    const byte = this.#bytes[at];
    if (byte === undefined) throw new JsonSyntaxError(unexpectedEnd);
    return byte;
  }

  #literal(at: number, text: string): number {
    for (let i = 1; i < text.length; i++) {
      const byte = this.#byte(at + i);
      if (byte !== text.charCodeAt(i)) fail(byte, `in literal ${text} (expecting '${text[i]}')`);
    }
    return at + text.length;
  }

  #string(at: number): number {
    for (;;) {
      const byte = this.#byte(at++);
      if (byte === 0x22) return at;
      if (byte === 0x5c) at = this.#escape(at);
      else if (byte < 0x20) fail(byte, "in string literal");
    }
  }

  #escape(at: number): number {
    const byte = this.#byte(at);
    if (byte !== 0x75) {
      if (!'bfnrt\\/"'.includes(String.fromCharCode(byte))) fail(byte, "in string escape code");
      return at + 1;
    }
    for (let i = 1; i <= 4; i++) {
      const digit = this.#byte(at + i);
      if (!/[0-9a-fA-F]/.test(String.fromCharCode(digit))) fail(digit, "in \\u hexadecimal character escape");
    }
    return at + 5;
  }

  #number(at: number): number {
    const bytes = this.#bytes;
    if (bytes[at] === 0x2d) {
      const first = this.#byte(++at);
      if (!isDigit(first)) fail(first, "in numeric literal");
    }
    at = bytes[at] === 0x30 ? at + 1 : this.#digits(at);
    if (bytes[at] === 0x2e) {
      const first = this.#byte(at + 1);
      if (!isDigit(first)) fail(first, "after decimal point in numeric literal");
      at = this.#digits(at + 1);
    }
    if (bytes[at] === 0x65 || bytes[at] === 0x45) {
      const sign = this.#byte(++at);
      if (sign === 0x2b || sign === 0x2d) at++;
      const first = this.#byte(at);
      if (!isDigit(first)) fail(first, "in exponent of numeric literal");
      at = this.#digits(at);
    }
    return at;
  }

  #digits(at: number): number {
    while (at < this.#bytes.length && isDigit(this.#bytes[at]!)) at++;
    return at;
  }
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}
