/**
 * `npm run bench`: ours and the real etcd in turn, in one run. Prints hardware, seed and options, then progress (to
 * stderr), tables, and one JSON line; writes that and a latency plot to bench/results/.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { packageRoot } from "../../src/base/index.js";
import { etcdBinaries, etcdVersion, ourCommand } from "../../test/support/index.js";
import { describeMachine, isMemoryFileSystem, type Machine } from "./machine.js";
import { readOptions, usage, type BenchOptions } from "./options.js";
import { drawLatencies } from "./plot.js";
import { measureContent, type ContentTurn } from "./content.js";
import { buildExamples, toolVersion } from "./programs.js";
import { contentTable, disturbance, scenarioTable, serverTable, verdictTable, walTable } from "./report.js";
import { measureServer, scenarios, type Scenario, type ServerTurn } from "./scenarios.js";
import type { Contestant } from "./server.js";
import {
  mergedLatency,
  summarize,
  summarizeContent,
  summarizeServer,
  summarizeWal,
  verdicts,
  type Side,
  type Turns,
} from "./summary.js";
import {
  Arena,
  summarizeTrial,
  trials,
  trialTable,
  trialVerdicts,
  type Readings,
  type Trial,
  type TrialSummary,
} from "./trials/index.js";
import { measureWal, type WalTurn } from "./wal.js";

const results = join(packageRoot(), "bench", "results");
const plotted = ["put-100x10", "put-1x1", "put-10k", "get-linearizable"];
const began = performance.now();

function progress(text: string): void {
  process.stderr.write(`bench: ${((performance.now() - began) / 1000).toFixed(0)} s, ${text}\n`);
}

function choose(options: BenchOptions, h2load: boolean): Scenario[] {
  const { only } = options;
  const known = ["wal", "content", ...scenarios.map(({ name }) => name), ...trials.map(({ name }) => name)];
  for (const name of only) if (!known.includes(name)) throw new Error(`--only: ${name} is none of ${known.join(", ")}`);
  return scenarios.filter(
    ({ name, generator }) => (only.length === 0 || only.includes(name)) && (generator !== "h2load" || h2load),
  );
}

function chooseTrials({ only, all }: BenchOptions): Trial[] {
  return trials.filter(({ name }) => all || only.includes(name));
}

/** Each trial in turns of both servers, on fresh ones. */
async function runTrials(
  contestants: Readonly<Record<Side, Contestant>>,
  { turns, seed, scale, folder: parent }: BenchOptions,
  { load, folder }: { readonly load: string; readonly folder: string },
  chosen: readonly Trial[],
): Promise<TrialSummary[]> {
  const summaries: TrialSummary[] = [];
  for (const trial of chosen) {
    const readings: Record<Side, Readings[]> = { ours: [], etcd: [] };
    for (let turn = 0; turn < turns; turn++) {
      const order: Side[] = turn % 2 === 0 ? ["ours", "etcd"] : ["etcd", "ours"];
      for (const side of order) {
        progress(`${side}: ${trial.title}`);
        const arena = { program: load, folder, parent, seed, scale };
        readings[side].push(await Arena.run(trial, contestants[side], arena));
      }
    }
    summaries.push(summarizeTrial(trial, readings));
    process.stderr.write(`${trialTable(summaries.at(-1)!)}\n`);
  }
  return summaries;
}

