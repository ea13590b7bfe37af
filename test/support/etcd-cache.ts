/**
 * The real etcd 3.7.1, built once from its Go modules into ${XDG_CACHE_HOME:-~/.cache}/etcd-ts/bin.
 * It is what our server is compared with. Builds are serialised by a lock folder that names its
 * owner's process, so that two test runs never build at once and a killed build blocks nobody.
 */
import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { chmod, cp, mkdir, mkdtemp, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { packageRoot } from "./package-root.js";

const run = promisify(execFile);

/** The release that we are compared with. */
export const etcdVersion = "3.7.1";

/** Paths of the built programs. */
export interface EtcdBinaries {
  readonly etcd: string;
  readonly etcdctl: string;
  readonly etcdutl: string;
}

/** Either the programs, or why the tests that need them cannot run here. */
export type CacheResult =
  | { readonly kind: "ready"; readonly binaries: EtcdBinaries }
  | { readonly kind: "skipped"; readonly reason: string };

const lockPollMs = 250;
const lockWaitMsMax = 15 * 60_000;

/** Where all that is made once for the tests is kept. */
export const cacheRoot = (): string => join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "etcd-ts");

const cacheFolder = (): string => join(cacheRoot(), "bin");

const binariesIn = (folder: string): EtcdBinaries => ({
  etcd: join(folder, "etcd"),
  etcdctl: join(folder, "etcdctl"),
  etcdutl: join(folder, "etcdutl"),
});

const progress = (line: string): void => {
  process.stderr.write(`etcd-cache: ${line}\n`);
};

/** A wrong or half-written cache must not pass for etcd 3.7.1. */
const isComplete = async (binaries: EtcdBinaries): Promise<boolean> => {
  const { etcd, etcdctl, etcdutl } = binaries;
  if (![etcd, etcdctl, etcdutl].every((path) => existsSync(path))) return false;
  try {
    const { stdout } = await run(etcd, ["--version"], { env: {} });
    return stdout.includes(`etcd Version: ${etcdVersion}\n`);
  } catch {
    return false;
  }
};

const hasGo = async (): Promise<boolean> => {
  try {
    await run("go", ["version"]);
    return true;
  } catch {
    return false;
  }
};

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** Removes a lock whose owner is gone. A lock without a readable owner is one being taken: leave it. */
const breakStaleLock = async (lock: string): Promise<void> => {
  const owner = Number(await readFile(join(lock, "pid"), "utf8").catch(() => "NaN"));
  if (Number.isInteger(owner) && owner > 0 && !isAlive(owner)) await rm(lock, { recursive: true, force: true });
};

const tryLock = async (lock: string): Promise<boolean> => {
  try {
    await mkdir(lock);
  } catch {
    return false;
  }
  await writeFile(join(lock, "pid"), String(process.pid));
  return true;
};

const withLock = async <T>(lock: string, body: () => Promise<T>): Promise<T> => {
  for (let waitedMs = 0; !(await tryLock(lock)); waitedMs += lockPollMs) {
    if (waitedMs === 0) progress("waiting for another build");
    if (waitedMs > lockWaitMsMax) throw new Error(`${lock} has been held for too long; remove it if no build runs`);
    await breakStaleLock(lock);
    await delay(lockPollMs);
  }
  try {
    return await body();
  } finally {
    await rm(lock, { recursive: true, force: true });
  }
};

const goEnv = (): NodeJS.ProcessEnv => ({ ...process.env, GOFLAGS: "-mod=mod", CGO_ENABLED: "0" });

