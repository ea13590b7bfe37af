/** The packages of a release, as npm would lay them out: what they are called, and that the server finds its own. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  addonFile,
  addonName,
  addonPackage,
  addonPlatform,
  addonPlatforms,
  packageRoot,
} from "../../src/base/index.js";

interface Manifest {
  readonly version: string;
  readonly os: readonly string[];
  readonly cpu: readonly string[];
  readonly libc?: readonly string[];
  readonly main: string;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
}

const folder = mkdtempSync(join(tmpdir(), "etcd-ts-release-"));
const addons = join(folder, "addons");
const packages = join(folder, "node_modules");
const here = addonPlatform();

const run = (program: string, args: readonly string[]): { status: number | null; stdout: string; stderr: string } =>
  spawnSync(program, args, { env: { PATH: process.env["PATH"] }, encoding: "utf8" });
const release = (target: string): ReturnType<typeof run> =>
  run(process.execPath, [join(packageRoot(), "dist", "scripts", "release.js"), addons, target]);
const manifestOf = (name: string): Manifest =>
  JSON.parse(readFileSync(join(packages, name, "package.json"), "utf8")) as Manifest;
const server = (): ReturnType<typeof run> => run(join(packages, "etcd-ts", "dist", "bin", "etcd"), ["--version"]);

/** Lays the other packages beside the server's, as npm does. */
function addDependencies(): void {
  const { dependencies, optionalDependencies } = manifestOf("etcd-ts");
  for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
    const installed = join(packageRoot(), "node_modules", name);
    mkdirSync(dirname(join(packages, name)), { recursive: true });
    if (existsSync(installed)) symlinkSync(installed, join(packages, name));
  }
}

after(() => rmSync(folder, { recursive: true }));

const skip = addonPlatforms.includes(here) ? false : `no package is made for ${here}`;

describe("a release", { skip }, () => {
  before(() => {
    mkdirSync(addons);
    for (const platform of addonPlatforms) writeFileSync(join(addons, `${addonName}.${platform}.node`), "");
    copyFileSync(addonFile(), join(addons, basename(addonFile())));
    const { status, stderr } = release(packages);
    assert.equal(status, 0, stderr);
    addDependencies();
  });
  test("has a package for each platform, which npm takes on that platform alone", () => {
    const { version, optionalDependencies } = manifestOf("etcd-ts");
    for (const platform of addonPlatforms) {
      const name = addonPackage(platform);
      const [os, cpu, abi] = platform.split("-");
      const manifest = manifestOf(name);
      assert.equal(optionalDependencies[name], version, "the server's package asks for it");
      assert.deepEqual([manifest.version, manifest.os, manifest.cpu], [version, [os], [cpu]]);
      assert.deepEqual(manifest.libc, abi === "gnu" ? ["glibc"] : undefined);
      assert.ok(existsSync(join(packages, name, manifest.main)));
    }
  });

  test("runs with the package of this platform, and says what is missing without it", () => {
    assert.match(server().stdout, /^etcd Version: 3\.7\./);
    rmSync(join(packages, addonPackage(here)), { recursive: true });
    const { status, stderr } = server();
    assert.notEqual(status, 0);
    assert.ok(stderr.includes(`nor the package ${addonPackage(here)} is there`), stderr);
  });

  test("takes no addon of a platform that users are told there is none for", () => {
    writeFileSync(join(addons, `${addonName}.plan9-mips.node`), "");
    const { status, stderr } = release(join(folder, "other"));
    assert.equal(status, 1);
    assert.match(stderr, /plan9-mips is not one of addonPlatforms/);
  });
});
