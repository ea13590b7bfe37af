/** A compaction of a large history, and a snapshot of a large database, beside puts. */
import { callOf } from "../disturbance.js";
import { putFigures, putGoal, times, type Arena, type Trial } from "./trial.js";

const valueBytes = 256;
/** A snapshot ends with its SHA-256, which is not announced. */
const hashBytes = 32;

/** Puts as fast as they go until the revision is reached; returns it. */
async function fill(arena: Arena, revisions: number, keys: number, bytes: number): Promise<number> {
  for (;;) {
    const revision = await arena.server.revision();
    if (revision >= revisions) return revision;
    await arena.load({
      call: "put",
      total: revisions - revision + 1,
      keys,
      "value-bytes": bytes,
      "warmup-ms": 0,
      seed: arena.seed + revision,
    });
  }
}

const compaction: Trial = {
  name: "compaction",
  title: "compaction of 1,000,000 revisions of 200,000 keys",
  figures: { ...putFigures, ms: ["the compaction took, ms", 0] },
  run: async (arena) => {
    const keys = arena.scaled(200_000);
    const revision = await fill(arena, arena.scaled(1_000_000), keys, valueBytes);
    const calmP99 = await arena.putsP99(arena.scaled(8000), { keys });
    const compact = async (): Promise<number> => {
      const began = performance.now();
      await callOf(arena.server, "KV", "Compact", { revision: String(revision), physical: true });
      return performance.now() - began;
    };
    const [putP99, ms] = await arena.putsP99While(compact, { keys });
    return { calmP99, putP99, ms };
  },
  goals: (ours, etcd) => [putGoal(ours, etcd)],
};

const snapshot: Trial = {
  name: "snapshot",
  title: "snapshot of 1 GB",
  figures: {
    ...putFigures,
    bytes: ["its size, MB", 0],
    ms: ["it took, ms", 0],
    cpu: ["server's CPU for it and the puts, s", 1],
  },
  run: async (arena) => {
    // Values of 4 KiB, so that the fill is short; each new key is a page of its own, nearly.
    const count = arena.scaled(230_000);
    await fill(arena, count, count * 1000, 4096);
    const calmP99 = await arena.putsP99(arena.scaled(8000));
    const [putP99, got] = await arena.putsP99While(() =>
      arena.load<{ bytes: number; announced: number; ms: number; cpuSeconds: number }>({ call: "snapshot" }),
    );
    if (got.bytes === 0 || got.announced !== got.bytes - hashBytes)
      throw new Error(`${got.bytes} bytes of ${got.announced}`);
    return { calmP99, putP99, bytes: got.bytes / 1e6, ms: got.ms, cpu: got.cpuSeconds };
  },
  goals: (ours, etcd) => [
    { goal: "time, times etcd's (at most)", value: times("ms", ours, etcd), max: 2 },
    putGoal(ours, etcd),
  ],
};

export const storeTrials: readonly Trial[] = [compaction, snapshot];
