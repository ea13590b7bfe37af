/** Leadership given away: by a leader whose disk hangs or is slow, and on an operator's word. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fairWeather } from "./network.js";
import { runScenario } from "./run-scenario.js";
import { leader, type Fault, type Operation, type Scenario } from "./scenario.js";
import type { Trace, TracedCall } from "./trace.js";

const electionMs = 1000;
const faultMs = 5000;
const endMs = 30_000;

/** A put each tenth of a second at each member, from a client of its own. */
function puts(members: number): Operation[] {
  const list: Operation[] = [];
  for (let i = 0; i < (endMs - 2000) / 100; i++) {
    const member = i % members;
    const fields = { atMs: 2000 + i * 100, keys: [`k${member}`], value: `v${i}`, timeoutMs: 1000 };
    list.push({ ...fields, client: i, member, kind: "put" });
  }
  return list;
}

async function run(members: number, faults: readonly Fault[]): Promise<Trace> {
  const scenario: Scenario = {
    seed: 5,
    members,
    heartbeatMs: 100,
    electionMs,
    preVote: true,
    snapshotCount: 100_000,
    catchupEntries: 5000,
    limits: { maxSizePerMessage: 1 << 20, maxInflightMessages: 512, maxApplyingSize: 64 << 20 },
    durationMs: endMs,
    weather: fairWeather,
    faults,
    operations: puts(members),
  };
  const { failure, trace } = await runScenario(scenario, true);
  assert.equal(failure, null);
  return trace!;
}

interface Leadership {
  readonly name: string;
  readonly atMs: number;
}

/** Who began to lead when. */
function leaders(trace: Trace): Leadership[] {
  return trace.notes
    .filter(({ kind, member }) => kind === "leader" && member !== null)
    .map(({ member, atMs }) => ({ name: member!, atMs }));
}

function callsOf(trace: Trace, [from, to]: readonly [number, number], not: string): readonly TracedCall[] {
  return trace.calls.filter(({ member, beginMs }) => member !== not && beginMs >= from && beginMs < to);
}

const faults: readonly [string, Fault][] = [
  ["hangs", { kind: "hungDisk", atMs: faultMs, member: leader, forMs: 20_000 }],
  ["is slow", { kind: "slowDisk", atMs: faultMs, member: leader, forMs: 20_000, syncMs: 3000, flushMs: 3000 }],
];
for (const [what, fault] of faults) {
  test(`a leader whose disk ${what} hands leadership over, and the others go on`, async () => {
    const trace = await run(3, [fault]);
    const [first, second, ...others] = leaders(trace);
    assert.ok(second !== undefined && second.name !== first!.name, "somebody else leads");
    const tookMs = second.atMs - faultMs;
    assert.ok(tookMs > 2 * electionMs && tookMs < 4 * electionMs, `after ${tookMs} ms`);
    assert.deepEqual(others, [], "and goes on leading");
    // All that is asked of the others from then on is done.
    const calls = callsOf(trace, [second.atMs + 500, faultMs + 20_000], first!.name);
    assert.ok(calls.length > 100);
    assert.deepEqual([...new Set(calls.map(({ outcome }) => outcome))], ["ok"]);
  });
}

test("of two members, the one whose disk hangs goes on leading: the other could not write without it", async () => {
  const trace = await run(2, [{ kind: "hungDisk", atMs: faultMs, member: leader, forMs: 10_000 }]);
  assert.equal(leaders(trace).length, 1);
});

test("a pause of the disk that is shorter changes nothing", async () => {
  const trace = await run(3, [{ kind: "hungDisk", atMs: faultMs, member: leader, forMs: 1500 }]);
  assert.equal(leaders(trace).length, 1);
});

test("leadership is moved on an operator's word, and nothing is lost by it", async () => {
  const target = (await run(3, [])).notes.find(({ kind }) => kind === "leader")!.member === "m0" ? 1 : 0;
  const trace = await run(3, [{ kind: "moveLeader", atMs: faultMs, member: leader, target }]);
  const [, second] = leaders(trace);
  assert.equal(second!.name, `m${target}`);
  assert.ok(second!.atMs - faultMs < 100, `after ${second!.atMs - faultMs} ms`);
});
