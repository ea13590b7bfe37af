/**
 * Puts beside a large compaction: 2,000 a second in open loop, first undisturbed, then while everything up to the
 * present is compacted.
 *
 *   node dist/bench/load/compaction.js --revisions=1500000 --keys=1000000 --servers=ours,etcd --turns=3
 *
 * Prints one JSON line: per turn and server p50, p99 and maximum without and with the compaction, and how long it took.
 * `--load` names the generator's program where it is not where cargo puts it.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { encodeMessage, etcdBinaries, GrpcClient, ourCommand, packageRoot } from "../../test/support/index.js";
import { runLoad, type LoadSettings } from "./generators.js";
import { percentileMs } from "./statistics.js";
import { Server, type Contestant } from "./server.js";

const { values } = parseArgs({
  options: {
    revisions: { type: "string", default: "1500000" },
    keys: { type: "string", default: "1000000" },
    servers: { type: "string", default: "ours,etcd" },
    turns: { type: "string", default: "3" },
    rate: { type: "string", default: "2000" },
    load: { type: "string", default: join(packageRoot, "native", "target", "release", "examples", "load") },
    folder: { type: "string", default: tmpdir() },
  },
});

interface Figures {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  readonly foreignCpu: number;
}

async function contestants(): Promise<Contestant[]> {
  const cache = await etcdBinaries();
  return values.servers.split(",").map((name) => {
    if (name === "ours") return { name, command: ourCommand() };
    if (cache.kind === "skipped") throw new Error(cache.reason);
    return { name: "etcd", command: [cache.binaries.etcd] };
  });
}

const settings = (folder: string, measureMs: number, rate: number): LoadSettings => ({
  call: "put",
  connections: rate === 0 ? 100 : 10,
  streams: 10,
  rate,
  warmupMs: 1000,
  measureMs,
  keys: Number(values.keys),
  valueBytes: 100,
  seed: 1,
  folder,
});

async function fill(server: Server, folder: string): Promise<number> {
  for (;;) {
    const revision = await server.revision();
    if (revision >= Number(values.revisions)) return revision;
    await runLoad(values.load, server, settings(folder, 4000, 0));
  }
}

async function puts(server: Server, folder: string, measureMs: number): Promise<Figures> {
  const { latency, foreignCpu } = await runLoad(values.load, server, settings(folder, measureMs, Number(values.rate)));
  const at = (percentile: number): number => Number(percentileMs(latency!, percentile).toFixed(3));
  return { p50Ms: at(50), p99Ms: at(99), maxMs: at(100), foreignCpu };
}

/** Compacts once the warm-up is over; resolves to the time that it took. */
async function compact(server: Server, revision: number): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const client = new GrpcClient(server.port);
  const began = performance.now();
  const reply = await client.raw({
    path: "/etcdserverpb.KV/Compact",
    body: framed(encodeMessage("etcdserverpb.CompactionRequest", { revision, physical: true })),
    guardMs: 300_000,
  });
  client.close();
  if (reply.status !== 0) throw new Error(reply.message);
  return performance.now() - began;
}

function framed(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

async function turn(contestant: Contestant): Promise<object> {
  const folder = mkdtempSync(join(values.folder, "etcd-ts-compaction-"));
  const server = await Server.start(contestant, values.folder);
  try {
    const revision = await fill(server, folder);
    const undisturbed = await puts(server, folder, 10_000);
    const compacting = compact(server, revision);
    const disturbed = await puts(server, folder, 15_000);
    return { server: contestant.name, revision, undisturbed, disturbed, compactionMs: Math.round(await compacting) };
  } finally {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

const results: object[] = [];
for (let n = 0; n < Number(values.turns); n++) {
  for (const contestant of await contestants()) {
    const result = await turn(contestant);
    process.stderr.write(`${JSON.stringify(result)}\n`);
    results.push(result);
  }
}
process.stdout.write(`${JSON.stringify({ ...values, results })}\n`);
