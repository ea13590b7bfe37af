import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { silentLogger } from "../base/index.js";
import { DataDirError } from "./data-access.js";
import { beginBootstrap, checkPairId, endBootstrap, holdDataDir, memberPaths, writePairId } from "./data-dir.js";

let root = "";
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "data-dir-"));
});
afterEach(() => rmSync(root, { recursive: true }));

const dataDir = (): string => join(root, "default.etcd");
const hold = (walDir = "") => holdDataDir(dataDir(), walDir, silentLogger);

/** What Wal.exists looks for. */
function writeWal(dir = memberPaths(dataDir(), "").walDir): void {
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, "0000000000000001-00000001.seg"), "log");
}
function writeDb(): void {
  mkdirSync(memberPaths(dataDir(), "").dbDir, { recursive: true });
  writeFileSync(join(memberPaths(dataDir(), "").dbDir, "data.mdb"), "db");
}

test("a new folder is made private and is fresh", () => {
  const held = hold();
  assert.ok(held.fresh);
  assert.equal(statSync(dataDir()).mode & 0o777, 0o700);
  assert.equal(statSync(held.paths.memberDir).mode & 0o777, 0o700);
  held.release();
});

test("with both halves it is not fresh; with one of them it is refused and left alone", () => {
  writeWal();
  assert.throws(hold, (error) => error instanceof DataDirError && /incomplete.*db is missing/s.test(error.message));
  assert.ok(existsSync(join(memberPaths(dataDir(), "").walDir, "0000000000000001-00000001.seg")));
  writeDb();
  const held = hold();
  assert.ok(!held.fresh);
  held.release();
  rmSync(memberPaths(dataDir(), "").walDir, { recursive: true });
  assert.throws(hold, /incomplete.*wal is missing/s);
});

test("a second holder is refused, with or without a WAL folder of its own", () => {
  const walDir = join(root, "wal");
  const held = hold(walDir);
  assert.throws(() => hold(walDir), /in use by another process/);
  assert.throws(() => holdDataDir(join(root, "other"), walDir, silentLogger), /in use by another process/);
  held.release();
  holdDataDir(join(root, "other"), walDir, silentLogger).release();
});

test("a bootstrap that was cut short is made anew, a finished one never", () => {
  const held = hold();
  beginBootstrap(held.paths);
  writeDb();
  held.release();
  const again = hold();
  assert.ok(again.fresh);
  assert.ok(!existsSync(again.paths.dbDir));
  beginBootstrap(again.paths);
  writeDb();
  writeWal();
  endBootstrap(again.paths);
  again.release();
  const done = hold();
  assert.ok(!done.fresh);
  done.release();
});

test("a bootstrap that was cut short leaves the log of another --wal-dir alone", () => {
  const held = hold();
  beginBootstrap(held.paths);
  held.release();
  const other = join(root, "other-wal");
  writeWal(other);
  assert.throws(() => hold(other), /the first start .* was cut short/);
  assert.ok(existsSync(join(other, "0000000000000001-00000001.seg")));
});

test("the data of a real etcd is refused, be it the database or the log alone", () => {
  const snap = join(dataDir(), "member", "snap");
  mkdirSync(snap, { recursive: true });
  writeFileSync(join(snap, "db"), "bolt");
  assert.throws(hold, /holds the data of an etcd member/);
  rmSync(snap, { recursive: true });
  const wal = memberPaths(dataDir(), "").walDir;
  mkdirSync(wal, { recursive: true });
  writeFileSync(join(wal, "0000000000000000-0000000000000000.wal"), "log");
  assert.throws(hold, /holds the data of an etcd member/);
  assert.deepEqual(existsSync(join(wal, "0000000000000000-0000000000000000.wal")), true);
});

test("a file in place of any of the folders is named, a folder in place of any of the files, and nothing is made", () => {
  const { memberDir, walDir, dbDir, snapDir, lockFile } = memberPaths(dataDir(), "");
  const elsewhere = join(root, "wal");
  for (const folder of [dataDir(), memberDir, walDir, dbDir, snapDir, elsewhere]) {
    if (folder !== dataDir() && folder !== elsewhere) mkdirSync(memberDir, { recursive: true });
    rmSync(folder, { recursive: true, force: true });
    writeFileSync(folder, "");
    assert.throws(() => hold(folder === elsewhere ? elsewhere : ""), /is not a folder/, folder);
    assert.ok(!existsSync(lockFile));
    rmSync(folder);
    rmSync(dataDir(), { recursive: true, force: true });
  }
  writeWal();
  writeDb();
  for (const file of [
    lockFile,
    join(dbDir, "lock.mdb"),
    join(dbDir, "pair"),
    join(walDir, "0000000000000009-00000000.seg"),
  ]) {
    mkdirSync(file);
    assert.throws(() => hold(), /is not a file/, file);
    rmSync(file, { recursive: true });
  }
});

test("a folder that others may enter draws etcd's warning, with its mode", () => {
  mkdirSync(dataDir());
  chmodSync(dataDir(), 0o751);
  const warnings: unknown[] = [];
  const logger = { ...silentLogger, warn: (_: string, fields?: object) => void warnings.push(fields) };
  holdDataDir(dataDir(), "", logger).release();
  assert.match(JSON.stringify(warnings), /exist, but the permission is ..drwxr-x--x../);
});

test("a log finds the database it belongs to, and refuses any other", () => {
  const held = hold();
  const { paths } = held;
  mkdirSync(paths.dbDir, { recursive: true });
  const id = Uint8Array.from({ length: 16 }, (_, i) => 200 + i);
  assert.throws(() => checkPairId(paths, id), /belong to different members/);
  writePairId(paths, id);
  checkPairId(paths, id);
  assert.throws(
    () =>
      checkPairId(
        paths,
        id.map((byte) => byte ^ 1),
      ),
    DataDirError,
  );
  held.release();
});
