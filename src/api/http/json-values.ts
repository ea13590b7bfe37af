/**
 * JSON's scalars as protobuf values, by protojson's rules: what is taken and what is not is etcd's.
 */

/** Digits that an integer of 64 bits may have. */
const digitsMax = 20;
const goSpace = "[\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const spaceAround = new RegExp(`^${goSpace}|${goSpace}$`);
const numberParts = /^(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]*))?(?![-+._a-zA-Z0-9])/;

/** Bounds of the integer types. */
const bounds = {
  int32: [-(2n ** 31n), 2n ** 31n - 1n],
  uint32: [0n, 2n ** 32n - 1n],
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
} as const;
export type IntegerType = keyof typeof bounds;

/** A number's text (`1`, `1.50e2`) as an integer in the type's bounds; undefined when it is none. */
export function integerOf(text: string, type: IntegerType): bigint | undefined {
  const match = numberParts.exec(text);
  if (!match || (match[4] === "" && match[0].length === text.length)) return undefined;
  const digits = integerDigits(match[2]!, (match[3] ?? "").replace(/0+$/, ""), match[4]);
  if (digits === undefined) return undefined;
  const value = BigInt(match[1]! + digits);
  const [lowest, highest] = bounds[type];
  return value < lowest || value > highest ? undefined : value;
}

/** The digits of a number once its exponent is applied; undefined when it is no integer, or a far too large one. */
function integerDigits(whole: string, fraction: string, exponent: string | undefined): string | undefined {
  const integer = whole === "0" ? "" : whole;
  if (integer === "" && fraction === "") return "0";
  const power = exponent === undefined || exponent === "" ? 0 : exponentOf(exponent);
  if (power === undefined) return undefined;
  if (power >= 0) {
    if (fraction.length > power || integer.length + power > digitsMax) return undefined;
    return integer + fraction + "0".repeat(power - fraction.length);
  }
  const kept = integer.length + power;
  if (fraction !== "" || kept < 0 || /[^0]/.test(integer.slice(kept))) return undefined;
  return kept === 0 ? undefined : integer.slice(0, kept);
}

function exponentOf(text: string): number | undefined {
  if (!/^[+-]?[0-9]+$/.test(text)) return undefined;
  const value = Number(text);
  return value < -(2 ** 31) || value > 2 ** 31 - 1 ? undefined : value;
}

/** A string that stands for an integer: a number at its start, without spaces around. */
export function integerOfString(text: string, type: IntegerType): bigint | undefined {
  return spaceAround.test(text) ? undefined : integerOf(text, type);
}

/**
 * Base64 as Go decodes it: the URL alphabet when one of its characters is there, padding wanted when the length is a
 * multiple of four and refused otherwise, line ends ignored.
 */
export function bytesOfBase64(text: string): Uint8Array | undefined {
  const isUrl = /[-_]/.test(text);
  const isPadded = text.length % 4 === 0;
  const packed = /[\r\n]/.test(text) ? text.replace(/[\r\n]/g, "") : text;
  const alphabet = isUrl ? /^[-_A-Za-z0-9]*(=*)$/ : /^[+/A-Za-z0-9]*(=*)$/;
  const match = alphabet.exec(packed);
  if (!match) return undefined;
  const padding = match[1]!.length;
  if (isPadded ? packed.length % 4 !== 0 || padding > 2 : padding > 0 || packed.length % 4 === 1) return undefined;
  return Buffer.from(packed, isUrl ? "base64url" : "base64");
}
