/**
 * The texts of `etcd --help` and of a usage error, made from the option table.
 */
import type { Option, Section } from "./kinds.js";
import { options } from "./options.js";

const titles: Readonly<Record<Section, string>> = {
  member: "Member",
  clustering: "Clustering",
  security: "Security",
  auth: "Auth",
  monitoring: "Monitoring",
  logging: "Logging",
  tracing: "Distributed tracing",
  features: "Features",
  unsafe: "Unsafe",
};

/** What stderr gets after a flag that cannot be read. */
export const usageText = `Usage:

  etcd [flags]
    Start an etcd server.

  etcd --version
    Show the version of etcd.

  etcd -h | --help
    Show this help.

  etcd --config-file PATH
    Read all options from a YAML or JSON file; flags and ETCD_ variables are then left aside.
    Durations in the file are whole numbers of nanoseconds.
`;

function standing({ notYet, noEffect }: Option<unknown>): string {
  if (notYet === true) return " Not supported by this version.";
  return noEffect === true ? " Without effect in this version." : "";
}

function describe(name: string, option: Option<unknown>): string {
  const shown = option.print(option.default);
  const head = option.isBoolean && shown === "false" ? `  --${name}` : `  --${name} '${shown}'`;
  const agree = option.scope === "cluster" ? " All members must agree on it." : "";
  const lines = (option.lines ?? []).map((line) => `\n    ${line}`).join("");
  return `${head}\n    ${option.help}${agree}${standing(option)}${lines}`;
}

/** The whole help: usage, then every option by section with its default. */
export function helpText(): string {
  const blocks = Object.entries(titles).map(([section, title]) => {
    const rows = Object.entries(options).filter(([, option]) => option.section === section);
    return `${title}:\n${rows.map(([name, option]) => describe(name, option as Option<unknown>)).join("\n")}\n`;
  });
  return `${usageText}
Every flag has a variable ETCD_<NAME>, in capitals and with _ for -; a flag and its variable exclude each other.

${blocks.join("\n")}`;
}
