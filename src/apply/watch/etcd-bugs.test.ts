/** etcd's own watch bugs, each by its number. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { LmdbBackend, lmdbBackendDefaults } from "../../storage/backend/index.js";
import { eventsOf, revisionOf, WatchRig, type Client } from "./rig.test-support.js";

/** What a client may be sent in a test, more than any is: a program that sends without end is stopped there. */
const sentMax = { responses: 2_000, bytes: 256 << 20 };
/** Turns until watches are at rest, more than any test needs. */
const turnsMax = 2_000;

/** One turn; nobody may have been sent too much. */
function turn(rig: WatchRig): void {
  rig.turn();
  for (const { sizes } of rig.clients.values()) {
    const bytes = sizes.reduce((sum, size) => sum + size, 0);
    assert.ok(sizes.length <= sentMax.responses, `${sizes.length} responses`);
    assert.ok(bytes <= sentMax.bytes, `${bytes} bytes of responses`);
  }
}

/** Turns until nothing is left to do; after each `look`. */
function settle(rig: WatchRig, look = (): void => {}): void {
  const isAsked = (): boolean => [...rig.clients.values()].some(({ asked, slow }) => asked && !slow);
  let turns = 0;
  do {
    turn(rig);
    look();
    assert.ok(++turns <= turnsMax, "watches do not come to rest");
  } while (rig.watches.hasWork || isAsked());
}

const open = async (): Promise<{ rig: WatchRig; client: Client }> => {
  const rig = await WatchRig.open();
  return { rig, client: rig.open(1) };
};

test("etcd#15220: a progress answer never overtakes events", async () => {
  const { rig, client } = await open();
  rig.create(1, { key: "a" });
  for (let i = 0; i < 50; i++) {
    rig.put("a");
    rig.progress(1);
  }
  settle(rig);
  let told = 0;
  for (const response of client.take().slice(1)) {
    if (response.events.length > 0) told = Number(response.events.at(-1)!.kv!.modRevision);
    else assert.equal(revisionOf(response), told);
  }
  // Behind its stream's reader a watcher gets no answer at all.
  client.slow = true;
  for (let i = 0; i < 100; i++) rig.put("a", "x".repeat(10_000));
  rig.progress(1);
  settle(rig);
  assert.ok(client.take().every((response) => response.events.length > 0));
});

test("etcd#15220: no progress answer while a watch of the stream is still read up", async () => {
  const { rig, client } = await open();
  for (let i = 0; i < 3000; i++) rig.put("a");
  rig.create(1, { key: "b" });
  rig.create(1, { key: "a", startRevision: 2 });
  for (let turns = 0; rig.watches.hasWork; turns++) {
    rig.progress(1);
    turn(rig);
    assert.ok(turns < 1000);
  }
  assert.ok(client.take().every((response) => response.watchId !== -1n));
  rig.progress(1);
  settle(rig);
  assert.deepEqual(
    client.take().map((each) => [each.watchId, revisionOf(each)]),
    [[-1n, 3001]],
  );
});

test("etcd#15220: a watch of a quiet key from a past revision gets its progress answer", async () => {
  const { rig, client } = await open();
  for (let i = 0; i < 10; i++) rig.put("b");
  rig.create(1, { key: "a", startRevision: 2 });
  settle(rig);
  rig.progress(1);
  settle(rig);
  assert.deepEqual(
    client.take().map((each) => [each.watchId, revisionOf(each)]),
    [
      [0n, 11],
      [-1n, 11],
    ],
  );
});

for (const bug of ["15271", "20221"]) {
  test(`etcd#${bug}: after a snapshot is installed a watch of a future revision still waits for it`, async () => {
    const { rig, client } = await open();
    rig.put("a");
    rig.create(1, { key: "a", startRevision: 8 });
    rig.create(1, { key: "a" });
    const tell = rig.store.onChanges;
    rig.store.onChanges = undefined;
    for (let i = 0; i < 4; i++) rig.put("a");
    rig.store.onChanges = tell;
    rig.watches.restored();
    settle(rig);
    for (let i = 0; i < 4; i++) rig.put("a");
    settle(rig);
    const responses = client.take().slice(2);
    assert.deepEqual(eventsOf(responses.filter((each) => each.watchId === 0n)), ["a@8", "a@9", "a@10"]);
    assert.deepEqual(
      eventsOf(responses.filter((each) => each.watchId === 1n)),
      [3, 4, 5, 6, 7, 8, 9, 10].map((revision) => `a@${revision}`),
    );
  });
}

