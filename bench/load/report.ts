/** The summary as text. */
import type { ContentTurn } from "./content.js";
import type { Figures, ScenarioSummary, ServerSummary, Side, Verdict, WalSummary } from "./summary.js";

/** A table with aligned columns; the first one is text. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const cell = (text: string, column: number): string =>
    column === 0 ? text.padEnd(widths[0]!) : text.padStart(widths[column]!);
  return rows.map((row) => row.map(cell).join("  ").trimEnd()).join("\n");
}

export function number(value: number, digits: number): string {
  return Number.isFinite(value) ? value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }) : "–"; // prettier-ignore
}

const both = (ours: number, etcd: number, digits: number): string[] => [
  number(ours, digits),
  number(etcd, digits),
  Number.isFinite(ours / etcd) ? `${(ours / etcd).toFixed(2)} ×` : "–",
];

export function scenarioTable(summaries: readonly ScenarioSummary[]): string {
  const head = ["", "req/s", "etcd", "", "CPU µs", "etcd", "", "mean ms", "etcd", "", "p50", "etcd", "p99", "etcd"];
  const row = ({ scenario, ours, etcd }: ScenarioSummary): string[] => [
    scenario.title,
    ...both(ours.requestsPerSecond, etcd.requestsPerSecond, 0),
    ...both(ours.cpuUs, etcd.cpuUs, 1),
    ...both(ours.latency?.mean ?? Number.NaN, etcd.latency?.mean ?? Number.NaN, 2),
    ...[ours, etcd].map((side) => number(side.latency?.p50 ?? Number.NaN, 2)),
    ...[ours, etcd].map((side) => number(side.latency?.p99 ?? Number.NaN, 2)),
  ];
  return table([head, ...summaries.map(row)]);
}

export function serverTable({ ours, etcd }: Readonly<Record<Side, ServerSummary>>): string {
  const share = ({ fastFsyncShare }: ServerSummary): string => number(fastFsyncShare * 100, 2);
  return table([
    ["", "ours", "etcd"],
    ["WAL fsyncs within 1 ms at 10,000 puts/s, %", share(ours), share(etcd)],
  ]);
}

export function contentTable({ ours, etcd }: Readonly<Record<Side, ContentTurn>>): string {
  const row = (title: string, pick: (server: ContentTurn) => number): string[] => [
    title,
    ...both(pick(ours), pick(etcd), 0),
  ];
  return table([
    ["start and memory at equal content", "ours", "etcd", ""],
    row("start on an empty folder, ms", (server) => server.startMs),
    row("  resident then, MiB", (server) => server.fresh.total),
    row("  not backed by files, MiB", (server) => server.fresh.anonymous),
    row("revision after the puts", (server) => server.revision),
    row("  resident then, MiB", (server) => server.loaded.total),
    row("  not backed by files, MiB", (server) => server.loaded.anonymous),
    row("restart on that, ms", (server) => server.restartMs),
    row("  resident then, MiB", (server) => server.restarted.total),
    row("  not backed by files, MiB", (server) => server.restarted.anonymous),
  ]);
}

export function walTable(wal: WalSummary): string {
  const names = { fio: "floor by fio", loop: "floor by a loop", rust: "log, seen in Rust", js: "log, seen in JS" };
  const rows = Object.entries(names).map(([name, title]) => {
    const latency = wal[name as keyof WalSummary];
    return [title, number(latency?.p50 ?? Number.NaN, 0), number(latency?.p99 ?? Number.NaN, 0)];
  });
  return table([["append → durable, 4 KiB, µs", "p50", "p99"], ...rows]);
}

export function verdictTable(verdicts: readonly Verdict[]): string {
  const rows = verdicts.map(({ goal, value, limit, aim, met }) => [
    goal,
    value.toFixed(2),
    String(limit),
    aim === null ? "" : String(aim),
    met ? "met" : "not met",
  ]);
  return table([["goal", "here", "limit", "aim", ""], ...rows]);
}

/** What else used the CPU meanwhile; figures of a busy machine are worth little. */
export function disturbance(summaries: readonly ScenarioSummary[], cores: number): string | null {
  const shares = summaries.flatMap(({ ours, etcd }) => [ours, etcd]).map((side: Figures) => side.foreignCpu);
  const worst = Math.max(0, ...shares.filter((share) => Number.isFinite(share)));
  const share = (100 * worst) / cores;
  return share < 8 ? null : `other processes used up to ${share.toFixed(0)} % of the CPU during a scenario: repeat it`;
}
