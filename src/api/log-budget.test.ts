import assert from "node:assert/strict";
import { mock, test } from "node:test";
import type { LogFields, Logger } from "../base/index.js";
import { LogBudget } from "./log-budget.js";
import { RequestLog } from "./request-stats.js";

/** A logger, and what it was given. */
function recorder(): { logger: Logger; lines: [string, LogFields][] } {
  const lines: [string, LogFields][] = [];
  const note = (message: string, fields: LogFields = {}): void => void lines.push([message, fields]);
  const logger: Logger = { debug: note, info: note, warn: note, error: note, named: () => logger };
  return { logger, lines };
}

test("fifty calls at once and 100 a second are logged, the others counted and told of in one line", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const { logger, lines } = recorder();
    let now = 5;
    const budget = new LogBudget(logger, () => now);
    const taken = (count: number): number => Array.from({ length: count }, () => budget.take()).filter(Boolean).length;
    assert.equal(taken(10_000), 50);
    now += 9;
    assert.equal(taken(1), 0);
    now += 1;
    assert.equal(taken(2), 1);
    now += 100;
    assert.equal(taken(12), 10);
    now += 60_000;
    assert.equal(taken(50), 50);
    assert.deepEqual(lines, []);
    mock.timers.tick(1000);
    assert.deepEqual(lines, [["too many slow requests to log each", { "not logged": 9_954 }]]);
    mock.timers.tick(10_000);
    assert.equal(lines.length, 1, "nothing was left out since");
    assert.equal(taken(2), 0);
    mock.timers.tick(1000);
    assert.deepEqual(lines[1], ["too many slow requests to log each", { "not logged": 2 }]);
  } finally {
    mock.timers.reset();
  }
});

test("a member on which everything is slow does not log everything, but at level debug", () => {
  const slow = {
    path: "/etcdserverpb.Lease/LeaseGrant",
    milliseconds: 500,
    remote: "127.0.0.1:1",
    request: new Uint8Array(0),
    requestBytes: 0,
    responseBytes: 0,
    answer: { field2: 0, field4: 0, messages2: 0, messages3: 0, revision: 0 },
  };
  const linesOf = (logsDebug: boolean): number => {
    const { logger, lines } = recorder();
    const log = new RequestLog({ logger, logsDebug, slowAfterMs: 300 });
    const began = performance.now();
    for (let i = 0; i < 5000; i++) log.add(slow);
    const most = 51 + (performance.now() - began) / 10;
    if (!logsDebug) assert.ok(lines.length <= most, `${lines.length} lines`);
    return lines.length;
  };
  assert.ok(linesOf(false) >= 50);
  assert.equal(linesOf(true), 5000);
});
