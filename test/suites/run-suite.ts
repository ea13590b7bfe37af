/**
 * Runs one suite in a process group of its own, within its budget: at the end of the budget, or when this run is
 * interrupted, the whole group is killed, servers that a test started included.
 */
import { spawn, type ChildProcess, type StdioOptions } from "node:child_process";
import { basename } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { packageRoot } from "../../src/base/index.js";
import type { NodeSuiteMessage } from "./node-suite.js";
import { addCargoLine, type Counts } from "./tally.js";
import type { Suite } from "./suites.js";

export interface SuiteResult {
  readonly name: string;
  readonly counts: Readonly<Counts>;
  readonly seconds: number;
  /** What went wrong besides failing tests. */
  readonly problem: string | undefined;
}

/** Groups that run now, for kills from outside. */
const running = new Set<ChildProcess>();

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    // The group is gone already.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Kills what runs; for the end of an interrupted run. */
export function killRunning(): void {
  for (const child of running) killGroup(child);
}

type Output = "inherit" | "ignore";

function commandOf(suite: Suite, output: Output): { command: string; args: readonly string[]; stdio: StdioOptions } {
  switch (suite.kind) {
    case "node": {
      const args = [
        fileURLToPath(new URL("node-suite.js", import.meta.url)),
        String(suite.concurrency),
        ...suite.files,
      ];
      return { command: process.execPath, args, stdio: ["ignore", output, output, "ipc"] };
    }
    case "cargo":
      return { command: "cargo", args: suite.args, stdio: ["ignore", "pipe", output] };
    case "command":
      return { command: suite.command, args: suite.args, stdio: ["ignore", output, output] };
  }
}

interface End {
  readonly code: number | null;
  readonly isLate: boolean;
  readonly error: Error | undefined;
}

function watch(child: ChildProcess, budgetS: number): Promise<End> {
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    killGroup(child);
  }, budgetS * 1000);
  return new Promise((resolve) => {
    const end = (code: number | null, error?: Error): void => {
      clearTimeout(timer);
      // A test that leaves a server behind must not disturb the next suite.
      killGroup(child);
      running.delete(child);
      resolve({ code, isLate, error });
    };
    child.once("error", (error) => end(null, error));
    child.once("close", (code) => end(code));
  });
}

/** What is known of a suite while it runs. */
interface State {
  readonly counts: Counts;
  /** Test files under way. */
  readonly files: Set<string>;
}

/** Follows the suite: over IPC from node:test, by cargo's output. */
function follow(suite: Suite, child: ChildProcess, { counts, files }: State): void {
  if (suite.kind === "node") {
    child.on("message", (message: NodeSuiteMessage) => {
      if ("outcome" in message) counts[message.outcome]++;
      else if (message.isDone) files.delete(message.file);
      else files.add(message.file);
    });
  }
  if (suite.kind === "cargo") {
    createInterface(child.stdout!).on("line", (line) => {
      addCargoLine(counts, line);
      process.stdout.write(`${line}\n`);
    });
  }
}

/** What to say of an end that the counts alone do not tell. */
function problemOf(suite: Suite, { counts, files }: State, { code, isLate, error }: End): string | undefined {
  if (error !== undefined) return `cannot run: ${error.message}`;
  const during = files.size === 0 ? "" : ` while running ${[...files].map((file) => basename(file)).join(", ")}`;
  if (isLate) return `killed after its budget of ${suite.budgetS} s${during}`;
  if (code !== 0 && (suite.kind !== "node" || counts.failed === 0)) return `ended with ${code}${during}`;
  if (suite.kind !== "command" && counts.passed + counts.failed + counts.skipped === 0) return "ran no test";
  return undefined;
}

/** Runs the suite. Never throws: what goes wrong is in the result, as at least one failure. */
export async function runSuite(suite: Suite, output: Output = "inherit"): Promise<SuiteResult> {
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  const start = performance.now();
  const { command, args, stdio } = commandOf(suite, output);
  // A run inside a test, as this runner's own tests are, must not take itself for a part of that test's file.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const child = spawn(command, args, { cwd: packageRoot(), env, stdio, detached: true });
  running.add(child);
  const state: State = { counts, files: new Set() };
  follow(suite, child, state);
  const end = await watch(child, suite.budgetS);
  const problem = problemOf(suite, state, end);
  if (problem !== undefined && (suite.kind === "command" || counts.failed === 0 || end.isLate)) counts.failed++;
  else if (suite.kind === "command") counts.passed++;
  return { name: suite.name, counts, seconds: (performance.now() - start) / 1000, problem };
}
