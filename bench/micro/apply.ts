/**
 * The apply thread alone, on the real store: µs a put, a transaction and a read, from the mailbox message to the reply
 * batch, with stand-ins for mailboxes and edge. LMDB's transactions run in the background, as they do in the server.
 * node dist/bench/micro/apply.js [--puts=300000] [--batch=21] [--value=256] [--seed=1]
 * Prints what it runs on, then one JSON line. `cpu` is of the whole process, LMDB's thread included.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { parseArgs } from "node:util";
import { ApplyMessageWriter, ApplyThread, emptyProgress, readProgress, type FromApply } from "../../src/apply/index.js";
import { copyOf, EntryBatch, SeededPrng, silentLogger } from "../../src/base/index.js";
import { Registry } from "../../src/metrics/index.js";
import { callHeaderBytes, mailboxPrefixBytes } from "../../src/native/index.js";
import {
  encodeInternalRaftRequest,
  encodeRangeRequest,
  type InternalRaftRequestInit,
  type RangeRequestInit,
} from "../../src/proto/index.js";

const { values } = parseArgs({
  options: {
    puts: { type: "string", default: "300000" },
    batch: { type: "string", default: "21" },
    value: { type: "string", default: "256" },
    seed: { type: "string", default: "1" },
  },
});
const puts = Number(values.puts);
const batchSize = Number(values.batch);
const prng = new SeededPrng(Number(values.seed));
const value = Buffer.alloc(Number(values.value), "v");

/** What the addon's mailbox would hand over: one message a receive. */
const messages: Uint8Array[] = [];
const fromMain = {
  receive(into: Uint8Array): number {
    const message = messages.pop();
    if (message === undefined) return 0;
    new DataView(into.buffer).setUint32(0, message.length, true);
    into.set(message, mailboxPrefixBytes);
    return mailboxPrefixBytes + message.length;
  },
};

let replyBytes = 0;
let answered = 0;
const progress = emptyProgress();
const directory = mkdtempSync(join(tmpdir(), "apply-bench-"));
const thread = await ApplyThread.start(
  {
    backendPath: join(directory, "lmdb"),
    memberId: 1n,
    clusterId: 2n,
    methods: ["/etcdserverpb.KV/Range"],
    toApply: 0,
    toMain: 0,
    quotaBackendBytes: 8 * 1024 ** 3,
    backendBatchLimit: 10_000,
    backendBatchIntervalMs: 100,
    snapshotDir: "",
    maxLearners: 1,
    warningApplyDurationMs: 100,
    logLevel: "info",
  },
  {
    post: (message: FromApply) => {
      if (message.type === "fatal") throw new Error(message.message);
    },
    fromMain,
    toMain: {
      send: (bytes) => {
        readProgress(new DataView(bytes.buffer), 0, progress);
        return true;
      },
    },
    reply: (bytes, length) => {
      replyBytes += length;
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      for (let at = 0; at < length; at += view.getUint32(at, true)) answered++;
    },
    crc32c: () => 0,
    schedule: (run) => void setImmediate(run),
    clock: performance,
    registry: new Registry(),
    logger: silentLogger,
  },
);

const writer = new ApplyMessageWriter();
let nextIndex = 1;

/** `count` entries as ENTRIES messages of a wake-up's size each. */
function entryMessages(count: number, make: () => InternalRaftRequestInit): Uint8Array[] {
  const made: Uint8Array[] = [];
  for (let left = count; left > 0; left -= batchSize) {
    const size = Math.min(left, batchSize);
    const entries = Array.from({ length: size }, () =>
      encodeInternalRaftRequest({ ...make(), header: { ID: 0x694d_0000_0000_0001n } }),
    );
    let end = 0;
    const batch = new EntryBatch({
      term: 2,
      firstIndex: nextIndex,
      types: new Uint8Array(size),
      ends: Uint32Array.from(entries, (entry) => (end += entry.length)),
      bytes: Buffer.concat(entries),
    });
    nextIndex += size;
    const callIds = Uint32Array.from({ length: size }, (_, i) => i + 1);
    writer.entries(batch, callIds, 0, 2);
    made.push(copyOf(writer.bytes, 0, writer.length));
  }
  return made;
}

function readMessages(count: number, make: () => RangeRequestInit): Uint8Array[] {
  const made: Uint8Array[] = [];
  for (let left = count; left > 0; left -= batchSize) {
    writer.beginReads({ raftTerm: 2, minAppliedIndex: 0, commitIndex: 1, leaderId: 1n, startMs: 0 });
    for (let i = Math.min(left, batchSize); i > 0; i--) {
      const message = encodeRangeRequest(make());
      const record = new Uint8Array(Math.ceil((callHeaderBytes + message.length) / 8) * 8);
      record.set(message, callHeaderBytes);
      const view = new DataView(record.buffer);
      [record.length, i, 1, message.length].forEach((word, at) => view.setUint32(at * 4, word, true));
      writer.appendRead(record, 0, record.length);
    }
    writer.finishReads();
    made.push(copyOf(writer.bytes, 0, writer.length));
  }
  return made;
}

const key = (): Buffer => Buffer.from(String(prng.below(500_000)).padStart(8, "0"));

interface Measured {
  usEach: number;
  cpuUsEach: number;
  turnMsMax: number;
}

/** Feeds the messages and waits until all are applied and answered. */
async function measure(count: number, made: Uint8Array[]): Promise<Measured> {
  messages.push(...made.reverse());
  const until = answered + count;
  const cpu = process.cpuUsage();
  const began = performance.now();
  let turnMsMax = 0;
  let last = began;
  thread.wake();
  while (answered < until) {
    await new Promise((resolve) => setImmediate(resolve));
    const now = performance.now();
    turnMsMax = Math.max(turnMsMax, now - last);
    last = now;
  }
  const { user, system } = process.cpuUsage(cpu);
  return { usEach: ((last - began) * 1000) / count, cpuUsEach: (user + system) / count, turnMsMax };
}

const put = (): InternalRaftRequestInit => ({ put: { key: key(), value } });
const txn = (): InternalRaftRequestInit => {
  const name = key();
  return {
    txn: {
      compare: [{ key: name, target: 2, targetUnion: { case: "modRevision", value: 0 } }],
      success: [{ request: { case: "requestPut", value: { key: name, value } } }],
      failure: [{ request: { case: "requestRange", value: { key: name } } }],
    },
  };
};

const results = {
  warmUp: await measure(20_000, entryMessages(20_000, put)),
  put: await measure(puts, entryMessages(puts, put)),
  txn: await measure(puts / 3, entryMessages(puts / 3, txn)),
  rangeOfOneKey: await measure(
    puts / 3,
    readMessages(puts / 3, () => ({ key: key() })),
  ),
  rangeOf100: await measure(
    3000,
    readMessages(3000, () => {
      const from = prng.below(500_000);
      const name = (number: number): Buffer => Buffer.from(String(number).padStart(8, "0"));
      return { key: name(from), rangeEnd: name(from + 1000), limit: 100 };
    }),
  ),
  rangeOf100CountingAll: await measure(
    100,
    readMessages(100, () => ({ key: key(), rangeEnd: Buffer.from([0]), limit: 100 })),
  ),
  rangeOfAll: await measure(
    1,
    readMessages(1, () => ({ key: Buffer.from([0]), rangeEnd: Buffer.from([0]) })),
  ),
};
await thread.handle({ type: "stop" });
rmSync(directory, { recursive: true });
console.log(`${cpus().length} × ${cpus()[0]!.model}, Node ${process.version}`);
console.log(JSON.stringify({ bench: "apply", options: values, replyBytes, results }));
