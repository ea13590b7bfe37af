import assert from "node:assert/strict";
import { accessSync, chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { DataDirError, filesIn, refuseUnusable, type Access } from "./data-access.js";

let root = "";
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "data-access-"));
});
afterEach(() => rmSync(root, { recursive: true }));

const at = (name: string): string => join(root, name);

function refusal(folders: readonly string[], files: readonly string[], access?: Access): string {
  try {
    refuseUnusable({ folders: folders.map(at), files: () => files.map(at) }, access);
  } catch (error) {
    assert.ok(error instanceof DataDirError, String(error));
    return error.message;
  }
  return "";
}

/** The system as it answers a process that may not use `name`. */
const denying =
  (name: string, code: string): Access =>
  (path, mode) => {
    if (path === at(name)) throw Object.assign(new Error(`${code}: access`), { code });
    accessSync(path, mode);
  };

test("what is there and may be used passes, and so does what is missing; nothing is made", () => {
  mkdirSync(at("data/member"), { recursive: true });
  writeFileSync(at("data/member/lock"), "");
  assert.equal(refusal(["data", "data/member", "data/member/wal"], ["data/member/lock", "data/member/none"]), "");
  assert.equal(refusal(["a/b/c/d"], []), "");
  assert.ok(!existsSync(at("a")) && !existsSync(at("data/member/wal")));
});

test("a folder or file of another user is named, with its owner and what to do", () => {
  mkdirSync(at("data"));
  chmodSync(at("data"), 0o750);
  writeFileSync(at("data/segment"), "");
  const folder = refusal(["data"], [], denying("data", "EACCES"));
  assert.match(
    folder,
    /^\S+data cannot be used: this process runs as user \d+ .*owner is user \d+, its mode 750.*chown/,
  );
  assert.match(refusal(["data"], ["data/segment"], denying("data/segment", "EPERM")), /segment cannot be used.*chown/);
});

test("a folder that has yet to be made needs one above it that takes it", () => {
  mkdirSync(at("parent"));
  assert.match(refusal(["parent/data/member"], [], denying("parent", "EACCES")), /parent cannot be used.*Nothing was/);
});

test("a file system that is mounted read-only is named as such", () => {
  mkdirSync(at("data"));
  assert.match(refusal(["data"], [], denying("data", "EROFS")), /mounted read-only\. Mount it for writing/);
  assert.match(refusal(["data"], [], denying("data", "EIO")), /the system says EIO/);
});

test("a file in place of a folder, or the other way round, is named, however far above", () => {
  writeFileSync(at("file"), "");
  mkdirSync(at("folder"));
  for (const place of ["file", "file/data", "file/data/member"]) {
    assert.match(refusal([place], []), /file is not a folder\. Choose another --data-dir/, place);
  }
  assert.match(refusal(["folder"], ["folder"]), /folder is not a file/);
});

test("links: to nowhere and in a circle are named, to a folder are followed", () => {
  symlinkSync(at("nowhere"), at("dangling"));
  symlinkSync(at("circle"), at("circle"));
  mkdirSync(at("folder"));
  symlinkSync(at("folder"), at("link"));
  assert.match(refusal(["dangling/member"], []), /dangling is a link to a place that does not exist/);
  assert.match(refusal(["circle"], []), /the system says ELOOP/);
  assert.equal(refusal(["link", "link/member"], []), "");
});

test("the files of a folder are those whose names match; of no folder, none", () => {
  mkdirSync(at("wal"));
  for (const name of ["b.seg", "a.seg", "other"]) writeFileSync(at(`wal/${name}`), "");
  assert.deepEqual(filesIn(at("wal"), /\.seg$/), [at("wal/a.seg"), at("wal/b.seg")]);
  assert.deepEqual([filesIn(at("none"), /./), filesIn(at("wal/other"), /./)], [[], []]);
});
