/**
 * Puts beside a large compaction: 2,000 a second in open loop, first undisturbed, then while everything up to the
 * present is compacted.
 *
 *   node dist/bench/load/compaction.js --revisions=1500000 --keys=1000000 --servers=ours,etcd --turns=3
 *
 * Prints one JSON line: per turn and server p50, p99 and maximum without and with the compaction, and how long it took.
 * `--load` names the generator's program where it is not where cargo puts it.
 */
import { setTimeout as delay } from "node:timers/promises";
import { callOf, Disturbance } from "./disturbance.js";
import type { Server } from "./server.js";

/** Compacts once the warm-up is over; resolves to the time that it took. */
async function compact(server: Server, revision: number): Promise<number> {
  await delay(1500);
  const began = performance.now();
  await callOf(server, "KV", "Compact", { revision: String(revision), physical: true });
  return performance.now() - began;
}

const disturbance = new Disturbance();
await disturbance.run(async (subject) => {
  const revision = await disturbance.fill(subject);
  const undisturbed = await disturbance.puts(subject, 10_000);
  const compacting = compact(subject.server, revision);
  const disturbed = await disturbance.puts(subject, 15_000);
  return { revision, undisturbed, disturbed, compactionMs: Math.round(await compacting) };
});
