/** The set-up's decisions: what is missing, what is too old, and what it then says. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { packageRoot } from "../../src/base/index.js";

/** What setup.mjs exports; it is plain JavaScript. */
interface Setup {
  readonly isAtLeast: (found: string, needed: string) => boolean;
  readonly isInstalled: (folder: string) => boolean;
  readonly commandText: (name: string, node?: string) => string;
}

const script = pathToFileURL(join(packageRoot(), "scripts", "setup.mjs")).href;
const { isAtLeast, isInstalled, commandText } = (await import(script)) as Setup;
const folder = mkdtempSync(join(tmpdir(), "etcd-ts-setup-"));
after(() => rmSync(folder, { recursive: true }));

function write(path: string, content: string): string {
  const file = join(folder, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
  chmodSync(file, 0o755);
  return file;
}

test("versions are compared part by part", () => {
  for (const [found, needed] of [
    ["20.19.0", "20.19"],
    ["20.20.2", "20.19"],
    ["22.1.0", "20.19"],
    ["1.100.0", "1.89"],
  ] as const) {
    assert.ok(isAtLeast(found, needed), `${found} ${needed}`);
  }
  for (const [found, needed] of [
    ["20.18.3", "20.19"],
    ["18.20.0", "20.19"],
    ["1.9.0", "1.89"],
  ] as const) {
    assert.ok(!isAtLeast(found, needed), `${found} ${needed}`);
  }
});

describe("packages", () => {
  const foreign = process.platform === "linux" ? "darwin" : "linux";
  const wanted = {
    "": {},
    "node_modules/a": { version: "1.0.0" },
    "node_modules/other": { version: "1.0.0", optional: true, os: [foreign] },
  };
  const isEnough = (installed: object, lock: object = wanted): boolean => {
    write("package-lock.json", JSON.stringify({ packages: lock }));
    write("node_modules/.package-lock.json", JSON.stringify({ packages: installed }));
    write("node_modules/a/package.json", "{}");
    return isInstalled(folder);
  };

  test("are there when npm's own notes say what the lock file says", () => {
    assert.ok(isEnough({ "node_modules/a": { version: "1.0.0" } }));
    assert.ok(!isEnough({}));
    assert.ok(!isEnough({ "node_modules/a": { version: "1.0.1" } }));
    assert.ok(
      !isEnough({ "node_modules/a": { version: "1.0.0" } }, { ...wanted, "node_modules/b": { version: "1.0.0" } }),
    );
  });

  test("of other platforms are not missed, gone ones are", () => {
    const here = { ...wanted, "node_modules/c": { version: "1.0.0", optional: true, os: [process.platform] } };
    assert.ok(!isEnough({ "node_modules/a": { version: "1.0.0" } }, here));
    assert.ok(isEnough({ "node_modules/a": { version: "1.0.0" } }));
    rmSync(join(folder, "node_modules/a"), { recursive: true });
    assert.ok(!isInstalled(folder));
  });
});

describe("a fresh clone", () => {
  /** The set-up of a clone that asks for some Node, in an empty environment. */
  const setUp = (node: string): { status: number | null; stderr: string } => {
    const clone = `clone-${node}`;
    write(`${clone}/package.json`, JSON.stringify({ engines: { node: `>=${node}` } }));
    write(`${clone}/package-lock.json`, JSON.stringify({ packages: { "node_modules/a": { version: "1.0.0" } } }));
    const copy = write(`${clone}/scripts/setup.mjs`, readFileSync(new URL(script), "utf8"));
    return spawnSync(process.execPath, [copy], { env: { PATH: join(folder, "nothing") }, encoding: "utf8" });
  };

  test("with a Node that is too old says which it needs, and where to get it", () => {
    const { status, stderr } = setUp("999.1");
    assert.equal(status, 1);
    const found = process.versions.node;
    assert.ok(
      stderr.startsWith(`\nNode.js 999.1 or newer is needed, this is ${found} (${process.execPath}). `),
      stderr,
    );
    assert.match(stderr, /https:\/\/nodejs\.org .*run the command again\.\n$/);
    assert.ok(!existsSync(join(folder, "clone-999.1", ".build")), "nothing was begun");
  });

  test("without npm says where that comes from", () => {
    const { status, stderr } = setUp("20.19");
    assert.equal(status, 1);
    assert.match(stderr, /\nnpm is needed to install packages, .* https:\/\/nodejs\.org; .*run the command again\.\n$/);
  });
});

describe("Rust", () => {
  const check = (path: string): string => {
    const code = `(await import(${JSON.stringify(script)})).checkRust()`;
    const env = { PATH: path };
    return spawnSync(process.execPath, ["--input-type=module", "-e", code], { env, encoding: "utf8" }).stderr;
  };
  const tools = (version: string): string => {
    for (const name of ["cargo", "rustc"]) write(`${version}/${name}`, `#!/bin/sh\necho "${name} ${version} (x)"\n`);
    return join(folder, version);
  };

  test("that is missing or too old is named, with what to do", () => {
    assert.match(check(join(folder, "nothing")), /Rust 1\.\d+ or newer \(rustc and cargo\) is needed .*rustup\.rs/);
    assert.match(check(tools("1.70.0")), /Rust 1\.\d+ or newer is needed, this is rustc 1\.70\.0 .*rustup update/);
    assert.equal(check(tools("1.999.0")), "");
  });
});

test("`npm start` and dist/bin/etcd run Node with the same settings and flags", () => {
  const { scripts } = JSON.parse(readFileSync(join(packageRoot(), "package.json"), "utf8")) as {
    scripts: { start: string };
  };
  const [, settings, flags] = /; export (.*); exec "\$node"( .*) "\$0" "\$@"\n/.exec(commandText("etcd")) ?? [];
  assert.match(flags ?? "", /^( --[a-z\d-]+(=\d+)?)+$/);
  assert.equal(scripts.start, `${settings} node${flags} scripts/start.mjs`);
});

describe("a command", () => {
  write("bundle/bin/hello.js", "console.log(`hello ${process.argv.slice(2).join(',')}`);");
  write("package.json", '{ "type": "module" }');
  const run = (text: string, env: NodeJS.ProcessEnv): ReturnType<typeof spawnSync> =>
    spawnSync(write("dist/bin/hello", text), ["a b", "c"], { cwd: tmpdir(), env, encoding: "utf8" });
  write("dist/bundle/bin/hello.js", "console.log(`hello ${process.argv.slice(2).join(',')}`);");

  test("runs under the shell's Node, or else under the one that it was built with", () => {
    const path = dirname(process.execPath);
    assert.equal(run(commandText("hello"), { PATH: `${path}:/bin:/usr/bin` }).stdout, "hello a b,c\n");
    assert.equal(run(commandText("hello", process.execPath), { PATH: "/nope" }).stdout, "hello a b,c\n");
    assert.equal(run(commandText("hello", process.execPath), {}).stdout, "hello a b,c\n");
  });

  test("says what is missing when there is no Node", () => {
    const { status, stderr } = run(commandText("hello", "/nope/node"), { PATH: join(folder, "nothing") });
    assert.equal(status, 1);
    assert.equal(stderr, "hello: Node.js is needed (https://nodejs.org)\n");
  });
});
