/**
 * The words that random requests are made of: few keys, so that operations meet on them, yet every
 * kind of key; numbers at and around every bound.
 */
import { base64, type JsonObject, type Prng } from "../support/index.js";

const bytes = (...values: readonly number[]): Buffer => Buffer.from(values);

const plainKeys: readonly Buffer[] = [
  "a",
  "b",
  "c",
  "d",
  "e",
  "aa",
  "ab",
  "abc",
  "ac",
  "k/1",
  "k/2",
  "k/3",
  "k/3/x",
].map((text) => Buffer.from(text));

const oddKeys: readonly Buffer[] = [
  bytes(0),
  bytes(0, 0),
  bytes(0, 1, 0xfe),
  bytes(0x61, 0),
  bytes(0x61, 0, 0xff),
  bytes(0xff),
  bytes(0xff, 0xff),
  bytes(0xff, 0xff, 0xff),
  bytes(0x80),
  Buffer.from("é"),
  Buffer.from("with space"),
  Buffer.from('\n\t"\\'),
  Buffer.alloc(255, "m"),
  Buffer.alloc(1024, "m"),
  Buffer.alloc(1978, "n"),
  Buffer.alloc(2500, "n"),
  Buffer.alloc(2501, "n"),
];

const zero = base64(bytes(0));

const bulkCount = 3000;

/** One of many keys that only bulk writes make: long ranges are read over them. */
export const bulkKey = (n: number): string => base64(`bulk/${String(n % bulkCount).padStart(4, "0")}`);

/** One key; an odd one now and then, one that does not exist yet rarely. */
export const someKey = (prng: Prng): string => {
  if (prng.oneIn(40)) return base64(`new/${prng.below(1000)}`);
  return base64(prng.oneIn(5) ? prng.pick(oddKeys) : prng.pick(plainKeys));
};

const prefixEnd = (key: Buffer): Buffer => {
  const end = Buffer.from(key);
  for (let i = end.length - 1; i >= 0; i--) {
    if (end[i] !== 0xff) {
      end[i] = (end[i] ?? 0) + 1;
      return end.subarray(0, i + 1);
    }
  }
  return bytes(0);
};

/** A key and a range_end of every form: single, prefix, two keys in either order, open, all. */
export const someInterval = (prng: Prng): { key: string; range_end?: string } => {
  const key = someKey(prng);
  switch (prng.weighted({ single: 30, prefix: 20, two: 25, open: 8, all: 14, equal: 2, random: 2, bulk: 2 })) {
    case "single":
      return { key };
    case "prefix":
      return { key, range_end: base64(prefixEnd(Buffer.from(key, "base64"))) };
    case "two":
      return { key, range_end: someKey(prng) };
    case "open":
      return { key, range_end: zero };
    case "all":
      return { key: zero, range_end: zero };
    case "equal":
      return { key, range_end: key };
    case "random":
      return { key, range_end: base64(prng.bytes(prng.between(1, 4))) };
    case "bulk":
      return {
        key: bulkKey(prng.below(bulkCount)),
        range_end: prng.oneIn(2) ? base64("bulk0") : bulkKey(prng.below(bulkCount)),
      };
  }
};

/** A value: mostly one of a few, so that value compares and sorts meet equal ones. */
export const someValue = (prng: Prng): string => {
  switch (prng.weighted({ few: 60, unique: 20, empty: 6, binary: 10, large: 3, huge: 1 })) {
    case "few":
      return base64(prng.pick(["0", "1", "2", "x", "value", "Wert é"]));
    case "unique":
      return base64(`v${prng.u32()}`);
    case "empty":
      return "";
    case "binary":
      return base64(prng.bytes(prng.between(1, 40)));
    case "large":
      return base64(Buffer.alloc(prng.between(1000, 5000), "l"));
    case "huge":
      return base64(Buffer.alloc(prng.between(20_000, 70_000), "h"));
  }
};

export const int64Max = "9223372036854775807";
export const int64Min = "-9223372036854775808";

const extremes = [int64Max, int64Min, "9007199254740993", "-9007199254740993", "4294967296", "2147483648"] as const;

/** A revision: the latest, the past, just ahead, far ahead, negative, extreme. */
export const someRevision = (prng: Prng, current: number): string => {
  switch (prng.weighted({ zero: 20, recent: 40, old: 20, now: 6, next: 5, ahead: 3, negative: 4, extreme: 2 })) {
    case "zero":
      return "0";
    case "recent":
      return String(Math.max(1, current - prng.below(20)));
    case "old":
      return String(prng.between(1, current));
    case "now":
      return String(current);
    case "next":
      return String(current + 1);
    case "ahead":
      return String(current + prng.between(2, 1000));
    case "negative":
      return String(-prng.between(1, 5));
    case "extreme":
      return prng.pick(extremes);
  }
};

/** A number to compare a version or revision with, or to filter by. */
export const someOperand = (prng: Prng, current: number): string =>
  prng.oneIn(3) ? String(prng.below(6)) : someRevision(prng, current);

/** The leases of a run. */
export const leaseIds = ["1", "7587895622486700000", "-1", int64Max, int64Min] as const;

/** A lease that may be there. */
export const someLease = (prng: Prng): string => prng.pick(leaseIds);

/** A limit. */
export const someLimit = (prng: Prng): string =>
  prng.oneIn(12) ? prng.pick([int64Max, int64Min, "-1", "4294967297", "1000000"]) : String(prng.between(1, 6));

/** Adds the fields that `chance` lets through: a request grows from its base by options. */
export const withOptions = (
  base: JsonObject,
  options: readonly (readonly [boolean, () => JsonObject])[],
): JsonObject => {
  let result: JsonObject = base;
  for (const [chosen, make] of options) if (chosen) result = { ...result, ...make() };
  return result;
};
