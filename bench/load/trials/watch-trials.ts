/** Many watchers on one key, many watches on many keys, and watchers that do not read. */
import { median } from "../statistics.js";
import { putFigures, putGoal, times, type Trial } from "./trial.js";
import { withWatchers } from "./watchers.js";

const drainMs = 120_000;
const slowReadersRead = 10;

/** 100 connections with a stream of 100 watches each, as clients of clientv3 have them. */
const fanOut: Trial = {
  name: "watch-fanout",
  title: "10,000 watchers on one key",
  figures: {
    p50: ["until all have an event, p50, ms", 1],
    p99: ["until all have an event, p99, ms", 1],
    cpu: ["server's CPU an event, µs", 2],
  },
  run: async (arena) => {
    const watches = arena.scaled(100);
    return await withWatchers(arena, { watched: "one-key", connections: 100, watches }, async (watchers) => {
      await watchers.puts(arena.scaled(100));
      const puts = arena.scaled(300);
      const { us, cpuSeconds } = await watchers.puts(puts);
      const sorted = [...us].sort((a, b) => a - b);
      const p99 = sorted[Math.ceil(sorted.length * 0.99) - 1]!;
      return { p50: median(us) / 1000, p99: p99 / 1000, cpu: (cpuSeconds * 1e6) / (puts * 100 * watches) };
    });
  },
  goals: (ours, etcd) => [
    { goal: "time until all have it, p99, times etcd's (at most)", value: times("p99", ours, etcd), max: 0.4 },
    { goal: "CPU, times etcd's (at most)", value: times("cpu", ours, etcd), max: 0.4 },
  ],
};

const manyKeys: Trial = {
  name: "watch-keys",
  title: "100,000 watches on 100,000 keys",
  figures: {
    openMs: ["until all are there, ms", 0],
    memory: ["resident with them, MiB", 0],
    watchMemory: ["  of it by them, bytes a watch", 0],
    rate: ["puts a second with them", 0],
    cpu: ["server's CPU a put, µs", 1],
  },
  run: async (arena) => {
    // Without puts before it: they leave more in the memory of who takes more of them.
    const watches = arena.scaled(1000);
    const before = await arena.settledMemory();
    const settings = { watched: "each-key", connections: 100, watches };
    return await withWatchers(arena, settings, async (watchers) => {
      const memory = await arena.settledMemory();
      const revision = await arena.server.settledRevision();
      const puts = await arena.requests({ keys: 100 * watches });
      await watchers.wait((await arena.server.settledRevision()) - revision, drainMs);
      return {
        openMs: watchers.openedMs,
        memory,
        watchMemory: ((memory - before) * 2 ** 20) / (100 * watches),
        rate: puts.requestsPerSecond,
        cpu: puts.cpuUs,
      };
    });
  },
  goals: (ours, etcd) => [
    { goal: "memory, times etcd's (at most)", value: times("memory", ours, etcd), max: 0.5 },
    { goal: "puts a second, times etcd's (at least)", value: times("rate", ours, etcd), min: 3 },
  ],
};

/**
 * Connections with the smallest windows that watch all that is put and read nothing. At the end some of them are read,
 * and must have every event.
 */
const slowReaders: Trial = {
  name: "watch-slow",
  title: "1,000 watchers that do not read",
  figures: {
    ...putFigures,
    memory: ["resident after it, MiB", 0],
    growth: ["  grown meanwhile, MiB", 0],
    drainMs: ["until ten of them have all, ms", 0],
  },
  run: async (arena) => {
    await arena.warmUp();
    const calmP99 = await arena.putsP99(arena.scaled(8000));
    const before = arena.memory();
    const connections = arena.scaled(1000);
    const drained = Math.min(slowReadersRead, connections);
    return await withWatchers(arena, { watched: "all-keys", connections, drained }, async (watchers) => {
      const revision = await arena.server.settledRevision();
      // They cost most until their windows are full, in the first second.
      const putP99 = await arena.putsP99(arena.scaled(20_000), { warmupMs: 0 });
      const memory = arena.memory();
      const events = (await arena.server.settledRevision()) - revision;
      const told = await watchers.wait(events * drained, drainMs);
      return { calmP99, putP99, memory, growth: memory - before, drainMs: told.ms };
    });
  },
  goals: (ours, etcd) => [putGoal(ours, etcd)],
};

export const watchTrials: readonly Trial[] = [fanOut, manyKeys, slowReaders];
