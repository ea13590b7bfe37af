/** What is measured of each server, in this order, on one process from an empty folder. */
import { fastShare, readFsyncs } from "./fsync.js";
import { runAutocannon, runH2load, runLoad, type LoadResult, type LoadSettings } from "./generators.js";
import type { BenchOptions } from "./options.js";
import { rangeKey, type Contestant, Server } from "./server.js";

/** Which program makes the load. */
export type Generator = "load" | "h2load" | "autocannon";

export interface Scenario {
  readonly name: string;
  readonly title: string;
  readonly generator: Generator;
  readonly call: LoadSettings["call"];
  readonly connections: number;
  readonly streams: number;
  readonly rate: number;
}

const scenario = (name: string, title: string, what: Partial<Scenario>): Scenario => ({
  name,
  title,
  generator: "load",
  call: "put",
  connections: 100,
  streams: 10,
  rate: 0,
  ...what,
});

export const scenarios: readonly Scenario[] = [
  scenario("put-100x10", "put, 100 × 10", {}),
  scenario("put-10x10", "put, 10 × 10", { connections: 10 }),
  scenario("put-1x1", "put, 1 × 1", { connections: 1, streams: 1 }),
  scenario("put-10k", "put, 10,000/s offered", { rate: 10_000 }),
  scenario("put-100x10-h2load", "put of one key, 100 × 10, h2load", { generator: "h2load" }),
  scenario("get-linearizable", "get, linearizable, 100 × 10", { call: "range" }),
  scenario("get-serializable", "get, serializable, 100 × 10", { call: "serializable" }),
  scenario("gateway-get", "get over JSON, 100 × 1, autocannon", { generator: "autocannon", call: "range", streams: 1 }),
];

/** All of one server in one turn. */
export interface ServerTurn {
  /** Of the WAL's fsyncs while 10,000 puts a second came: the share that took at most 1 ms. */
  readonly fastFsyncShare: number;
  readonly results: ReadonlyMap<string, LoadResult>;
}

export interface Tools {
  readonly load: string;
  readonly h2load: boolean;
  /** For files of a run. */
  readonly folder: string;
}

/** Runs the scenarios on a server that is started for them, and stops it. */
export async function measureServer(
  contestant: Contestant,
  chosen: readonly Scenario[],
  options: BenchOptions,
  tools: Tools,
  progress: (text: string) => void,
): Promise<ServerTurn> {
  const server = await Server.start(contestant, options.folder);
  try {
    await server.put(rangeKey, new Uint8Array(options.valueBytes).fill(97));
    progress(`${contestant.name}: warm-up`);
    // Code that is compiled as it runs is compiled by then, whatever is chosen.
    await measure(server, scenarios[0]!, { ...options, measureMs: options.warmupMs }, tools);
    const results = new Map<string, LoadResult>();
    let fastFsyncShare = Number.NaN;
    for (const each of chosen) {
      progress(`${contestant.name}: ${each.title}`);
      const fsyncs = await readFsyncs(server.address);
      results.set(each.name, await measureChecked(server, each, options, tools));
      if (each.rate > 0) fastFsyncShare = fastShare(fsyncs, await readFsyncs(server.address));
    }
    const revision = await server.revision();
    progress(`${contestant.name}: restart`);
    await server.restart();
    if ((await server.revision()) !== revision) throw new Error(`${contestant.name}: a restart changed the revision`);
    await server.stop();
    return { fastFsyncShare, results };
  } catch (error) {
    await server.discard();
    throw error;
  }
}

/** Measures, and compares the successes with what the store says has happened. */
async function measureChecked(
  server: Server,
  each: Scenario,
  options: BenchOptions,
  tools: Tools,
): Promise<LoadResult> {
  const before = await server.revision();
  const result = await measure(server, each, options, tools);
  if (result.completed === 0) throw new Error(`${server.contestant.name}, ${each.title}: no request succeeded`);
  const happened = (await server.settledRevision()) - before;
  const isPut = each.call === "put";
  if (happened < (isPut ? result.succeededMin : 0) || happened > (isPut ? result.succeededMax : 0)) {
    const counted = `${result.succeededMin} … ${result.succeededMax}`;
    throw new Error(`${server.contestant.name}, ${each.title}: ${counted} counted, but ${happened} happened`);
  }
  return result;
}

function measure(server: Server, each: Scenario, options: BenchOptions, tools: Tools): Promise<LoadResult> {
  const { call, connections, streams, rate } = each;
  const { warmupMs, measureMs, keys, valueBytes, seed } = options;
  const { folder } = tools;
  const settings = { call, connections, streams, rate, warmupMs, measureMs, keys, valueBytes, seed, folder };
  switch (each.generator) {
    case "load":
      return runLoad(tools.load, server, settings);
    case "h2load":
      return runH2load(server, settings);
    case "autocannon":
      return runAutocannon(server, settings);
  }
}
