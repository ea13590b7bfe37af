/**
 * The configuration file: YAML 1.1, of which JSON is a part, as etcd reads it. Keys are flag names without regard to
 * case, some of them in groups; types are strict, and keys that are not known are left aside.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type * as Yaml from "yaml";
import { ConfigError } from "./config.js";
import { OptionValueError, type Option } from "./kinds.js";
import { options, type OptionName } from "./options.js";

/** Reads the file's option values. Throws ConfigError. */
export function readConfigFile(path: string): Map<OptionName, unknown> {
  const root = readRoot(path);
  const given = new Map<OptionName, unknown>();
  for (const name of Object.keys(options) as OptionName[]) {
    const { yaml, fromYaml } = options[name] as Option<unknown>;
    const holder = yaml === undefined ? root : property(root, yaml[0]);
    const value = property(holder, yaml?.[1] ?? name);
    if (value === undefined || value === null) continue;
    try {
      given.set(name, fromYaml(value));
    } catch (error) {
      if (!(error instanceof OptionValueError)) throw error;
      throw new ConfigError(`${name} in ${path}: ${error.message}`);
    }
  }
  return given;
}

function readRoot(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new ConfigError(`open ${path}: ${code === "ENOENT" ? "no such file or directory" : message}`);
  }
  // Not loaded by a start without such a file: that would take 10 ms.
  const { parse } = createRequire(import.meta.url)("yaml") as typeof Yaml;
  try {
    // Of equal keys the last one counts, as in etcd.
    return parse(text, { version: "1.1", uniqueKeys: false });
  } catch (error) {
    throw new ConfigError(`cannot read ${path} as YAML: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Of keys that differ in case alone etcd takes the last one by the order of their bytes. */
function property(holder: unknown, key: string): unknown {
  if (typeof holder !== "object" || holder === null) return undefined;
  const found = Object.entries(holder).filter(([name]) => name.toLowerCase() === key);
  return found.toSorted(([a], [b]) => (a < b ? -1 : 1)).at(-1)?.[1];
}
