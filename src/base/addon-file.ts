/**
 * Where the package is and where its native part lies. Here, so that the build script can know it without
 * loading what it is about to build.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** What the addon is called, without its platform. */
export const addonName = "etcd-ts-native";

/** The name napi-rs gives this platform, such as "linux-x64-gnu". */
export function addonPlatform(): string {
  const base = `${process.platform}-${process.arch}`;
  if (process.platform !== "linux") return base;
  return `${base}-${isGlibc() ? "gnu" : "musl"}`;
}

/** By the libraries that this process has mapped; Node's own report takes 5 ms, in each thread. */
function isGlibc(): boolean {
  try {
    return !readFileSync("/proc/self/maps", "latin1").includes("/ld-musl-");
  } catch {
    return true;
  }
}

/** The folder of the package.json named "etcd-ts", wherever this file was compiled to. */
export function packageRoot(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const file = join(folder, "package.json");
    if (existsSync(file) && (JSON.parse(readFileSync(file, "utf8")) as { name?: string }).name === "etcd-ts") {
      return folder;
    }
    if (folder === dirname(folder)) throw new Error("no package.json of etcd-ts above the compiled files");
  }
}

/** Where a build in this tree puts the addon. */
export function addonFile(): string {
  return join(packageRoot(), "native", "addon", `${addonName}.${addonPlatform()}.node`);
}
