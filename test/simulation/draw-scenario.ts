/** Draws a scenario from a seed: how large, which faults how often, what the clients do. */
import { Chance } from "./chance.js";
import { installPoints, writePoints } from "./log-door.js";
import { fairWeather, type Weather } from "./network.js";
import { drawPattern } from "./draw-patterns.js";
import { drawLeasesAndWatches } from "./draw-watches.js";
import {
  leader,
  operationKinds,
  type Fault,
  type LeaseLife,
  type Operation,
  type OperationKind,
  type Scenario,
} from "./scenario.js";

/** How long a run's faults go on, and how much its clients do. */
export interface Length {
  readonly durationMs: number;
  readonly operations: number;
  /** Mean time between faults. */
  readonly faultEveryMs: number;
}

/** Some seconds of simulated time, for many seeds. */
export const shortRun: Length = { durationMs: 8000, operations: 90, faultEveryMs: 800 };
/** An hour. */
export const longRun: Length = { durationMs: 3_600_000, operations: 20_000, faultEveryMs: 12_000 };

/** Until then a cluster comes up; clients wait so long. */
const quietMs = 1500;

const sizes = [1, 1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7] as const;
const drawnFaults = [
  "crash",
  "pointCrash",
  "blackout",
  "stop",
  "pause",
  "split",
  "isolate",
  "oneWay",
  "bridge",
  "starve",
  "mute",
  "weather",
  "slowDisk",
  "hungDisk",
  "failedSync",
  "slowApply",
  "clockJump",
  "clockRate",
  "bitFlip",
  "dbFlip",
  "misdirect",
] as const;
const changeKinds = [
  "addMember",
  "addMember",
  "removeMember",
  "updateMember",
  "promoteMember",
  "promoteMember",
  "moveLeader",
  "rejoin",
] as const;
type DrawnFault = (typeof drawnFaults)[number];

class Drawing {
  readonly #chance: Chance;
  readonly #length: Length;
  readonly #members: number;
  /** Faults of this run's kind, some more likely than others. */
  readonly #faults: readonly DrawnFault[];
  /** Members whose disks may be damaged: a majority stays whole. */
  #damaged = new Set<number>();
  readonly #damagedMax: number;
  /** All times are so much shorter: elections follow fast upon each other, while disks and links are as slow as ever. */
  readonly #pace: number;

