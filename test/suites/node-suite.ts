/**
 * Runs test files under node:test, one process a file, and tells its parent of every outcome as it comes.
 * `node node-suite.js <concurrency> <files…>`; prints what failed, and what the tests themselves print.
 */
import { run } from "node:test";
import { inspect } from "node:util";
import { outcomeOf, type Outcome, type TestEvent } from "./tally.js";

/** What this process tells its parent: a test's outcome, and which files run. */
export type NodeSuiteMessage =
  | { readonly outcome: Exclude<Outcome, "uncounted"> }
  | { readonly file: string; readonly isDone: boolean };

function send(message: NodeSuiteMessage): void {
  process.send?.(message);
}

/** A test that takes longer is named: the next one to look at when a budget gets tight. */
const slowMs = 10_000;

/** The assertion or error itself, not node:test's wrapping of it. */
function causeOf(error: unknown): unknown {
  return error instanceof Error && error.cause !== undefined ? error.cause : error;
}

function tell(kind: "pass" | "fail", event: TestEvent & { details: { duration_ms?: number } }): void {
  const outcome = outcomeOf(kind, event);
  if (outcome === "uncounted") return;
  const where = event.file === undefined ? "" : ` (${event.file.replace(/^.*\/dist\//, "")})`;
  if (outcome === "failed") {
    const why = kind === "pass" ? "the file holds no test" : inspect(causeOf(event.details.error), { depth: 4 });
    process.stdout.write(`✖ ${event.name}${where}\n${why.replace(/^/gm, "    ")}\n`);
  } else if ((event.details.duration_ms ?? 0) > slowMs) {
    process.stdout.write(`  slow: ${event.name}${where}: ${(event.details.duration_ms! / 1000).toFixed(1)} s\n`);
  }
  send({ outcome });
}

/** The events of node:test that are of interest here; its own types leave them `any`. */
type RunEvent =
  | { readonly type: "test:pass" | "test:fail"; readonly data: TestEvent & { details: { duration_ms?: number } } }
  | {
      readonly type: "test:dequeue" | "test:complete";
      readonly data: { readonly name: string; readonly file?: string };
    }
  | { readonly type: "test:stdout" | "test:stderr"; readonly data: { readonly message: string } }
  | { readonly type: "test:diagnostic"; readonly data: { readonly message: string; readonly file?: string } };

async function main(concurrency: number, files: string[]): Promise<void> {
  for await (const event of run({ files, concurrency }) as AsyncIterable<RunEvent>) {
    if (event.type === "test:dequeue" || event.type === "test:complete") {
      const { name, file } = event.data;
      if (file !== undefined && name === file) send({ file, isDone: event.type === "test:complete" });
    } else if (event.type === "test:pass") tell("pass", event.data);
    else if (event.type === "test:fail") tell("fail", event.data);
    else if (event.type === "test:stdout" || event.type === "test:stderr") process.stdout.write(event.data.message);
    else if (event.type === "test:diagnostic" && event.data.file !== undefined)
      process.stdout.write(`  ${event.data.message}\n`);
  }
  process.disconnect?.();
}

const [concurrency, ...files] = process.argv.slice(2);
await main(Number(concurrency), files);
