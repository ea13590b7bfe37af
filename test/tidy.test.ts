/**
 * The repository's own rules: the import table, no cycles, the layout, and what style forbids that neither compiler
 * nor lint sees. Each rule is first shown to find what it is for, in a small tree made for it.
 */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { packageRoot } from "../src/base/index.js";
import { options } from "../src/config/index.js";
import { importTable } from "./tidy/import-table.js";
import { cycleFindings, importFindings } from "./tidy/imports.js";
import * as rules from "./tidy/rules.js";
import { readTree, type Tree } from "./tidy/tree.js";

const tree = readTree(packageRoot());

const table = {
  base: { folders: [] },
  core: { folders: [], pure: true },
  low: { folders: [], packages: ["yaml"] },
  "low/deep": { folders: ["low"] },
  high: { folders: ["low"] },
};

const treeOf = (files: Readonly<Record<string, string>>): Tree => new Map(Object.entries(files));

/** One file, as a tree. */
const file = (path: string, text: string): Tree => treeOf({ [path]: text });

describe("imports", () => {
  const find = (path: string, text: string): string[] => importFindings(file(path, text), table);

  test("the repository keeps to the table", () => assert.deepEqual(importFindings(tree, importTable), []));

  test("an edge that the table does not have is found", () => {
    assert.equal(find("src/low/a.ts", 'import { x } from "../high/index.js";').length, 1);
    assert.equal(find("src/low/a.ts", 'export { x } from "../high/index.js";').length, 1);
    assert.equal(find("src/low/a.ts", 'import type { X } from "../high/index.js";').length, 1);
    assert.equal(find("src/low/a.ts", 'const x = await import("../high/index.js");').length, 1);
    assert.equal(find("src/low/a.ts", 'import {\n  x,\n  y,\n} from "../high/index.js";').length, 1);
    assert.equal(find("src/low/a.ts", 'import "../high/index.js";').length, 1);
    assert.deepEqual(find("src/high/a.ts", 'import { x } from "../low/index.js";'), []);
    assert.deepEqual(find("src/low/deep/a.ts", 'import { x } from "../index.js";'), []);
    assert.equal(find("src/low/a.ts", 'import { x } from "./deep/index.js";').length, 1);
  });

  test("an import past another folder's index.ts is found", () => {
    assert.equal(find("src/high/a.ts", 'import { x } from "../low/x.js";').length, 1);
    assert.equal(find("test/a.ts", 'import { x } from "../src/low/x.js";').length, 1);
    assert.deepEqual(find("test/a.ts", 'import { x } from "../src/high/index.js";'), []);
    assert.deepEqual(find("src/low/a.ts", 'import { x } from "../base/index.js"; import { y } from "./y.js";'), []);
  });

  test("nothing imports test, bench and scripts", () => {
    assert.equal(find("src/low/a.ts", 'import { x } from "../../test/x.js";').length, 1);
    assert.equal(find("scripts/a.ts", 'import { x } from "../bench/x.js";').length, 1);
    assert.equal(find("scripts/a.ts", 'import { x } from "../test/x.js";').length, 1);
    assert.deepEqual(find("bench/a.ts", 'import { x } from "../test/support/index.js";'), []);
  });

  test("packages stay where they are named, and pure folders without Node's modules", () => {
    assert.equal(find("src/high/a.ts", 'import yaml from "yaml/sub";').length, 1);
    assert.deepEqual(find("src/low/a.ts", 'import yaml from "yaml/sub";'), []);
    assert.equal(find("src/core/a.ts", 'import fs from "node:fs";').length, 1);
    assert.deepEqual(find("src/core/a.test.ts", 'import test from "node:test";'), []);
    assert.equal(find("src/unknown/a.ts", "").length, 1);
  });
});