  constructor(seed: number, length: Length) {
    this.#chance = new Chance(seed, 100);
    this.#length = length;
    this.#members = this.#chance.pick(sizes);
    this.#pace = this.#chance.pick(length === longRun ? [1] : [1, 1, 1, 0.5, 0.1]);
    this.#damagedMax = Math.floor((this.#members - 1) / 2);
    // Each run knows some of the faults only, so that runs differ in kind.
    const some = drawnFaults.filter(() => this.#chance.below(5) < 2);
    this.#faults = some.length === 0 ? ["crash"] : some;
  }

  scenario(seed: number): Scenario {
    const scenario = this.#scenario(seed);
    // Drawn apart, so that the other draws of a seed stay what they were.
    const chance = new Chance(seed, 101);
    if (!chance.oneIn(3)) return scenario;
    const changes = this.#drawChanges(chance);
    const faults = [...withoutDamage(scenario, changes), ...changes];
    return { ...scenario, faults, strict: !chance.oneIn(4) };
  }

  /** What the operator does with the membership. */
  #drawChanges(chance: Chance): Fault[] {
    const { durationMs, faultEveryMs } = this.#length;
    const every = faultEveryMs * chance.pick([0.5, 1, 2]);
    const kinds = chance.pick([changeKinds, changeKinds, ["addMember", "removeMember"] as const]);
    const changes: Fault[] = [];
    for (let at = quietMs * chance.fraction(); at < durationMs; at += chance.around(every)) {
      const atMs = Math.floor(at * this.#pace);
      const member = chance.oneIn(3) ? leader : chance.below(this.#members + 2);
      const target = chance.below(this.#members + 2);
      const kind = chance.pick(kinds);
      if (kind === "addMember") changes.push({ kind, atMs, member, learner: chance.oneIn(2) });
      else if (kind === "rejoin") changes.push({ kind, atMs });
      else changes.push({ kind, atMs, member, target });
    }
    return changes;
  }

  #scenario(seed: number): Scenario {
    const chance = this.#chance;
    const snapshotCount = chance.pick([2, 3, 3, 5, 10, 50, 100_000]);
    return {
      seed,
      members: this.#members,
      heartbeatMs: 100 * this.#pace,
      electionMs: 1000 * this.#pace,
      preVote: !chance.oneIn(4),
      snapshotCount,
      catchupEntries: chance.pick([1, 1, 1, 10, 5000]),
      limits: {
        maxSizePerMessage: chance.pick([1, 60, 300, 1 << 20]),
        maxInflightMessages: chance.pick([1, 3, 512]),
        maxApplyingSize: chance.pick([200, 64 << 20]),
        snapshotGraceMs: chance.pick([0, 0, 30_000]),
      },
      durationMs: this.#length.durationMs * this.#pace,
      weather: this.#weather(chance.oneIn(3)),
      faults: [...this.#drawFaults(), ...this.#drawLags(snapshotCount)],
      operations: this.#drawOperations(),
    };
  }

  #weather(bad: boolean): Weather {
    const chance = this.#chance;
    if (!bad) return { ...fairWeather, ordered: !chance.oneIn(4) };
    return {
      lossOneIn: chance.pick([0, 5, 20, 100]),
      duplicateOneIn: chance.pick([0, 5, 50]),
      delayMs: chance.pick([1, 10, 50, 200]) * this.#pace,
      ordered: chance.oneIn(2),
    };
  }

  #drawFaults(): Fault[] {
    const chance = this.#chance;
    const every = this.#length.faultEveryMs * chance.pick([0.3, 1, 1, 3]);
    const faults: Fault[] = [];
    if (chance.oneIn(12)) return faults;
    const { durationMs } = this.#length;
    for (let at = quietMs * chance.fraction(); at < durationMs; at += chance.around(every)) {
      const fault = this.#fault(chance.pick(this.#faults), Math.floor(at * this.#pace));
      if (fault !== null) faults.push(fault);
    }
    return faults;
  }

  /** Where the log is soon cut, some members are cut off so long that they need a snapshot, and crash as they get it. */
  #drawLags(snapshotCount: number): Fault[] {
    const chance = this.#chance;
    const faults: Fault[] = [];
    if (snapshotCount > 5 || this.#members < 3 || chance.oneIn(3)) return faults;
    const { durationMs } = this.#length;
    const forMs = durationMs * this.#pace * 0.3;
    for (let i = 1 + chance.below(3); i > 0; i--) {
      const member = chance.below(this.#members);
      const atMs = Math.floor((quietMs + chance.fraction() * (durationMs - quietMs)) * this.#pace);
      const others = Array.from({ length: this.#members }, (_, other) => other).filter((other) => other !== member);
      const links = others.flatMap((other) => [[member, other] as const, [other, member] as const]);
      faults.push({ kind: "cut", atMs, forMs, links });
      const downMs = chance.pick([1, 200]) * this.#pace;
      faults.push({ kind: "crash", atMs, member, downMs, point: chance.pick(installPoints), count: 1 });
    }
    return faults;
  }

  #someTime(): number {
    return this.#chance.pick([5, 50, 200, 700, 1500, 3000, 5000]) * this.#pace;
  }

  #fault(kind: DrawnFault, atMs: number): Fault | null {
    const chance = this.#chance;
    const member = chance.oneIn(3) ? leader : chance.below(this.#members);
    const downMs = chance.pick([1, 10, 200, 1000, 3000]) * this.#pace;
    const forMs = this.#someTime();
    switch (kind) {
      case "crash":
        return { kind: "crash", atMs, member, downMs, point: null, count: 1 };
      case "pointCrash":
        return chance.oneIn(2)
          ? { kind: "crash", atMs, member, downMs, point: chance.pick(writePoints), count: 1 + chance.below(4) }
          : { kind: "crash", atMs, member, downMs, point: chance.pick(installPoints), count: 1 };
      case "blackout":
        return { kind: "blackout", atMs, downMs };
      case "stop":
        return { kind: "stop", atMs, member, downMs };
      case "pause":
        return { kind: "pause", atMs, member, forMs, threads: chance.pick(["main", "apply", "both"]) };
      case "weather":
        return { kind: "weather", atMs, forMs, weather: this.#weather(true) };
      case "slowDisk":
        return {
          kind,
          atMs,
          member,
          forMs,
          syncMs: chance.pick([5, 50, 500]),
          flushMs: chance.pick([100, 1000, 5000]),
        };
      case "hungDisk":
        return { kind, atMs, member, forMs };
      case "failedSync":
        return { kind, atMs, member };
      case "slowApply":
        return { kind, atMs, member, forMs, turnMs: chance.pick([5, 50, 500]) };
      case "clockJump":
        return { kind, atMs, member, forwardMs: chance.pick([0, 100, 5000, 60_000]), wallMs: this.#wallJump() };
      case "clockRate":
        return { kind, atMs, member, rate: chance.pick([0.8, 0.95, 1.05, 1.2]) };
      case "dbFlip":
        return member !== leader && this.#mayDamage(member)
          ? { kind, atMs, member, downMs, place: chance.below(1 << 16) }
          : null;
      case "bitFlip":
      case "misdirect":
        return member !== leader && this.#mayDamage(member) ? { kind, atMs, member, downMs } : null;
      default:
        return { kind: "cut", atMs, forMs, links: this.#links(kind) };
    }
  }

  #wallJump(): number {
    return this.#chance.pick([0, -1, 1]) * this.#chance.pick([10, 1000, 3_600_000, 86_400_000]);
  }

  #mayDamage(member: number): boolean {
    if (!this.#damaged.has(member) && this.#damaged.size >= this.#damagedMax) return false;
    this.#damaged.add(member);
    return true;
  }

  #links(kind: "split" | "isolate" | "oneWay" | "bridge" | "starve" | "mute"): (readonly [number, number])[] {
    const chance = this.#chance;
    const all = Array.from({ length: this.#members }, (_, i) => i);
    const pairs = all.flatMap((from) => all.filter((to) => to !== from).map((to) => [from, to] as const));
    const order = chance.shuffled(all);
    switch (kind) {
      case "split": {
        const side = new Set(order.slice(0, 1 + chance.below(this.#members)));
        return pairs.filter(([from, to]) => side.has(from) !== side.has(to));
      }
      case "isolate": {
        const alone = chance.oneIn(2) ? leader : order[0]!;
        return all.flatMap((other) => [[alone, other] as const, [other, alone] as const]);
      }
      case "starve": {
        // The leader reaches and hears one other at most.
        const others = order.slice(0, -1);
        return others.flatMap((other) => [[leader, other] as const, [other, leader] as const]);
      }
      case "mute": {
        const isDeaf = chance.oneIn(2);
        return all.map((other) => (isDeaf ? ([other, leader] as const) : ([leader, other] as const)));
      }
      case "oneWay": {
        const side = new Set(order.slice(0, 1 + chance.below(this.#members)));
        return pairs.filter(([from, to]) => side.has(from) && !side.has(to));
      }
      case "bridge": {
        // Two halves that only one member can reach: A sees B, B sees C, A does not see C.
        const [bridge, ...others] = order;
        const side = new Set(others.slice(0, Math.floor(others.length / 2)));
        return pairs.filter(([from, to]) => from !== bridge && to !== bridge && side.has(from) !== side.has(to));
      }
    }
  }

  #drawOperations(): Operation[] {
    const chance = this.#chance;
    const { durationMs, operations } = this.#length;
    const clients = 1 + chance.below(8);
    const keys = 1 + chance.below(4);
    const kinds = operationKinds.filter(() => !chance.oneIn(3));
    const drawn: Operation[] = [];
    // Keys change over a long run, so that the checker's histories stay short.
    const keysLastMs = 60_000;
    for (let i = 0; i < operations; i++) {
      const atMs = Math.floor((quietMs + (i * (durationMs - quietMs)) / operations) * this.#pace);
      const client = chance.below(clients);
      const kind: OperationKind = kinds.length === 0 ? "put" : chance.pick(kinds);
      const era = Math.floor(atMs / keysLastMs);
      const first = chance.below(keys);
      const name = (key: number): string => `k${era}-${key % keys}`;
      const isTwo = (kind === "putTwo" || kind === "getTwo") && keys > 1;
      const member = chance.oneIn(5) ? chance.below(this.#members) : client % this.#members;
      const timeoutMs = chance.pick([500, 2000, 8000, 20_000]) * Math.max(0.25, this.#pace);
      const touched = isTwo ? [name(first), name(first + 1)] : [name(first)];
      const old = kind === "getOld" ? { back: chance.below(15) } : {};
      drawn.push({ atMs, client, member, kind, keys: touched, value: `v${i}`, timeoutMs, ...old });
    }
    return drawn;
  }
}

/**
 * The faults without the damage that, with the changes, could leave no majority whole: one member may be damaged, as
 * long as two of three that are left when every removal is done are not.
 */
function withoutDamage({ members, faults }: Scenario, changes: readonly Fault[]): Fault[] {
  const removals = changes.filter(({ kind }) => kind === "removeMember").length;
  const damages = (fault: Fault): fault is Extract<Fault, { kind: "bitFlip" | "dbFlip" | "misdirect" }> =>
    fault.kind === "bitFlip" || fault.kind === "dbFlip" || fault.kind === "misdirect";
  const damaged = members - removals >= 3 ? faults.find(damages)?.member : undefined;
  return faults.filter((fault) => !damages(fault) || fault.member === damaged);
}

/** In some seeds a member crashes within the last compaction. */
function cutShort({ seed, members }: Scenario, { compactions = [] }: Pick<Scenario, "compactions">): Fault[] {
  const chance = new Chance(seed, 104);
  if (compactions.length === 0 || !chance.oneIn(3)) return [];
  const atMs = Math.max(...compactions.map((call) => call.atMs)) + 10 + chance.below(200);
  return [{ kind: "crash", atMs, member: chance.below(members), downMs: 200, point: null, count: 1 }];
}

/** The scenario of a seed. */
export function drawScenario(seed: number, length: Length = shortRun): Scenario {
  const isLong = length === longRun;
  const drawn = new Drawing(seed, length).scenario(seed);
  const scenario: Scenario = isLong ? drawn : { ...drawn, ...drawPattern(drawn) };
  const later = drawLeasesAndWatches(seed, isLong, scenario);
  const leases = withDetached(seed, [...(scenario.leases ?? []), ...(later.leases ?? [])]);
  const watches = [...(scenario.watches ?? []), ...(later.watches ?? [])];
  const { watchProgressMs = later.watchProgressMs ?? 0 } = scenario;
  const faults = [...scenario.faults, ...cutShort(scenario, later)];
  const checkpoints = scenario.leaseCheckpointMs === undefined ? withCheckpoints(scenario, leases, faults) : null;
  return withLeaderNeeds({ ...scenario, ...later, leases, watches, watchProgressMs, faults, ...checkpoints });
}

/** Some keys of leases are put once more, without the lease, and stay when it ends. */
function withDetached(seed: number, leases: readonly LeaseLife[]): readonly LeaseLife[] {
  const chance = new Chance(seed, 108);
  const some = (life: LeaseLife): LeaseLife => ({ ...life, detachAfterMs: chance.pick([100, 500, 1500]) });
  return leases.map((life) => (life.keys.length > 0 && chance.oneIn(2) ? some(life) : life));
}

/** In some seeds clients send `hasleader` with some of their calls and watches. */
function withLeaderNeeds(scenario: Scenario): Scenario {
  const { seed, operations, watches = [] } = scenario;
  const chance = new Chance(seed, 107);
  if (chance.oneIn(2)) return scenario;
  const sometimes = <T extends object>(item: T): T => (chance.oneIn(3) ? { ...item, needsLeader: true } : item);
  return { ...scenario, operations: operations.map(sometimes), watches: watches.map(sometimes) };
}

/** In some seeds leaders write checkpoints, and leases last longer. */
function withCheckpoints(
  scenario: Scenario,
  leases: readonly LeaseLife[],
  faults: readonly Fault[],
): Pick<Scenario, "leases" | "faults" | "leaseCheckpointMs"> | null {
  const chance = new Chance(scenario.seed, 106);
  if (leases.length === 0 || !chance.oneIn(2)) return null;
  const lasting = leases.map((life) => ({ ...life, ttl: life.ttl + chance.pick([0, 2, 4]) }));
  const leaseCheckpointMs = chance.pick([300, 700, 1500]);
  if (chance.oneIn(2)) return { leases: lasting, faults, leaseCheckpointMs };
  // Some are not kept alive, so that what a checkpoint has left of them counts.
  const kept = lasting.map((life) => (chance.oneIn(3) ? { ...life, keepAliveForMs: 0 } : life));
  return { leases: kept, faults: [...faults, ...lateHeirs(scenario, chance)], leaseCheckpointMs };
}

/** Twice the leader crashes while nobody applies: the next one leads before it has what the former has written. */
function lateHeirs({ members, durationMs, electionMs }: Scenario, chance: Chance): Fault[] {
  return [0.3, 0.65].flatMap((part) => {
    const atMs = Math.floor((part + 0.1 * chance.fraction()) * durationMs);
    const forMs = (1 + 2 * chance.fraction()) * electionMs;
    const standstill = Array.from({ length: members }, (_, member): Fault => ({
      kind: "pause",
      atMs,
      member,
      forMs,
      threads: "apply",
    }));
    const crashAtMs = Math.floor(atMs + 0.3 * chance.fraction() * electionMs);
    return [
      ...standstill,
      { kind: "crash", atMs: crashAtMs, member: leader, downMs: 2 * electionMs, point: null, count: 1 },
    ];
  });
}
