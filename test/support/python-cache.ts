/**
 * A Python environment with given packages, made once into ${XDG_CACHE_HOME:-~/.cache}/etcd-ts/ and put there by a
 * rename: whoever finds the folder finds it whole.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { cacheRoot } from "./etcd-cache.js";

const run = promisify(execFile);
const installMsMax = 180_000;

/** Either the interpreter, or why the tests that need it cannot run here. */
export type PythonResult =
  | { readonly kind: "ready"; readonly python: string }
  | { readonly kind: "skipped"; readonly reason: string };

const works = async (program: string, args: readonly string[]): Promise<boolean> => {
  try {
    await run(program, args);
    return true;
  } catch {
    return false;
  }
};

/** An environment with exactly these packages, as "name==version"; all that they need must be among them. */
export const pythonWith = async (packages: readonly string[]): Promise<PythonResult> => {
  if (!(await works("python3", ["-m", "venv", "--help"])))
    return { kind: "skipped", reason: "skipped: python3 is missing" };
  if (!(await works("python3", ["-m", "pip", "--version"])))
    return { kind: "skipped", reason: "skipped: pip is missing" };
  const folder = cacheRoot();
  const { stdout } = await run("python3", ["-c", "import sys; print(sys.version, sys.executable)"]);
  const hash = createHash("sha256")
    .update([stdout, ...packages].join("\n"))
    .digest("hex")
    .slice(0, 16);
  const target = join(folder, `python-${hash}`);
  const python = join(target, "bin", "python");
  if (existsSync(python)) return { kind: "ready", python };
  await mkdir(folder, { recursive: true });
  const work = await mkdtemp(join(folder, "python-build-"));
  try {
    // Some systems have both and yet no package to make an environment with.
    if (!(await works("python3", ["-m", "venv", work]))) {
      return { kind: "skipped", reason: "skipped: python3 -m venv does not work here" };
    }
    const install = ["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", ...packages];
    await run(join(work, "bin", "python"), install, { timeout: installMsMax });
    // Another run may have been first; its environment is the same.
    await rename(work, target).catch((error: unknown) => {
      if (!existsSync(python)) throw error;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return { kind: "ready", python };
};
