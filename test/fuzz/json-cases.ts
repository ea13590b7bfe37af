/** Random JSON bodies for a message, most of them nearly right. */
import type { FieldDescriptor, MessageDescriptor } from "../../src/proto/index.js";
import type { Prng } from "../support/index.js";

const numbers = [
  "0", "-0", "1", "-1", "7", "1.0", "1.50", "1e3", "1E+2", "10e-1", "1.5e1", "1e-1", "2147483647", "2147483648",
  "-2147483648", "-2147483649", "4294967295", "4294967296", "9223372036854775807", "9223372036854775808",
  "-9223372036854775808", "-9223372036854775809", "18446744073709551615", "18446744073709551616", "1e19", "1e20",
  "0.0e99", "0e-9999999999", "1e9999999999", "100000000000000000000e-19", "123456789012345678.9e1", "01", "1.", ".5",
  "+1", "1e", "1e+", "--1", "0x10", "1_0", "NaN", "Infinity",
] as const; // prettier-ignore
const texts = [
  "", "a", "YQ==", "YQ", "YWI=", "YWJj", "_-8=", "+/8=", "-/8=", "YQ=", "Y", "YR==", "Y Q=", "Y\\nQ==", "YQ==\\r\\n", "====",
  "\\u0059Q==", "\\ud83d\\ude00", "\\ud83d", "\\ude00abcdef", "\\ud800\\u0041", "\\u00e9", "\\/", "\\b\\f\\n\\r\\t\\\"\\\\", "é", "\u{1f600}",
  "NONE", "ASCEND", "PUT", "EQUAL", "NOSPACE", "BOGUS", "true", "null", "\\u0000", " 1", "1 ", "\\u00a01", "1\\u0085", "\\ufeff1",
] as const; // prettier-ignore

/** A value that may or may not fit. */
function someScalar(prng: Prng): string {
  switch (prng.below(6)) {
    case 0:
      return prng.pick(["true", "false", "null"]);
    case 1:
      return prng.pick(numbers);
    case 2:
      return `"${prng.pick(numbers)}"`;
    case 3:
      return prng.pick(["{}", "[]", "[1]", '{"a":[{}]}', '["x",{"y":null}]']);
    default:
      return `"${prng.pick(texts)}"`;
  }
}

function fitting(prng: Prng, field: FieldDescriptor): string {
  switch (field.type) {
    case "bool":
      return prng.pick(["true", "false"]);
    case "bytes":
      return `"${prng.bytes(prng.below(5)).toString(prng.oneIn(4) ? "base64url" : "base64")}"`;
    case "string":
      return `"${prng.pick(["", "a", "é", "\\u0041", "\\ud83d\\ude00"])}"`;
    case "enum":
      return prng.oneIn(2) ? String(prng.below(5)) : `"${prng.pick([...field.enum!.byName.keys()])}"`;
    default: {
      const number = prng.pick(["0", "1", "42", "1e2", "2147483647", "9007199254740993"]);
      return prng.oneIn(2) ? number : `"${number}"`;
    }
  }
}

function someValue(prng: Prng, field: FieldDescriptor, depth: number): string {
  if (prng.oneIn(10)) return someScalar(prng);
  if (field.message) return someJson(prng, field.message, depth - 1);
  return fitting(prng, field);
}

const space = (prng: Prng): string => (prng.oneIn(5) ? prng.pick([" ", "\n", "\t", "\r\n", "  "]) : "");

/** A JSON object for the message. */
export function someJson(prng: Prng, descriptor: MessageDescriptor, depth = 4): string {
  const members: string[] = [];
  const count = depth > 0 ? prng.below(5) : 0;
  for (let i = 0; i < count; i++) {
    if (descriptor.fields.length === 0 || prng.oneIn(12)) {
      members.push(`"${prng.pick(["x", "Key", "é", "[a.b]", "\\u006b", "@type"])}":${someScalar(prng)}`);
      continue;
    }
    const field = prng.pick(descriptor.fields);
    const name = prng.oneIn(2) ? field.name : field.jsonName;
    const one = (): string => space(prng) + someValue(prng, field, depth);
    const list = (): string => `[${Array.from({ length: prng.below(4) }, one).join(",")}]`;
    members.push(`${space(prng)}"${name}"${space(prng)}:${field.repeated && !prng.oneIn(15) ? list() : one()}`);
  }
  return `{${members.join(`${space(prng)},`)}${space(prng)}}`;
}

const breakers = [
  "",
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  '"',
  "\\",
  "'",
  "\n",
  "\0",
  "\x7f",
  "é",
  "nul",
  "tru",
  "\xff",
  "1.",
  "\\ud8",
];

/** The same with a piece cut out or put in. */
export function brokenJson(prng: Prng, text: string): Buffer {
  const bytes = Buffer.from(text);
  const at = prng.below(bytes.length + 1);
  if (prng.oneIn(3)) return bytes.subarray(0, at);
  const piece = Buffer.from(prng.pick(breakers), prng.oneIn(2) ? "latin1" : "utf8");
  return Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at + prng.below(3))]);
}
