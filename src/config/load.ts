/**
 * Gathers option values from where etcd takes them: the command line and ETCD_* variables, or else a
 * configuration file alone. Says what etcd says when something is wrong, and with its exit codes.
 */
import { ConfigError, makeConfig, type Config } from "./config.js";
import { readConfigFile } from "./config-file.js";
import { hasFeature } from "./feature-gates.js";
import { readCommandLine, UsageError, type CommandLine, type FlagKind } from "./flag-syntax.js";
import { OptionValueError, parseBoolean, type Option } from "./kinds.js";
import { ignoredFlags, options, type OptionName } from "./options.js";

/** A line to log once logging is set up. */
export interface ConfigWarning {
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export type Loaded =
  | { readonly kind: "config"; readonly config: Config; readonly warnings: readonly ConfigWarning[] }
  | { readonly kind: "version" }
  | { readonly kind: "help" };

/** The configuration could not be used; etcd logs this as fatal, and the process ends with 1. */
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
  const warnings: ConfigWarning[] = [];
  const line = readCommandLine(args, flagKind);
  const { given, special } = readFlags(line, warnings);
  if (line.isHelp) return { kind: "help" };
  if (line.rest[0] !== undefined) throw new ConfigError(`${JSON.stringify(line.rest[0])} is not a valid flag`);
  if (special.version) return { kind: "version" };
  const file = special.configFile ?? env[variableOf("config-file")];
  if (file !== undefined && file !== "") return loaded(makeConfig(readConfigFile(file)), warnings);
  readEnvironment(env, given, warnings);
  return loaded(makeConfig(given), warnings);
}

function loaded(config: Config, warnings: ConfigWarning[]): Loaded {
  if (hasFeature(config, "LeaseCheckpoint") && !hasFeature(config, "LeaseCheckpointPersist")) {
    warnings.push({
      message:
        "Detected that checkpointing is enabled without persistence. Consider enabling feature gate LeaseCheckpointPersist",
      fields: {},
    });
  }
  return { kind: "config", config, warnings };
}

interface SpecialFlags {
  version: boolean;
  configFile: string | undefined;
}

function flagKind(name: string): FlagKind {
  if (name === "version" || ignoredFlags.includes(name)) return "boolean";
  if (name === "config-file") return "value";
  if (!isOption(name)) return undefined;
  return options[name].isBoolean ? "boolean" : "value";
}

/** The values of the flags; of one given twice, the last. Throws UsageError. */
function readFlags(
  { flags }: CommandLine,
  warnings: ConfigWarning[],
): { given: Map<OptionName, unknown>; special: SpecialFlags } {
  const given = new Map<OptionName, unknown>();
  const special: SpecialFlags = { version: false, configFile: undefined };
  for (const { name, value } of flags) {
    if (name === "version") special.version = readFlag(name, true, parseBoolean, value);
    else if (name === "config-file") special.configFile = value;
    else if (isOption(name)) {
      const { isBoolean, parse } = options[name] as Option<unknown>;
      given.set(name, readFlag(name, isBoolean, parse, value));
    } else warnings.push({ message: "ignoring deprecated flag", fields: { flag: name } });
  }
  return { given, special };
}

/** A boolean without a value is true. */
function readFlag<T>(name: string, isBoolean: boolean, parse: (text: string) => T, given = "true"): T {
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

/** A variable beside the same flag is refused, even an empty one, as it would be shadowed. */
function readEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  given: Map<OptionName, unknown>,
  warnings: ConfigWarning[],
): void {
  const known = new Set(["config-file", "unsupported-arch", "version", ...ignoredFlags].map(variableOf));
  for (const name of Object.keys(options) as OptionName[]) {
    const variable = variableOf(name);
    const value = env[variable];
    if (value === undefined) continue;
    if (given.has(name)) {
      throw new LoadError(
        "conflicting environment variable is shadowed by corresponding command-line flag (either unset environment variable or disable flag))",
        { "environment-variable": variable },
      );
    }
    if (value === "") continue;
    known.add(variable);
    given.set(name, readVariable(name, variable, value));
    warnings.push({
      message: "recognized and used environment variable",
      fields: { "variable-name": variable, "variable-value": options[name].secret === true ? "(not shown)" : value },
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
    throw new ConfigError(`invalid value ${JSON.stringify(value)} for ${variable}: ${error.message}`);
  }
}
