/**
 * Start and memory, at the same content for both servers: a fresh process, so many puts, a restart. The puts come at a
 * rate that both keep up with, since in a closed loop the faster one would hold more in the end.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { runLoad } from "./generators.js";
import { residentMiB, type ResidentMiB } from "./machine.js";
import type { BenchOptions } from "./options.js";
import type { Tools } from "./scenarios.js";
import { Server, type Contestant } from "./server.js";

const putsPerSecond = 8000;
/** After the last put: commits are done, and what a collector gives back at once is given back. */
const restMs = 1000;

/** One server in one turn. */
export interface ContentTurn {
  /** On an empty folder, until it serves. */
  readonly startMs: number;
  readonly fresh: ResidentMiB;
  /** What the content is. */
  readonly revision: number;
  readonly loaded: ResidentMiB;
  /** On that content. */
  readonly restartMs: number;
  readonly restarted: ResidentMiB;
}

/** Starts a server, fills it, starts it again. */
export async function measureContent(
  contestant: Contestant,
  options: BenchOptions,
  tools: Tools,
): Promise<ContentTurn> {
  const server = await Server.start(contestant, options.folder);
  try {
    const memory = async (): Promise<ResidentMiB> => {
      await sleep(restMs);
      return residentMiB(server.pid);
    };
    const fresh = await memory();
    const { keys, valueBytes, seed, contentPuts } = options;
    const measureMs = Math.round((1000 * contentPuts) / putsPerSecond);
    const shape = { call: "put", connections: 100, streams: 10, rate: putsPerSecond, warmupMs: 0 } as const;
    await runLoad(tools.load, server, { ...shape, measureMs, keys, valueBytes, seed, folder: tools.folder });
    const revision = await server.settledRevision();
    const loaded = await memory();
    const restartMs = await server.restart();
    if ((await server.revision()) !== revision) throw new Error(`${contestant.name}: a restart changed the revision`);
    const restarted = await memory();
    const { startMs } = server;
    await server.stop();
    return { startMs, fresh, revision, loaded, restartMs, restarted };
  } catch (error) {
    await server.discard();
    throw error;
  }
}