test("etcd#17247: what a watcher was told before a snapshot is installed is not told again", async () => {
  const { rig, client } = await open();
  rig.create(1, { key: "a" });
  rig.put("a");
  rig.put("a");
  settle(rig);
  const tell = rig.store.onChanges;
  rig.store.onChanges = undefined;
  rig.put("a");
  rig.store.onChanges = tell;
  rig.watches.restored();
  rig.put("a");
  settle(rig);
  for (let i = 0; i < 2; i++) {
    rig.watches.restored();
    settle(rig);
  }
  assert.deepEqual(eventsOf(client.take().slice(1)), ["a@2", "a@3", "a@4", "a@5"]);
  // Nor again when a snapshot follows a snapshot.
  rig.store.onChanges = undefined;
  rig.put("a");
  rig.store.onChanges = tell;
  for (let i = 0; i < 2; i++) {
    rig.watches.restored();
    settle(rig);
  }
  assert.deepEqual(eventsOf(client.take()), ["a@6"]);
});

test("etcd#17247: what is read up while the backend commits comes once", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "etcd-ts-watch-"));
  const onFatal = (error: Error): void => assert.fail(error);
  const backend = LmdbBackend.open({ directory: join(folder, "member", "lmdb"), ...lmdbBackendDefaults, onFatal });
  t.after(async () => {
    await backend.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const rig = await WatchRig.open({ backend });
  const client = rig.open(1);
  const starts = [2, 400, 1500, 2900];
  for (let i = 0; i < 3000; i++) rig.put("a", String(i));
  for (const startRevision of starts) rig.create(1, { key: "a", startRevision });
  // Records go from memory to the disk while slices of them are read, and further ones are made.
  for (let i = 0; i < 200; i++) {
    turn(rig);
    if (i % 3 === 0) rig.put("a", "later");
    if (i % 5 === 0) backend.commit();
    if (i % 20 === 0) await backend.flush();
  }
  settle(rig);
  const last = rig.store.currentRevision;
  const responses = client.take();
  for (const [id, start] of starts.entries()) {
    const told = eventsOf(responses.filter((each) => each.watchId === BigInt(id)));
    assert.deepEqual(
      told,
      Array.from({ length: last - start + 1 }, (_, i) => `a@${start + i}`),
    );
  }
});

test("etcd#20221: no progress for a watch whose start has not come", async () => {
  const rig = await WatchRig.open({ progressIntervalMs: 100 });
  const client = rig.open(1);
  rig.create(1, { key: "a", startRevision: 4, progressNotify: true });
  rig.progress(1);
  rig.pass(1000);
  assert.equal(client.take().length, 1);
  for (let i = 0; i < 3; i++) rig.put("b");
  rig.progress(1);
  rig.pass(1);
  assert.deepEqual(client.take().map(revisionOf), [4]);
});

test("etcd#17529: watches of one stream that its reader starves all get their turn, or are told of a compaction", async () => {
  const { rig, client } = await open();
  client.slow = true;
  const watches = 100;
  for (let i = 0; i < watches; i++) rig.create(1, { key: "a", end: "b", prevKv: true });
  const value = "x".repeat(2000);
  const seen = new Map<bigint, number>();
  const look = (): void => takeInOrder(client, seen);
  for (let i = 0; i < 300; i++) {
    rig.put("a", value);
    turn(rig);
    look();
    if (i % 3 === 0) rig.read(1);
  }
  const behind = rig.watches.slowWatchers;
  assert.ok(behind > 0, "the test does not starve anybody");
  client.slow = false;
  settle(rig, look);
  assert.equal(seen.size, watches);
  for (const last of seen.values()) assert.equal(last, 301);
});

test("etcd#17529: of watches of one stream whose reader is slow none gets far ahead while others wait", async () => {
  const { rig, client } = await open();
  client.slow = true;
  const watches = 10;
  for (let i = 0; i < watches; i++) rig.create(1, { key: "a" });
  const value = "x".repeat(2000);
  for (let i = 0; i < 2000; i++) rig.put("a", value);
  const seen = new Map<bigint, number>();
  // Read as fast as one watch is read up, and no faster than there is more to read.
  for (let reads = 0; reads < 60; reads++) {
    turn(rig);
    takeInOrder(client, seen);
    rig.read(1);
    for (let i = 0; i < 100; i++) rig.put("a", value);
  }
  const told = [...seen.values()];
  assert.equal(told.length, watches);
  const [least, most] = [Math.min(...told), Math.max(...told)];
  assert.ok(least > most / 3, `one was told up to revision ${most}, another up to ${least}`);
});

