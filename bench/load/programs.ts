/** The programs that the bench runs: our Rust examples, which are built when needed, and tools that may be absent. */
import { execFile, execFileSync, spawnSync } from "node:child_process";
import { delimiter, join } from "node:path";
import { homedir } from "node:os";
import { existsSync } from "node:fs";
import { promisify } from "node:util";
import { packageRoot } from "../../src/base/index.js";

const outputBytesMax = 64 << 20;
const run = promisify(execFile);

/** Builds an example of native/core in release mode and returns its path. */
export function buildExamples(names: readonly string[]): string[] {
  const native = join(packageRoot(), "native");
  const target = process.env["CARGO_TARGET_DIR"] ?? join(native, "target");
  const cargoBin = join(process.env["CARGO_HOME"] ?? join(homedir(), ".cargo"), "bin");
  const args = ["build", "--release", "--locked", "--quiet", "-p", "etcd-core"];
  const { status, error } = spawnSync("cargo", [...args, ...names.flatMap((name) => ["--example", name])], {
    cwd: native,
    env: { ...process.env, CARGO_TARGET_DIR: target, PATH: `${process.env["PATH"] ?? ""}${delimiter}${cargoBin}` },
    stdio: ["ignore", 2, 2],
  });
  if (error !== undefined) throw new Error(`cargo, which builds the load generator: ${error.message}`);
  if (status !== 0) throw new Error("the build of the load generator failed, see above");
  return names.map((name) => join(target, "release", "examples", name));
}

/** First line of a tool's version; null when it is not installed. */
export function toolVersion(name: string): string | null {
  try {
    return execFileSync(name, ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).split("\n")[0]!;
  } catch {
    return null;
  }
}

/** The CLI of an npm package of ours. */
export function packageBin(name: string): string {
  const path = join(packageRoot(), "node_modules", ".bin", name);
  if (!existsSync(path)) throw new Error(`${path} is missing: npm ci`);
  return path;
}

/** Runs a program to its end and returns what it printed; killed when it takes longer than it may. */
export async function output(program: string, args: readonly string[], msMax: number): Promise<string> {
  const { stdout } = await run(program, [...args], {
    timeout: msMax,
    maxBuffer: outputBytesMax,
    killSignal: "SIGKILL",
  });
  return stdout;
}
