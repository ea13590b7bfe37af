import assert from "node:assert/strict";
import { test } from "node:test";
import { EntryBatch } from "../../src/base/index.js";
import { Wal, WalCorruptError, type WalAppend } from "../../src/storage/wal/index.js";
import { Chance } from "./chance.js";
import { LogDisk } from "./log-disk.js";
import { logDoors, type DiskManner } from "./log-door.js";
import { goodManner } from "./member.js";
import { Thread, Timeline } from "./timeline.js";

/** A log on a simulated disk, and the time in which it works. */
class Rig {
  readonly timeline = new Timeline();
  readonly disk: LogDisk;
  readonly chance: Chance;
  readonly manner: DiskManner = { ...goodManner };
  readonly thread = new Thread(this.timeline, (error) => {
    throw error;
  });
  durable = -1;
  failed = false;

  constructor(disk = new LogDisk(), seed = 1) {
    this.disk = disk;
    this.chance = new Chance(seed, 0);
  }

  #doors() {
    const nothing = (): void => {};
    const { disk, manner, timeline, chance, thread } = this;
    return logDoors({
      ...{ disk, manner, timeline, chance, writer: thread, owner: thread },
      point: nothing,
      synced: nothing,
      released: nothing,
      happened: nothing,
    });
  }

  get #options() {
    const onDurable = (token: number): void => void (this.durable = token);
    return { dir: "", onDurable, onFatal: () => void (this.failed = true) };
  }

  /** Lets time pass until nothing more happens. */
  async settle(): Promise<void> {
    for (let idle = 0; idle < 20; idle++) {
      await Promise.resolve();
      if (this.timeline.size === 0) continue;
      this.timeline.step();
      idle = 0;
    }
  }

  async create(): Promise<Wal> {
    const wal = Wal.create(this.#options, Uint8Array.of(7), this.#doors());
    await this.settle();
    return wal;
  }

  async open(): Promise<Wal> {
    const wal = Wal.open(this.#options, this.#doors());
    await Promise.allSettled([this.settle()]);
    return wal;
  }
}

function entries(term: number, firstIndex: number, ...data: string[]): EntryBatch {
  const ends = new Uint32Array(data.length);
  data.reduce((end, each, i) => (ends[i] = end + each.length), 0);
  const bytes = new Uint8Array(Buffer.from(data.join("")));
  return new EntryBatch({ term, firstIndex, types: new Uint8Array(data.length), ends, bytes });
}

function append(token: number, term: number, ...batches: EntryBatch[]): WalAppend {
  return { batches, hardState: { term, vote: 5n, commit: 0 }, token };
}

/** What a log gives back: entries as text, and its hard state's term. */
async function replayed(rig: Rig): Promise<{ entries: string[]; term: number; mark: number }> {
  const wal = await rig.open();
  const found = { entries: [] as string[], term: 0, mark: 0 };
  const replay = wal.replay({
    snapshotMark: ({ index }) => void (found.mark = index),
    hardStateRecord: ({ term }) => void (found.term = term),
    entriesRecord: (batch) => {
      for (let i = batch.firstIndex; i <= batch.lastIndex; i++) {
        found.entries.push(`${i}:${batch.term}:${Buffer.from(batch.dataOf(i)).toString()}`);
      }
    },
  });
  await rig.settle();
  await replay;
  return found;
}

test("what was synced is read back, later entries in place of earlier ones", async () => {
  const rig = new Rig();
  const wal = await rig.create();
  wal.append(append(1, 1, entries(1, 1, "a", "b", "c", "d")));
  await rig.settle();
  wal.append(append(2, 2, entries(2, 3, "x")));
  await rig.settle();
  assert.equal(rig.durable, 2);
  assert.deepEqual(await replayed(new Rig(rig.disk)), { entries: ["1:1:a", "2:1:b", "3:2:x"], term: 2, mark: 0 });
  assert.ok(rig.disk.holds(3, 2) && !rig.disk.holds(3, 1) && !rig.disk.holds(4, 1));
});

test("a mark hides the entries up to it, and releases what lies before", async () => {
  const rig = new Rig();
  const wal = await rig.create();
  const confState = { voters: [5n], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
  for (let i = 1; i <= 200; i++) {
    wal.append(append(i, 1, entries(1, i, `e${i}`)));
    await rig.settle();
  }
  wal.appendSnapshotMark({ index: 190, term: 1, confState }, 201);
  await rig.settle();
  wal.release(190);
  const found = await replayed(new Rig(rig.disk));
  assert.equal(found.mark, 190);
  assert.equal(found.entries[0], "191:1:e191");
  assert.equal(found.entries.length, 10);
  assert.ok(rig.disk.holds(3, 1), "terms of released entries stay known");
});

test("of a batch in flight a crash leaves all or nothing to be read", async () => {
  const seen = new Set<string>();
  for (let seed = 1; seed <= 60; seed++) {
    const rig = new Rig(new LogDisk(), seed);
    const wal = await rig.create();
    wal.append(append(1, 1, entries(1, 1, "kept")));
    await rig.settle();
    wal.append(append(2, 1, entries(1, 2, "x".repeat(1500))));
    // The write, not yet the sync.
    rig.timeline.step();
    rig.disk.crash(rig.chance);
    const { entries: found } = await replayed(new Rig(rig.disk));
    assert.equal(found[0], "1:1:kept");
    seen.add(String(found.length));
    // The log goes on behind what was cut.
    const again = new Rig(rig.disk, seed);
    const reopened = await again.open();
    await Promise.all([
      reopened.replay({ snapshotMark() {}, hardStateRecord() {}, entriesRecord() {} }),
      again.settle(),
    ]);
    reopened.append(append(3, 1, entries(1, found.length + 1, "next")));
    await again.settle();
    assert.equal((await replayed(new Rig(rig.disk))).entries.at(-1), `${found.length + 1}:1:next`);
  }
  assert.deepEqual([...seen].sort(), ["1", "2"]);
});

test("a bit that turned over is refused, wherever it is", async () => {
  for (let seed = 1; seed <= 100; seed++) {
    const rig = new Rig(new LogDisk(), seed);
    const wal = await rig.create();
    for (let i = 1; i <= 5; i++) {
      wal.append(append(i, 1, entries(1, i, "data".repeat(i * 60))));
      await rig.settle();
    }
    assert.ok(rig.disk.flipBit(rig.chance));
    await assert.rejects(new Rig(rig.disk).open(), WalCorruptError, `seed ${seed}`);
  }
});

test("a misdirected write is refused at the next start", async () => {
  for (let seed = 1; seed <= 50; seed++) {
    const rig = new Rig(new LogDisk(), seed);
    const wal = await rig.create();
    for (let i = 1; i <= 6; i++) {
      rig.disk.misdirectNext = i === 5;
      wal.append(append(i, 1, entries(1, i, "data")));
      await rig.settle();
      if (i === 5 && seed % 2 === 0) break;
    }
    assert.ok(rig.disk.damaged);
    await assert.rejects(new Rig(rig.disk).open(), WalCorruptError, `seed ${seed}`);
  }
});

test("a sync that fails is told once and acknowledges nothing more", async () => {
  const rig = new Rig();
  const wal = await rig.create();
  wal.append(append(1, 1, entries(1, 1, "a")));
  await rig.settle();
  rig.manner.failNext = true;
  wal.append(append(2, 1, entries(1, 2, "b")));
  wal.append(append(3, 1, entries(1, 3, "c")));
  await rig.settle();
  assert.ok(rig.failed);
  assert.equal(rig.durable, 1);
});
