/**
 * Makes the packages of a release in .build/release/, or in `target`, an empty folder: `etcd-ts`, and one package for
 * each platform with its native part, which `etcd-ts` names as optional, so that who installs it needs no Rust.
 *
 *   node dist/scripts/release.js [folder [target]]
 *
 * `folder` holds the addons that were built on each platform (native/addon/*.node of an `npm run build` there);
 * without it, there is only this platform's, which is enough to try the packages:
 *
 *   npm pack .build/release/*     and     npm publish .build/release/<each>, platforms first
 */
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { addonFile, addonName, addonPackage, addonPlatforms, packageRoot } from "../src/base/index.js";

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly engines: Readonly<Record<string, string>>;
  readonly bin: Readonly<Record<string, string>>;
  readonly files: readonly string[];
  readonly optionalDependencies: Readonly<Record<string, string>>;
}

const root = packageRoot();
const ownTarget = join(root, ".build", "release");
const target = process.argv[3] ?? ownTarget;
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest;

function writeJson(path: string, value: unknown): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`);
}

/** "etcd-ts-native.linux-x64-gnu.node" → "linux-x64-gnu". Throws for a platform that no user is told of. */
function platformOf(file: string): string | undefined {
  const match = /^(.+)\.([a-z0-9-]+)\.node$/.exec(file);
  if (match === null || match[1] !== addonName) return undefined;
  const platform = match[2]!;
  if (!addonPlatforms.includes(platform)) throw new Error(`${file}: ${platform} is not one of addonPlatforms`);
  return platform;
}

const libcs: Readonly<Record<string, string>> = { gnu: "glibc", musl: "musl" };

/** One platform's package; returns its name. */
function packPlatform(folder: string, file: string, platform: string): string {
  const [os, cpu, abi] = platform.split("-");
  const name = addonPackage(platform);
  const into = join(target, name);
  const libc = abi === undefined ? undefined : libcs[abi];
  writeJson(join(into, "package.json"), {
    name,
    version: manifest.version,
    description: `The native part of ${manifest.name} for ${platform}`,
    license: manifest.license,
    engines: manifest.engines,
    os: [os],
    cpu: [cpu],
    ...(libc === undefined ? {} : { libc: [libc] }),
    main: file,
    files: [file],
  });
  cpSync(join(folder, file), join(into, file));
  return name;
}

/** The server's package: what `files` names, without tests, and commands that know nothing of this machine. */
function packServer(platforms: readonly string[]): void {
  const into = join(target, manifest.name);
  const { scripts: _, devDependencies: __, ...rest } = manifest as Manifest & Record<string, unknown>;
  const natives = Object.fromEntries(platforms.map((name) => [name, manifest.version]));
  writeJson(join(into, "package.json"), {
    ...rest,
    optionalDependencies: { ...manifest.optionalDependencies, ...natives },
  });
  for (const path of manifest.files.filter((each) => !each.startsWith("!"))) {
    cpSync(join(root, path), join(into, path), {
      recursive: true,
      filter: (from) => !/\.test(-support)?\.js/.test(from),
    });
  }
  for (const path of ["README.md", "LICENSE"])
    if (existsSync(join(root, path))) cpSync(join(root, path), join(into, path));
  for (const command of Object.values(manifest.bin)) forgetMachine(join(into, command));
}

/** Takes out where Node lies on this machine (see commandText in setup.mjs). */
function forgetMachine(path: string): void {
  writeFileSync(path, readFileSync(path, "utf8").replace(/ \|\| \{ \[ -x [^}]*\}/, ""));
  chmodSync(path, 0o755);
}

function main(folder: string): void {
  if (!readFileSync(join(root, "CHANGELOG.md"), "utf8").includes(`## ${manifest.version}`))
    process.stderr.write(`release: CHANGELOG.md has no section for ${manifest.version} yet\n`);
  if (target === ownTarget) rmSync(target, { recursive: true, force: true });
  else if (existsSync(target) && readdirSync(target).length > 0) throw new Error(`${target} is not empty`);
  const platforms = readdirSync(folder).flatMap((file) => {
    const platform = platformOf(file);
    return platform === undefined ? [] : [packPlatform(folder, file, platform)];
  });
  if (platforms.length === 0) throw new Error(`no ${addonName}.<platform>.node in ${folder}`);
  packServer(platforms);
  process.stdout.write(`${[...platforms, manifest.name].map((name) => join(target, name)).join("\n")}\n`);
}

main(process.argv[2] ?? dirname(addonFile()));
