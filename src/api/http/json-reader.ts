/**
 * Walks the tokens of a JSON value that is known to be well-formed (json-scan.ts), as protojson does: positions count
 * lines and characters, strings must be UTF-8 with whole surrogate pairs.
 */
import { isUtf8 } from "node:buffer";
import { quoteBytes, runeLength } from "./go-text.js";
import { skipSpace } from "./json-scan.js";

/** A body that is JSON but not the message; the message is protojson's. */
export class ProtoJsonError extends Error {
  override readonly name = "ProtoJsonError";
}

const escapes: Readonly<Record<string, string>> = { b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };

export class JsonReader {
  readonly #bytes: Buffer;
  #at: number;
  #rawStart = 0;
  #rawEnd = 0;

  constructor(value: Uint8Array) {
    this.#bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    this.#at = 0;
  }

  /** Where the next token starts. */
  get position(): number {
    this.#toToken();
    return this.#at;
  }

  /** The text of the token read last, as it stands. */
  get lastRaw(): string {
    return this.#bytes.toString("utf8", this.#rawStart, this.#rawEnd);
  }

  /** An error at a token. */
  error(position: number, text: string): ProtoJsonError {
    return new ProtoJsonError(`proto: (${this.#place(position)}): ${text}`);
  }

  /** Takes `{` or `[`; any other token is refused. */
  open(bracket: "{" | "["): void {
    this.#toToken();
    if (this.#bytes[this.#at] === bracket.charCodeAt(0)) {
      this.#at++;
      return;
    }
    const position = this.#at;
    this.#token();
    throw this.#syntaxError(position, `unexpected token ${this.lastRaw}`);
  }

