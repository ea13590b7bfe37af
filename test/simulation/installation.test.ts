/**
 * A follower that was away gets a snapshot and crashes between each two steps of its installation, once or twice: it
 * starts again from log and store, and is as far as the others. Every run is checked as all simulations are.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { installPoints, writePoints, type FaultPoint } from "./log-door.js";
import { fairWeather } from "./network.js";
import { runScenario } from "./run-scenario.js";
import type { Fault, Operation, Scenario } from "./scenario.js";

const away = 2;
const downMs = 300;
const awayMs = [2000, 8000] as const;

/** Puts at the other two, so many that what the one that is away needs next is no longer in their logs. */
const operations: Operation[] = Array.from({ length: 200 }, (_, i) => ({
  atMs: 1500 + i * 60,
  client: i % 2,
  member: i % 2,
  kind: "put",
  keys: [`k${i % 7}`],
  value: `v${i}`,
  timeoutMs: 1000,
}));

async function run(faults: readonly Fault[]): Promise<{ installs: number; crashes: number }> {
  const links = [0, 1].flatMap((other) => [[other, away] as const, [away, other] as const]);
  const scenario: Scenario = {
    seed: 3,
    members: 3,
    heartbeatMs: 100,
    electionMs: 1000,
    preVote: true,
    snapshotCount: 20,
    catchupEntries: 5,
    limits: { maxSizePerMessage: 500, maxInflightMessages: 8, maxApplyingSize: 2000, snapshotGraceMs: 500 },
    durationMs: 14_000,
    weather: fairWeather,
    faults: [{ kind: "cut", atMs: awayMs[0], forMs: awayMs[1] - awayMs[0], links }, ...faults],
    operations,
  };
  const { failure, counts } = await runScenario(scenario);
  assert.equal(failure, null);
  const { installs = 0, crashes = 0 } = counts;
  return { installs, crashes };
}

/** The points of a run without crashes, so that each run below has one to crash at. */
test("a follower that was away installs a snapshot", async () => {
  const { installs, crashes } = await run([]);
  assert.ok(installs > 0);
  assert.equal(crashes, 0);
});

const crashAt = (point: FaultPoint, count: number): Fault => {
  return { kind: "crash", atMs: awayMs[1] - 1, member: away, downMs, point, count };
};

for (const point of [...installPoints, ...writePoints]) {
  test(`a crash of ${point === "snapshotStored" ? "a member whose snapshot is stored" : point} loses nothing`, async () => {
    for (const count of [1, 2]) {
      const { installs, crashes } = await run([crashAt(point, count)]);
      assert.ok(installs > 0, `an installation, count ${count}`);
      // A point may be passed once only.
      if (count === 1) assert.equal(crashes, 1);
    }
  });
}

test("it crashes again and again in the midst of it", async () => {
  // At the start the installation begins anew, where the next crash waits for it.
  const points = ["beforeBuild", "afterBuild", "beforeReplace", "afterReplace"] as const;
  const faults = points.map((point, i): Fault => ({ ...crashAt(point, 1), atMs: awayMs[1] - 1 + downMs * i }));
  const { installs, crashes } = await run(faults);
  assert.ok(installs > 0);
  assert.ok(crashes >= 3, `${crashes} crashes`);
});
