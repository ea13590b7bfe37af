/** A file that goes bad under LMDB's map while it is open: the process ends with a word, never by a signal alone. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { platform, tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("fault-end.test-support.js", import.meta.url));
const skip = platform() === "linux" ? false : "faults are named on Linux alone";

function run(t: TestContext, ...args: string[]): { code: number | null; signal: string | null; stderr: string } {
  const folder = mkdtempSync(join(tmpdir(), "etcd-ts-fault-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [program, join(folder, "db"), ...args], {
    encoding: "utf8",
    timeout: 60_000,
    killSignal: "SIGKILL",
  });
  assert.match(stdout, /^damaged$/m, stderr);
  return { code: status, signal, stderr };
}

/** The fatal line, which is one in the log's form. */
function fatalLine(stderr: string): { level: string; msg: string; error: string; ts: string; caller: string } {
  const line = stderr.split("\n").find((each) => each.startsWith('{"level":"fatal"'));
  assert.ok(line, stderr);
  return JSON.parse(line) as ReturnType<typeof fatalLine>;
}

test("a page that the disk cannot give is named, and the process ends with 1", { skip }, (t) => {
  const { code, stderr } = run(t, "cut");
  assert.equal(code, 1);
  const { msg, error, ts, caller } = fatalLine(stderr);
  assert.equal(msg, "failed to read the database");
  assert.match(error, /^page \d+ of \/\S+\/db\/data\.mdb cannot be read \(SIGBUS\): .*Start again/);
  assert.ok(Math.abs(Date.parse(ts) - Date.now()) < 600_000, ts);
  assert.match(caller, /^\S+\/\S+:\d+$/);
});

test("a page that LMDB gives up on ends the process with 1 and what to do", { skip }, (t) => {
  const { code, stderr } = run(t, "rot");
  assert.equal(code, 1, stderr);
  assert.match(fatalLine(stderr).error, /^a page of it is not what LMDB expects \(SIGABRT\): .*Start again/);
});

for (const name of ["SIGABRT", "SIGBUS", "SIGSEGV"]) {
  test(`${name} of others ends the process as ever, and V8's own traps are its own`, { skip }, (t) => {
    const { signal, stderr } = run(t, name);
    assert.equal(signal, name, stderr);
    assert.doesNotMatch(stderr, /"fatal"/, "nobody's address is named for a signal that was sent");
  });
}
