import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { addonMissingText, addonName, addonPackage, addonPlatforms, packageRoot } from "./addon-file.js";

const { napi } = JSON.parse(readFileSync(join(packageRoot(), "package.json"), "utf8")) as {
  napi: { binaryName: string; packageName: string; targets: string[] };
};
const architectures: Readonly<Record<string, string>> = { x86_64: "x64", aarch64: "arm64" };

test("package.json's napi targets are the platforms that have a package", () => {
  // "x86_64-unknown-linux-gnu" → "linux-x64-gnu", "aarch64-apple-darwin" → "darwin-arm64"
  const platforms = napi.targets.map((target) => {
    const [machine = "", , os, abi] = target.split("-");
    return [os, architectures[machine], abi].filter((part) => part !== undefined).join("-");
  });
  assert.deepEqual(platforms.toSorted(), addonPlatforms.toSorted());
  assert.deepEqual([napi.binaryName, napi.packageName], [addonName, addonName]);
});

test("who has no addon is told what to do: on a platform with a package, and on one without", () => {
  const file = "/x/etcd-ts-native.node";
  for (const platform of addonPlatforms) {
    const text = addonMissingText(platform, file);
    assert.ok(text.includes(`neither ${file} nor the package ${addonPackage(platform)} is there`), text);
    assert.match(text, /without --omit=optional/);
    assert.match(text, /`npm run build` .*https:\/\/rustup\.rs/);
  }
  const text = addonMissingText("linux-x64-musl", file);
  assert.match(text, /no package .* for linux-x64-musl, only for linux-x64-gnu, /);
  assert.match(text, /`npm run build` .*https:\/\/rustup\.rs/);
  assert.doesNotMatch(text, /omit=optional/);
});
