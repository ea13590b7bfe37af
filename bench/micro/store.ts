/**
 * The store with LMDB, as apply drives it: entries of one put each, in batches between which the event loop turns.
 * node dist/bench/micro/store.js [--puts=500000] [--keys=500000] [--value=256] [--batch=100] [--rate=0] [--folder=…]
 * --rate: puts a second offered, 0 as many as go. Prints what it runs on, a table, then one JSON line.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import {
  emptyRecordView,
  LmdbBackend,
  lmdbBackendDefaults,
  type CommitReport,
} from "../../src/storage/backend/index.js";
import { MvccStore, type RangeScan } from "../../src/storage/mvcc/index.js";

const { values } = parseArgs({
  options: {
    puts: { type: "string", default: "500000" },
    keys: { type: "string", default: "500000" },
    value: { type: "string", default: "256" },
    batch: { type: "string", default: "100" },
    rate: { type: "string", default: "0" },
    folder: { type: "string", default: tmpdir() },
  },
});
const puts = Number(values.puts);
const keys = Number(values.keys);
const valueBytes = Number(values.value);
const batch = Number(values.batch);
const rate = Number(values.rate);
const getsMax = 200_000;

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const folder = mkdtempSync(join(values.folder, "etcd-ts-bench-"));
const commits: CommitReport[] = [];

function openBackend(): LmdbBackend {
  const onFatal = (error: Error): void => {
    throw error;
  };
  return LmdbBackend.open({
    directory: join(folder, "lmdb"),
    ...lmdbBackendDefaults,
    onFatal,
    onCommit: (c) => commits.push(c),
  });
}

/** A key of 8 bytes in no order, and the value behind it, as in a request. */
const request = new Uint8Array(8 + valueBytes).fill(120);
const view = new DataView(request.buffer);
function writeKey(number: number): void {
  view.setUint32(0, Math.imul(number % keys, 0x9e3779b1));
  view.setUint32(4, number % keys);
}

/** Milliseconds of single blocks of the thread. */
class Blocks {
  readonly #ms: number[] = [];
  sum = 0;

  time<T>(block: () => T): T {
    const start = performance.now();
    const result = block();
    this.add(performance.now() - start);
    return result;
  }

  add(ms: number): void {
    this.#ms.push(ms);
    this.sum += ms;
  }

  get summary(): { p50: number; p99: number; p999: number; max: number } {
    const sorted = this.#ms.toSorted((a, b) => a - b);
    const at = (quantile: number): number => round(sorted[Math.floor(sorted.length * quantile)] ?? 0);
    return { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: round(sorted.at(-1) ?? 0) };
  }
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}

function putBatch(store: MvccStore, backend: LmdbBackend, from: number): void {
  for (let i = from; i < Math.min(from + batch, puts); i++) {
    writeKey(i);
    store.begin();
    store.put(request, 0, 8, request, 8, request.length, 0, 0);
    store.end();
    backend.endEntry(i + 1, 1);
  }
}

async function measurePuts(store: MvccStore, backend: LmdbBackend): Promise<Record<string, unknown>> {
  const blocks = new Blocks();
  const cpu = process.cpuUsage();
  const start = performance.now();
  for (let i = 0; i < puts; i += batch) {
    blocks.time(() => putBatch(store, backend, i));
    const ahead = rate === 0 ? 0 : start + (i * 1000) / rate - performance.now();
    if (backend.isFull) await backend.room();
    else if (ahead > 1) await sleep(ahead);
    else await turn();
  }
  await backend.flush();
  const seconds = (performance.now() - start) / 1000;
  const used = process.cpuUsage(cpu);
  const durations = commits.map((commit) => commit.seconds * 1000).toSorted((a, b) => a - b);
  return {
    putsPerSecond: Math.round(puts / seconds),
    applyUsPerPut: round((blocks.sum * 1000) / puts),
    cpuUsPerPut: round((used.user + used.system) / puts),
    [`blockMsOf${batch}`]: blocks.summary,
    commits: commits.length,
    changesPerCommit: Math.round(puts / commits.length),
    commitMsP50: round(durations[durations.length >> 1] ?? 0),
    commitMsMax: round(durations.at(-1) ?? 0),
  };
}

async function measureGets(store: MvccStore): Promise<Record<string, unknown>> {
  const found = emptyRecordView();
  const finds = new Blocks();
  const target = new Uint8Array(8 + valueBytes + 64);
  const gets = Math.min(keys, getsMax);
  const blocks = new Blocks();
  for (let i = 0; i < gets; i += batch) {
    finds.time(() => {
      for (let j = i; j < Math.min(i + batch, gets); j++) {
        writeKey(Math.imul(j, 104729) >>> 0);
        store.findKey(request, 0, 8, 0);
      }
    });
    blocks.time(() => {
      for (let j = i; j < Math.min(i + batch, gets); j++) {
        writeKey(Math.imul(j, 7919) >>> 0);
        if (store.readKey(request, 0, 8, 0, found)) target.set(found.bytes.subarray(found.start, found.end));
      }
    });
    await turn();
  }
  return { findUs: round((finds.sum * 1000) / gets), getUs: round((blocks.sum * 1000) / gets) };
}

async function measureRange(scan: RangeScan): Promise<Record<string, unknown>> {
  const bytes = new Uint8Array(2);
  const blocks = new Blocks();
  let records = 0;
  const sink = { record: (): void => void records++ };
  const places = { bytes, keyStart: 0, keyEnd: 1, endStart: 1, endEnd: 2 };
  scan.start({ ...places, revision: 0, limit: 0, count: true, countOnly: false, keysOnly: false });
  while (!blocks.time(() => scan.next(sink, { keys: 1000, bytes: 1 << 20 }))) await turn();
  return { rangeUsPerKey: round((blocks.sum * 1000) / records), rangeSliceMs: blocks.summary };
}

async function measureRestore(): Promise<Record<string, unknown>> {
  const backend = openBackend();
  const blocks = new Blocks();
  let since = performance.now();
  const yieldNow = async (): Promise<void> => {
    blocks.add(performance.now() - since);
    await turn();
    since = performance.now();
  };
  const start = performance.now();
  const store = await MvccStore.open({ backend, yield: yieldNow, crc32c: () => 0 });
  const restoreMs = round(performance.now() - start);
  const hashStart = performance.now();
  await store.hashKv(0);
  const hashMs = round(performance.now() - hashStart);
  const sizes = backend.sizes();
  await backend.close();
  const restoreSliceMs = blocks.summary;
  return { restoreMs, restoreSliceMs, hashMsWithoutCrc: hashMs, fileBytesPerRecord: Math.round(sizes.total / puts) };
}

const backend = openBackend();
const store = await MvccStore.open({ backend, yield: turn, crc32c: () => 0 });
console.log(
  `${cpus().length} × ${cpus()[0]?.model}, node ${process.version}, ${puts} puts of ${valueBytes} B, ${keys} keys`,
);
const result = {
  ...(await measurePuts(store, backend)),
  ...(await measureGets(store)),
  ...(await measureRange(store.newRangeScan())),
};
await backend.close();
const all = { bench: "store", options: values, ...result, ...(await measureRestore()) };
rmSync(folder, { recursive: true, force: true });
console.table(Object.fromEntries(Object.entries(all).map(([name, value]) => [name, JSON.stringify(value)])));
console.log(JSON.stringify(all));
