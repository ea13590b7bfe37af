/**
 * Append → durable as JavaScript sees it: one record of one 4 KiB block at a time, through storage/wal.
 * `node wal-append.js <new folder> <milliseconds>`; prints JSON in µs. A program of its own, started by wal.ts.
 */
import { performance } from "node:perf_hooks";
import { EntryBatch, EntryType } from "../../src/base/index.js";
import { Wal } from "../../src/storage/wal/index.js";
import { latencyOf, newHistogram, recordMs } from "./statistics.js";

/** With the record's head and the batch's padding one block of 4 KiB, as in wal_bench. */
const entryBytes = 3900;
const settleMs = 300;

const [dir, milliseconds] = process.argv.slice(2);
if (dir === undefined || milliseconds === undefined) throw new Error("wal-append <new folder> <milliseconds>");
const data = new Uint8Array(entryBytes).fill(7);
const histogram = newHistogram();
let token = 0;
let begin = 0;
let end = 0;

function append(): void {
  token++;
  const batch = EntryBatch.single({ term: 1, index: token, type: EntryType.Normal, data });
  begin = performance.now();
  wal.append({ batches: [batch], hardState: null, token });
}

async function finish(): Promise<void> {
  await wal.close();
  const { p50, p99, mean } = latencyOf(histogram);
  console.log(JSON.stringify({ p50: p50 * 1000, p99: p99 * 1000, mean: mean * 1000, appends: token }));
}

const wal = await Wal.create(
  {
    dir,
    onDurable: (durable) => {
      if (durable < token || token === 0) return;
      const now = performance.now();
      recordMs(histogram, now - begin);
      if (now < end) append();
      else void finish();
    },
    onFatal: (error) => {
      throw error;
    },
  },
  new Uint8Array(0),
);
// The first spare segment is made meanwhile.
setTimeout(() => {
  end = performance.now() + Number(milliseconds);
  append();
}, settleMs);
