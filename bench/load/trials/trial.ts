/**
 * A trial measures what one server does beside, or under, something particular: each on a fresh process with an empty
 * folder. It gives named figures; medians of turns are compared with the real etcd's.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { beside, disturbanceMsMax } from "../disturbance.js";
import { runLoad, type LoadResult, type LoadSettings } from "../generators.js";
import { residentMiB } from "../machine.js";
import { output } from "../programs.js";
import { Server, type Contestant } from "../server.js";
import { percentileMs } from "../statistics.js";

/** Figures by name; NaN: not measured of this server. */
export type Readings = Readonly<Record<string, number>>;

/** A goal of the project, from medians. */
export interface TrialGoal {
  readonly goal: string;
  readonly value: number;
  readonly min?: number;
  readonly max?: number;
}

export interface Trial {
  readonly name: string;
  readonly title: string;
  /** Titles of the figures and their decimals, in the order of the table. */
  readonly figures: Readonly<Record<string, readonly [title: string, decimals: number]>>;
  readonly run: (arena: Arena) => Promise<Readings>;
  readonly goals: (ours: Readings, etcd: Readings) => TrialGoal[];
}

/** Puts in open loop: what disturbances are measured by. */
const openRate = 2000;
const longestMs = 600_000;
const settleMs = 20_000;

export type LoadArguments = Readonly<Record<string, string | number>>;

/** One server with the generator. */
export class Arena {
  readonly server: Server;
  readonly seed: number;
  /** 1, or less for a run that only shows that it works. */
  readonly scale: number;
  readonly #program: string;
  readonly #folder: string;

  private constructor(server: Server, program: string, folder: string, { seed, scale }: ArenaOptions) {
    this.server = server;
    this.#program = program;
    this.#folder = folder;
    this.seed = seed;
    this.scale = scale;
  }

  /** Runs one trial on a server of its own. */
  static async run(trial: Trial, contestant: Contestant, options: ArenaOptions): Promise<Readings> {
    const server = await Server.start(contestant, options.parent);
    try {
      const readings = await trial.run(new Arena(server, options.program, options.folder, options));
      await server.stop();
      return readings;
    } catch (error) {
      await server.discard();
      throw error;
    }
  }

  get isEtcd(): boolean {
    return this.server.contestant.name === "etcd";
  }

  file(name: string): string {
    return join(this.#folder, name);
  }

  /** Resident memory of the whole process, in MiB, when collectors have had time to give back what a burst has left. */
  async settledMemory(): Promise<number> {
    await delay(settleMs);
    return this.memory();
  }

  /** Resident memory of the whole process now, in MiB. */
  memory(): number {
    return residentMiB(this.server.pid).total;
  }

  /** So many at full scale. */
  scaled(count: number): number {
    return Math.max(1, Math.round(count * this.scale));
  }

  /** Runs the generator to its end and reads the line that it prints. */
  async load<Printed>(settings: LoadArguments): Promise<Printed> {
    return JSON.parse(await output(this.#program, this.arguments(settings), longestMs)) as Printed;
  }

  arguments(settings: LoadArguments): string[] {
    const { address, pid } = this.server;
    return Object.entries({ address, pid, seed: this.seed, ...settings }).map(([name, value]) => `${name}=${value}`);
  }

  get program(): string {
    return this.#program;
  }

  /** A usual load of unary calls. */
  requests(settings: Partial<LoadSettings>): Promise<LoadResult> {
    return runLoad(this.#program, this.server, {
      call: "put",
      connections: 100,
      streams: 10,
      rate: 0,
      warmupMs: 1000,
      measureMs: 4000,
      keys: 500_000,
      valueBytes: 256,
      seed: this.seed,
      folder: this.#folder,
      ...settings,
    });
  }

  /** Code that is compiled as it runs is compiled by then. */
  async warmUp(): Promise<void> {
    await this.requests({ measureMs: 1000 });
  }

  /** p99 in ms of puts that come at a fixed rate. NaN: etcd has refused some, as it may when it is overloaded. */
  async putsP99(measureMs: number, settings: Partial<LoadSettings> = {}): Promise<number> {
    const { latency, failed } = await this.requests({ connections: 10, rate: openRate, measureMs, ...settings });
    if (failed > 0 && this.isEtcd) return Number.NaN;
    if (failed > 0) throw new Error(`${this.server.contestant.name}: ${failed} puts failed`);
    return percentileMs(latency!, 99);
  }

  /** The same while a disturbance lasts, which begins after the warm-up; and what came of that. */
  async putsP99While<T>(disturb: () => Promise<T>, settings: Partial<LoadSettings> = {}): Promise<[number, T]> {
    return await beside(this.file("disturbed"), disturb, (whileFile) =>
      this.putsP99(disturbanceMsMax, { ...settings, whileFile }),
    );
  }

  remove(name: string): void {
    rmSync(this.file(name), { force: true });
  }
}

export interface ArenaOptions {
  readonly program: string;
  /** For files of a run. */
  readonly folder: string;
  /** Where data folders are made. */
  readonly parent: string;
  readonly seed: number;
  readonly scale: number;
}

/** The figures of every trial that disturbs puts. */
export const putFigures = {
  calmP99: ["puts' p99 undisturbed, ms", 2],
  putP99: ["puts' p99 meanwhile, ms", 2],
} as const;

/** A disturbance may raise puts' p99 to twice what it is without, or to half of etcd's. */
export function putGoal(ours: Readings, etcd: Readings): TrialGoal {
  const allowed = Math.max(2 * ours["calmP99"]!, 0.5 * (etcd["putP99"] ?? 0) || 0);
  return { goal: "puts' p99, of what it may be (at most)", value: ours["putP99"]! / allowed, max: 1 };
}

/** Ours as a multiple of etcd's. */
export function times(name: string, ours: Readings, etcd: Readings): number {
  return ours[name]! / etcd[name]!;
}
