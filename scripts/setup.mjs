/**
 * Does all set-up that is still missing, so that `npm start` and `npm test` work from a fresh clone: packages,
 * compiled TypeScript in dist/, the native addon, and the commands in dist/bin. What is up to date is left alone;
 * whether it is, is decided by content, never by time stamps.
 *
 * Plain JavaScript, and nothing but Node's own modules: it runs before anything is installed or compiled.
 * `node scripts/setup.mjs` does it all and ends; start.mjs and test.mjs import it.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
const stampFolder = join(root, ".build", "setup");
const lockWaitMsMax = 15 * 60_000;
const lockPollMs = 500;

/** What a person must do before the set-up can go on; shown without a stack. */
export class SetupError extends Error {}

function progress(text) {
  process.stderr.write(`setup: ${text}\n`);
}

/** Whether `found` ("1.95.0") is at least `needed` ("1.89"). */
export function isAtLeast(found, needed) {
  const [a, b] = [found, needed].map((version) => version.split(".").map((part) => Number.parseInt(part, 10)));
  for (let i = 0; i < b.length; i++) {
    if ((a[i] || 0) !== b[i]) return (a[i] || 0) > b[i];
  }
  return true;
}

function readJson(path) {
  return JSON.parse(readFileSync(path, "utf8"));
}

function run(what, command, args) {
  const { error, status, signal } = spawnSync(command, args, { cwd: root, stdio: ["ignore", 2, 2] });
  if (error) throw new SetupError(`${what}: cannot run ${command}: ${error.message}`);
  if (status !== 0) throw new SetupError(`${what} failed (${command} ended with ${signal || status}); see above`);
}

// Prerequisites

function checkNode() {
  const needed = readJson(join(root, "package.json")).engines.node.replace(/^[^0-9]*/, "");
  if (isAtLeast(process.versions.node, needed)) return;
  throw new SetupError(
    `Node.js ${needed} or newer is needed, this is ${process.versions.node} (${process.execPath}). ` +
      "Install a newer one from https://nodejs.org or with your version manager, and run the command again.",
  );
}

/** Lets cargo be found, by the suites as well: rustup's folder is not in the PATH of every shell. */
function addRustToPath() {
  const cargoBin = join(process.env.CARGO_HOME || join(homedir(), ".cargo"), "bin");
  const path = (process.env.PATH || "").split(delimiter);
  if (!path.includes(cargoBin)) process.env.PATH = [...path, cargoBin].join(delimiter);
}

/** The first line that `command --version` prints; undefined when it cannot be run. */
function versionLine(command) {
  const { status, stdout } = spawnSync(command, ["--version"], { encoding: "utf8" });
  return status === 0 ? stdout.split("\n")[0] : undefined;
}

/** Throws SetupError when Rust is missing or too old. */
export function checkRust() {
  const needed = /rust-version = "([^"]+)"/.exec(readFileSync(join(root, "native", "Cargo.toml"), "utf8"))[1];
  const advice = "Install it from https://rustup.rs (or run `rustup update stable`), and run the command again.";
  const found = versionLine("rustc");
  if (found === undefined || versionLine("cargo") === undefined) {
    throw new SetupError(`Rust ${needed} or newer (rustc and cargo) is needed to build the native addon. ${advice}`);
  }
  const version = /\d+\.\d+\.\d+/.exec(found);
  if (version !== null && !isAtLeast(version[0], needed)) {
    throw new SetupError(`Rust ${needed} or newer is needed, this is ${found}. ${advice}`);
  }
}

// Stamps

function filesBelow(folder, matches) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory())
        return entry.name === "target" || entry.name === "node_modules" ? [] : filesBelow(path, matches);
      return matches(entry.name) ? [path] : [];
    });
}

function hashOf(files) {
  const hash = createHash("sha256");
  for (const path of files) {
    const content = readFileSync(path);
    hash.update(`${relative(root, path)}\0${content.length}\0`).update(content);
  }
  return hash.digest("hex");
}

