/**
 * Gathers option values from where etcd takes them: the command line and ETCD_* variables, or else a
 * configuration file alone. Says what etcd says when something is wrong, and with its exit codes.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { parse as parseYaml } from "yaml";
import { makeConfig, type Config } from "./config.js";
import { OptionValueError, type Option } from "./kinds.js";
import { ignoredFlags, options, type OptionName } from "./options.js";

/** A flag could not be read: the text goes to stderr with the usage, and the process ends with 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** A line to log once logging is set up. */
export interface ConfigWarning {
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export type Loaded =
  | { readonly kind: "config"; readonly config: Config; readonly warnings: readonly ConfigWarning[] }
  | { readonly kind: "version" }
  | { readonly kind: "help" };

/** The configuration could not be used; `fields` go with the log line, and the process ends with 1. */
export class LoadError extends Error {
  override readonly name = "LoadError";
  readonly fields: Readonly<Record<string, unknown>>;
  constructor(message: string, fields: Readonly<Record<string, unknown>> = {}) {
    super(message);
    this.fields = fields;
  }
}

function isOption(name: string): name is OptionName {
  return Object.hasOwn(options, name);
}

function variableOf(name: string): string {
  return `ETCD_${name.toUpperCase().replaceAll("-", "_")}`;
}

/**
 * Reads the arguments (without node and the script) and the environment.
 * Throws UsageError (exit 2), LoadError and ConfigError (exit 1).
 */
export function loadConfig(args: readonly string[], env: Readonly<Record<string, string | undefined>>): Loaded {
  const given = new Map<OptionName, unknown>();
  const warnings: ConfigWarning[] = [];
  const special = readFlags(args, given, warnings);
  if (special.help) return { kind: "help" };
  if (special.version) return { kind: "version" };
  const file = special.configFile ?? env[variableOf("config-file")];
  if (file !== undefined && file !== "") return { kind: "config", config: makeConfig(readFile(file)), warnings };
  readEnvironment(env, given, warnings);
  return { kind: "config", config: makeConfig(given), warnings };
}

interface SpecialFlags {
  help: boolean;
  version: boolean;
  configFile: string | undefined;
}

/** Go's flag syntax: -f and --f are one, a boolean takes a value only after "=", the last one given wins. */
function readFlags(args: readonly string[], given: Map<OptionName, unknown>, warnings: ConfigWarning[]): SpecialFlags {
  const special: SpecialFlags = { help: false, version: false, configFile: undefined };
  for (const token of tokensOf(args)) {
    if (token.kind === "option-terminator") continue;
    if (token.kind === "positional")
      throw new LoadError("failed to verify flags", { error: `"${token.value}" is not a valid flag` });
    const { name, value } = token;
    if (name === "help" || name === "h") special.help = true;
    else if (name === "version") special.version = value === undefined || readValue("version", booleanText, value);
    else if (name === "config-file") special.configFile = needed(name, value);
    else if (ignoredFlags.includes(name))
      warnings.push({ message: "ignoring deprecated flag", fields: { flag: name } });
    else if (isOption(name)) given.set(name, readFlag(name, value));
    else throw new UsageError(`flag provided but not defined: -${name}`);
  }
  return special;
}

function readFlag(name: OptionName, value: string | undefined): unknown {
  const { isBoolean, parse } = options[name] as Option<unknown>;
  if (isBoolean && value === undefined) return true;
  const given = needed(name, value);
  try {
    return parse(given);
  } catch (error) {
    if (!(error instanceof OptionValueError)) throw error;
    const what = isBoolean
      ? `invalid boolean value ${JSON.stringify(given)} for`
      : `invalid value ${JSON.stringify(given)} for flag`;
    throw new UsageError(`${what} -${name}: ${error.message}`);
  }
}

const booleanText = (value: string): boolean => /^(1|t|true)$/i.test(value);

function readValue<T>(name: string, parse: (text: string) => T, value: string | undefined): T {
  return parse(needed(name, value));
}

function needed(name: string, value: string | undefined): string {
  if (value === undefined) throw new UsageError(`flag needs an argument: -${name}`);
  return value;
}

function tokensOf(args: readonly string[]) {
  const known: Record<string, { type: "boolean" | "string" }> = {
    help: { type: "boolean" },
    h: { type: "boolean" },
    version: { type: "boolean" },
  };
  known["config-file"] = { type: "string" };
  for (const name of ignoredFlags) known[name] = { type: "string" };
  for (const [name, { isBoolean }] of Object.entries(options)) known[name] = { type: isBoolean ? "boolean" : "string" };
  const doubled = doubleDashes(args, known);
  return parseArgs({ args: doubled, options: known, strict: false, allowPositionals: true, tokens: true }).tokens;
}

/** -flag → --flag, leaving the values of flags alone. */
function doubleDashes(args: readonly string[], known: Readonly<Record<string, { type: string }>>): string[] {
  const out: string[] = [];
  let isValue = false;
  for (const arg of args) {
    if (isValue || !arg.startsWith("-") || arg === "-") {
      out.push(arg);
      isValue = false;
      continue;
    }
    const flag = arg.replace(/^--?/, "");
    out.push(arg === "--" ? arg : `--${flag}`);
    isValue = known[flag]?.type === "string";
  }
  return out;
}

/** A variable beside the same flag is refused, as it would be shadowed. */
function readEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  given: Map<OptionName, unknown>,
  warnings: ConfigWarning[],
): void {
  const known = new Set([variableOf("config-file"), variableOf("unsupported-arch")]);
  for (const name of Object.keys(options) as OptionName[]) {
    const variable = variableOf(name);
    known.add(variable);
    const value = env[variable];
    if (value === undefined || value === "") continue;
    if (given.has(name)) {
      throw new LoadError(
        "conflicting environment variable is shadowed by corresponding command-line flag (either unset environment variable or disable flag))",
        { "environment-variable": variable },
      );
    }
    given.set(name, readVariable(name, variable, value));
    warnings.push({
      message: "recognized and used environment variable",
      fields: { "variable-name": variable, "variable-value": value },
    });
  }
  for (const [variable, value] of Object.entries(env)) {
    if (variable.startsWith("ETCD_") && !known.has(variable)) {
      warnings.push({
        message: "unrecognized environment variable",
        fields: { "environment-variable": `${variable}=${value}` },
      });
    }
  }
}

