/**
 * `npm run profile`: where the CPU of one request goes in our server: by thread (/proc), by stage (perf, where it is
 * installed), and by function of the JavaScript threads (--cpu-prof). Three loads of the same kind, since each way of
 * looking has its own cost.
 */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { readProfiles } from "./cpu-profile.js";
import { runLoad, type LoadResult, type LoadSettings, type ThreadCpu } from "./generators.js";
import { describeMachine } from "./machine.js";
import { readStages } from "./perf-stages.js";
import { buildExamples, toolVersion } from "./programs.js";
import { table } from "./report.js";
import { rangeKey, Server } from "./server.js";

const usage = `npm run profile -- [options]
  --call put|range|serializable   (default put)
  --connections N --streams N     (default 100, 10)
  --rate N                        requests a second offered; 0: the closed loop (default)
  --seconds S                     of each of the three loads (default 5)
  --value N                       bytes of a value (default 256)
  --functions N                   rows of the tables of functions (default 25)`;

const text = { type: "string" } as const;
const { values } = parseArgs({
  options: {
    help: { type: "boolean" },
    call: { ...text, default: "put" },
    connections: { ...text, default: "100" },
    streams: { ...text, default: "10" },
    rate: { ...text, default: "0" },
    seconds: { ...text, default: "5" },
    value: { ...text, default: "256" },
    functions: { ...text, default: "25" },
  },
});

const entry = fileURLToPath(new URL("../../src/bin/etcd.js", import.meta.url));
const warmupMs = 1500;
const perfHertz = 1999;
/** Load before the first one, after which V8 has compiled what is hot: at 1 × 1 that would take long. */
const heat = { connections: 100, streams: 10, rate: 0, warmupMs: 0, measureMs: 2000 };
/** Threads and stages below this are added up. */
const smallUs = 0.01;