test("etcd#17529: who had no turn for longest goes first", async () => {
  const { rig, client } = await open();
  client.slow = true;
  const watches = 5;
  for (let i = 0; i < watches; i++) rig.create(1, { key: "a" });
  for (let i = 0; i < 2000; i++) rig.put("a", "x".repeat(2000));
  const order: bigint[] = [];
  for (let reads = 0; reads < 4 * watches; reads++) {
    for (let turns = 0; turns < 50; turns++) turn(rig);
    const told = client.take().filter(({ events }) => events.length > 1);
    order.push(...told.map(({ watchId }) => watchId));
    rig.read(1);
  }
  assert.ok(order.length >= 3 * watches, String(order));
  for (let i = watches; i < order.length; i++) assert.equal(order[i], order[i - watches], String(order));
  assert.equal(new Set(order.slice(0, watches)).size, watches);
});

test("etcd#17529: of those who missed the same few events, who had no turn for longest goes first", async () => {
  const { rig, client } = await open();
  client.slow = true;
  for (let i = 0; i < 5; i++) rig.create(1, { key: "a" });
  const told = (): { id: bigint; events: number }[] => {
    for (let i = 0; i < 3; i++) rig.put("a", "x".repeat(20_000));
    for (let turns = 0; turns < 20; turns++) turn(rig);
    const responses = client.take().filter(({ created }) => !created);
    rig.read(1);
    return responses.map(({ watchId, events }) => ({ id: watchId, events: events.length }));
  };
  const before = told().map(({ id }) => id);
  assert.equal(new Set(before).size, 5);
  assert.ok(before.length > 5, "nobody has had a second turn");
  const longest = [0n, 1n, 2n, 3n, 4n].toSorted((a, b) => before.lastIndexOf(a) - before.lastIndexOf(b));
  const next = told();
  assert.ok(next.length > 0 && next.every(({ events }) => events > 1), "they are not read up");
  assert.deepEqual(
    next.map(({ id }) => id),
    longest.slice(0, next.length),
  );
});

/** Notes the last revision that each watch was told; none may be left out. */
function takeInOrder(client: Client, seen: Map<bigint, number>): void {
  for (const response of client.take()) {
    for (const event of response.events) {
      const last = seen.get(response.watchId) ?? 1;
      assert.equal(Number(event.kv!.modRevision), last + 1, "an event is lost or repeated");
      seen.set(response.watchId, last + 1);
    }
  }
}

test("etcd#17529: who is held up by its reader and then compacted is told so, once", async () => {
  const { rig, client } = await open();
  client.slow = true;
  rig.create(1, { key: "a" });
  for (let i = 0; i < 100; i++) rig.put("a", "x".repeat(10_000));
  rig.compact(90);
  client.slow = false;
  settle(rig);
  const compacted = client.take().filter((response) => response.compactRevision !== 0);
  assert.deepEqual(
    compacted.map((each) => Number(each.compactRevision)),
    [90],
  );
  rig.put("a");
  settle(rig);
  assert.deepEqual(client.take(), []);
});

for (const bug of ["18089", "19179"]) {
  test(`etcd#${bug}: a watch from the compacted revision itself gets the delete made there`, async () => {
    const { rig, client } = await open();
    rig.put("k1");
    rig.put("k1");
    rig.put("k1");
    const removed = rig.remove("k1");
    if (bug === "18089") rig.put("k1");
    rig.compact(removed);
    rig.create(1, { key: "k1", startRevision: removed });
    settle(rig);
    const expected = bug === "18089" ? ["-k1@5", "k1@6"] : ["-k1@5"];
    assert.deepEqual(eventsOf(client.take().slice(1)), expected);
  });
}

test("etcd#18089: also beside a watch that is told of the compaction", async () => {
  const { rig, client } = await open();
  for (let i = 0; i < 3; i++) rig.put("k1");
  const removed = rig.remove("k1");
  rig.put("k1");
  rig.create(1, { key: "k1", startRevision: removed - 1 });
  rig.create(1, { key: "k1", startRevision: removed });
  rig.compact(removed);
  settle(rig);
  const [late, ...told] = client.take().slice(2);
  assert.deepEqual([late!.watchId, late!.compactRevision], [0n, removed]);
  assert.ok(told.every((each) => each.watchId === 1n));
  assert.deepEqual(eventsOf(told), ["-k1@5", "k1@6"]);
});

test("etcd#19179: nor is it lost when a crash has the compaction done twice", async () => {
  const before = await WatchRig.open();
  for (const key of ["k1", "k2", "k3"]) before.put(key);
  const removed = before.remove("k1");
  before.compactUnfinished(removed);
  const rig = await WatchRig.open({ backend: before.backend });
  const client = rig.open(1);
  rig.resumeCompaction();
  rig.create(1, { key: "k", end: "l", startRevision: removed });
  rig.put("k2");
  settle(rig);
  assert.deepEqual(eventsOf(client.take().slice(1)), ["-k1@5", "k2@6"]);
});
