/**
 * The command line as Go's flag package reads it: -f and --f are one, a value follows after = or as the next
 * argument, a boolean takes one only after =, and the first argument that is no flag ends the flags.
 */

/** A flag could not be read: the text goes to stderr with the usage, and the process ends with 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** One flag as given; `value` is undefined for a boolean without one. */
export interface GivenFlag {
  readonly name: string;
  readonly value: string | undefined;
}

/** What a flag takes; undefined: there is none of that name. */
export type FlagKind = "boolean" | "value" | undefined;

export interface CommandLine {
  readonly flags: readonly GivenFlag[];
  /** -h or --help came before any mistake; what follows it was not read. */
  readonly isHelp: boolean;
  /** What is left over; etcd takes none. */
  readonly rest: readonly string[];
}

/** Splits the arguments. Throws UsageError with Go's text. */
export function readCommandLine(args: readonly string[], kindOf: (name: string) => FlagKind): CommandLine {
  const flags: GivenFlag[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (!arg.startsWith("-") || arg === "-") return { flags, isHelp: false, rest: args.slice(i) };
    if (arg === "--") return { flags, isHelp: false, rest: args.slice(i + 1) };
    const { name, value } = splitFlag(arg);
    const kind = kindOf(name);
    if (kind === undefined) {
      if (name === "help" || name === "h") return { flags, isHelp: true, rest: [] };
      throw new UsageError(`flag provided but not defined: -${name}`);
    }
    if (kind === "boolean" || value !== undefined) flags.push({ name, value });
    else if (i + 1 < args.length) flags.push({ name, value: args[++i] });
    else throw new UsageError(`flag needs an argument: -${name}`);
  }
  return { flags, isHelp: false, rest: [] };
}

function splitFlag(arg: string): GivenFlag {
  const match = /^--?([^-=][^=]*)(?:=(.*))?$/s.exec(arg);
  if (match === null) throw new UsageError(`bad flag syntax: ${arg}`);
  return { name: match[1]!, value: match[2] };
}
