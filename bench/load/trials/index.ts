/** All trials, the medians of their turns, and their tables. */
import { number, table } from "../report.js";
import { median } from "../statistics.js";
import type { Side, Verdict } from "../summary.js";
import { leaseTrials } from "./lease-trials.js";
import { storeTrials } from "./store-trials.js";
import type { Readings, Trial } from "./trial.js";
import { watchTrials } from "./watch-trials.js";

export { Arena, type Readings, type Trial } from "./trial.js";

export const trials: readonly Trial[] = [...watchTrials, ...leaseTrials, ...storeTrials];

export interface TrialSummary {
  readonly trial: Trial;
  readonly ours: Readings;
  readonly etcd: Readings;
}

export function summarizeTrial(trial: Trial, turns: Readonly<Record<Side, readonly Readings[]>>): TrialSummary {
  const medians = (readings: readonly Readings[]): Readings =>
    Object.fromEntries(
      Object.keys(trial.figures).map((name) => [name, median(readings.map((reading) => reading[name] ?? Number.NaN))]),
    );
  return { trial, ours: medians(turns.ours), etcd: medians(turns.etcd) };
}

export function trialTable({ trial, ours, etcd }: TrialSummary): string {
  const rows = Object.entries(trial.figures).map(([name, [title, decimals]]) => {
    const ratio = ours[name]! / etcd[name]!;
    return [
      title,
      number(ours[name]!, decimals),
      number(etcd[name]!, decimals),
      Number.isFinite(ratio) ? `${ratio.toFixed(2)} ×` : "–",
    ];
  });
  return table([[trial.title, "ours", "etcd", ""], ...rows]);
}

export function trialVerdicts({ trial, ours, etcd }: TrialSummary): Verdict[] {
  return trial.goals(ours, etcd).map(({ goal, value, min, max }) => ({
    goal: `${trial.title}: ${goal}`,
    value,
    limit: min ?? max!,
    aim: null,
    met: min === undefined ? value <= max! : value >= min,
  }));
}
