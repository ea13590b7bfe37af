/**
 * The kinds of option values: how each reads its text (flag, environment) and its YAML form, and prints itself.
 * Texts of refusals are those of Go's flag package, which etcd's users and tools see.
 */

/** A value that an option cannot take; the message is what follows "invalid value … for flag -name: ". */
export class OptionValueError extends Error {
  override readonly name = "OptionValueError";
}

export type Section =
  | "member"
  | "clustering"
  | "security"
  | "auth"
  | "monitoring"
  | "logging"
  | "tracing"
  | "features"
  | "unsafe";

/** What every option says of itself. */
interface About<T> {
  readonly section: Section;
  readonly default: T;
  readonly help: string;
  /** Further lines of the help, one for each word that the value may hold. */
  readonly lines?: readonly string[];
  /** Whether all members of a cluster must agree. */
  readonly scope?: "member" | "cluster";
  /** Set to anything but its default, the server refuses to start: what it asks for is not built yet. */
  readonly notYet?: boolean;
  /** Taken, so that what runs etcd runs this, but what it would change is not built, or works otherwise here. */
  readonly noEffect?: boolean;
  /** Where its YAML key is, when it is not the flag's name: [group, key]. */
  readonly yaml?: readonly [string, string];
  /** Never printed. */
  readonly secret?: boolean;
}

/** One option: how its value is read and shown. */
export interface Option<T> extends About<T> {
  readonly isBoolean: boolean;
  /** From a flag or an environment variable. Throws OptionValueError. */
  readonly parse: (text: string) => T;
  /** From the configuration file, where types are strict. Throws OptionValueError. */
  readonly fromYaml: (value: unknown) => T;
  readonly print: (value: T) => string;
  /** As the line logged at start shows it: numbers and truth values as such. */
  readonly logged: (value: T) => unknown;
}

/** A listen or advertise URL; of a unix socket, `hostname` is its path. */
export interface EtcdUrl {
  readonly scheme: "http" | "https" | "unix" | "unixs";
  readonly hostname: string;
  readonly port: number;
  /** As etcd prints it and as members know it. */
  readonly text: string;
}

function option<T>(about: About<T>, parse: (text: string) => T, print: (value: T) => string): Option<T> {
  const fromYaml = (value: unknown): T => parse(asType("string", value));
  return { ...about, isBoolean: false, parse, fromYaml, print, logged: print };
}

interface YamlTypes {
  string: string;
  boolean: boolean;
  number: number;
}

function asType<K extends keyof YamlTypes>(type: K, value: unknown): YamlTypes[K] {
  if (typeof value === type) return value as YamlTypes[K];
  throw new OptionValueError(`cannot use ${JSON.stringify(value)} as a ${type}`);
}

export function text(about: About<string>): Option<string> {
  return option(about, (value) => value, String);
}

export function boolean(about: About<boolean>): Option<boolean> {
  const made = option(about, parseBoolean, String);
  return { ...made, isBoolean: true, fromYaml: (value) => asType("boolean", value), logged: (value) => value };
}

/** Reads what Go's strconv.ParseBool reads. Throws OptionValueError. */
export function parseBoolean(value: string): boolean {
  if (/^(1|t|T|true|TRUE|True)$/.test(value)) return true;
  if (/^(0|f|F|false|FALSE|False)$/.test(value)) return false;
  throw new OptionValueError("parse error");
}

/** The numbers that etcd's flag takes, of Go's int64, uint64 or uint32. */
type GoInteger = "int64" | "uint64" | "uint32";

const goRanges: Readonly<Record<GoInteger, readonly [bigint, bigint]>> = {
  int64: [-(1n << 63n), (1n << 63n) - 1n],
  uint64: [0n, (1n << 64n) - 1n],
  uint32: [0n, (1n << 32n) - 1n],
};

/** Go's integer literals: 0x…, 0o… or 0…, 0b…, and _ between digits. Undefined when it is none. */
function parseGoInteger(value: string): bigint | undefined {
  const match = /^([+-]?)(0x|0o|0b|0(?=[0-7_]))?(_?[0-9a-f]+(?:_[0-9a-f]+)*)$/i.exec(value);
  if (match === null) return undefined;
  const [, sign, prefix, digits] = match;
  const radix = prefix === undefined ? "" : prefix === "0" ? "0o" : prefix.toLowerCase();
  if (radix === "" && (digits!.startsWith("_") || /^0./.test(digits!))) return undefined;
  try {
    const magnitude = BigInt(`${radix}${digits!.replaceAll("_", "")}`);
    return sign === "-" ? -magnitude : magnitude;
  } catch {
    return undefined;
  }
}

const safeMax = BigInt(Number.MAX_SAFE_INTEGER);

/** As a number; what is beyond 2^53 - 1, and means "as much as there is", stays at that. */
function saturated(value: bigint): number {
  if (value > safeMax) return Number.MAX_SAFE_INTEGER;
  return value < -safeMax ? Number.MIN_SAFE_INTEGER : Number(value);
}

/** A whole number, unsigned unless `go` says otherwise. */
export function integer(about: About<number> & { go?: GoInteger }): Option<number> {
  const go = about.go ?? "uint64";
  const [min, max] = goRanges[go];
  const inRange = (value: bigint): number => {
    if (value < min || value > max) throw new OptionValueError("value out of range");
    return saturated(value);
  };
  const parse = (value: string): number => {
    const number = parseGoInteger(value);
    if (number === undefined || (min === 0n && /^[+-]/.test(value))) throw new OptionValueError("parse error");
    return inRange(number);
  };
  const fromYaml = (value: unknown): number => {
    if (typeof value === "number" && Number.isInteger(value)) return inRange(BigInt(value));
    throw new OptionValueError(`cannot use ${JSON.stringify(value)} as a whole number`);
  };
  return { ...option(about, parse, String), fromYaml, logged: (value) => value };
}