function printHead(options: BenchOptions, machine: Machine, h2load: string | null): void {
  console.log(`etcd-ts against etcd ${etcdVersion}, ${new Date().toISOString()}`);
  const { cpu, cores, memoryGiB, kernel, node, fileSystem, loadAverage } = machine;
  console.log(`${cpu}, ${cores} cores, ${memoryGiB} GiB, Linux ${kernel}, Node ${node}, ${fileSystem}`);
  console.log(`load average before: ${loadAverage.toFixed(2)}`);
  const { turns, warmupMs, measureMs, keys, valueBytes, seed } = options;
  console.log(`seed ${seed}; ${turns} turns of ${measureMs} ms after ${warmupMs} ms; ${keys} keys, ${valueBytes} B`);
  console.log(`generators: load (native/core/examples/load); h2load: ${h2load ?? "not installed"}; autocannon`);
  console.log(`fio: ${toolVersion("fio") ?? "not installed"}`);
  if (isMemoryFileSystem(options.folder)) console.log(`${options.folder} is in memory: disk figures mean nothing`);
  console.log();
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  if (options === undefined) return console.log(usage);
  const h2load = toolVersion("h2load");
  const chosen = choose(options, h2load !== null);
  const cached = await etcdBinaries();
  if (cached.kind === "skipped") throw new Error(`the real etcd cannot be built: ${cached.reason}`);
  const contestants: Record<Side, Contestant> = {
    ours: { name: "ours", command: ourCommand() },
    etcd: { name: "etcd", command: [cached.binaries.etcd] },
  };
  const [load, walBench] = buildExamples(["load", "wal_bench"]) as [string, string];
  const machine = describeMachine(options.folder);
  printHead(options, machine, h2load);
  const folder = mkdtempSync(join(options.folder, "etcd-ts-bench-"));
  const tools = { load, h2load: h2load !== null, folder };
  const turns: Record<Side, ServerTurn[]> = { ours: [], etcd: [] };
  const content: Record<Side, ContentTurn[]> = { ours: [], etcd: [] };
  const wal: WalTurn[] = [];
  const isChosen = (name: string): boolean => options.only.length === 0 || options.only.includes(name);
  let tried: TrialSummary[] = [];
  try {
    for (let turn = 0; turn < options.turns; turn++) {
      if (isChosen("wal")) {
        progress("the log alone");
        wal.push(await measureWal(walBench, options));
      }
      const order: Side[] = turn % 2 === 0 ? ["ours", "etcd"] : ["etcd", "ours"];
      for (const side of isChosen("content") ? order : []) {
        progress(`${side}: start and memory`);
        content[side].push(await measureContent(contestants[side], options, tools));
      }
      for (const side of chosen.length > 0 ? order : []) {
        turns[side].push(await measureServer(contestants[side], chosen, options, tools, progress));
      }
    }
    tried = await runTrials(contestants, options, tools, chooseTrials(options));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  report({ options, machine, chosen, turns, content, wal, tried });
}

/** All that was measured. */
interface Run {
  readonly options: BenchOptions;
  readonly machine: Machine;
  readonly chosen: readonly Scenario[];
  readonly turns: Turns;
  readonly content: Readonly<Record<Side, readonly ContentTurn[]>>;
  readonly wal: readonly WalTurn[];
  readonly tried: readonly TrialSummary[];
}

function report({ options, machine, chosen, turns, content, wal, tried }: Run): void {
  const summaries = summarize(chosen, turns);
  const servers = { ours: summarizeServer(turns.ours), etcd: summarizeServer(turns.etcd) };
  const contents = { ours: summarizeContent(content.ours), etcd: summarizeContent(content.etcd) };
  const walSummary = summarizeWal(wal);
  const goals = [...verdicts(summaries, turns, wal), ...tried.flatMap(trialVerdicts)];
  if (chosen.length > 0) console.log(`${scenarioTable(summaries)}\n\n${serverTable(servers)}\n`);
  if (content.ours.length > 0) console.log(`${contentTable(contents)}\n`);
  if (wal.length > 0) console.log(`${walTable(walSummary)}\n`);
  for (const each of tried) console.log(`${trialTable(each)}\n`);
  console.log(`${verdictTable(goals)}\n`);
  const disturbed = disturbance(summaries, machine.cores);
  if (disturbed !== null) console.log(`${disturbed}\n`);
  const summary = {
    bench: "load",
    time: new Date().toISOString(),
    etcdVersion,
    machine,
    options,
    disturbed: disturbed !== null,
    scenarios: summaries.map(({ scenario, ours, etcd }) => ({ name: scenario.name, ours, etcd })),
    servers,
    contents,
    trials: tried.map(({ trial, ours, etcd }) => ({ name: trial.name, ours, etcd })),
    wal: walSummary,
    goals,
  };
  const line = JSON.stringify(summary, (_, value: unknown) => (typeof value === "number" ? rounded(value) : value));
  console.log(line);
  mkdirSync(results, { recursive: true });
  writeFileSync(join(results, "bench.json"), `${line}\n`);
  plot(machine, chosen, turns);
}

/** Five digits say all there is to say. */
function rounded(value: number): number {
  return Number.isInteger(value) ? value : Number(value.toPrecision(5));
}

function plot(machine: Machine, chosen: readonly Scenario[], turns: Turns): void {
  const panels = chosen
    .filter(({ name }) => plotted.includes(name))
    .map((scenario) => ({
      title: scenario.title,
      ours: mergedLatency(turns.ours, scenario),
      etcd: mergedLatency(turns.etcd, scenario),
    }));
  if (panels.length === 0) return;
  const caption = `${machine.cpu}, ${machine.cores} cores, ${machine.fileSystem}; all turns together`;
  writeFileSync(join(results, "latency.svg"), drawLatencies(panels, caption));
  process.stderr.write(`bench: wrote ${join(results, "latency.svg")} and bench.json\n`);
}

await main();
