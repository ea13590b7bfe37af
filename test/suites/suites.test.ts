/** The runner of the suites: that it counts right, and that each way to fail is a failure. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { packageRoot } from "../../src/base/index.js";
import { chosenSuites, closingLine, forgottenFiles, resultLine } from "./run.js";
import { runSuite, type SuiteResult } from "./run-suite.js";
import { allSuites, budgetSMax, testFiles, type Suite } from "./suites.js";
import { addCargoLine, outcomeOf, type TestEvent } from "./tally.js";

const suites = allSuites();

describe("the table", () => {
  test("keeps within the whole budget", () => {
    const sum = suites.reduce((total, { budgetS }) => total + budgetS, 0);
    assert.ok(sum <= budgetSMax, `${sum} s of ${budgetSMax}`);
  });

  test("names every test file, each once", () => {
    assert.deepEqual(forgottenFiles(suites, testFiles(".")), []);
    const files = suites.flatMap((suite) => (suite.kind === "node" ? suite.files : []));
    assert.equal(new Set(files).size, files.length);
    assert.equal(new Set(suites.map((suite) => suite.name)).size, suites.length);
  });

  test("a file that no suite runs is found", () => {
    assert.deepEqual(forgottenFiles(suites, ["/x/lost.test.js"]), ["/x/lost.test.js"]);
  });

  test("suites are chosen by name, or the quick ones, or all", () => {
    const names = (args: string[]): string[] | undefined => chosenSuites(suites, args)?.map((suite) => suite.name);
    assert.deepEqual(names(["unit", "tidy"]), ["tidy", "unit"]);
    assert.deepEqual(
      names(["--quick"]),
      suites.filter((suite) => suite.quick).map((suite) => suite.name),
    );
    assert.equal(names([])?.length, suites.length);
    assert.equal(names(["nope"]), undefined);
  });
});

describe("counting", () => {
  const event = (more: Partial<TestEvent>): TestEvent => ({ name: "a", file: "/a.test.js", details: {}, ...more });
  const failure = (failureType: string): TestEvent => event({ details: { error: { failureType } } });

  test("tests count once, whatever holds them", () => {
    assert.equal(outcomeOf("pass", event({})), "passed");
    assert.equal(outcomeOf("fail", failure("testCodeFailure")), "failed");
    assert.equal(outcomeOf("fail", failure("subtestsFailed")), "uncounted");
    assert.equal(outcomeOf("pass", event({ details: { type: "suite" } })), "uncounted");
    assert.equal(
      outcomeOf("fail", event({ details: { type: "suite", error: { failureType: "hookFailed" } } })),
      "failed",
    );
  });

  test("skipped and todo are skipped", () => {
    assert.equal(outcomeOf("pass", event({ skip: "why" })), "skipped");
    assert.equal(outcomeOf("pass", event({ skip: true })), "skipped");
    assert.equal(outcomeOf("fail", event({ todo: true })), "skipped");
    assert.equal(outcomeOf("pass", event({ skip: false })), "passed");
  });

  test("a file that crashed or holds no test is a failure", () => {
    assert.equal(outcomeOf("pass", event({ name: "/a.test.js" })), "failed");
    assert.equal(outcomeOf("fail", event({ name: "/a.test.js" })), "failed");
  });

  test("cargo's lines", () => {
    const counts = { passed: 0, failed: 0, skipped: 0 };
    for (const line of [
      "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.00s",
      "test wal::x ... ok",
      "test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
    ]) {
      addCargoLine(counts, line);
    }
    assert.deepEqual(counts, { passed: 16, failed: 1, skipped: 3 });
  });

  test("lines for people and tools", () => {
    const result = (passed: number, failed: number): SuiteResult => {
      return { name: "x", counts: { passed, failed, skipped: 2 }, seconds: 1.23, problem: undefined };
    };
    assert.equal(closingLine([result(3, 0), result(4, 1)]), "7 passed, 1 failed, 4 skipped");
    assert.equal(closingLine([]), "0 passed, 0 failed, 0 skipped");
    assert.match(resultLine(result(3, 0)), /^ok {3}x +3 passed, 0 failed, 2 skipped, 1.2 s$/);
    assert.match(resultLine({ ...result(3, 1), problem: "late" }), /^FAIL x +3 passed, 1 failed, .*: late$/);
  });
});

/** Whether the process is gone, or dead and not yet collected by its new parent. */
function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return process.platform === "linux" && readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
  } catch {
    return true;
  }
}

describe("running", () => {
  const folder = mkdtempSync(join(tmpdir(), "etcd-ts-suites-"));
  after(() => rmSync(folder, { recursive: true }));
  const about = { name: "x", budgetS: 30, quick: true };

  const run = (text: string, budgetS = 30): Promise<SuiteResult> => {
    const file = join(folder, `${Math.random()}.test.mjs`);
    writeFileSync(file, `import { test } from "node:test";\n${text}`);
    return runSuite({ ...about, kind: "node", budgetS, concurrency: 1, files: [file] }, "ignore");
  };
  const command = (script: string): Suite => {
    return { ...about, kind: "command", command: "/bin/sh", args: ["-c", script] };
  };

  test("counts of node:test come from all files and levels", async () => {
    const { counts, problem } = await run(
      'test("a", () => {}); test("b", async (t) => { await t.test("c", () => {}); }); test("d", { skip: true }, () => {});',
    );
    assert.deepEqual(counts, { passed: 3, failed: 0, skipped: 1 });
    assert.equal(problem, undefined);
  });

  test("a failing test, a crash, a file without tests and an exit in the midst are failures", async () => {
    assert.deepEqual((await run('test("a", () => { throw new Error("on purpose"); });')).counts.failed, 1);
    assert.ok((await run('throw new Error("on purpose");')).counts.failed > 0);
    assert.ok((await run("")).counts.failed > 0);
    assert.ok((await run('test("a", () => {}); test("b", () => process.exit(3));')).counts.failed > 0);
  });

  test("at the end of its budget a suite and all that it started are killed", async () => {
    const pidFile = join(folder, "pid");
    const result = await run(
      `import { spawn } from "node:child_process"; import { writeFileSync } from "node:fs";
      test("a", async () => {
        writeFileSync(${JSON.stringify(pidFile)}, String(spawn("sleep", ["100"]).pid));
        await new Promise((resolve) => setTimeout(resolve, 100_000));
      });`,
      2,
    );
    assert.equal(result.counts.failed, 1);
    assert.match(result.problem ?? "", /^killed after its budget of 2 s while running [\d.]+\.test\.mjs$/);
    // The signal has been sent; on a loaded machine a process takes a moment to die of it.
    const pid = Number(readFileSync(pidFile, "utf8"));
    for (let waits = 0; !isGone(pid) && waits < 500; waits++) await delay(10);
    assert.ok(isGone(pid));
  });

  test("a suite without files ran no test", async () => {
    const { counts, problem } = await runSuite({ ...about, kind: "node", concurrency: 1, files: [] });
    assert.equal(counts.failed, 1);
    assert.equal(problem, "ran no test");
  });

  test("a command passes or fails as a whole", async () => {
    assert.deepEqual((await runSuite(command("exit 0"))).counts, { passed: 1, failed: 0, skipped: 0 });
    const failed = await runSuite(command("exit 7"));
    assert.deepEqual(failed.counts, { passed: 0, failed: 1, skipped: 0 });
    assert.equal(failed.problem, "ended with 7");
    const missing = await runSuite({ ...about, kind: "command", command: join(packageRoot(), "nope"), args: [] });
    assert.equal(missing.counts.failed, 1);
  });
});
