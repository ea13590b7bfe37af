/**
 * Draws, for a small share of the seeds, faults in patterns that chance alone seldom puts together, with clients that
 * would notice what may go wrong in them. A pattern takes the place of a seed's other faults and weather.
 */
import { Chance } from "./chance.js";
import { drawStatePattern } from "./draw-state-patterns.js";
import { fairWeather, type Weather } from "./network.js";
import { leader, type Fault, type LeaseLife, type Operation, type OperationKind, type Scenario } from "./scenario.js";

type Pattern = Pick<Scenario, "faults" | "operations" | "weather"> & { readonly leases: readonly LeaseLife[] };

/** Of so many seeds each of these has its pattern, the others have none. */
const seedsEach = 20;
const patterns = [
  "deposedLeader",
  "deposedLeader",
  "flappingMember",
  "flappingMember",
  "heirs",
  "heirs",
  "slowLeader",
  "fatWatchers",
] as const;
/** Clients of a pattern have numbers from here on, those of one kind at one member so many. */
const firstClient = 1000;
const clientsEach = 3;
const leasesEach = 12;
/** By then somebody leads nearly always, in election timeouts. */
const firstLeaderAt = 3.2;

/** null: the seed has no pattern. */
export function drawPattern(scenario: Scenario): Partial<Scenario> | null {
  const chance = new Chance(scenario.seed, 102);
  const which = patterns[chance.below(seedsEach)];
  if (which === undefined || scenario.members < 3) return null;
  switch (which) {
    case "deposedLeader":
      return new Drawing(chance, scenario).deposedLeader();
    case "flappingMember":
      return new Drawing(chance, scenario).flappingMember();
    default:
      return drawStatePattern(which, scenario, chance);
  }
}

class Drawing {
  readonly #chance: Chance;
  readonly #scenario: Scenario;
  readonly #operations: Operation[] = [];
  readonly #leases: LeaseLife[] = [];

  constructor(chance: Chance, scenario: Scenario) {
    this.#chance = chance;
    this.#scenario = scenario;
  }

  #pattern(weather: Partial<Weather>, faults: Fault[]): Pattern {
    const operations = [...this.#scenario.operations, ...this.#operations].sort((a, b) => a.atMs - b.atMs);
    return { faults, operations, leases: this.#leases, weather: { ...fairWeather, ...weather } };
  }

  /**
   * A leader is cut off while what it has sent is acknowledged, so that it commits and tells what nobody else knows to
   * be committed; it still leads, for all that it knows, when another does. Clients write and read everywhere.
   */
  deposedLeader(): Pattern {
    const chance = this.#chance;
    const { electionMs, durationMs, members } = this.#scenario;
    const delayMs = chance.pick([0.001, 0.02, 0.05]) * electionMs;
    const faults: Fault[] = [];
    const rounds = 1 + chance.below(2);
    for (let round = 0; round < rounds; round++) {
      const atMs = Math.floor(electionMs * (firstLeaderAt + 3 * round + chance.fraction()));
      if (atMs >= durationMs) break;
      if (chance.oneIn(2))
        faults.push({ kind: "clockRate", atMs: atMs - 1, member: leader, rate: chance.pick([0.8, 0.95]) });
      faults.push(...this.#slowDisks(atMs), this.#cutOff(atMs, 3 * electionMs));
      const [fromMs, toMs] = [atMs - 0.3 * electionMs, atMs + 2.5 * electionMs] as const;
      this.#work("put", fromMs, toMs, 0.06 * electionMs, (i) => i % members);
      this.#work("get", atMs, toMs, 0.02 * electionMs, (i) => i % members);
      this.#grant(atMs);
    }
    return this.#pattern({ delayMs, ordered: chance.oneIn(2) }, faults);
  }

  /** Leases that are granted just before, and renewed at both leaders until the former one knows, or a while after. */
  #grant(atMs: number): void {
    const chance = this.#chance;
    const { electionMs, members } = this.#scenario;
    for (let i = 0; i < leasesEach; i++) {
      this.#leases.push({
        atMs: Math.floor(atMs - 0.2 * electionMs * chance.fraction()),
        member: i % members,
        ttl: 2,
        chooses: false,
        keys: [],
        value: "",
        keepAliveMs: 0.1 * electionMs,
        keepAliveForMs: Math.floor(electionMs * (chance.oneIn(4) ? 3 : 1.2 + chance.fraction())),
        revokeAfterMs: null,
      });
    }
  }

  #slowDisks(atMs: number): Fault[] {
    const chance = this.#chance;
    if (chance.oneIn(2)) return [];
    const { electionMs, members } = this.#scenario;
    const manner = { syncMs: chance.pick([0.005, 0.05]) * electionMs, flushMs: 100, forMs: 3 * electionMs };
    return Array.from({ length: members }, (_, member) => ({ kind: "slowDisk", atMs, member, ...manner }));
  }

  /** The leader from all others, in both directions or in its own alone. */
  #cutOff(atMs: number, forMs: number): Fault {
    const all = Array.from({ length: this.#scenario.members }, (_, i) => i);
    const isMute = this.#chance.oneIn(4);
    const links = all.flatMap((other) =>
      isMute ? [[leader, other] as const] : [[leader, other] as const, [other, leader] as const],
    );
    return { kind: "cut", atMs, forMs, links };
  }

  /**
   * A member crashes again and again while answers to its former runs are on their way, and its wall clock may have
   * gone back. Clients read and write there, and write elsewhere.
   */
  flappingMember(): Pattern {
    const chance = this.#chance;
    const { electionMs, members } = this.#scenario;
    const member = chance.below(members);
    const fromMs = firstLeaderAt * electionMs;
    const everyMs = chance.pick([0.05, 0.1, 0.2]) * electionMs;
    const faults: Fault[] = [];
    if (chance.oneIn(2)) faults.push({ kind: "clockJump", atMs: fromMs, member, forwardMs: 0, wallMs: -3_600_000 });
    let atMs = fromMs;
    for (let i = 5 + chance.below(8); i > 0; i--) {
      atMs = Math.floor(atMs + chance.around(everyMs));
      faults.push({ kind: "crash", atMs, member, downMs: 1 + chance.below(10), point: null, count: 1 });
    }
    const often = 0.01 * electionMs;
    this.#work("put", fromMs - 20 * often, atMs, 2 * often, () => member);
    this.#work("get", fromMs, atMs + 10 * often, often, () => member);
    this.#work("put", fromMs, atMs, often, (i) => (member + 1 + (i % (members - 1))) % members);
    const delayMs = chance.pick([0.02, 0.05]) * electionMs;
    return this.#pattern({ delayMs, ordered: chance.oneIn(2), duplicateOneIn: chance.pick([0, 5]) }, faults);
  }

  /**
   * One operation after another, each `everyMs` after the one before, at the members that `memberOf` names. A writer
   * has a key of its own, so that the search for an order of calls without an answer stays short.
   */
  #work(kind: OperationKind, fromMs: number, toMs: number, everyMs: number, memberOf: (i: number) => number): void {
    const { electionMs } = this.#scenario;
    for (let i = 0; fromMs + i * everyMs < toMs; i++) {
      const member = memberOf(i);
      const number = member * clientsEach + this.#chance.below(clientsEach);
      this.#operations.push({
        atMs: Math.floor(fromMs + i * everyMs),
        client: firstClient + 2 * number + (kind === "put" ? 1 : 0),
        member,
        kind,
        keys: [`k0-w${number}`],
        value: `p${this.#operations.length}`,
        timeoutMs: 0.3 * electionMs,
      });
    }
  }
}