function isStamped(name, content) {
  const stamp = join(stampFolder, name);
  return existsSync(stamp) && readFileSync(stamp, "utf8") === content;
}

function replaceFile(path, content) {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}`;
  writeFileSync(temporary, content);
  renameSync(temporary, path);
}

// Steps

/** Whether this platform leaves an optional package of the lock file out. */
function isForeign({ os, cpu, libc }) {
  const libcHere = existsSync("/etc/alpine-release") ? "musl" : "glibc";
  const excludes = (list, value) => list !== undefined && !list.includes(value);
  return excludes(os, process.platform) || excludes(cpu, process.arch) || excludes(libc, libcHere);
}

/** Whether node_modules holds what package-lock.json names: npm notes what it installed in a lock file of its own. */
export function isInstalled(folder = root) {
  const notes = join(folder, "node_modules", ".package-lock.json");
  if (!existsSync(notes)) return false;
  const installed = readJson(notes).packages;
  const wanted = readJson(join(folder, "package-lock.json")).packages;
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === "") continue;
    const there = installed[path];
    if (there === undefined ? !(entry.optional && isForeign(entry)) : there.version !== entry.version) return false;
    if (there !== undefined && !existsSync(join(folder, path))) return false;
  }
  return true;
}

function install() {
  if (isInstalled()) return;
  // The packages with install scripts (lmdb, msgpackr-extract) bring prebuilt binaries: the scripts are not needed.
  const args = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
  const npm = process.env.npm_execpath;
  progress("installing packages (npm ci)");
  if (npm && /\.c?js$/.test(npm)) return run("npm ci", process.execPath, [npm, ...args]);
  if (versionLine("npm") === undefined) {
    throw new SetupError(
      "npm is needed to install packages, and there is none in the PATH. It comes with Node.js from " +
        "https://nodejs.org; some systems have a package `npm` of its own. Install it, and run the command again.",
    );
  }
  run("npm ci", "npm", args);
}

const sourceFolders = ["src", "test", "bench", "scripts"];

/** Output of sources that are gone: a deleted test must not go on running. */
function prune() {
  for (const folder of sourceFolders) {
    for (const path of filesBelow(join(root, "dist", folder), (name) => /\.js(\.map)?$/.test(name))) {
      const source = join(root, relative(join(root, "dist"), path).replace(/\.js(\.map)?$/, ".ts"));
      if (!existsSync(source)) rmSync(path);
    }
  }
}

function compile() {
  const sources = sourceFolders.flatMap((folder) => filesBelow(join(root, folder), (name) => name.endsWith(".ts")));
  const hash = hashOf([...sources, join(root, "tsconfig.json"), join(root, "package-lock.json")]);
  if (isStamped("typescript", hash) && existsSync(join(root, "dist", "bundle", "bin", "etcd.js"))) return;
  progress("compiling TypeScript (tsc)");
  run("tsc", process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "--outDir", "dist"]);
  prune();
  run("the bundle of dist/src", process.execPath, [join(root, "dist", "scripts", "bundle.js")]);
  replaceFile(join(stampFolder, "typescript"), hash);
}

/** What the addon was built from and what came out: a file built from other sources in between is noticed. */
function nativeStamp(addon) {
  const sources = filesBelow(join(root, "native"), (name) => /\.(rs|toml|lock)$/.test(name));
  return `${hashOf(sources)} ${existsSync(addon) ? hashOf([addon]) : "absent"}`;
}

async function buildNative() {
  const { addonFile } = await import(pathToFileURL(join(root, "dist", "src", "base", "addon-file.js")).href);
  const addon = addonFile();
  if (existsSync(addon) && isStamped("native", nativeStamp(addon))) return;
  checkRust();
  progress("building the native addon (cargo; the first time takes a few minutes)");
  run("the build of the native addon", process.execPath, [join(root, "dist", "scripts", "build-native.js")]);
  replaceFile(join(stampFolder, "native"), nativeStamp(addon));
}

function revision() {
  try {
    return execFileSync("git", ["rev-parse", "--short=9", "HEAD"], {
      cwd: root,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  } catch {
    return "unknown";
  }
}

/**
 * How the server runs; package.json's "start" has the same. Young objects live in 2 MiB a thread instead of 16: that
 * stays in the caches, and a collection holds a thread for 1 ms instead of up to 5. Old ones are collected when they
 * have grown by 0.6, not only when there are four times as many. Threads share one mapping of V8's built-in code, since
 * one of its own for each takes 1 MiB and makes nothing faster here. `malloc` has two pools instead of eight a core,
 * between which what one thread frees is lost to the others. V8 has one helper thread: four that compile what has just
 * become hot take the processors from the threads that serve.
 */
const nodeFlags = {
  etcd: [
    "--max-semi-space-size=2",
    "--initial-old-space-size=8",
    "--heap-growing-percent=60",
    "--no-short-builtin-calls",
    "--v8-pool-size=1",
  ],
};
const shellSettings = { etcd: "export MALLOC_ARENA_MAX=${MALLOC_ARENA_MAX-2}; " };

/**
 * A command that both /bin/sh and Node read: it must start with an empty environment too, where `env node` may find
 * nothing. `node` is used when there is none in the PATH; the shell's builtins alone find it.
 */
export function commandText(name, node) {
  const flags = (nodeFlags[name] || []).map((flag) => ` ${flag}`).join("");
  const settings = shellSettings[name] || "";
  const isUsable = node !== undefined && !node.includes("'");
  const fallback = isUsable ? ` || { [ -x '${node}' ] && echo '${node}'; }` : "";
  return `#!/bin/sh