async function main(): Promise<void> {
  if (values.help === true) return console.log(usage);
  const [load] = buildExamples(["load"]) as [string];
  const folder = mkdtempSync(join(tmpdir(), "etcd-ts-profile-"));
  const { cpu, cores, kernel, node, fileSystem } = describeMachine(folder);
  const settings = loadSettings(folder);
  const { call, connections, streams, rate, valueBytes } = settings;
  console.log(`${cpu}, ${cores} cores, Linux ${kernel}, Node ${node}, ${fileSystem}`);
  const shape = rate > 0 ? `${rate}/s offered` : `closed loop`;
  console.log(`${call} ${valueBytes} B, ${connections} × ${streams}, ${shape}, ${settings.measureMs} ms\n`);
  try {
    await profileThreads(load, settings);
    await profileFunctions(load, settings);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function loadSettings(folder: string): LoadSettings {
  const { call } = values;
  if (call !== "put" && call !== "range" && call !== "serializable") throw new Error(`--call ${call}\n${usage}`);
  return {
    call,
    connections: Number(values.connections),
    streams: Number(values.streams),
    rate: Number(values.rate),
    warmupMs,
    measureMs: Number(values.seconds) * 1000,
    keys: 500_000,
    valueBytes: Number(values.value),
    seed: 1,
    folder,
  };
}

async function startServer(load: string, nodeFlags: readonly string[], settings: LoadSettings): Promise<Server> {
  const command = [process.execPath, ...nodeFlags, entry];
  const server = await Server.start({ name: "ours", command }, settings.folder);
  await server.put(rangeKey, new Uint8Array(settings.valueBytes).fill(97));
  await runLoad(load, server, { ...settings, ...heat });
  return server;
}

async function profileThreads(load: string, settings: LoadSettings): Promise<void> {
  const perf = toolVersion("perf");
  const names = fileURLToPath(new URL("name-threads.cjs", import.meta.url));
  const flags = perf === null ? [] : ["--perf-basic-prof", "--interpreted-frames-native-stack"];
  const server = await startServer(load, ["--require", names, ...flags], settings);
  try {
    const result = await runLoad(load, server, settings);
    printThreads(result, server.pid);
    if (perf === null) console.log("perf is not installed: no stages\n");
    else await profileStages(load, server, settings, result);
    await server.stop();
  } catch (error) {
    await server.discard();
    throw error;
  }
}

function threadTitle({ id, name }: ThreadCpu, pid: number): string {
  if (id === pid) return "main (JS)";
  const titles: Readonly<Record<string, string>> = {
    apply: "apply (JS)",
    http: "http (JS)",
    node: "libuv's pool: LMDB's writes",
    v8: "V8's helpers: GC, compiling",
    edge: "edge (Rust)",
    wal: "wal (Rust)",
    "wal-prepare": "wal-prepare (Rust): zeroing",
  };
  return titles[name] ?? name;
}

function printThreads(result: LoadResult, pid: number): void {
  const sums = new Map<string, number>();
  for (const thread of result.threads) {
    const title = threadTitle(thread, pid);
    sums.set(title, (sums.get(title) ?? 0) + thread.cpuNs / 1000 / result.completed);
  }
  const rows = [...sums].sort((a, b) => b[1] - a[1]).filter(([, us]) => us >= smallUs);
  console.log(`${result.requestsPerSecond.toFixed(0)} req/s, ${result.cpuUs.toFixed(2)} µs CPU a request`);
  console.log(`${table([["thread", "CPU µs"], ...rows.map(([name, us]) => [name, us.toFixed(2)])])}\n`);
}

async function profileStages(load: string, server: Server, settings: LoadSettings, threads: LoadResult): Promise<void> {
  const data = join(settings.folder, "perf.data");
  const seconds = String((settings.warmupMs + settings.measureMs) / 1000);
  const events = ["-F", String(perfHertz), "-e", "cpu-clock", "-g"];
  const perf = spawn("perf", ["record", ...events, "-p", String(server.pid), "-o", data, "--", "sleep", seconds], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  perf.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const ended = new Promise<number | null>((resolve) => perf.once("close", resolve));
  await runLoad(load, server, settings);
  if ((await ended) !== 0) return console.log(`no stages: perf record failed:\n${said}`);
  const cpuUs = new Map(threads.threads.map(({ id, cpuNs }) => [id, cpuNs / 1000 / threads.completed]));
  const sums = new Map<string, Map<string, number>>();
  for (const { id, samples, stages } of await readStages(data)) {
    const thread = threads.threads.find((each) => each.id === id);
    if (thread === undefined) continue;
    const title = threadTitle(thread, server.pid);
    const sum = sums.get(title) ?? new Map<string, number>();
    sums.set(title, sum);
    for (const [stage, count] of stages) {
      sum.set(stage, (sum.get(stage) ?? 0) + ((cpuUs.get(id) ?? 0) * count) / samples);
    }
  }
  const rows = [...sums].flatMap(([title, sum]) =>
    [...sum]
      .filter(([, us]) => us >= smallUs)
      .sort((a, b) => b[1] - a[1])
      .map(([stage, us]) => [title, stage, us.toFixed(2)]),
  );
  console.log(`${table([["thread", "stage", "CPU µs"], ...rows])}\n`);
}

async function profileFunctions(load: string, settings: LoadSettings): Promise<void> {
  const folder = join(settings.folder, "profiles");
  mkdirSync(folder);
  const preload = fileURLToPath(new URL("late-end.cjs", import.meta.url));
  const flags = ["--require", preload, "--cpu-prof", `--cpu-prof-dir=${folder}`];
  const server = await startServer(load, flags, settings);
  const result = await runLoad(load, server, settings);
  await server.stop();
  const profiles = readProfiles(folder, Number(values.functions));
  console.log(`functions, their own time, with --cpu-prof (${result.requestsPerSecond.toFixed(0)} req/s):`);
  for (const { thread, busySeconds, functions } of profiles) {
    if (thread === "http") continue;
    const rows = functions.map(({ name, place, share }) => [name, (share * 100).toFixed(1), `  ${place}`]);
    console.log(`\n${thread}, ${busySeconds.toFixed(1)} s busy`);
    console.log(table([["function", "%", ""], ...rows]));
  }
}

await main();
