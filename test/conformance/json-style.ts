/**
 * The many JSON spellings of one message that the gateway accepts: either name of a field, numbers
 * or strings, standard or URL-safe base64 with or without padding, enum names or numbers, nulls,
 * unknown fields, any whitespace. All of them mean the same request.
 */
import { isJsonList, isJsonObject, type Json, type JsonObject, type Prng } from "../support/index.js";

const bytesFields = new Set(["key", "range_end", "value"]);

const enumNames: Readonly<Record<string, readonly string[]>> = {
  sort_order: ["NONE", "ASCEND", "DESCEND"],
  sort_target: ["KEY", "VERSION", "CREATE", "MOD", "VALUE"],
  result: ["EQUAL", "GREATER", "LESS", "NOT_EQUAL"],
  target: ["VERSION", "CREATE", "MOD", "VALUE", "LEASE"],
  action: ["GET", "ACTIVATE", "DEACTIVATE"],
  alarm: ["NONE", "NOSPACE", "CORRUPT"],
};

const integer = /^-?\d+$/;

const camelCase = (name: string): string => name.replace(/_([a-z])/g, (_match, letter: string) => letter.toUpperCase());

const styleBytes = (prng: Prng, text: string): string => {
  const safe = prng.oneIn(4) ? text.replaceAll("+", "-").replaceAll("/", "_") : text;
  return prng.oneIn(5) ? safe.replace(/=+$/, "") : safe;
};

const styleInteger = (prng: Prng, text: string): string => {
  if (!prng.oneIn(3)) return JSON.stringify(text);
  // Written by hand: JSON.stringify would round what does not fit a double.
  if (prng.oneIn(8)) return `${text}.0`;
  if (prng.oneIn(8)) return `${text}e0`;
  return text;
};

const styleScalar = (prng: Prng, name: string, value: Json): string => {
  if (typeof value === "string" && bytesFields.has(name)) return JSON.stringify(styleBytes(prng, value));
  if (typeof value === "string" && integer.test(value)) return styleInteger(prng, value);
  if (typeof value === "number") {
    const known = enumNames[name]?.[value];
    return known !== undefined && prng.oneIn(2) ? JSON.stringify(known) : String(value);
  }
  return JSON.stringify(value);
};

const styleValue = (prng: Prng, name: string, value: Json): string => {
  if (isJsonList(value)) return `[${value.map((item) => styleValue(prng, name, item)).join(",")}]`;
  if (isJsonObject(value)) return styleObject(prng, value);
  return styleScalar(prng, name, value);
};

const styleObject = (prng: Prng, object: JsonObject): string => {
  const space = prng.oneIn(6) ? prng.pick([" ", "\n", "\t ", "\r\n"]) : "";
  const fields = Object.entries(object).map(([name, value]) => {
    const spelt = prng.oneIn(3) ? camelCase(name) : name;
    return `${space}${JSON.stringify(spelt)}:${space}${styleValue(prng, name, value)}`;
  });
  if (prng.oneIn(30)) fields.push(`"no_such_field":{"deep":[1,"x",null]}`);
  if (prng.oneIn(30)) fields.unshift(`"lease":null`);
  return `{${fields.join(",")}${space}}`;
};

/** One spelling of `request`. */
export const spell = (prng: Prng, request: JsonObject): string => styleObject(prng, request);
