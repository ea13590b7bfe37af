/**
 * `npm test` and `npm run check`: runs the suites of the table one after the other and sums up.
 *
 *   npm test                     every suite
 *   npm run check                the quick ones
 *   npm test -- unit tidy        those named
 *
 * The last line is `N passed, N failed, N skipped`. The exit status is 0 only when something passed and nothing
 * failed, no budget was exceeded and no test file was left out.
 */
import { killRunning, runSuite, type SuiteResult } from "./run-suite.js";
import { allSuites, testFiles, type Suite } from "./suites.js";

/** Compiled test files that no suite of the table runs. */
export function forgottenFiles(suites: readonly Suite[], files: readonly string[]): string[] {
  const known = new Set(suites.flatMap((suite) => (suite.kind === "node" ? suite.files : [])));
  return files.filter((file) => !known.has(file));
}

/** The suites that the arguments ask for; undefined when they name one that is not there. */
export function chosenSuites(suites: readonly Suite[], args: readonly string[]): readonly Suite[] | undefined {
  const names = args.filter((arg) => !arg.startsWith("--"));
  if (names.some((name) => !suites.some((suite) => suite.name === name))) return undefined;
  if (names.length > 0) return suites.filter((suite) => names.includes(suite.name));
  return args.includes("--quick") ? suites.filter((suite) => suite.quick) : suites;
}

/** One line a suite. */
export function resultLine({ name, counts, seconds, problem }: SuiteResult): string {
  const { passed, failed, skipped } = counts;
  const tail = problem === undefined ? "" : `: ${problem}`;
  const mark = failed === 0 ? "ok  " : "FAIL";
  return `${mark} ${name.padEnd(18)} ${passed} passed, ${failed} failed, ${skipped} skipped, ${seconds.toFixed(1)} s${tail}`;
}

/** The closing line, alone on its line; tools read it. */
export function closingLine(results: readonly SuiteResult[]): string {
  const sum = (of: (result: SuiteResult) => number): number => results.reduce((total, result) => total + of(result), 0);
  return `${sum((r) => r.counts.passed)} passed, ${sum((r) => r.counts.failed)} failed, ${sum((r) => r.counts.skipped)} skipped`;
}

function stopOnSignals(): void {
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const) {
    process.once(signal, () => {
      killRunning();
      process.exit(code);
    });
  }
}

/** Runs what the arguments ask for and returns the exit status. */
export async function main(args: readonly string[]): Promise<number> {
  stopOnSignals();
  const suites = allSuites();
  const chosen = chosenSuites(suites, args);
  if (chosen === undefined) {
    process.stdout.write(`suites: ${suites.map((suite) => suite.name).join(", ")}\n0 passed, 1 failed, 0 skipped\n`);
    return 1;
  }
  const results: SuiteResult[] = [];
  for (const suite of chosen) {
    process.stdout.write(`\n== ${suite.name}\n`);
    results.push(await runSuite(suite));
    process.stdout.write(`${resultLine(results.at(-1)!)}\n`);
  }
  const forgotten = forgottenFiles(suites, testFiles("."));
  for (const file of forgotten) process.stdout.write(`no suite of test/suites/suites.ts runs ${file}\n`);
  if (forgotten.length > 0) {
    const counts = { passed: 0, failed: forgotten.length, skipped: 0 };
    results.push({ name: "forgotten files", counts, seconds: 0, problem: undefined });
  }
  process.stdout.write(`\n${results.map(resultLine).join("\n")}\n\n${closingLine(results)}\n`);
  const isGood = results.every(({ counts }) => counts.failed === 0) && results.some(({ counts }) => counts.passed > 0);
  return isGood ? 0 : 1;
}
