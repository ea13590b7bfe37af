/**
 * A kube-apiserver's storage layer on ours: the tests of k8s.io/apiserver/pkg/storage/etcd3, unmodified, that is, of
 * its creates, updates, deletes, paged and streamed lists, watches, leases and its compactor, each test with a server
 * of its own. Only the helper that embeds an etcd is replaced (apiserver/testserver/), by one that starts the program
 * that it is told to.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { apiserverTests, ourCommand, temporaryFolder } from "../support/index.js";

const timeout = 300_000;
/** Fewer means that tests were not found. */
const passedMin = 500;
/** Some of these tests give the server 100 ms for what takes a disk: such a one gets further chances, alone. */
const againMax = 2;

interface Outcome {
  readonly code: number | null;
  readonly passed: readonly string[];
  readonly failed: readonly string[];
  readonly output: string;
}

/** Those alone that `only` names; empty: all. */
const runTests = (program: string, folder: string, only: readonly string[]): Promise<Outcome> =>
  new Promise((resolve, reject) => {
    const names = only.length > 0 ? [`-test.run=^(${only.join("|")})$`] : [];
    const args = ["-test.v", `-test.timeout=${timeout}ms`, ...names];
    const env = { PATH: process.env["PATH"] ?? "", TMPDIR: folder, HOME: folder, ETCD_COMMAND: ourCommand().join(" ") };
    const child = spawn(program, args, { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (output += chunk));
    child.once("error", reject);
    child.once("close", (code) => {
      const named = (word: string): string[] =>
        [...output.matchAll(new RegExp(`^\\s*--- ${word}: (\\S+)`, "gm"))].map((match) => match[1]!);
      resolve({ code, passed: named("PASS"), failed: named("FAIL"), output });
    });
  });

/** What the failed tests printed, or the end of it all. */
const reportOf = ({ failed, output }: Outcome): string => {
  const parts = output.split(/^(?==== RUN)/m);
  const own = failed.flatMap((name) => parts.filter((part) => part.startsWith(`=== RUN   ${name}\n`)));
  return `failed: ${failed.join(", ")}\n${own.map((part) => part.slice(0, 4000)).join("")}\n${output.slice(-2000)}`;
};

test("the apiserver's own storage tests pass", { timeout }, async (t) => {
  const program = await apiserverTests();
  if (program === null) {
    t.skip("skipped: Go is missing");
    return;
  }
  const folder = await temporaryFolder();
  try {
    let outcome = await runTests(program, folder.path, []);
    const { passed } = outcome;
    t.diagnostic(`${passed.length} tests passed`);
    assert.ok(passed.length >= passedMin, `only ${passed.length} tests ran\n${reportOf(outcome)}`);
    for (let again = 0; again < againMax && outcome.code !== 0; again++) {
      const failed = outcome.failed.filter((name) => !name.includes("/"));
      t.diagnostic(`once more: ${failed.join(", ")}`);
      assert.ok(failed.length > 0 && failed.length <= 3, reportOf(outcome));
      outcome = await runTests(program, folder.path, failed);
    }
    assert.equal(outcome.code, 0, reportOf(outcome));
  } finally {
    await folder.remove();
  }
});