/** Runs a Go command; its own output goes to our stderr, so that a slow build is seen to move. */
const go = async (args: readonly string[], cwd: string): Promise<void> => {
  progress(`go ${args.join(" ")}`);
  const child = spawn("go", args, {
    cwd,
    stdio: ["ignore", "inherit", "inherit"],
    env: goEnv(),
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  if (code !== 0) throw new Error(`go ${args.join(" ")} ended with ${String(code)}`);
};

/** Renames are atomic within the cache folder: a reader sees no program or a whole one. */
const install = async (from: string, to: string): Promise<void> => {
  await chmod(from, 0o755);
  await rename(from, to);
};

const buildEtcd = async (folder: string): Promise<void> => {
  const work = await mkdtemp(join(folder, "build-"));
  try {
    await go(["mod", "init", "etcd-cache"], work);
    const modules = ["server", "etcdctl", "etcdutl"].map((name) => `go.etcd.io/etcd/${name}/v3`);
    await go(["get", ...modules.map((module) => `${module}@v${etcdVersion}`)], work);
    for (const [index, module] of modules.entries()) {
      await go(["build", "-trimpath", "-o", join(work, `out${index}`), module], work);
    }
    const { etcd, etcdctl, etcdutl } = binariesIn(folder);
    await install(join(work, "out1"), etcdctl);
    await install(join(work, "out2"), etcdutl);
    await install(join(work, "out0"), etcd);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
};

/** The real etcd's programs, built when they are not there yet. */
export const etcdBinaries = async (): Promise<CacheResult> => {
  const folder = cacheFolder();
  const binaries = binariesIn(folder);
  if (await isComplete(binaries)) return { kind: "ready", binaries };
  if (!(await hasGo())) return { kind: "skipped", reason: "skipped: Go is missing" };
  await mkdir(folder, { recursive: true });
  await withLock(join(folder, "build.lock"), async () => {
    if (await isComplete(binaries)) return;
    progress(`building etcd ${etcdVersion} into ${folder}`);
    await buildEtcd(folder);
  });
  if (!(await isComplete(binaries))) throw new Error(`the build in ${folder} is not etcd ${etcdVersion}`);
  return { kind: "ready", binaries };
};

/** Of all Go files below the folder, in whatever depth. */
const sourceHash = async (source: string): Promise<string> => {
  const hash = createHash("sha256");
  const names = (await readdir(source, { recursive: true })).filter((name) => /(^|\/)go\.(mod|sum)$|\.go$/.test(name));
  for (const name of names.toSorted()) hash.update(`${name}\0`).update(await readFile(join(source, name)));
  return hash.digest("hex").slice(0, 16);
};

/** Builds `name` from the sources once for each state of them; null when Go is missing. `build` works in a copy. */
const cachedGoProgram = async (
  name: string,
  source: string,
  build: (work: string, target: string) => Promise<void>,
): Promise<string | null> => {
  const folder = cacheFolder();
  const target = join(folder, `${name}-${await sourceHash(source)}`);
  if (existsSync(target)) return target;
  if (!(await hasGo())) return null;
  await mkdir(folder, { recursive: true });
  await withLock(join(folder, "build.lock"), async () => {
    if (existsSync(target)) return;
    const work = await mkdtemp(join(tmpdir(), "etcd-ts-go-"));
    try {
      await cp(source, work, { recursive: true });
      await build(work, `${target}.part`);
      await install(`${target}.part`, target);
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  });
  return target;
};

/** A Go program of our tests, built once for each state of its sources; null when Go is missing. */
export const goProgram = (name: string, source: string): Promise<string | null> =>
  cachedGoProgram(name, source, (work, target) => go(["build", "-trimpath", "-o", target, "."], work));

/** A package of a Go module whose own tests are to run, and the one file of it that is ours. */
interface GoTestPackage {
  readonly module: string;
  /** Within the module. */
  readonly package: string;
  /** From a path within `source` to the path within the module that it takes the place of. */
  readonly replace: readonly [string, string];
}

/** Another module's own tests as a program, with one file of it replaced; null when Go is missing. */
const goTestProgram = (name: string, source: string, tests: GoTestPackage): Promise<string | null> =>
  cachedGoProgram(name, source, async (work, target) => {
    await go(["mod", "download", tests.module], work);
    const { stdout } = await run("go", ["list", "-m", "-f", "{{.Dir}}", tests.module], { cwd: work, env: goEnv() });
    // Modules in Go's own cache must not be changed, and are read-only.
    const copy = join(work, "module");
    await cp(stdout.trim(), copy, { recursive: true });
    await run("chmod", ["-R", "u+w", copy]);
    const [from, to] = tests.replace;
    await writeFile(join(copy, to), await readFile(join(work, from)));
    await go(["mod", "edit", `-replace=${tests.module}=./module`], work);
    await go(["test", "-c", "-trimpath", "-ldflags=-s -w", "-o", target, `${tests.module}/${tests.package}`], work);
  });

/** The tests of the kube-apiserver's storage layer; null when Go is missing. */
export const apiserverTests = (): Promise<string | null> =>
  goTestProgram("apiserver-storage", join(packageRoot, "test", "e2e", "apiserver"), {
    module: "k8s.io/apiserver",
    package: "pkg/storage/etcd3",
    replace: ["testserver/test_server.go", "pkg/storage/etcd3/testserver/test_server.go"],
  });
