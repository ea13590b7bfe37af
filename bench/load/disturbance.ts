/** Puts in open loop beside something that disturbs them: what the scenarios of that kind have in common. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import {
  encodeMessage,
  etcdBinaries,
  GrpcClient,
  ourCommand,
  packageRoot,
  rpcTypes,
} from "../../test/support/index.js";
import { runLoad, type LoadSettings } from "./generators.js";
import { Server, type Contestant } from "./server.js";
import { percentileMs } from "./statistics.js";

const guardMs = 600_000;
/** No disturbance is measured for longer. */
export const disturbanceMsMax = 120_000;
/** From the begin of the puts to that of the disturbance: their warm-up, and a little more. */
const leadMs = 1500;

export interface Figures {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  readonly foreignCpu: number;
}

/** One server with what is measured on it. */
export interface Subject {
  readonly server: Server;
  readonly folder: string;
}

/** Calls a method with a message of the plain form; the plain answer. */
export async function callOf(
  { port }: { readonly port: number },
  service: string,
  method: string,
  request: Parameters<typeof encodeMessage>[1],
): Promise<void> {
  const client = new GrpcClient(port);
  const message = encodeMessage(rpcTypes(`etcdserverpb.${service}`, method).request, request);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  const body = Buffer.concat([head, message]);
  const reply = await client.raw({ path: `/etcdserverpb.${service}/${method}`, body, guardMs });
  client.close();
  if (reply.status !== 0) throw new Error(reply.message);
}

/** Measures puts for as long as a disturbance lasts: they go on while a file is there. Both results. */
export async function beside<P, D>(
  whileFile: string,
  disturb: () => Promise<D>,
  puts: (whileFile: string) => Promise<P>,
): Promise<[P, D]> {
  writeFileSync(whileFile, "");
  const disturbed = async (): Promise<D> => {
    await delay(leadMs);
    try {
      return await disturb();
    } finally {
      rmSync(whileFile, { force: true });
    }
  };
  return await Promise.all([puts(whileFile), disturbed()]);
}

/** Command-line options of all these scenarios, beside their own. */
export const commonOptions = {
  revisions: { type: "string", default: "1500000" },
  keys: { type: "string", default: "1000000" },
  bytes: { type: "string", default: "100" },
  servers: { type: "string", default: "ours,etcd" },
  turns: { type: "string", default: "3" },
  rate: { type: "string", default: "2000" },
  load: { type: "string", default: join(packageRoot, "native", "target", "release", "examples", "load") },
  folder: { type: "string", default: tmpdir() },
} as const;

export class Disturbance {
  readonly values: ReturnType<typeof parseArgs<{ options: typeof commonOptions }>>["values"];

  constructor(args: string[] = process.argv.slice(2)) {
    this.values = parseArgs({ args, options: commonOptions }).values;
  }

  /** Puts as fast as they go until the revision is reached; returns it. */
  async fill({ server, folder }: Subject): Promise<number> {
    for (;;) {
      const revision = await server.revision();
      if (revision >= Number(this.values.revisions)) return revision;
      await runLoad(this.values.load, server, this.#settings(folder, 4000, 0));
    }
  }

  async puts({ server, folder }: Subject, measureMs: number, whileFile?: string): Promise<Figures> {
    const settings = {
      ...this.#settings(folder, measureMs, Number(this.values.rate)),
      ...(whileFile === undefined ? {} : { whileFile }),
    };
    const { latency, foreignCpu } = await runLoad(this.values.load, server, settings);
    const at = (percentile: number): number => Number(percentileMs(latency!, percentile).toFixed(3));
    return { p50Ms: at(50), p99Ms: at(99), maxMs: at(100), foreignCpu };
  }

  /** The same while `disturb` lasts, and what came of that. */
  async putsWhile<T>(subject: Subject, disturb: () => Promise<T>): Promise<[Figures, T]> {
    return await beside(join(subject.folder, "disturbed"), disturb, (whileFile) =>
      this.puts(subject, disturbanceMsMax, whileFile),
    );
  }

  /** Runs a scenario on each server in turn, and prints one JSON line with all results. */
  async run(scenario: (subject: Subject) => Promise<object>): Promise<void> {
    const results: object[] = [];
    for (let n = 0; n < Number(this.values.turns); n++) {
      for (const contestant of await this.#contestants()) {
        const result = { server: contestant.name, ...(await this.#turn(contestant, scenario)) };
        process.stderr.write(`${JSON.stringify(result)}\n`);
        results.push(result);
      }
    }
    process.stdout.write(`${JSON.stringify({ ...this.values, results })}\n`);
  }

  async #turn(contestant: Contestant, scenario: (subject: Subject) => Promise<object>): Promise<object> {
    const folder = mkdtempSync(join(this.values.folder, "etcd-ts-load-"));
    const server = await Server.start(contestant, this.values.folder);
    try {
      return await scenario({ server, folder });
    } finally {
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  }

  async #contestants(): Promise<Contestant[]> {
    const cache = await etcdBinaries();
    return this.values.servers.split(",").map((name) => {
      if (name === "ours") return { name, command: ourCommand() };
      if (cache.kind === "skipped") throw new Error(cache.reason);
      return { name: "etcd", command: [cache.binaries.etcd] };
    });
  }

  #settings(folder: string, measureMs: number, rate: number): LoadSettings {
    const { keys, bytes } = this.values;
    return {
      call: "put",
      connections: rate === 0 ? 100 : 10,
      streams: 10,
      rate,
      warmupMs: 1000,
      measureMs,
      keys: Number(keys),
      valueBytes: Number(bytes),
      seed: 1,
      folder,
    };
  }
}
