/**
 * Builds the addon in release mode and puts it where src/native/addon.ts looks.
 * `node dist/scripts/build-native.js [cargo arguments]`; CARGO_TARGET_DIR is respected.
 *
 * A release has a package for each of package.json's napi targets: this runs once on each of those platforms, and
 * scripts/release.ts makes the packages of the files that came out.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { addonFile, packageRoot } from "../src/base/index.js";

const nativeFolder = join(packageRoot(), "native");
const targetFolder = process.env["CARGO_TARGET_DIR"] ?? join(nativeFolder, "target");
const build = spawnSync("cargo", ["build", "--release", "--locked", "-p", "etcd-addon", ...process.argv.slice(2)], {
  cwd: nativeFolder,
  env: { ...process.env, CARGO_TARGET_DIR: targetFolder },
  stdio: "inherit",
});
if (build.error !== undefined) {
  console.error(`cannot run cargo (${build.error.message}); install Rust from https://rustup.rs`);
  process.exit(1);
}
if (build.status !== 0) process.exit(build.status ?? 1);

const library = process.platform === "darwin" ? "libetcd_addon.dylib" : "libetcd_addon.so";
// A running process keeps the file it has mapped: the new one takes the name in one step.
const temporary = `${addonFile()}.${process.pid}.new`;
copyFileSync(join(targetFolder, "release", library), temporary);
renameSync(temporary, addonFile());
console.log(`built ${addonFile()}`);