":" //; node=$(command -v node${fallback}) || { echo "${name}: Node.js is needed (https://nodejs.org)" >&2; exit 1; }; ${settings}exec "$node"${flags} "$0" "$@"
import "../bundle/bin/${name}.js";
`;
}

function writeCommands() {
  const revisionFile = join(root, "dist", "revision");
  const text = `${revision()}\n`;
  if (!existsSync(revisionFile) || readFileSync(revisionFile, "utf8") !== text) replaceFile(revisionFile, text);
  for (const name of Object.keys(readJson(join(root, "package.json")).bin)) {
    const path = join(root, "dist", "bin", name);
    const command = commandText(name, process.execPath);
    if (!existsSync(path) || readFileSync(path, "utf8") !== command) replaceFile(path, command);
    chmodSync(path, 0o755);
  }
}

// One set-up at a time

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

/** The process that holds the lock; undefined when it is gone or has not yet said who it is. */
function lockHolder(lock) {
  try {
    return Number(readFileSync(lock, "utf8"));
  } catch {
    return undefined;
  }
}

async function withLock(body) {
  const lock = join(stampFolder, "lock");
  mkdirSync(stampFolder, { recursive: true });
  for (let waitedMs = 0; ; waitedMs += lockPollMs) {
    try {
      writeFileSync(lock, String(process.pid), { flag: "wx" });
      break;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    const holder = lockHolder(lock);
    if (holder > 0 && !isAlive(holder)) rmSync(lock, { force: true });
    else if (waitedMs === 0) progress(`waiting for another set-up (process ${holder})`);
    else if (waitedMs > lockWaitMsMax)
      throw new SetupError(`${lock} has been held for too long; remove it if no set-up runs`);
    await new Promise((resolve) => setTimeout(resolve, lockPollMs));
  }
  try {
    return await body();
  } finally {
    rmSync(lock, { force: true });
  }
}

/** Brings everything up to date. Throws SetupError with what to do. */
export async function setUp() {
  checkNode();
  addRustToPath();
  await withLock(async () => {
    install();
    compile();
    await buildNative();
    writeCommands();
  });
}

/** setUp for a command: a SetupError is printed and ends the process with 1. */
export async function setUpOrExit() {
  try {
    await setUp();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`\n${error.message}\n`);
    process.exit(1);
  }
}

if (process.argv[1] && fileURLToPath(import.meta.url) === process.argv[1]) await setUpOrExit();