function readVariable(name: OptionName, variable: string, value: string): unknown {
  try {
    return (options[name] as Option<unknown>).parse(value);
  } catch (error) {
    if (!(error instanceof OptionValueError)) throw error;
    throw new LoadError("failed to verify flags", {
      error: `invalid value ${JSON.stringify(value)} for ${variable}: ${error.message}`,
    });
  }
}

/** YAML or JSON; everything else (flags, environment) is then left aside. Unknown keys are ignored, as by etcd. */
function readFile(path: string): Map<OptionName, unknown> {
  let root: unknown;
  try {
    root = parseYaml(readFileSync(path, "utf8"));
  } catch (error) {
    throw new LoadError("failed to verify flags", { error: `cannot read --config-file ${path}: ${String(error)}` });
  }
  const given = new Map<OptionName, unknown>();
  for (const name of Object.keys(options) as OptionName[]) {
    const { yaml, fromYaml } = options[name] as Option<unknown>;
    const holder = yaml === undefined ? root : property(root, yaml[0]);
    const value = property(holder, yaml?.[1] ?? name);
    if (value === undefined || value === null || value === "") continue;
    try {
      given.set(name, fromYaml(value));
    } catch (error) {
      if (!(error instanceof OptionValueError)) throw error;
      throw new LoadError("failed to verify flags", { error: `${name} in ${path}: ${error.message}` });
    }
  }
  return given;
}

function property(holder: unknown, key: string): unknown {
  return typeof holder === "object" && holder !== null ? (holder as Record<string, unknown>)[key] : undefined;
}
