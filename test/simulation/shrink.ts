/**
 * Makes a failing scenario as small as it will go and still fail in the same way: fewer faults, operations and
 * members, less time, fair weather. Delta debugging (Zeller and Hildebrandt, 2002) on the scenario's lists.
 */
import { fairWeather } from "./network.js";
import type { Scenario } from "./scenario.js";

/** Whether a scenario still fails in the way that is looked into. */
export type StillFails = (scenario: Scenario) => Promise<boolean>;

export interface ShrinkLimits {
  /** Runs that may be spent. */
  readonly runsMax: number;
  readonly progress?: (scenario: Scenario, runs: number) => void;
}

class Shrinking {
  #best: Scenario;
  readonly #stillFails: StillFails;
  readonly #limits: ShrinkLimits;
  #runs = 0;

  constructor(scenario: Scenario, stillFails: StillFails, limits: ShrinkLimits) {
    this.#best = scenario;
    this.#stillFails = stillFails;
    this.#limits = limits;
  }

  async run(): Promise<Scenario> {
    for (let before = ""; before !== JSON.stringify(this.#best) && this.#mayGoOn;) {
      before = JSON.stringify(this.#best);
      await this.#shorten();
      await this.#drop("faults");
      await this.#drop("operations");
      await this.#simplify();
    }
    return this.#best;
  }

  get #mayGoOn(): boolean {
    return this.#runs < this.#limits.runsMax;
  }

  /** Takes the candidate if it fails, too. */
  async #try(candidate: Scenario): Promise<boolean> {
    if (!this.#mayGoOn) return false;
    this.#runs++;
    if (!(await this.#stillFails(candidate))) return false;
    this.#best = candidate;
    this.#limits.progress?.(candidate, this.#runs);
    return true;
  }

  async #shorten(): Promise<void> {
    for (const part of [0.25, 0.5, 0.75, 0.9]) {
      const durationMs = Math.ceil(this.#best.durationMs * part);
      const early = <T extends { readonly atMs: number }>(list: readonly T[]): T[] =>
        list.filter(({ atMs }) => atMs < durationMs);
      const { faults, operations } = this.#best;
      if (await this.#try({ ...this.#best, durationMs, faults: early(faults), operations: early(operations) })) return;
    }
  }

  /** Leaves out pieces of a list, large ones first. */
  async #drop(list: "faults" | "operations"): Promise<void> {
    for (let size = Math.ceil(this.#best[list].length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
      for (let at = 0; at < this.#best[list].length && this.#mayGoOn;) {
        const items: readonly unknown[] = this.#best[list];
        const left = [...items.slice(0, at), ...items.slice(at + size)];
        // The list keeps its type: items are only left out.
        if (!(await this.#try({ ...this.#best, [list]: left } as Scenario))) at += size;
      }
    }
  }

  async #simplify(): Promise<void> {
    const best = this.#best;
    await this.#try({ ...best, weather: fairWeather });
    for (let members = 1; members < best.members; members++) if (await this.#try({ ...this.#best, members })) break;
    await this.#try({ ...this.#best, operations: this.#best.operations.map((each) => ({ ...each, client: 0 })) });
  }
}

/** The smallest scenario found that `stillFails`; `scenario` itself must. */
export function shrink(scenario: Scenario, stillFails: StillFails, limits: ShrinkLimits): Promise<Scenario> {
  return new Shrinking(scenario, stillFails, limits).run();
}
