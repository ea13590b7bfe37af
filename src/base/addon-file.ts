/**
 * Where the package is and where its native part lies. Here, so that the build script can know it without
 * loading what it is about to build.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** What the addon is called, without its platform. */
export const addonName = "etcd-ts-native";

/** Platforms that a release has a package for: package.json's napi targets in Node's words. */
export const addonPlatforms: readonly string[] = ["linux-x64-gnu", "linux-arm64-gnu", "darwin-x64", "darwin-arm64"];

/** The npm package that holds the addon for `platform`. */
export function addonPackage(platform: string): string {
  return `${addonName}-${platform}`;
}

/** What to do on `platform` when neither `file` nor its package is there. */
export function addonMissingText(platform: string, file: string): string {
  const clone = "in a clone of the repository, `npm run build` makes it and needs Rust (https://rustup.rs)";
  if (!addonPlatforms.includes(platform)) {
    return `etcd-ts has no package with its native part for ${platform}, only for ${addonPlatforms.join(", ")}: ${clone}.`;
  }
  return (
    `the native part of etcd-ts for ${platform} is missing: neither ${file} nor the package ${addonPackage(platform)} is there. ` +
    `In an installed package, install again without --omit=optional; ${clone}.`
  );
}

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
