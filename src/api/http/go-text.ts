/**
 * Texts as Go writes them: quoted strings and characters in error messages. Clients see these, so they are etcd's.
 */

const shortEscapes: Readonly<Record<number, string>> = {
  7: "\\a",
  8: "\\b",
  9: "\\t",
  10: "\\n",
  11: "\\v",
  12: "\\f",
  13: "\\r",
  92: "\\\\",
};
/** Go's idea of a printable character: letters, marks, numbers, punctuation, symbols and the ASCII space. */
const printable = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u;

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}

/** One character within a quoted text; `quote` is what must be escaped besides. */
function escapeRune(rune: number, quote: number): string {
  if (rune === quote) return `\\${String.fromCharCode(quote)}`;
  const short = shortEscapes[rune];
  if (short !== undefined) return short;
  if (rune < 0x20 || rune === 0x7f) return `\\x${hex(rune, 2)}`;
  const text = String.fromCodePoint(rune);
  if (printable.test(text)) return text;
  return rune < 0x10000 ? `\\u${hex(rune, 4)}` : `\\U${hex(rune, 8)}`;
}

/** A byte as encoding/json names it in its errors: as if it were a Latin-1 character, in single quotes. */
export function quoteByte(byte: number): string {
  if (byte === 0x27) return "'\\''";
  if (byte === 0x22) return "'\"'";
  return `'${escapeRune(byte, -1)}'`;
}

/** Bytes as `%q` prints them: bytes that are no UTF-8 as \xNN. */
export function quoteBytes(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length;) {
    const length = runeLength(bytes, at);
    if (length === 0) {
      text += `\\x${hex(bytes[at++]!, 2)}`;
      continue;
    }
    const rune = Buffer.from(bytes.subarray(at, at + length))
      .toString("utf8")
      .codePointAt(0)!;
    text += escapeRune(rune, 0x22);
    at += length;
  }
  return `"${text}"`;
}

export function quoteText(text: string): string {
  return quoteBytes(Buffer.from(text));
}

/** How many bytes the character at `at` has; 0 when there is no valid one. */
export function runeLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at]!;
  if (first < 0x80) return 1;
  const length =
    first >= 0xc2 && first < 0xe0 ? 2 : first >= 0xe0 && first < 0xf0 ? 3 : first >= 0xf0 && first < 0xf5 ? 4 : 0;
  if (length === 0 || at + length > bytes.length) return 0;
  const second = bytes[at + 1]!;
  const lowest = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  const highest = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  if (second < lowest || second > highest) return 0;
  for (let i = 2; i < length; i++) if ((bytes[at + i]! & 0xc0) !== 0x80) return 0;
  return length;
}

/** A JSON string as Go's encoding/json writes it: HTML's characters and line separators escaped. */
export function goJsonString(text: string): string {
  return JSON.stringify(text).replace(/[<>&\u2028\u2029]/g, (one) => `\\u${hex(one.charCodeAt(0), 4)}`);
}
