/** Draws what clients do with leases and watches, and when history is compacted. */
import { Chance } from "./chance.js";
import type { CompactionCall, LeaseLife, Scenario, WatchLife } from "./scenario.js";

type Drawn = Pick<Scenario, "leases" | "watches" | "compactions" | "autoCompaction" | "watchProgressMs">;

/** Values so long that a watcher who does not read is held back after a few. */
const fatBytes = 40_000;
/** Until then a cluster comes up. */
const quietMs = 1500;

/** `shaped`: the members, the length and the pace of the run. */
export function drawLeasesAndWatches(
  seed: number,
  isLong: boolean,
  shaped: Pick<Scenario, "members" | "durationMs" | "heartbeatMs">,
): Drawn {
  const chance = new Chance(seed, 101);
  if (chance.oneIn(3)) return {};
  const drawing = new Drawing(chance, isLong, shaped, !isLong && new Chance(seed, 103).oneIn(8));
  const leases = chance.oneIn(3) ? [] : drawing.leases();
  const watches = chance.oneIn(4) ? [] : drawing.watches();
  const compactions = chance.oneIn(2) ? [] : drawing.compactions();
  const automatic = chance.pick([null, null, null, ["periodic", "2s"], ["revision", "10"]] as const);
  return {
    leases,
    watches,
    compactions,
    watchProgressMs: chance.pick([0, 300, 2000]),
    ...(automatic === null ? {} : { autoCompaction: automatic }),
  };
}

class Drawing {
  readonly #chance: Chance;
  readonly #isLong: boolean;
  readonly #members: number;
  readonly #durationMs: number;
  /** 1 where elections take a second. */
  readonly #pace: number;
  /** Leases' keys have long values, and those who watch them read slowly. */
  readonly #isFat: boolean;

  constructor(
    chance: Chance,
    isLong: boolean,
    shaped: Pick<Scenario, "members" | "durationMs" | "heartbeatMs">,
    isFat: boolean,
  ) {
    this.#isFat = isFat;
    this.#chance = chance;
    this.#isLong = isLong;
    this.#members = shaped.members;
    this.#durationMs = shaped.durationMs;
    this.#pace = shaped.heartbeatMs / 100;
  }

  #time(): number {
    const quiet = quietMs * this.#pace;
    return Math.floor(quiet + this.#chance.fraction() * Math.max(0, this.#durationMs - quiet));
  }

  leases(): LeaseLife[] {
    const chance = this.#chance;
    const count = this.#isLong ? 400 : this.#isFat ? 10 : 1 + chance.below(6);
    return Array.from({ length: count }, (_, i) => {
      const ttl = chance.pick([1, 2, 2, 3, 5]);
      const keepAliveMs = chance.pick([ttl * 333, 300]);
      return {
        atMs: this.#time(),
        member: chance.below(this.#members),
        ttl,
        chooses: chance.oneIn(2),
        // A key may be another lease's already: it moves.
        keys: Array.from(
          { length: this.#isFat ? 4 : chance.below(4) },
          () => `l${Math.floor(i / 4)}-${chance.below(4)}`,
        ),
        value: this.#isFat ? `${i}`.padEnd(fatBytes, "x") : `lv${i}`,
        keepAliveMs,
        keepAliveForMs: chance.pick([0, 2000, 5000, 5000]),
        revokeAfterMs: chance.oneIn(4) ? chance.pick([50, 500, 2500]) : null,
      };
    });
  }

  watches(): WatchLife[] {
    const chance = this.#chance;
    const count = this.#isLong ? 40 : 1 + chance.below(6);
    return Array.from({ length: count }, () => ({
      atMs: chance.oneIn(3) ? Math.floor(chance.fraction() * quietMs * this.#pace) : this.#time(),
      member: chance.below(this.#members),
      ...(this.#isFat && chance.oneIn(2) ? { key: "l", rangeEnd: "m" } : this.#range()),
      start: chance.pick([null, null, -1000, -20, -3, 1, 5]),
      prevKv: chance.oneIn(2),
      noPut: chance.oneIn(6),
      noDelete: chance.oneIn(6),
      progressNotify: chance.oneIn(2),
      watchId: chance.oneIn(3) ? 1 + chance.below(5) : 0,
      slowMs: chance.pick(this.#isFat ? [0, 100, 300] : [0, 0, 0, 20, 300]),
      cancelAfterMs: chance.oneIn(6) ? chance.pick([100, 1000, 3000]) : null,
      progressEveryMs: chance.oneIn(3) ? chance.pick([50, 400]) : null,
    }));
  }

  #range(): Pick<WatchLife, "key" | "rangeEnd"> {
    const chance = this.#chance;
    return chance.pick([
      { key: "\0", rangeEnd: "\0" },
      { key: "k", rangeEnd: "l" },
      { key: "l", rangeEnd: "m" },
      { key: "k0-1", rangeEnd: "\0" },
      { key: "k0-0", rangeEnd: "k0-2" },
      { key: `k0-${chance.below(4)}`, rangeEnd: "" },
      { key: `l0-${chance.below(4)}`, rangeEnd: "" },
    ]);
  }

  compactions(): CompactionCall[] {
    const chance = this.#chance;
    const count = this.#isLong ? 60 : 1 + chance.below(5);
    return Array.from({ length: count }, () => ({
      atMs: this.#time(),
      member: chance.below(this.#members),
      back: chance.pick([0, 0, 1, 5, 20]),
      physical: chance.oneIn(3),
    }));
  }
}
