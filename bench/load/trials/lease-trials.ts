/** Leases: granted, kept alive, held in memory, and ending together. */
import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { putFigures, putGoal, times, type Arena, type Readings, type Trial } from "./trial.js";
import { withWatchers } from "./watchers.js";

interface KeptAlive {
  readonly completed: number;
  readonly failed: number;
  readonly cpuSeconds: number;
}

const measureMs = 4000;

async function grant(arena: Arena, count: number, ttl: number): Promise<void> {
  const { failed } = await arena.load<{ failed: Record<string, number> }>({
    call: "grant",
    total: count,
    "warmup-ms": 0,
    ttl,
    answered: arena.file("granted"),
  });
  if (Object.keys(failed).length > 0) throw new Error(`grants failed: ${JSON.stringify(failed)}`);
}

const calls: Trial = {
  name: "lease-calls",
  title: "grant and keepalive, 100 × 10",
  figures: {
    grants: ["grants a second", 0],
    grantCpu: ["server's CPU a grant, µs", 1],
    keepAlives: ["keepalives a second", 0],
    keepAliveCpu: ["server's CPU a keepalive, µs", 1],
  },
  run: async (arena) => {
    const grants = await arena.requests({ call: "grant", measureMs: arena.scaled(measureMs) });
    const kept = await arena.load<KeptAlive>({
      call: "keepalive",
      keys: grants.succeededMin,
      "measure-ms": arena.scaled(measureMs),
    });
    if (grants.failed + kept.failed > 0) throw new Error(`${grants.failed} grants, ${kept.failed} keepalives failed`);
    return {
      grants: grants.requestsPerSecond,
      grantCpu: grants.cpuUs,
      keepAlives: (kept.completed * 1000) / arena.scaled(measureMs),
      keepAliveCpu: (kept.cpuSeconds * 1e6) / kept.completed,
    };
  },
  goals: (ours, etcd) => [
    { goal: "grants a second, times etcd's (at least)", value: times("grants", ours, etcd), min: 3 },
    { goal: "keepalives a second, times etcd's (at least)", value: times("keepAlives", ours, etcd), min: 3 },
  ],
};

const memory: Trial = {
  name: "lease-memory",
  title: "100,000 leases",
  figures: {
    memory: ["resident with them, MiB", 0],
    leaseMemory: ["  of it by them, bytes a lease", 0],
  },
  run: async (arena) => {
    const leases = arena.scaled(100_000);
    const before = await arena.settledMemory();
    await grant(arena, leases, 3600);
    const after = await arena.settledMemory();
    return { memory: after, leaseMemory: ((after - before) * 2 ** 20) / leases };
  },
  goals: (ours, etcd) => [{ goal: "memory, times etcd's (at most)", value: times("memory", ours, etcd), max: 0.7 }],
};

/**
 * Leases with a key each, granted as fast as that goes, end; a watcher sees when each key is deleted, and that no two
 * are in one revision. etcd revokes 1,000 a second: it is measured for as long as ours would need.
 */
function ending(count: number, ttl: number, withinMs: number): Trial {
  return {
    name: `lease-end-${count / 1000}k`,
    title: `${count.toLocaleString("en-US")} leases that end together`,
    figures: {
      lateP50: ["keys deleted after the lease's end, p50, ms", 0],
      lateMax: ["  the last one, ms", 0],
      gone: ["keys deleted while puts were measured", 0],
      ...putFigures,
    },
    run: (arena) => runEnding(arena, arena.scaled(count), ttl, withinMs),
    goals: (ours, etcd) => [
      { goal: "the last key, ms after its lease's end (at most)", value: ours["lateMax"]!, max: withinMs },
      putGoal(ours, etcd),
    ],
  };
}

async function runEnding(arena: Arena, leases: number, ttl: number, withinMs: number): Promise<Readings> {
  await arena.warmUp();
  const calmP99 = await arena.putsP99(arena.scaled(8000));
  await grant(arena, leases, ttl);
  const granted = Date.now();
  await arena.load({ call: "put-lease", total: leases, "warmup-ms": 0, "value-bytes": 64 });
  const settings = { watched: "lease-keys", connections: 1, answered: arena.file("granted"), ttl };
  const readings = await withWatchers(arena, settings, async (watchers) => {
    const end = granted + ttl * 1000;
    // The puts' warm-up is over when the first leases end.
    const lead = 1000 + 500 + (granted - (await firstGranted(arena)));
    if (end - lead < Date.now()) throw new Error(`${arena.server.contestant.name}: leases end before all is ready`);
    await delay(end - lead - Date.now());
    const putP99 = await arena.putsP99(lead - 1000 + 2 * withinMs + 2000);
    const told = arena.isEtcd ? await watchers.told(leases, 1) : await watchers.wait(leases, 4 * withinMs);
    const { lateUs, events } = told;
    if (lateUs.min < -1_000_000) throw new Error(`a lease ended ${-lateUs.min} µs early`);
    return { calmP99, putP99, gone: events, lateP50: lateUs.p50 / 1000, lateMax: lateUs.max / 1000 };
  });
  arena.remove("granted");
  return readings;
}

/** When the first of the leases was granted, in ms since the epoch. */
async function firstGranted(arena: Arena): Promise<number> {
  return Number((await readFile(arena.file("granted"))).readBigUInt64LE(0) / 1000n);
}

export const leaseTrials: readonly Trial[] = [calls, memory, ending(10_000, 15, 500), ending(100_000, 45, 5000)];
