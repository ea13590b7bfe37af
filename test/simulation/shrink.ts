/**
 * Makes a failing scenario as small as it will go and still fail in the same way: fewer faults, operations,
 * leases, watches, compactions and members, less time, fair weather. Delta debugging (Zeller and Hildebrandt, 2002) on the scenario's lists.
 */
import { fairWeather } from "./network.js";
import type { Scenario } from "./scenario.js";

/** What of a scenario is left out piece by piece. Steps of the membership are faults. */
const lists = ["faults", "operations", "leases", "watches", "compactions"] as const;
type List = (typeof lists)[number];

const itemsOf = (scenario: Scenario, list: List): readonly { readonly atMs: number }[] => scenario[list] ?? [];

/** The plainest that a lease or a watch can be. */
const plainer = [
  { list: "leases", fields: { keys: [], keepAliveForMs: 0, revokeAfterMs: null, value: "v", chooses: false } },
  {
    list: "watches",
    fields: {
      start: null,
      prevKv: false,
      noPut: false,
      noDelete: false,
      progressNotify: false,
      watchId: 0,
      slowMs: 0,
      cancelAfterMs: null,
      progressEveryMs: null,
      needsLeader: false,
    },
  },
] as const;

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
      for (const list of lists) await this.#drop(list);
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
      const early = Object.fromEntries(
        lists.map((list) => [list, itemsOf(this.#best, list).filter(({ atMs }) => atMs < durationMs)]),
      );
      if (await this.#try({ ...this.#best, ...early, durationMs })) return;
    }
  }

  /** Leaves out pieces of a list, large ones first. */
  async #drop(list: List): Promise<void> {
    const count = (): number => itemsOf(this.#best, list).length;
    for (let size = Math.ceil(count() / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
      for (let at = 0; at < count() && this.#mayGoOn;) {
        const items = itemsOf(this.#best, list);
        const left = [...items.slice(0, at), ...items.slice(at + size)];
        // The list keeps its type: items are only left out.
        if (!(await this.#try({ ...this.#best, [list]: left } as Scenario))) at += size;
      }
    }
  }

  async #simplify(): Promise<void> {
    const best = this.#best;
    await this.#try({ ...best, weather: fairWeather });
    await this.#try({ ...this.#best, watchProgressMs: 0 });
    await this.#without("autoCompaction");
    await this.#without("strict");
    await this.#without("leaseCheckpointMs");
    for (let members = 1; members < best.members; members++) if (await this.#try({ ...this.#best, members })) break;
    await this.#try({ ...this.#best, operations: this.#best.operations.map((each) => ({ ...each, client: 0 })) });
    for (const change of plainer) await this.#plainer(change);
  }

  async #without(name: "autoCompaction" | "strict" | "leaseCheckpointMs"): Promise<void> {
    const { [name]: _left, ...rest } = this.#best;
    if (this.#best[name] !== undefined) await this.#try(rest);
  }

  /** Takes from each lease and watch what it can do without. */
  async #plainer({ list, fields }: (typeof plainer)[number]): Promise<void> {
    for (let i = 0; i < itemsOf(this.#best, list).length; i++) {
      for (const [name, value] of Object.entries(fields)) {
        const items = [...itemsOf(this.#best, list)];
        const item = items[i]! as unknown as Record<string, unknown>;
        if (JSON.stringify(item[name]) === JSON.stringify(value)) continue;
        items[i] = { ...items[i]!, [name]: value };
        // The fields are of the list's items.
        await this.#try({ ...this.#best, [list]: items } as Scenario);
      }
    }
  }
}

/** The smallest scenario found that `stillFails`; `scenario` itself must. */
export function shrink(scenario: Scenario, stillFails: StillFails, limits: ShrinkLimits): Promise<Scenario> {
  return new Shrinking(scenario, stillFails, limits).run();
}
