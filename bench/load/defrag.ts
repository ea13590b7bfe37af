/**
 * Puts beside a defragmentation: 2,000 a second in open loop, first undisturbed, then while the file of about 1 GB is
 * rewritten. Before that a third of its revisions are compacted away, so that there is something to give back.
 *
 *   node dist/bench/load/defrag.js --revisions=900000 --keys=600000 --bytes=1000 --servers=ours,etcd --turns=3
 *
 * Prints one JSON line: per turn and server p50, p99 and maximum without and with it, how long it took, and the sizes.
 */
import { readStatus } from "../../test/support/index.js";
import { callOf, Disturbance } from "./disturbance.js";
import type { Server } from "./server.js";

/** Resolves to the time that it took. */
async function defragment(server: Server): Promise<number> {
  const began = performance.now();
  await callOf(server, "Maintenance", "Defragment", {});
  return performance.now() - began;
}

async function sizes({ port }: Server): Promise<{ total: number; inUse: number }> {
  const { dbSize, dbSizeInUse } = await readStatus(port);
  return { total: Number(dbSize), inUse: Number(dbSizeInUse) };
}

const disturbance = new Disturbance();
await disturbance.run(async (subject) => {
  const { server } = subject;
  const revision = await disturbance.fill(subject);
  await callOf(server, "KV", "Compact", { revision: String(revision), physical: true });
  const before = await sizes(server);
  const undisturbed = await disturbance.puts(subject, 10_000);
  const [disturbed, defragMs] = await disturbance.putsWhile(subject, () => defragment(server));
  return { revision, undisturbed, disturbed, defragMs: Math.round(defragMs), before, after: await sizes(server) };
});