/** Whole milliseconds, which flag and file give as a bare number. */
export function milliseconds(about: About<number>): Option<number> {
  return { ...integer(about), logged: printDuration };
}

const durationUnitsMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Reads a Go duration ("1h15m30.5s") as milliseconds. Throws OptionValueError. */
export function parseDurationMs(value: string): number {
  const body = value.replace(/^[+-]/, "");
  if (body === "0") return 0;
  if (!/^((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))+$/.test(body)) throw new OptionValueError("parse error");
  let ms = 0;
  for (const [, count, unit] of body.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g))
    ms += Number(count) * durationUnitsMs[unit!]!;
  return value.startsWith("-") ? -ms : ms;
}

/** Prints milliseconds as Go prints a duration. */
export function printDuration(ms: number): string {
  if (ms === 0) return "0s";
  if (ms < 0) return `-${printDuration(-ms)}`;
  if (ms < 1e-3) return `${Math.round(ms * 1e6)}ns`;
  if (ms < 1) return `${Number((ms * 1e3).toFixed(3))}µs`;
  if (ms < 1000) return `${Number(ms.toFixed(6))}ms`;
  const hours = Math.floor(ms / 3_600_000);
  const minutes = Math.floor((ms % 3_600_000) / 60_000);
  const seconds = `${Number(((ms % 60_000) / 1000).toFixed(9))}s`;
  if (hours > 0) return `${hours}h${minutes}m${seconds}`;
  return minutes > 0 ? `${minutes}m${seconds}` : seconds;
}

/** A Go duration on the command line, whole nanoseconds in the file; the value is in milliseconds. */
export function duration(about: About<number>): Option<number> {
  const fromYaml = (value: unknown): number => {
    if (typeof value === "number" && Number.isSafeInteger(value)) return value / 1e6;
    throw new OptionValueError("a duration in the file is a whole number of nanoseconds");
  };
  return { ...option(about, parseDurationMs, printDuration), fromYaml };
}

/** One of `values`; anything else is refused while flags are parsed. */
export function choice<const T extends string>(
  about: About<NoInfer<T>> & { values: readonly T[]; refusal?: (value: string) => string },
): Option<T> {
  const parse = (value: string): T => {
    const found = about.values.find((known) => known === value);
    if (found === undefined) throw new OptionValueError(about.refusal?.(value) ?? "invalid value");
    return found;
  };
  return option(about, parse, String);
}

/** Strings between commas; `check` throws OptionValueError. */
export function list(about: About<readonly string[]> & { check?: (item: string) => void }): Option<readonly string[]> {
  const parse = (value: string): readonly string[] => {
    const items = value.split(",");
    if (about.check !== undefined) items.forEach(about.check);
    return value === "" ? [] : items;
  };
  return { ...option<readonly string[]>(about, parse, (value) => value.join(",")), logged: (value) => value };
}

/** Strings between commas on the command line, a YAML list in the file. */
export function yamlList(about: About<readonly string[]>): Option<readonly string[]> {
  const fromYaml = (value: unknown): readonly string[] => {
    if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
    throw new OptionValueError(`cannot use ${JSON.stringify(value)} as a list of strings`);
  };
  return { ...list(about), fromYaml };
}

/** Listen or advertise URLs, sorted as etcd sorts them. */
export function urls(about: About<readonly EtcdUrl[]>): Option<readonly EtcdUrl[]> {
  const made = option(about, parseUrls, (value) => value.map((url) => url.text).join(","));
  return { ...made, logged: (value) => value.map((url) => url.text) };
}

/** An origin that --cors takes: "*" or a URL. Throws OptionValueError. */
export function checkOrigin(value: string): void {
  if (value !== "*") parseUrl(value);
}

/** Reads URLs between commas. Throws OptionValueError with etcd's text. */
export function parseUrls(value: string): readonly EtcdUrl[] {
  if (value === "") return [];
  return value
    .split(",")
    .map((part) => parseUrl(part.trim()))
    .sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : 0));
}

function parseUrl(value: string): EtcdUrl {
  const match = /^([a-zA-Z][a-zA-Z0-9+.-]*):\/\/([^/?#]*)(.*)$/.exec(value);
  if (match === null) throw new OptionValueError(notAUrl(value));
  const [, scheme, host, rest] = match;
  if (scheme !== "http" && scheme !== "https" && scheme !== "unix" && scheme !== "unixs") {
    throw new OptionValueError(`URL scheme must be http, https, unix, or unixs: ${value}`);
  }
  if (scheme === "unix" || scheme === "unixs") return { scheme, hostname: `${host}${rest}`, port: 0, text: value };
  const address = /^(\[[^\]]*\]|[^:]*):(\d*)$/.exec(host!);
  if (address === null) throw new OptionValueError(`URL address does not have the form "host:port": ${value}`);
  if (rest !== "") throw new OptionValueError(`URL must not contain a path: ${value}`);
  return {
    scheme,
    hostname: address[1]!.replace(/^\[|\]$/g, ""),
    port: Number(address[2]),
    text: `${scheme}://${host}`,
  };
}

/** What Go's URL parser says of a text without a scheme that we read. */
function notAUrl(value: string): string {
  const first = value.split("/")[0]!;
  if (first.includes(":") && !/^[a-zA-Z][a-zA-Z0-9+.-]*:/.test(value)) {
    return `parse ${JSON.stringify(value)}: first path segment in URL cannot contain colon`;
  }
  return `URL scheme must be http, https, unix, or unixs: ${value}`;
}
