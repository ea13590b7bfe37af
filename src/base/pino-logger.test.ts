/** The shape of log lines, which scripts and process managers read. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { createLogger, isLogLevel, LogOutputError, type LoggerOptions, type RootLogger } from "./pino-logger.js";

const folder = mkdtempSync(join(tmpdir(), "etcd-ts-logger-"));
after(() => rmSync(folder, { recursive: true }));

/** What a logger writes into its file. */
function logged(options: Partial<LoggerOptions>, log: (logger: RootLogger) => void): string[] {
  const file = join(folder, "log");
  rmSync(file, { force: true });
  log(createLogger({ level: "info", format: "json", outputs: [file], ...options }));
  return readFileSync(file, "utf8").split("\n").slice(0, -1);
}

describe("json", () => {
  test("one object a line: level, ts, caller, msg, then fields", () => {
    const [line] = logged({}, (logger) => logger.info("started", { "member-id": "ab", n: 1 }));
    assert.match(
      line!,
      /^\{"level":"info","ts":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z","caller":"[\w-]+\/pino-logger\.test\.ts:\d+","msg":"started","member-id":"ab","n":1\}$/,
    );
  });

  test("the time is now, and does not go back", () => {
    const lines = logged({}, (logger) => {
      for (let i = 0; i < 100; i++) logger.info("tick");
    });
    const times = lines.map((line) => (JSON.parse(line) as { ts: string }).ts);
    assert.deepEqual(times, [...times].sort());
    assert.ok(Math.abs(Date.parse(times[0]!) - Date.now()) < 5000);
  });

  test("a named logger puts its name before the caller, nested names likewise", () => {
    const [line] = logged({}, (logger) => logger.named("raft").warn("election"));
    assert.match(line!, /^\{"level":"warn","ts":"[^"]+","logger":"raft","caller":"[^"]+","msg":"election"\}$/);
  });

  test("every level has etcd's name", () => {
    const lines = logged({ level: "debug" }, (logger) => {
      logger.debug("a");
      logger.info("b");
      logger.warn("c");
      logger.error("d");
      logger.fatal("e");
    });
    assert.deepEqual(
      lines.map((line) => (JSON.parse(line) as { level: string }).level),
      ["debug", "info", "warn", "error", "fatal"],
    );
  });

  test("IDs and errors are readable, and what JSON must escape is escaped", () => {
    const [line] = logged({}, (logger) => {
      logger.info("x", { id: 0xffff_ffff_ffff_ffffn, error: new Error('no "space"\n'), n: null });
    });
    const fields = JSON.parse(line!) as Record<string, unknown>;
    assert.deepEqual([fields["id"], fields["error"], fields["n"]], ["18446744073709551615", 'no "space"\n', null]);
  });
});

describe("levels", () => {
  const shown = (level: LoggerOptions["level"]): number =>
    logged({ level }, (logger) => {
      for (const each of ["debug", "info", "warn", "error", "fatal"] as const) logger[each]("x");
    }).length;

  test("show what is at least as grave", () => {
    assert.deepEqual((["debug", "info", "warn", "error", "panic", "fatal"] as const).map(shown), [5, 4, 3, 2, 1, 1]);
  });

  test("are known by etcd's names", () => {
    assert.ok(isLogLevel("panic"));
    for (const word of ["trace", "INFO", "", "toString"]) assert.ok(!isLogLevel(word), word);
  });
});

test("console lines are fields between tabs, for people", () => {
  const lines = logged({ format: "console" }, (logger) => {
    logger.info("a");
    logger.named("raft").info("b", { n: 1 });
  });
  assert.match(lines[0]!, /^[\dT:.-]+Z\tinfo\t[\w-]+\/pino-logger\.test\.ts:\d+\ta$/);
  assert.match(lines[1]!, /^[\dT:.-]+Z\tinfo\traft\t[\w-]+\/pino-logger\.test\.ts:\d+\tb\t\{"n":1\}$/);
});

describe("outputs", () => {
  test("all get every line; a file is added to", () => {
    const outputs = ["one", "two"].map((name) => join(folder, name));
    for (let i = 0; i < 2; i++) createLogger({ level: "info", format: "json", outputs }).info("x");
    const [one, two] = outputs.map((file) => readFileSync(file, "utf8"));
    assert.equal(one, two);
    assert.equal(one!.split("\n").length, 3);
  });

  test("one that cannot be opened is an error that names it", () => {
    assert.throws(
      () => createLogger({ level: "info", format: "json", outputs: ["/nope/x"] }),
      new LogOutputError('open sink "/nope/x": open /nope/x: no such file or directory'),
    );
  });
});