describe("cycles", () => {
  test("the repository has none", () => assert.deepEqual(cycleFindings(tree, importTable), []));

  test("cycles of folders and files are found, those of types alone between files are not", () => {
    const a = 'import { b } from "./b.js";';
    const files = cycleFindings(treeOf({ "src/low/a.ts": a, "src/low/b.ts": 'export { a } from "./a.js";' }), table);
    assert.deepEqual(files, ["cycle between files: src/low/a.ts → src/low/b.ts → src/low/a.ts"]);
    const types = treeOf({ "src/low/a.ts": a, "src/low/b.ts": 'import type { A } from "./a.js";' });
    assert.deepEqual(cycleFindings(types, table), []);
    const folders = treeOf({
      "src/low/a.ts": 'import type { B } from "../high/index.js";',
      "src/high/b.ts": 'import { a } from "../low/index.js";',
    });
    assert.deepEqual(cycleFindings(folders, table), ["cycle between folders: low → high → low"]);
  });
});

interface Example {
  readonly rule: (tree: Tree) => string[];
  readonly bad: readonly Tree[];
  readonly good: readonly Tree[];
}

const path = "src/low/a.ts";

const examples: Readonly<Record<string, Example>> = {
  "files open with their contract": {
    rule: rules.openingFindings,
    bad: [file(path, "const a = 1;"), file("native/core/src/a.rs", "use std;")],
    good: [file(path, "/** a */"), file("native/core/src/a.rs", "//! a"), file("test/a.ts", "const a = 1;")],
  },
  "files are short": {
    rule: rules.lengthFindings,
    bad: [file(path, "\n".repeat(401)), file("src/low/a.worker.ts", "\n".repeat(51))],
    good: [file(path, "\n".repeat(400)), file("src/proto/gen/a.ts", "\n".repeat(4000))],
  },
  "no decorators, re-exports by name": {
    rule: rules.languageFindings,
    bad: [file(path, "class A {\n  @log\n  a() {}\n}"), file(path, 'export * from "./b.js";')],
    good: [
      file(path, "/**\n * @param a\n@log\n */\nconst a = `\n@log\n`;"),
      file(path, 'export * from "./gen/index.js";'),
    ],
  },
  "raft is pure": {
    rule: rules.pureFindings,
    bad: [file("src/raft/a.ts", "async function a() {}"), file("src/raft/a.ts", "let a: Promise<void>;")],
    good: [file("src/raft/a.ts", "this.#async = config.asyncStorageWrites; // async"), file(path, "await a();")],
  },
  "the environment is read in bin/": {
    rule: rules.environmentFindings,
    bad: [file(path, "const a = process.env.A;")],
    good: [
      file("src/bin/a.ts", "process.argv"),
      file(path, "// process.env"),
      file("src/low/a.test.ts", "process.env"),
    ],
  },
  "nothing of one machine": {
    rule: rules.machineFindings,
    bad: [
      file("a.md", `see ${"/wo"}rk/x`),
      file("a.md", `see ${"/ro"}ot/x`),
      file("package-lock.json", '"resolved": "https://mirror.example/a.tgz"'),
    ],
    good: [file("a.md", "src/work/a, $HOME/root/x and a.work/b"), file("package-lock.json", '"integrity": "sha512"')],
  },
  "a TODO names its issue": {
    rule: rules.todoFindings,
    bad: [file(path, `// ${"TO"}DO later`)],
    good: [file(path, `// ${"TO"}DO(#4): watch`)],
  },
  "the layout": {
    rule: rules.layoutFindings,
    bad: [file("lib/a.ts", ""), file("notes.txt", "")],
    good: [file(path, ""), file(".ci/run", "")],
  },
  "versions are pinned": {
    rule: rules.pinFindings,
    bad: [file("package.json", '{"dependencies":{"a":"^1.0.0"}}')],
    good: [file("package.json", '{"devDependencies":{"a":"1.0.0"}}')],
  },
};

for (const [name, { rule, bad, good }] of Object.entries(examples)) {
  describe(name, () => {
    test("the repository keeps to it", () => assert.deepEqual(rule(tree), []));
    test("the rule finds what it is for", () => {
      for (const [i, one] of bad.entries()) assert.equal(rule(one).length, 1, `bad example ${i}`);
      for (const [i, one] of good.entries()) assert.deepEqual(rule(one), [], `good example ${i}`);
    });
  });
}

