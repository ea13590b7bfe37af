/**
 * The load generators, each run as a program of its own against one server:
 * load (native/core/examples/load, ours), h2load (where installed), autocannon (for the JSON gateway).
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Histogram } from "hdr-histogram-js";
import { encodeMessage, frame } from "../../test/support/index.js";
import { busySeconds, processCpuSeconds } from "./machine.js";
import { output, packageBin } from "./programs.js";
import { rangeKey, type Server } from "./server.js";
import { newHistogram, recordFile, recordMs } from "./statistics.js";

/** CPU of one thread of the server in the measured time. */
export interface ThreadCpu {
  readonly id: number;
  readonly name: string;
  readonly cpuNs: number;
}

/** One run of a generator. */
export interface LoadResult {
  readonly requestsPerSecond: number;
  /** Requests that succeeded in the measured time. */
  readonly completed: number;
  /** Requests that succeeded at all; the range is what cannot be told from outside. */
  readonly succeededMin: number;
  readonly succeededMax: number;
  readonly failed: number;
  /** Of the server's process, utime + stime, a completed request. */
  readonly cpuUs: number;
  /** Of the generator, a completed request. */
  readonly ownCpuUs: number;
  /** CPU share of the machine that neither server nor generator used, 0 … 1. */
  readonly foreignCpu: number;
  readonly threads: readonly ThreadCpu[];
  readonly latency: Histogram | null;
  /** In ms, where the generator gives no histogram. */
  readonly latencyMs?: { readonly mean: number; readonly p50: number; readonly p99: number };
}

export interface LoadSettings {
  readonly call: "put" | "range" | "serializable" | "grant";
  readonly connections: number;
  readonly streams: number;
  /** Requests a second offered; 0: the closed loop. */
  readonly rate: number;
  readonly warmupMs: number;
  readonly measureMs: number;
  readonly keys: number;
  readonly valueBytes: number;
  readonly seed: number;
  /** For files of this run. */
  readonly folder: string;
  /** The measured time ends when this file is gone, and after `measureMs` at the latest. */
  readonly whileFile?: string;
}

interface LoadOutput {
  readonly seconds: number;
  readonly completed: number;
  readonly succeededTotal: number;
  readonly failed: Readonly<Record<string, number>>;
  readonly unfinished: number;
  readonly serverCpuSeconds: number;
  readonly ownCpuSeconds: number;
  readonly threads: readonly ThreadCpu[];
}

const graceMs = 25_000;

/** Runs our generator. */
export async function runLoad(program: string, server: Server, settings: LoadSettings): Promise<LoadResult> {
  const { call, connections, streams, rate, keys, seed, warmupMs, measureMs, folder } = settings;
  const latencies = join(folder, "latencies");
  const args = { address: server.address, pid: server.pid, call, connections, streams, rate, keys, seed, latencies };
  const times = { "warmup-ms": warmupMs, "measure-ms": measureMs, "value-bytes": settings.valueBytes };
  const bound = settings.whileFile === undefined ? {} : { while: settings.whileFile };
  const list = Object.entries({ ...args, ...times, ...bound }).map(([name, value]) => `${name}=${value}`);
  const idle = new IdleCheck(server);
  const printed = JSON.parse(await output(program, list, warmupMs + measureMs + graceMs)) as LoadOutput;
  const ownShare = (warmupMs / 1000 + printed.seconds) / printed.seconds;
  const foreignCpu = idle.foreignShare(printed.ownCpuSeconds * ownShare);
  const histogram = newHistogram();
  recordFile(histogram, latencies);
  rmSync(latencies);
  const failed = Object.values(printed.failed).reduce((sum, count) => sum + count, 0);
  const open = failed + printed.unfinished;
  return {
    requestsPerSecond: printed.completed / printed.seconds,
    completed: printed.completed,
    succeededMin: printed.succeededTotal,
    succeededMax: printed.succeededTotal + open,
    failed: open,
    cpuUs: (printed.serverCpuSeconds * 1e6) / printed.completed,
    ownCpuUs: (printed.ownCpuSeconds * 1e6) / printed.completed,
    foreignCpu,
    threads: printed.threads,
    latency: histogram,
  };
}

