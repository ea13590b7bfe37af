/**
 * Counts of one suite, and how node:test's events add to them. A group of tests that fails because one of its
 * tests did counts no second time; a test marked todo counts as skipped, whatever it did.
 */

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** The part of node:test's pass and fail events that counting needs. */
export interface TestEvent {
  readonly name: string;
  readonly file?: string | undefined;
  readonly skip?: string | boolean | undefined;
  readonly todo?: string | boolean | undefined;
  readonly details: { readonly type?: string | undefined; readonly error?: unknown };
}

export type Outcome = "passed" | "failed" | "skipped" | "uncounted";

const isMarked = (mark: string | boolean | undefined): boolean => mark !== undefined && mark !== false;

/** Whether the event is that of a whole file: node:test reports one when the file ran no test, or crashed. */
const isFile = ({ name, file }: TestEvent): boolean => file !== undefined && name === file;

/** What one event counts as. A file without any test is a failure: it looks tested and is not. */
export function outcomeOf(kind: "pass" | "fail", event: TestEvent): Outcome {
  if (isFile(event)) return "failed";
  if (kind === "fail" && failureType(event.details.error) === "subtestsFailed") return "uncounted";
  if (event.details.type === "suite") return kind === "fail" ? "failed" : "uncounted";
  if (isMarked(event.skip) || isMarked(event.todo)) return "skipped";
  return kind === "pass" ? "passed" : "failed";
}

function failureType(error: unknown): unknown {
  return typeof error === "object" && error !== null && "failureType" in error ? error.failureType : undefined;
}

/** Adds the counts that cargo prints for each of its test programs. */
export function addCargoLine(counts: Counts, line: string): void {
  const found = /^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;/.exec(line);
  if (found === null) return;
  counts.passed += Number(found[1]);
  counts.failed += Number(found[2]);
  counts.skipped += Number(found[3]);
}