/** What lint and compiler refuse, in files made for it: rules that are switched off by mistake would go unseen. */
describe("lint and compiler", () => {
  const functionOf = (lines: number): string =>
    `export function a(): number {\n${"  b();\n".repeat(lines - 3)}  return 1;\n}\n`;
  const mistakes: Readonly<Record<string, string>> = {
    "no-explicit-any": "export let a: any;\n",
    "max-lines-per-function": `${functionOf(71)}declare function b(): void;\n`,
    "no-floating-promises": "export function a(): void {\n  b();\n}\ndeclare function b(): Promise<void>;\n",
    "no-default-export": "export default 1;\n",
    "no-restricted-globals": "export const a = Date.now();\n",
    "no-restricted-properties": "export const a = Math.random();\n",
    TS1294: "export enum A {\n  a,\n}\n",
  };
  const folder = mkdtempSync(join(tmpdir(), "etcd-ts-tidy-"));
  after(() => rmSync(folder, { recursive: true }));

  const bin = (name: string): string => join(packageRoot(), "node_modules", ".bin", name);
  const said = (command: string, args: readonly string[]): string => {
    const env = { ...process.env, OXLINT_TSGOLINT_PATH: bin("tsgolint") };
    const { stdout, stderr } = spawnSync(command, args, { cwd: folder, env, encoding: "utf8", timeout: 60_000 });
    return stdout + stderr;
  };

  test("find what they are for", () => {
    mkdirSync(join(folder, "src", "raft"), { recursive: true });
    const options = JSON.parse(readFileSync(join(packageRoot(), "tsconfig.json"), "utf8")) as {
      compilerOptions: object;
    };
    const compilerOptions = { ...options.compilerOptions, types: [], lib: ["es2023", "dom"], noEmit: true };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["src"] }));
    writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
    copyFileSync(join(packageRoot(), ".oxlintrc.json"), join(folder, ".oxlintrc.json"));
    for (const [name, text] of Object.entries(mistakes)) writeFileSync(join(folder, "src", "raft", `${name}.ts`), text);
    writeFileSync(join(folder, "src", "raft", "fine.ts"), `${functionOf(70)}declare function b(): void;\n`);
    const findings = said(bin("oxlint"), ["--type-aware", "--format=unix", "src"]) + said(bin("tsc"), ["-p", "."]);
    for (const name of Object.keys(mistakes)) {
      assert.match(findings, new RegExp(`raft/${name}\\.ts[^\\n]*${name}`), `${name} in\n${findings}`);
    }
    assert.doesNotMatch(findings, /fine\.ts/);
  });
});

describe("options", () => {
  test("those of the server are read, or say that they are not", () => {
    assert.deepEqual(rules.optionFindings(tree, options), []);
  });

  test("the rule finds what it is for", () => {
    const code = file(path, "config.maxTxnOps; // config.maxWals");
    assert.deepEqual(rules.optionFindings(code, { "max-txn-ops": {}, "max-wals": { noEffect: true } }), []);
    assert.equal(rules.optionFindings(code, { "max-txn-ops": { noEffect: true } }).length, 1);
    assert.equal(rules.optionFindings(code, { "max-wals": {} }).length, 1);
    assert.deepEqual(rules.optionFindings(code, { "max-wals": { notYet: true } }), []);
  });
});

describe("commands", () => {
  const manifest = JSON.parse(readFileSync(join(packageRoot(), "package.json"), "utf8")) as {
    bin: Record<string, string>;
  };
  for (const [name, command] of Object.entries(manifest.bin)) {
    test(`${name} has its run bit and runs anywhere with an empty environment`, () => {
      const path = join(packageRoot(), command);
      assert.equal(statSync(path).mode & 0o111, 0o111);
      const said = execFileSync(path, ["--version"], { cwd: tmpdir(), env: {}, encoding: "utf8" });
      assert.match(said, new RegExp(`^${name} Version: \\d+\\.\\d+\\.\\d+\n`));
    });
  }
});
