/**
 * Patterns of what stands upon Raft, as draw-patterns.ts has them of Raft itself: leases whose checkpoints and renewals
 * meet a change of leader, a leader that knows less of leases than its followers do, and watchers of much that read it
 * while apply is slow. TTLs are whole seconds, so these runs last as long as if elections took a second.
 */
import type { Chance } from "./chance.js";
import { fairWeather } from "./network.js";
import { leader, type Fault, type LeaseLife, type Operation, type Scenario, type WatchLife } from "./scenario.js";

export type StatePattern = "heirs" | "slowLeader" | "fatWatchers";

/** By then somebody leads nearly always. */
const leadsMs = 3200;
const shape = { heartbeatMs: 100, electionMs: 1000, durationMs: 8000 } as const;
/** A watcher's stream takes one such event, and a second one on top; the turn of apply ends after five. */
const fatBytes = 100_000;
/** Clients of a pattern have numbers from here on. */
const firstClient = 2000;

/** What the pattern has in place of the scenario's own. */
export function drawStatePattern(which: StatePattern, scenario: Scenario, chance: Chance): Partial<Scenario> {
  const stretch = shape.electionMs / scenario.electionMs;
  const operations = scenario.operations.map((each) => ({ ...each, atMs: each.atMs * stretch }));
  const stretched = { ...scenario, ...shape, operations, weather: { ...fairWeather, delayMs: chance.pick([1, 10]) } };
  switch (which) {
    case "heirs":
      return { ...stretched, ...drawHeirs(stretched, chance) };
    case "slowLeader":
      return { ...stretched, ...drawSlowLeader(stretched, chance) };
    case "fatWatchers":
      return { ...stretched, ...drawFatWatchers(stretched, chance) };
  }
}

const everyone = ({ members }: Scenario): number[] => Array.from({ length: members }, (_, i) => i);

function drawLease(life: Pick<LeaseLife, "atMs" | "member" | "ttl" | "keepAliveMs" | "keepAliveForMs">): LeaseLife {
  return { ...life, chooses: false, keys: [], value: "", revokeAfterMs: null };
}

/**
 * The leader crashes while checkpoints are in the log that nobody has applied: it leaves some leases that nobody renews,
 * and some whose first checkpoint since their last renewal is on its way when the next renewal comes, at it or its heir.
 */
function drawHeirs(scenario: Scenario, chance: Chance): Partial<Scenario> {
  const grant = { keepAliveForMs: shape.durationMs };
  const leases = everyone({ ...scenario, members: 10 }).map((i) => {
    const at = { atMs: leadsMs - Math.floor(700 * chance.fraction()), member: i % scenario.members };
    return drawLease(
      i < 3
        ? { ...at, ttl: 7 + chance.below(3), keepAliveMs: 1000, keepAliveForMs: 0 }
        : { ...at, ...grant, ttl: 6, keepAliveMs: 1000 + chance.below(250) },
    );
  });
  const standsAtMs = 5000 + chance.below(500);
  const crashesAtMs = standsAtMs + chance.pick([300, 600, 900]);
  const forMs = chance.pick([0, 2000, 3000, 3000]);
  const faults: Fault[] = [
    ...(chance.oneIn(2) ? slowDisks(scenario, leadsMs, standsAtMs - leadsMs, chance.pick([20, 50, 100])) : []),
    ...everyone(scenario).map((member): Fault => {
      return { kind: "pause", atMs: standsAtMs, member, forMs: crashesAtMs - standsAtMs + forMs, threads: "apply" };
    }),
    { kind: "crash", atMs: crashesAtMs, member: leader, downMs: 2000, point: null, count: 1 },
  ];
  return { leases, faults, leaseCheckpointMs: chance.pick([100, 300]) };
}

function slowDisks(scenario: Scenario, atMs: number, forMs: number, syncMs: number): Fault[] {
  return everyone(scenario).map((member) => ({ kind: "slowDisk", atMs, member, forMs, syncMs, flushMs: 100 }));
}

/**
 * The leader's disk is slow, so that its followers commit and apply what it may not apply yet. Clients are granted
 * leases by them and renew them at the leader at once.
 */
function drawSlowLeader(scenario: Scenario, chance: Chance): Partial<Scenario> {
  const faults: Fault[] = [];
  const leases: LeaseLife[] = [];
  for (const fromMs of [leadsMs, leadsMs + 2200]) {
    const syncMs = chance.pick([200, 400, 600]);
    faults.push({ kind: "slowDisk", atMs: fromMs, member: leader, forMs: 2000, syncMs, flushMs: 100 });
    for (let i = 0; i < 6; i++) {
      leases.push(
        drawLease({
          atMs: fromMs + 100 + chance.below(1200),
          member: i % scenario.members,
          ttl: 2 + chance.below(3),
          keepAliveMs: chance.pick([50, 100]),
          keepAliveForMs: 800,
        }),
      );
    }
  }
  return { leases, faults };
}

/**
 * Some put much at once while apply is slow at a member that many watch, from now or from long ago: a turn cannot tell
 * them all, streams are full, and those who read up from history take many turns, with progress asked for meanwhile. Or
 * that member is cut off, and gets a snapshot while it is watched.
 */
function drawFatWatchers(scenario: Scenario, chance: Chance): Partial<Scenario> {
  const member = chance.below(scenario.members);
  const operations: Operation[] = [...scenario.operations];
  const put = (atMs: number, i: number): void => {
    const at = { atMs: Math.floor(atMs), client: firstClient + (i % 6), member: i % scenario.members };
    const what = { kind: "put", keys: [`k0-f${i % 6}`], value: `f${i}`, bytes: fatBytes } as const;
    operations.push({ ...at, ...what, timeoutMs: 3000 });
  };
  for (let i = 0; i < 6; i++) put(leadsMs + 200 * i, i);
  for (const burstMs of [5000, 6000]) for (let i = 0; i < 6; i++) put(burstMs + 20 * chance.fraction(), i);
  const watches = everyone({ ...scenario, members: 6 }).map((): WatchLife => {
    const isEarly = !chance.oneIn(3);
    return {
      atMs: isEarly ? 2500 + chance.below(1000) : 4700 + chance.below(2500),
      member: chance.oneIn(4) ? chance.below(scenario.members) : member,
      key: "k",
      rangeEnd: "l",
      start: isEarly ? null : chance.pick([-1000, -1000, -3]),
      prevKv: chance.oneIn(3),
      noPut: false,
      noDelete: false,
      progressNotify: true,
      watchId: 0,
      slowMs: chance.pick([0, 0, 30]),
      cancelAfterMs: null,
      progressEveryMs: null,
    };
  });
  // A member that may apply little at a time would never have much in a turn.
  const limits = { ...scenario.limits, maxSizePerMessage: 1 << 20, maxApplyingSize: 64 << 20 };
  const drawn = { operations: operations.sort((a, b) => a.atMs - b.atMs), watches, watchProgressMs: 100, limits };
  if (chance.oneIn(3)) {
    const others = everyone(scenario).filter((other) => other !== member);
    const links = others.flatMap((other) => [[member, other] as const, [other, member] as const]);
    const faults: Fault[] = [{ kind: "cut", atMs: 4700, forMs: 2000, links }];
    return { ...drawn, faults, snapshotCount: 3, catchupEntries: 1 };
  }
  const turnMs = chance.pick([100, 200]);
  return { ...drawn, faults: [{ kind: "slowApply", member, turnMs, atMs: 4500, forMs: 3000 }] };
}
