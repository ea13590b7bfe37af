/**
 * The Raft core alone, without I/O: proposals through three members in memory on one core, the step of a heartbeat,
 * and the longest pause with many entries in flight. Prints one JSON line.
 *
 * Usage: node dist/bench/micro/raft.js [seconds per measurement]
 * Beside other work, `chrt -f 10` in front gives figures by the clock; with 0.4 s the kernel does not throttle it.
 */
import os from "node:os";
import { PerformanceObserver } from "node:perf_hooks";
import { EntryBatch, SeededPrng } from "../../src/base/index.js";
import {
  emptyConfState,
  localAppendThread,
  localApplyThread,
  message,
  MessageType,
  RawNode,
  Role,
  type Message,
} from "../../src/raft/index.js";

const seed = 81247;
const valueBytes = 256;
const compactEvery = 10_000;
const seconds = Number(process.argv[2] ?? 2);

/** Members that are connected by arrays; storage work is done at once, after the messages went out. */
class Cluster {
  readonly nodes: RawNode[] = [];
  readonly #byId = new Map<bigint, RawNode>();
  readonly #prng = new SeededPrng(seed);
  readonly #waiting: Message[] = [];
  applied = 0;

  constructor(count: number) {
    const voters = Array.from({ length: count }, (_, i) => 0x8e9e05c52164694dn + BigInt(i));
    for (const id of voters) {
      const node = new RawNode({
        id,
        electionTicks: 10,
        heartbeatTicks: 1,
        preVote: true,
        checkQuorum: true,
        maxSizePerMessage: 1024 * 1024,
        maxInflightMessages: 512,
        maxUncommittedSize: Number.POSITIVE_INFINITY,
        maxApplyingSize: Number.POSITIVE_INFINITY,
        asyncStorageWrites: true,
        prng: this.#prng,
        initialState: {
          hardState: null,
          confState: { ...emptyConfState, voters },
          prevIndex: 0,
          prevTerm: 0,
          entries: [],
          applied: 0,
        },
        snapshot: () => null,
      });
      this.nodes.push(node);
      this.#byId.set(id, node);
    }
    this.leader.campaign();
    this.settle();
    if (this.leader.role !== Role.Leader) throw new Error("no leader");
  }

  get leader(): RawNode {
    return this.nodes[0]!;
  }

  /** Works off everything until nobody has anything left to do. */
  settle(): void {
    for (let busy = true; busy;) {
      busy = false;
      for (const node of this.nodes) {
        if (!node.hasReady()) continue;
        busy = true;
        this.#process(node);
      }
      this.#deliver();
    }
  }

  #process(node: RawNode): void {
    const ready = node.ready();
    for (const m of ready.messages) this.#waiting.push(m);
    if (ready.append !== null) for (const m of ready.append.responses) this.#waiting.push(m);
    if (ready.apply !== null) {
      const last = ready.apply.entries.at(-1)!.lastIndex;
      if (node === this.leader) this.applied = last;
      for (const m of ready.apply.responses) this.#waiting.push(m);
      if (last - node.firstIndex >= 2 * compactEvery) node.compact(last - compactEvery);
    }
  }

  #deliver(): void {
    const messages = this.#waiting.splice(0);
    for (const m of messages) {
      const node = this.#byId.get(m.to)!;
      const local = m.from === m.to || m.from === localAppendThread || m.from === localApplyThread;
      const result = local ? node.stepStorageResponse(m) : node.step(m);
      if (result !== "ok") throw new Error(`step: ${result}`);
    }
  }
}

function proposal(count: number): EntryBatch {
  const ends = new Uint32Array(count).map((_, i) => (i + 1) * valueBytes);
  const bytes = new Uint8Array(count * valueBytes).fill(120);
  return new EntryBatch({ term: 0, firstIndex: 0, types: new Uint8Array(count), ends, bytes });
}

interface Throughput {
  /** Per second of CPU time, so that whatever else the machine does counts little. */
  readonly entriesPerSecond: number;
  /** By the clock: to be believed on a machine that does nothing else. */
  readonly wallPerSecond: number;
  readonly roundMsMax: number;
  /** Of the whole process, the collector's threads included: a bound of a round's pauses on a machine of one's own. */
  readonly roundCpuMsMax: number;
}

