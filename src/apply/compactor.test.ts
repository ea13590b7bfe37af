/** The compactor's pace, what it waits for, and what it counts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../base/index.js";
import { encodeInternalRaftRequest } from "../proto/index.js";
import { Rig, type RigOptions } from "./rig.test-support.js";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** One key with so many revisions, from 2 on. */
async function open(revisions: number, options: RigOptions = {}): Promise<Rig> {
  const rig = await Rig.open(options);
  for (let i = 0; i < revisions; i++) rig.follow({ put: { key: Buffer.from("k") } });
  return rig;
}

function compact(rig: Rig, revision: number): void {
  const entry = encodeInternalRaftRequest({ compaction: { revision, physical: true }, header: { ID: 5n } });
  rig.applyEntries([entry], [1]);
}

function recordsOf(rig: Rig): number {
  let records = 0;
  rig.backend.scanRecords({ main: 0, sub: 0 }, { records: 10_000, bytes: 1e6 }, { visit: () => records++ });
  return records;
}

/** Until the compaction is done; how many were answered. */
async function answered(rig: Rig): Promise<number> {
  for (let turns = 0, rest = 0; rest < 10; turns++) {
    assert.ok(turns < 10_000, "the compaction does not end");
    await turn();
    rest = rig.store.pendingCompactions.length === 0 ? rest + 1 : 0;
  }
  assert.deepEqual(rig.failures, []);
  return rig.takeReplies().length;
}

test("it goes by --compaction-batch-limit and --compaction-sleep-interval", async () => {
  const slept: number[] = [];
  const left: number[] = [];
  const rig: Rig = await open(250, {
    compactionBatchLimit: 100,
    compactionSleepMs: 25,
    compactionSleep: (milliseconds) => {
      slept.push(milliseconds);
      left.push(recordsOf(rig));
      return turn();
    },
  });
  compact(rig, 251);
  assert.equal(await answered(rig), 1);
  assert.deepEqual(
    [slept, left],
    [
      [25, 25],
      [150, 50],
    ],
  );
});

test("nothing is removed while an entry is under way", async () => {
  const rig = await open(100);
  rig.isEntryOpen = true;
  compact(rig, 101);
  for (let turns = 0; turns < 50; turns++) await turn();
  assert.equal(recordsOf(rig), 100);
  rig.isEntryOpen = false;
  assert.equal(await answered(rig), 1);
  assert.equal(recordsOf(rig), 1);
});

test("when the store has become another, what was under way is dropped, and begun anew there", async () => {
  const lines: string[] = [];
  const logger = { ...silentLogger, info: (line: string) => void lines.push(line), named: () => logger };
  const rig = await open(100, { compactionBatchLimit: 10, logger });
  compact(rig, 101);
  for (let turns = 0; recordsOf(rig) === 100; turns++) {
    assert.ok(turns < 1000, "nothing is removed");
    await turn();
  }
  rig.compactor.restored();
  assert.equal(await answered(rig), 1);
  assert.equal(recordsOf(rig), 1);
  assert.equal(lines.filter((line) => line === "finished scheduled compaction").length, 1);
  assert.equal(lines.filter((line) => line === "compact tree index").length, 2);
});

test("what is counted: its time, that of each pause and of the index, what is gone, and when it ended", async () => {
  const rig = await open(100, { compactionBatchLimit: 40 });
  compact(rig, 101);
  await answered(rig);
  const text = rig.registry.text();
  const valueOf = (name: string): number => Number(new RegExp(`^${name} (.*)$`, "m").exec(text)?.[1]);
  const counted = ["db_compaction_total", "db_compaction_pause", "index_compaction_pause"].map((name) =>
    valueOf(`etcd_debugging_mvcc_${name}_duration_milliseconds_count`),
  );
  assert.deepEqual(counted, [1, 3, 1]);
  assert.equal(valueOf("etcd_debugging_mvcc_db_compaction_keys_total"), 99);
  // The rig's clock began at this second, and has told fewer than a thousand milliseconds.
  assert.equal(valueOf("etcd_debugging_mvcc_db_compaction_last"), 1.7e9);
});
