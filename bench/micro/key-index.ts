/**
 * The key index alone: memory a key, time of put, get, range step and compaction, and the longest single call.
 * node dist/bench/micro/key-index.js [--keys=1000000] [--revisions=3] [--order=random|sorted] [--seed=1]
 * Prints what it runs on, then one JSON line.
 */
import { cpus } from "node:os";
import { PerformanceObserver } from "node:perf_hooks";
import { setImmediate } from "node:timers/promises";
import { parseArgs } from "node:util";
import { cursorItem, KeyIndex, KeyIndexCursor } from "../../src/storage/mvcc/index.js";

const { values } = parseArgs({
  options: {
    keys: { type: "string", default: "1000000" },
    revisions: { type: "string", default: "3" },
    order: { type: "string", default: "random" },
    seed: { type: "string", default: "1" },
  },
});
const keys = Number(values.keys);
const revisions = Number(values.revisions);
let state = Number(values.seed) >>> 0;
function random(below: number): number {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = Math.imul(state ^ (state >>> 15), state | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below);
}

/** Numbers of keys in the order in which they are used. */
function order(): Uint32Array {
  const numbers = Uint32Array.from({ length: keys }, (_, i) => i);
  if (values.order === "sorted") return numbers;
  for (let i = keys - 1; i > 0; i--) {
    const j = random(i + 1);
    const moved = numbers[i]!;
    numbers[i] = numbers[j]!;
    numbers[j] = moved;
  }
  return numbers;
}

/** A key of 24 bytes, written into one buffer, as requests are read in place. */
const key = Buffer.from("/registry/pods/000000000", "latin1");
function writeKey(number: number): void {
  for (let at = key.length - 1, left = number; at >= key.length - 9; at--) {
    key[at] = 48 + (left % 10);
    left = Math.floor(left / 10);
  }
}

interface Timed {
  nsMean: number;
  /** Longest call, garbage collection and the scheduler included. */
  callMsMax: number;
  callUsP9999: number;
}

/** Runs `call` for each number and times each call; the timer's own cost (about 50 ns) is not taken off. */
async function timed(numbers: Uint32Array, call: () => void): Promise<Timed> {
  const histogram = new Float64Array(100_000);
  let max = 0;
  const begin = process.hrtime.bigint();
  for (let i = 0; i < numbers.length; i++) {
    writeKey(numbers[i]!);
    const start = performance.now();
    call();
    const ms = performance.now() - start;
    if (ms > max) max = ms;
    histogram[Math.min(99_999, Math.floor(ms * 10_000))]!++;
    if (i % 4096 === 0) await setImmediate();
  }
  const ns = Number(process.hrtime.bigint() - begin);
  let left = numbers.length / 10_000;
  let p9999 = 99_999;
  while (p9999 > 0 && (left -= histogram[p9999]!) > 0) p9999--;
  return { nsMean: Math.round(ns / numbers.length), callMsMax: round(max), callUsP9999: p9999 / 10 };
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}

let gcMs = 0;
let gcMsMax = 0;
const observer = new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) {
    gcMs += duration;
    gcMsMax = Math.max(gcMsMax, duration);
  }
});
observer.observe({ entryTypes: ["gc"] });

console.log(`${cpus()[0]?.model} × ${cpus().length}, node ${process.version}, seed ${values.seed}`);
const rssBefore = process.memoryUsage.rss();
const index = new KeyIndex();
let main = 1;
const put = (): void => index.put(key, 0, key.length, ++main, 0);
const numbers = order();
const create = await timed(numbers, put);
const update: Timed[] = [];
for (let round = 1; round < revisions; round++) update.push(await timed(order(), put));
const bytes = index.memoryBytes;
const rssBytes = process.memoryUsage.rss() - rssBefore;

let found = 0;
const getNewest = await timed(order(), () => {
  if (index.get(key, 0, key.length, Infinity)) found++;
});
const past = Math.floor(main / 2);
const getPast = await timed(order(), () => {
  if (index.get(key, 0, key.length, past)) found++;
});

const cursor = new KeyIndexCursor(index);
const open = new Uint8Array(1);
cursor.seek(open, 0, 1, open, 0, 1, Infinity);
const rangeStart = performance.now();
while (cursor.next(Infinity) === cursorItem) found++;
const rangeNs = ((performance.now() - rangeStart) * 1e6) / keys;
cursor.seek(open, 0, 1, open, 0, 1, Infinity);
const countStart = performance.now();
cursor.countRest(Infinity);
const countNs = ((performance.now() - countStart) * 1e6) / keys;

const tombstones = await timed(order().subarray(0, keys / 2), () => {
  if (index.tombstone(key, 0, key.length, ++main, 0)) found++;
});
let stepMsMax = 0;
let stepCpuMsMax = 0;
const compactStart = performance.now();
const compaction = index.compaction(main);
for (let more = true; more;) {
  const cpu = process.cpuUsage();
  const start = performance.now();
  more = compaction.step(1000);
  stepMsMax = Math.max(stepMsMax, performance.now() - start);
  const { user, system } = process.cpuUsage(cpu);
  stepCpuMsMax = Math.max(stepCpuMsMax, (user + system) / 1000);
}
const compactNs = ((performance.now() - compactStart) * 1e6) / keys;
await setImmediate();
observer.disconnect();

console.log(
  JSON.stringify({
    bench: "key-index",
    keys,
    revisions,
    keyBytes: key.length,
    order: values.order,
    seed: Number(values.seed),
    bytesPerKey: round(bytes / keys),
    rssBytesPerKey: round(rssBytes / keys),
    create,
    update,
    getNewest,
    getPast,
    rangeStepNs: Math.round(rangeNs),
    countStepNs: Math.round(countNs),
    tombstones,
    compactNsPerKey: Math.round(compactNs),
    compactStepMsMax: round(stepMsMax),
    compactStepCpuMsMax: round(stepCpuMsMax),
    gcMs: round(gcMs),
    gcMsMax: round(gcMsMax),
    found,
  }),
);