/** Proposes `inFlight` entries a round, in batches, and waits until all are applied. */
function throughput(members: number, batchEntries: number, inFlight: number): Throughput {
  const cluster = new Cluster(members);
  const batch = proposal(batchEntries);
  const round = (): void => {
    for (let i = 0; i < inFlight; i += batchEntries) {
      const result = cluster.leader.propose(batch);
      if (result !== "ok") throw new Error(`proposal: ${result}`);
    }
    cluster.settle();
  };
  for (const warmUp = performance.now(); performance.now() - warmUp < 500;) round();
  const before = cluster.applied;
  const cpu = process.cpuUsage();
  const start = performance.now();
  let roundMsMax = 0;
  let roundCpuMsMax = 0;
  let roundCpu = process.cpuUsage();
  for (let last = start; last - start < seconds * 1000;) {
    round();
    const now = performance.now();
    roundMsMax = Math.max(roundMsMax, now - last);
    const spent = process.cpuUsage(roundCpu);
    roundCpuMsMax = Math.max(roundCpuMsMax, (spent.user + spent.system) / 1000);
    roundCpu = process.cpuUsage();
    last = now;
  }
  const { user, system } = process.cpuUsage(cpu);
  const entries = cluster.applied - before;
  const wallPerSecond = Math.round((1000 * entries) / (performance.now() - start));
  const entriesPerSecond = Math.round((1e6 * entries) / (user + system));
  return { entriesPerSecond, wallPerSecond, roundMsMax, roundCpuMsMax };
}

/** Microseconds that a follower takes for a heartbeat, the answer included. */
function heartbeat(): number {
  const cluster = new Cluster(3);
  const follower = cluster.nodes[1]!;
  const { id } = follower.status();
  const fields = { to: id, from: follower.lead, term: follower.term, commit: follower.commitIndex };
  const m = message({ type: MessageType.Heartbeat, ...fields });
  const rounds = 1000;
  const perRound = 100;
  const times: number[] = [];
  for (let i = 0; i < rounds * 2; i++) {
    const start = performance.now();
    for (let j = 0; j < perRound; j++) follower.step(m);
    times.push((performance.now() - start) / perRound);
    follower.ready();
  }
  const measured = times.slice(rounds).sort((a, b) => a - b);
  return measured[rounds >> 1]! * 1000;
}

/** The longest pause of the garbage collector since the last call. */
async function longestPause(): Promise<number> {
  // The observer is told of pauses in a later turn.
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
  const longest = gcPauseMsMax;
  gcPauseMsMax = 0;
  return longest;
}

let gcPauseMsMax = 0;
const observer = new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) gcPauseMsMax = Math.max(gcPauseMsMax, entry.duration);
});
observer.observe({ entryTypes: ["gc"] });

const batched = throughput(3, 100, 1000);
await longestPause();
const deep = throughput(3, 100, 10_000);
const deepPauseMsMax = await longestPause();
const deepSingle = throughput(3, 1, 10_000);
const deepSinglePauseMsMax = await longestPause();
const single = throughput(3, 1, 100);
const alone = throughput(1, 100, 1000);
const result = {
  bench: "raft",
  seed,
  node: process.version,
  cpu: os.cpus()[0]?.model,
  valueBytes,
  members3Batches100PerSecond: batched.entriesPerSecond,
  members3Batches100WallPerSecond: batched.wallPerSecond,
  members3InFlight10000PerSecond: deep.entriesPerSecond,
  members3InFlight10000RoundMsMax: Number(deep.roundMsMax.toFixed(2)),
  members3InFlight10000RoundCpuMsMax: Number(deep.roundCpuMsMax.toFixed(2)),
  members3InFlight10000GcPauseMsMax: Number(deepPauseMsMax.toFixed(2)),
  members3InFlight10000SingleRoundMsMax: Number(deepSingle.roundMsMax.toFixed(2)),
  members3InFlight10000SingleGcPauseMsMax: Number(deepSinglePauseMsMax.toFixed(2)),
  members3Batches1PerSecond: single.entriesPerSecond,
  members3Batches1WallPerSecond: single.wallPerSecond,
  members1Batches100PerSecond: alone.entriesPerSecond,
  heartbeatStepMicroseconds: Number(heartbeat().toFixed(3)),
};
console.log(JSON.stringify(result));