/** Runs h2load: one key, since it has one body; it tells successes by the HTTP status alone. */
export async function runH2load(server: Server, settings: LoadSettings): Promise<LoadResult> {
  const log = join(settings.folder, "h2load.log");
  const body = join(settings.folder, "h2load.body");
  const request = { key: base64(rangeKey), value: Buffer.alloc(settings.valueBytes, 97).toString("base64") };
  writeFileSync(body, frame(encodeMessage("etcdserverpb.PutRequest", request)));
  const seconds = Math.max(1, Math.round(settings.measureMs / 1000));
  const headers = ["--header=content-type: application/grpc", "--header=te: trailers"];
  const shape = [`-c${settings.connections}`, `-m${settings.streams}`, "-t1", `-D${seconds}`, `-d${body}`];
  rmSync(log, { force: true });
  const url = `http://${server.address}/etcdserverpb.KV/Put`;
  const before = processCpuSeconds(server.pid);
  const text = await output("h2load", [...shape, ...headers, `--log-file=${log}`, url], seconds * 1000 + graceMs);
  const cpu = processCpuSeconds(server.pid) - before;
  const counts = /requests: \d+ total, (\d+) started, \d+ done, (\d+) succeeded, (\d+) failed/.exec(text);
  if (counts === null) throw new Error(`h2load said:\n${text}`);
  const [started, completed, failed] = counts.slice(1).map(Number) as [number, number, number];
  return {
    requestsPerSecond: completed / seconds,
    completed,
    succeededMin: completed,
    succeededMax: started,
    failed,
    cpuUs: (cpu * 1e6) / completed,
    ownCpuUs: Number.NaN,
    foreignCpu: Number.NaN,
    threads: [],
    latency: h2loadLatency(log),
  };
}

/** Start, status and duration of each request, in µs. */
function h2loadLatency(path: string): Histogram {
  const histogram = newHistogram();
  for (const line of readFileSync(path, "latin1").split("\n")) {
    const [, status, duration] = line.split("\t");
    if (status === "200" && duration !== undefined) recordMs(histogram, Number(duration) / 1000);
  }
  rmSync(path);
  return histogram;
}

interface AutocannonOutput {
  readonly "2xx": number;
  readonly non2xx: number;
  readonly errors: number;
  readonly duration: number;
  readonly latency: { readonly average: number; readonly p50: number; readonly p99: number };
}

/** Ranges through the JSON gateway. */
export async function runAutocannon(server: Server, settings: LoadSettings): Promise<LoadResult> {
  const program = packageBin("autocannon");
  const shot = async (seconds: number): Promise<AutocannonOutput> => {
    const body = `{"key":"${base64(rangeKey)}"}`;
    const shape = ["--json", "-n", "-c", `${settings.connections}`, "-d", `${seconds}`, "-m", "POST", "-b", body];
    const url = `http://${server.address}/v3/kv/range`;
    const args = [...shape, "-H", "content-type=application/json", url];
    return JSON.parse(await output(program, args, seconds * 1000 + graceMs)) as AutocannonOutput;
  };
  await shot(1);
  const before = processCpuSeconds(server.pid);
  const printed = await shot(Math.max(1, Math.round(settings.measureMs / 1000)));
  const cpu = processCpuSeconds(server.pid) - before;
  const completed = printed["2xx"];
  const { average, p50, p99 } = printed.latency;
  return {
    requestsPerSecond: completed / printed.duration,
    completed,
    succeededMin: 0,
    succeededMax: 0,
    failed: printed.non2xx + printed.errors,
    cpuUs: (cpu * 1e6) / completed,
    ownCpuUs: Number.NaN,
    foreignCpu: Number.NaN,
    threads: [],
    latency: null,
    latencyMs: { mean: average, p50, p99 },
  };
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

/** What else ran on the machine: a measurement beside other work is worth little. */
class IdleCheck {
  readonly #server: Server;
  readonly #busy = busySeconds();
  readonly #serverCpu: number;
  readonly #beginMs = performance.now();
  readonly #cpu = processCpuSeconds("self");

  constructor(server: Server) {
    this.#server = server;
    this.#serverCpu = processCpuSeconds(server.pid);
  }

  foreignShare(generatorCpuSeconds: number): number {
    const server = processCpuSeconds(this.#server.pid) - this.#serverCpu;
    const bench = processCpuSeconds("self") - this.#cpu;
    const foreign = busySeconds() - this.#busy - server - bench - generatorCpuSeconds;
    const seconds = (performance.now() - this.#beginMs) / 1000;
    return Math.max(0, foreign / seconds);
  }
}