  /** Takes `}` or `]` if it is next. */
  closes(bracket: "}" | "]"): boolean {
    this.#toToken();
    if (this.#bytes[this.#at] !== bracket.charCodeAt(0)) return false;
    this.#at++;
    return true;
  }

  /** Takes a field's name and its colon. */
  name(): string {
    this.#toToken();
    const name = this.#string();
    this.#at = skipSpace(this.#bytes, this.#at) + 1;
    return name;
  }

  /** Takes `null` if it is next. */
  takesNull(): boolean {
    this.#toToken();
    if (this.#bytes[this.#at] !== 0x6e) return false;
    this.#token();
    return true;
  }

  /** Takes a scalar; undefined for null and for the start of an object or array, which is taken. */
  scalar(): { kind: "string" | "number" | "bool"; text: string } | undefined {
    this.#toToken();
    const byte = this.#bytes[this.#at]!;
    if (byte === 0x22) return { kind: "string", text: this.#string() };
    this.#token();
    if (byte === 0x7b || byte === 0x5b || byte === 0x6e) return undefined;
    return { kind: byte === 0x74 || byte === 0x66 ? "bool" : "number", text: this.lastRaw };
  }

  /** Passes over a value of any kind; its strings must be good nevertheless. */
  skipValue(): void {
    let open = 0;
    do {
      this.#toToken();
      const byte = this.#bytes[this.#at]!;
      if (byte === 0x22) {
        this.#string();
        this.#at = skipSpace(this.#bytes, this.#at);
        if (this.#bytes[this.#at] === 0x3a) this.#at++;
      } else {
        this.#token();
        if (byte === 0x7b || byte === 0x5b) open++;
        else if (byte === 0x7d || byte === 0x5d) open--;
      }
    } while (open > 0);
  }

  /** To the next token; commas are no tokens of their own. */
  #toToken(): void {
    this.#at = skipSpace(this.#bytes, this.#at);
    if (this.#bytes[this.#at] === 0x2c) this.#at = skipSpace(this.#bytes, this.#at + 1);
  }

  /** Takes a bracket, literal, number or string. */
  #token(): void {
    const bytes = this.#bytes;
    const byte = bytes[this.#at]!;
    if (byte === 0x22) {
      this.#string();
      return;
    }
    this.#rawStart = this.#at++;
    if (byte !== 0x7b && byte !== 0x7d && byte !== 0x5b && byte !== 0x5d) {
      while (this.#at < bytes.length && isWordByte(bytes[this.#at]!)) this.#at++;
    }
    this.#rawEnd = this.#at;
  }

  #string(): string {
    const bytes = this.#bytes;
    const start = this.#at;
    let at = start + 1;
    let hasEscape = false;
    let isAscii = true;
    for (; bytes[at] !== 0x22; at++) {
      if (bytes[at] === 0x5c) {
        hasEscape = true;
        at++;
      } else if (bytes[at]! >= 0x80) isAscii = false;
    }
    this.#rawStart = start;
    this.#at = this.#rawEnd = at + 1;
    if (hasEscape) return this.#unescape(start, at);
    if (isAscii) return bytes.toString("latin1", start + 1, at);
    if (!isUtf8(bytes.subarray(start + 1, at))) throw this.#syntaxError(start, "invalid UTF-8 in string");
    return bytes.toString("utf8", start + 1, at);
  }

  /** The content of a string with escapes; `start` is its quote, `end` its closing one. */
  #unescape(start: number, end: number): string {
    const bytes = this.#bytes;
    let text = "";
    for (let at = start + 1; at < end;) {
      if (bytes[at] !== 0x5c) {
        const from = at;
        while (at < end && bytes[at] !== 0x5c) {
          const length = runeLength(bytes, at);
          if (length === 0) throw this.#syntaxError(start, "invalid UTF-8 in string");
          at += length;
        }
        text += bytes.toString("utf8", from, at);
        continue;
      }
      const kind = String.fromCharCode(bytes[at + 1]!);
      if (kind !== "u") {
        text += escapes[kind] ?? kind;
        at += 2;
        continue;
      }
      const code = this.#hex(at + 2);
      at += 6;
      text += String.fromCharCode(code);
      if (code < 0xd800 || code > 0xdfff) continue;
      text += String.fromCharCode(this.#lowSurrogate(start, at, code));
      at += 6;
    }
    return text;
  }

  #hex(at: number): number {
    return Number.parseInt(this.#bytes.toString("latin1", at, at + 4), 16);
  }

  /** The second half of a pair, which must follow at `at`; Go looks at whatever six bytes are there. */
  #lowSurrogate(start: number, at: number, high: number): number {
    const bytes = this.#bytes;
    if (bytes.length - at < 6) throw new ProtoJsonError("proto: unexpected EOF");
    const isEscape = /^\\u[0-9a-fA-F]{4}$/.test(bytes.toString("latin1", at, at + 6));
    const low = isEscape ? this.#hex(at + 2) : 0;
    if (high < 0xdc00 && low >= 0xdc00 && low <= 0xdfff) return low;
    throw this.#syntaxError(start, `invalid escape code ${quoteBytes(bytes.subarray(at, at + 6))} in string`);
  }

  #syntaxError(position: number, text: string): ProtoJsonError {
    return new ProtoJsonError(`proto: syntax error (${this.#place(position)}): ${text}`);
  }

  /** "line 1:7": both from 1, columns in characters. */
  #place(position: number): string {
    const before = this.#bytes.subarray(0, position);
    let line = 1;
    for (const byte of before) if (byte === 0x0a) line++;
    let column = 1;
    for (let at = before.lastIndexOf(0x0a) + 1; at < before.length; column++) at += runeLength(before, at) || 1;
    return `line ${line}:${column}`;
  }
}

/** A byte of a literal or number. */
function isWordByte(byte: number): boolean {
  return (
    (byte >= 0x30 && byte <= 0x39) ||
    (byte >= 0x61 && byte <= 0x7a) ||
    (byte >= 0x41 && byte <= 0x5a) ||
    byte === 0x2d ||
    byte === 0x2b ||
    byte === 0x2e
  );
}
