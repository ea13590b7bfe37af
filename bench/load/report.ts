/** The summary as text. */
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

export function serverTable(servers: Readonly<Record<Side, ServerSummary>>): string {
  const { ours, etcd } = servers;
  const row = (title: string, pick: (server: ServerSummary) => number, digits: number): string[] => [
    title,
    number(pick(ours), digits),
    number(pick(etcd), digits),
  ];
  return table([
    ["", "ours", "etcd"],
    row("start on an empty folder, ms", (server) => server.startMs, 0),
    row("restart on all data of the run, ms", (server) => server.restartMs, 0),
    row("  revision then", (server) => server.restartRevision, 0),
    row("resident after the first scenario, MiB", (server) => server.residentMiB, 0),
    row("  not backed by files, MiB", (server) => server.anonymousMiB, 0),
    row("  revision then", (server) => server.residentAtRevision, 0),
    row("WAL fsyncs within 1 ms at 10,000 puts/s, %", (server) => server.fastFsyncShare * 100, 2),
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
