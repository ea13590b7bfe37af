/** What `npm run bench` was asked for. */
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";

export interface BenchOptions {
  /** Each turn measures both servers from empty data folders, in alternating order; figures are medians of turns. */
  readonly turns: number;
  readonly warmupMs: number;
  readonly measureMs: number;
  /** Different keys that puts choose from. */
  readonly keys: number;
  readonly valueBytes: number;
  /** Puts before start and memory are compared. */
  readonly contentPuts: number;
  readonly seed: number;
  /** Where data folders are made: the disk that is measured. */
  readonly folder: string;
  /** Names of scenarios and trials; empty: all scenarios. */
  readonly only: readonly string[];
  /** The trials, too. */
  readonly all: boolean;
  /** Of the trials' sizes. */
  readonly scale: number;
}

export const usage = `npm run bench -- [options]
  --quick           one short turn, under 90 s: to see that it works, not for figures
  --turns N         turns of both servers (default 3)
  --seconds S       measured time of a scenario (default 4)
  --warmup S        warm-up before it (default 1)
  --keys N          different keys of puts (default 500000)
  --content N       puts before start and memory are compared (default 100000)
  --value N         bytes of a value (default 256)
  --seed N          of the order of keys (default 1)
  --folder PATH     where data folders are made: the disk to measure (default: the temporary folder)
  --only A,B        scenarios and trials by name; "wal" is the log alone, "content" start and memory
  --all             the trials, too: watches, leases, compaction, snapshot (about 7 minutes a turn)
  --scale F         of the trials' sizes (default 1; with --quick 0.1)`;

const defaults = { turns: 3, seconds: 4, warmup: 1, content: 100_000, scale: 1 };
const quick = { turns: 1, seconds: 1.5, warmup: 0.5, content: 20_000, scale: 0.1 };

/** Reads the arguments; undefined: help was asked for. Throws on a wrong one. */
export function readOptions(args: readonly string[]): BenchOptions | undefined {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: "boolean" },
      help: { type: "boolean" },
      all: { type: "boolean" },
      scale: text,
      turns: text,
      seconds: text,
      warmup: text,
      keys: text,
      content: text,
      value: text,
      seed: text,
      folder: text,
      only: text,
    },
  });
  if (values.help === true) return undefined;
  const base = values.quick === true ? quick : defaults;
  const seconds = numberOf("seconds", values.seconds, base.seconds);
  return {
    turns: numberOf("turns", values.turns, base.turns),
    warmupMs: Math.round(numberOf("warmup", values.warmup, base.warmup) * 1000),
    measureMs: Math.round(seconds * 1000),
    contentPuts: numberOf("content", values.content, base.content),
    keys: numberOf("keys", values.keys, 500_000),
    valueBytes: numberOf("value", values.value, 256),
    seed: numberOf("seed", values.seed, 1),
    folder: values.folder ?? tmpdir(),
    only: values.only?.split(",") ?? [],
    all: values.all === true,
    scale: numberOf("scale", values.scale, base.scale),
  };
}

function numberOf(name: string, text: string | undefined, otherwise: number): number {
  const value = text === undefined ? otherwise : Number(text);
  if (!Number.isFinite(value) || value <= 0) throw new Error(`--${name}: ${text ?? ""} is not a number above 0`);
  return value;
}
