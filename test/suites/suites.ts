/**
 * Every suite, in the order in which they run, with the time each may take. `npm run check` runs those marked
 * quick, `npm test` all. A test file that no suite here runs fails the run (see run.ts).
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../src/base/index.js";

interface About {
  readonly name: string;
  /** Seconds after which the suite is killed and counts as failed; set-up comes before all budgets. */
  readonly budgetS: number;
  /** Also in `npm run check`. */
  readonly quick: boolean;
}

/** A suite is files for node:test, cargo's tests, or a command that passes or fails as a whole. */
export type Suite =
  | (About & { readonly kind: "node"; readonly files: readonly string[]; readonly concurrency: number })
  | (About & { readonly kind: "cargo"; readonly args: readonly string[] })
  | (About & { readonly kind: "command"; readonly command: string; readonly args: readonly string[] });

/** All budgets together: CI ends well before its own limit of 60 minutes, the first build included. */
export const budgetSMax = 50 * 60;

const compiled = join(packageRoot(), "dist");

/** Compiled test files below a folder of dist/, sorted. */
export function testFiles(folder: string): string[] {
  const path = join(compiled, folder);
  if (!existsSync(path)) return [];
  return readdirSync(path, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.js"))
    .map((name) => join(path, name))
    .sort();
}

/** Those of one folder alone, not of the folders below it. */
function testFilesIn(folder: string): string[] {
  const path = join(compiled, folder);
  return testFiles(folder).filter((file) => !file.slice(path.length + 1).includes("/"));
}

const bin = (name: string): string => join(packageRoot(), "node_modules", ".bin", name);

const cargo = (verb: string, ...args: string[]): { command: string; args: string[] } => ({
  command: "cargo",
  args: [verb, "--manifest-path", join(packageRoot(), "native", "Cargo.toml"), ...args],
});

const command = (name: string, budgetS: number, what: { command: string; args: readonly string[] }) => ({
  kind: "command" as const,
  name,
  budgetS,
  quick: true,
  ...what,
});

interface NodeSuite {
  readonly budgetS: number;
  readonly quick?: boolean;
  /** Files at a time; 1 for what measures time or loads the machine. */
  readonly concurrency?: number;
}

const node = (
  name: string,
  files: readonly string[],
  { budgetS, quick = false, concurrency = 1 }: NodeSuite,
): Suite => ({
  kind: "node",
  name,
  files,
  budgetS,
  quick,
  concurrency,
});

const script = (name: string, ...args: string[]): { command: string; args: string[] } => ({
  command: process.execPath,
  args: [join(compiled, name), ...args],
});

/** The table. */
export function allSuites(): readonly Suite[] {
  return [
    command("format", 30, { command: bin("oxfmt"), args: ["--check", "."] }),
    command("lint", 90, { command: bin("oxlint"), args: ["--type-aware", "--deny-warnings"] }),
    command("generated code", 30, script("scripts/generate-proto.js", "--check")),
    command("generated README", 30, script("scripts/generate-readme.js", "--check")),
    command("cargo fmt", 30, cargo("fmt", "--all", "--check")),
    command(
      "clippy core",
      150,
      cargo("clippy", "-p", "etcd-core", "--all-targets", "--locked", "--", "-D", "warnings"),
    ),
    // Not its tests: there napi-rs leaves out what makes the exports used.
    command("clippy addon", 90, cargo("clippy", "-p", "etcd-addon", "--locked", "--", "-D", "warnings")),
    { kind: "cargo", name: "cargo test", budgetS: 240, quick: true, ...cargo("test", "-p", "etcd-core", "--locked") },
    node("tidy", testFilesIn("test"), { budgetS: 30, quick: true }),
    node("suites", testFiles("test/suites"), { budgetS: 30, quick: true }),
    node("unit", testFiles("src"), { budgetS: 220, quick: true, concurrency: 2 }),
    node("scenario", testFiles("test/scenario"), { budgetS: 60, quick: true }),
    node("simulation", testFiles("test/simulation"), { budgetS: 240, quick: true }),
    { ...command("etcd", 420, script("test/suites/prepare-etcd.js")), quick: false },
    node("fuzz", testFiles("test/fuzz"), { budgetS: 60 }),
    node("gateway", testFiles("test/gateway"), { budgetS: 60 }),
    node("e2e", testFiles("test/e2e"), { budgetS: 700 }),
    node("conformance", testFiles("test/conformance"), { budgetS: 420 }),
  ];
}
