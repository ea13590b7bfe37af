/** Requests and answers of watch streams, field by field. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { GrpcCode } from "../../errors/index.js";
import { usualLongLimits, type LongLimits } from "./long-response.js";
import { eventsOf, revisionOf, textOf, WatchRig, type Client } from "./rig.test-support.js";

const open = async (): Promise<{ rig: WatchRig; client: Client }> => {
  const rig = await WatchRig.open();
  return { rig, client: rig.open(1) };
};

test("a watch is answered with its ID and the store's revision, then told of changes", async () => {
  const { rig, client } = await open();
  rig.put("a");
  rig.create(1, { key: "a" });
  rig.put("a");
  rig.put("b");
  rig.remove("a");
  rig.settle();
  const created = client.next();
  assert.deepEqual(created.header, { clusterId: 1n, memberId: 2n, revision: 2, raftTerm: 5 });
  assert.ok(created.created && !created.canceled && created.watchId === 0n && created.events.length === 0);
  assert.deepEqual(client.responses.map(revisionOf), [3, 5]);
  assert.deepEqual(eventsOf(client.take()), ["a@3", "-a@5"]);
});

test("history is sent with the present revision in the header, a thousand revisions a response", async () => {
  const { rig, client } = await open();
  for (let i = 0; i < 2500; i++) rig.put("a", String(i));
  rig.create(1, { key: "a", startRevision: 2 });
  rig.settle();
  assert.ok(client.next().created);
  assert.deepEqual(
    client.responses.map((response) => [revisionOf(response), response.events.length]),
    [
      [2501, 1000],
      [2501, 1000],
      [2501, 500],
    ],
  );
  assert.deepEqual(
    eventsOf(client.take()),
    Array.from({ length: 2500 }, (_, i) => `a@${i + 2}`),
  );
});

test("IDs: automatic ones pass over those taken, any int64 may be chosen, none twice", async () => {
  const { rig, client } = await open();
  const ids = [1n, 0n, 0n, -1n, -(2n ** 63n), 2n ** 63n - 1n, 1n];
  for (const watchId of ids) rig.create(1, { key: "a", watchId });
  rig.put("a");
  rig.settle();
  const answers = client.take();
  const created = answers.slice(0, ids.length);
  assert.deepEqual(
    created.map((each) => each.watchId),
    [1n, 0n, 2n, -1n, -(2n ** 63n), 2n ** 63n - 1n, -1n],
  );
  assert.equal(created.at(-1)!.cancelReason, "mvcc: duplicate watch ID provided on the WatchStream");
  assert.ok(created.at(-1)!.created && created.at(-1)!.canceled);
  assert.deepEqual(
    new Set(answers.slice(ids.length).map((each) => each.watchId)),
    new Set(created.slice(0, -1).map((each) => each.watchId)),
  );
});

test("refusals: a negative start, an empty range; unknown requests and IDs are passed over", async () => {
  const { rig, client } = await open();
  rig.create(1, { key: "b", end: "a", startRevision: -1 });
  rig.create(1, { key: "b", end: "b" });
  rig.create(1, { key: "", end: "\0" });
  rig.cancel(1, 77n);
  rig.sendBytes(1, Uint8Array.of(0x22, 0));
  rig.sendBytes(1, new Uint8Array(0));
  rig.settle();
  assert.deepEqual(
    client.take().map(({ watchId, created, canceled, cancelReason }) => [watchId, created, canceled, cancelReason]),
    [
      [-1n, true, true, "etcdserver: mvcc: required revision has been compacted"],
      [-1n, true, true, "mvcc: watcher range is empty"],
      [0n, true, false, ""],
    ],
  );
  assert.equal(client.end, null);
});

test("a message that does not parse ends the stream", async () => {
  const { rig, client } = await open();
  rig.create(1, { key: "a" });
  rig.sendBytes(1, Uint8Array.of(0x0a, 5, 1));
  rig.put("a");
  rig.settle();
  assert.equal(client.end?.code, GrpcCode.Internal);
  assert.match(client.end?.text ?? "", /^grpc: failed to unmarshal the received message/);
  assert.equal(client.take().length, 1);
  assert.equal(rig.watches.streams + rig.watches.watchers, 0);
});

test("filters, previous values, and revisions that all of one transaction share", async () => {
  const { rig, client } = await open();
  rig.put("a", "1");
  rig.create(1, { key: "a", end: "\0", prevKv: true });
  rig.create(1, { key: "a", filters: [0] });
  rig.create(1, { key: "a", filters: [1] });
  rig.txn(() => {
    rig.putOne("b", "2");
    rig.removeSome("a");
  });
  rig.settle();
  const [first, ...rest] = client
    .take()
    .slice(3)
    .toSorted((a, b) => Number(a.watchId - b.watchId));
  assert.deepEqual(eventsOf([first!]), ["b@3", "-a@3"]);
  assert.equal(first!.events[0]!.prevKv, undefined);
  assert.equal(textOf(first!.events[1]!.prevKv!.value), "1");
  assert.equal(first!.events[1]!.kv!.createRevision, 0);
  assert.deepEqual(
    rest.map((each) => [each.watchId, eventsOf([each])]),
    [[1n, ["-a@3"]]],
  );
});

test("filters hold for changes as they are made and for history", async () => {
  const { rig, client } = await open();
  const filters = [[0], [1], [0, 1], []];
  for (const each of filters) rig.create(1, { key: "a", filters: each });
  rig.put("a");
  rig.remove("a");
  rig.put("a");
  for (const each of filters) rig.create(1, { key: "a", filters: each, startRevision: 2 });
  rig.settle();
  const responses = client.take();
  const told = (id: number): string[] => eventsOf(responses.filter(({ watchId }) => watchId === BigInt(id)));
  for (const first of [0, filters.length]) {
    assert.deepEqual(
      filters.map((_, i) => told(first + i)),
      [["-a@3"], ["a@2", "a@4"], [], ["a@2", "-a@3", "a@4"]],
    );
  }
});

test("a watch that is canceled while its stream takes nothing gets nothing when it does", async () => {
  const { rig, client } = await open();
  client.slow = true;
  for (let i = 0; i < 2; i++) rig.create(1, { key: "a" });
  for (let i = 0; i < 100; i++) rig.put("a", "x".repeat(10_000));
  assert.equal(rig.watches.slowWatchers, 2);
  rig.cancel(1, 1n);
  rig.watches.flush();
  assert.ok(client.take().at(-1)!.canceled);
  client.slow = false;
  rig.settle();
  const told = client.take();
  assert.ok(told.length > 0 && told.every(({ watchId }) => watchId === 0n));
});

test("each previous value that a watcher wants counts as a range, as each read of etcd's does", async () => {
  const { rig, client } = await open();
  for (let i = 0; i < 2; i++) rig.create(1, { key: "a", prevKv: true });
  rig.create(1, { key: "a" });
  rig.put("a");
  assert.equal(rig.counts.ranges, 0, "a key that was made has none");
  rig.put("a");
  rig.remove("a");
  rig.settle();
  assert.equal(rig.counts.ranges, 4);
  // Also where the value is compacted, and for who is read up from history.
  rig.compact(4);
  rig.create(1, { key: "a", startRevision: 4, prevKv: true });
  rig.settle();
  assert.equal(rig.counts.ranges, 5);
  assert.equal(client.responses.at(-1)!.events[0]!.prevKv, undefined);
});

test("records of a transaction under way are told of when it has ended, not before, also by who is read up", async () => {
  const { rig, client } = await open();
  rig.put("a");
  rig.create(1, { key: "a", end: "b", startRevision: 2 });
  rig.txn(() => {
    rig.putOne("a", "1");
    rig.settle();
    assert.deepEqual(eventsOf(client.take().slice(1)), ["a@2"]);
    rig.putOne("a1", "2");
  });
  rig.settle();
  assert.deepEqual(eventsOf(client.take()), ["a@3", "a1@3"]);
});

test("fragments: cut between events below the bound, all but the last marked", async () => {
  const rig = await WatchRig.open({ fragmentBytesMax: 1000 });
  const client = rig.open(1);
  rig.create(1, { key: "a", end: "b", fragment: true });
  rig.create(1, { key: "a", end: "b" });
  rig.txn(() => {
    for (let i = 0; i < 8; i++) rig.putOne(`a${i}`, "x".repeat(i === 4 ? 1500 : 300));
  });
  rig.settle();
  const parts = client.responses.filter((each) => each.watchId === 0n && !each.created);
  assert.deepEqual(
    parts.map((each) => [each.events.length, each.fragment]),
    [
      [3, true],
      [1, true],
      [1, true],
      [3, false],
    ],
  );
  assert.equal(eventsOf(client.take().filter((each) => each.watchId === 1n)).length, 8);
});

test("compacted: canceled with the revision, header without one, the ID taken until it is canceled", async () => {
  const { rig, client } = await open();
  for (let i = 0; i < 5; i++) rig.put("a");
  rig.compact(4);
  rig.create(1, { key: "a", startRevision: 3, watchId: 9n });
  rig.settle();
  rig.progress(1);
  rig.create(1, { key: "a", watchId: 9n });
  rig.cancel(1, 9n);
  rig.create(1, { key: "a", watchId: 9n });
  rig.settle();
  const [created, compacted, duplicate, canceled, again, ...rest] = client.take();
  assert.ok(created!.created);
  assert.ok(compacted!.canceled && !compacted!.created && compacted!.watchId === 9n && compacted!.cancelReason === "");
  assert.deepEqual([revisionOf(compacted!), Number(compacted!.compactRevision)], [0, 4]);
  assert.ok(duplicate!.canceled && duplicate!.watchId === -1n, "the progress request was not answered before");
  assert.ok(canceled!.canceled && canceled!.watchId === 9n && Number(canceled!.compactRevision) === 0);
  assert.ok(again!.created && !again!.canceled);
  assert.deepEqual(rest, []);
});

test("progress on its own: due watchers without an event since the last tick, the period up to a tenth longer", async () => {
  const rig = await WatchRig.open({ progressIntervalMs: 1000 });
  const client = rig.open(1);
  rig.create(1, { key: "a", progressNotify: true });
  rig.create(1, { key: "b", progressNotify: true });
  rig.create(1, { key: "c", progressNotify: true, startRevision: 50 });
  rig.create(1, { key: "d" });
  rig.put("a");
  rig.settle();
  client.take();
  rig.pass(990);
  assert.deepEqual(client.take(), []);
  rig.pass(130);
  assert.deepEqual(
    client.take().map((each) => [each.watchId, revisionOf(each)]),
    [[1n, 2]],
  );
  rig.pass(1110);
  assert.deepEqual(
    client.take().map((each) => each.watchId),
    [0n, 1n],
  );
});

test("a reader that stops costs a bounded number of bytes, and misses nothing when it goes on", async () => {
  const { rig, client } = await open();
  const other = rig.open(2);
  client.slow = true;
  for (const callId of [1, 2]) rig.create(callId, { key: "a" });
  const value = "x".repeat(10_000);
  for (let i = 0; i < 1000; i++) {
    rig.put("a", value);
    rig.turn();
  }
  assert.ok(client.owed < 200_000, String(client.owed));
  assert.equal(rig.watches.slowWatchers, 1);
  assert.equal(eventsOf(other.take()).length, 1000, "others are not held up");
  client.slow = false;
  rig.settle();
  assert.equal(eventsOf(client.take()).length, 1000);
  assert.equal(rig.watches.slowWatchers, 0);
});

test("requests without end whose answers nobody reads end the stream", async () => {
  const { rig, client } = await open();
  client.slow = true;
  for (let i = 0; i < 200_000 && client.end === null; i++) {
    rig.create(1, { key: "b", end: "a" });
    if (i % 1000 === 0) rig.watches.flush();
  }
  rig.watches.flush();
  assert.equal(client.end?.text, "etcdserver: too many requests");
});

test("a transaction of many changes is read up in slices and told whole", async () => {
  const { rig, client } = await open();
  rig.create(1, { key: "k", end: "l" });
  rig.create(1, { key: "other" });
  rig.txn(() => {
    for (let i = 0; i < 5000; i++) rig.putOne(`k${i}`, "v");
  });
  assert.equal(client.responses.length, 0);
  rig.put("k");
  rig.put("other");
  rig.settle();
  assert.deepEqual(
    client
      .take()
      .slice(2)
      .map((each) => [each.watchId, each.events.length])
      .toSorted(([a], [b]) => Number(a as bigint) - Number(b as bigint)),
    [
      [0n, 5001],
      [1n, 1],
    ],
  );
});

/** What three watchers get of a revision of many puts, and how it went. */
const tellOfMany = async (
  longLimits: LongLimits,
): Promise<{ digests: string[]; longest: number; turns: number; counts: number[][] }> => {
  const rig = await WatchRig.open({ longLimits });
  const many = (value: string): void => {
    for (let i = 0; i < 30_000; i++) rig.putOne(`k${i}`, value);
  };
  rig.txn(() => many("before".repeat(10)));
  const clients = [rig.open(1), rig.open(2), rig.open(3)];
  rig.create(1, { key: "k", end: "l" });
  rig.create(2, { key: "k", end: "l", prevKv: true });
  rig.create(3, { key: "k", end: "l", prevKv: true, fragment: true });
  rig.txn(() => many("after".repeat(10)));
  rig.longestRecord = 0;
  let turns = 0;
  for (; rig.watches.hasWork || turns === 0; turns++) rig.turn();
  const counts = clients.map(({ responses }) => responses.slice(1).map(({ events }) => events.length));
  return { digests: clients.map(({ digest }) => digest.digest("hex")), longest: rig.longestRecord, turns, counts };
};

test("a revision of very many events is made and handed over in slices, and is the same messages", async () => {
  const never = { ...usualLongLimits, shortEvents: Infinity, shortBytes: Infinity, shortPrevious: Infinity };
  const [whole, sliced] = [await tellOfMany(never), await tellOfMany(usualLongLimits)];
  assert.deepEqual(sliced.digests, whole.digests);
  assert.deepEqual(sliced.counts, whole.counts);
  assert.deepEqual(sliced.counts.slice(0, 2), [[30_000], [30_000]]);
  assert.equal(sliced.counts[2]!.length, 3, "fragments");
  assert.ok(whole.longest > 4 << 20, "in one go it is long");
  assert.ok(sliced.longest < 600 << 10, `${sliced.longest} bytes at a time`);
  // To encode 30,000 events with what was there before takes more than a hundred slices.
  assert.ok(sliced.turns > whole.turns + 100, `${sliced.turns} turns, in one go ${whole.turns}`);
});

function putMany(rig: WatchRig): void {
  rig.txn(() => {
    for (let i = 0; i < 50_000; i++) rig.putOne(`k${i}`, "v");
  });
}

/** A stream that is to get one revision of 50,000 events, and another one that watches "other". */
async function openWithMany(): Promise<{ rig: WatchRig; client: Client; other: Client }> {
  const { rig, client } = await open();
  const other = rig.open(2);
  rig.create(1, { key: "k", end: "l" });
  rig.create(2, { key: "other" });
  putMany(rig);
  return { rig, client, other };
}

test("who gets nothing of a revision of very many events does not wait for those who do", async () => {
  const { rig, client, other } = await openWithMany();
  while (client.parts.length < 2) rig.turn();
  rig.put("other");
  rig.turn();
  assert.equal(client.responses.length, 1, "its response is in the making");
  assert.deepEqual(eventsOf(other.take()), ["other@3"]);
  rig.put("k");
  rig.settle();
  assert.deepEqual(
    client.take().map(({ events }) => events.length),
    [0, 50_000, 1],
  );
});

test("who gets nothing of a revision of very many events is told of others while it is read up", async () => {
  const { rig, client, other } = await openWithMany();
  for (let turns = 0; turns < 10; turns++) {
    rig.turn();
    const revision = rig.put("other");
    rig.turn();
    assert.deepEqual(eventsOf(other.take()), [`other@${revision}`]);
    assert.equal(client.parts.length, 0, "it is being read up");
  }
  rig.settle();
  assert.equal(eventsOf(client.take()).length, 50_000);
});

test("who becomes synced while a long transaction is made, and who are too many for one look, get all of it", async () => {
  const { rig } = await open();
  const many = Array.from({ length: 10_000 }, (_, i) => rig.open(10 + i));
  for (let i = 0; i < many.length; i++) rig.create(10 + i, { key: i < 5000 ? "k7" : `k${i}` });
  rig.settle();
  for (const each of many) each.take();
  const late = [rig.open(1), rig.open(2), rig.open(3)];
  const first = rig.put("k1");
  rig.txn(() => {
    for (let i = 0; i < 20_000; i++) {
      rig.putOne(`k${i}`, "v");
      if (i === 2000) rig.create(1, { key: "k1" });
      if (i === 4000) rig.create(2, { key: "k1", startRevision: first });
      if (i === 6000) rig.create(3, { key: "k1", startRevision: first + 2 });
      if (i % 5000 === 0) rig.turn();
    }
  });
  rig.put("k1");
  rig.settle();
  const [before, long, after] = [`k1@${first}`, `k1@${first + 1}`, `k1@${first + 2}`];
  assert.deepEqual(
    late.map((each) => eventsOf(each.take())),
    [[long, after], [before, long, after], [after]],
  );
  many.forEach((each, i) => assert.deepEqual(eventsOf(each.take()), [`k${i < 5000 ? 7 : i}@${first + 1}`]));
  assert.equal(rig.watches.slowWatchers, 0);
});

test("a watch that is canceled while its long response is made gets nothing of it, others of the stream theirs", async () => {
  const { rig, client } = await open();
  rig.create(1, { key: "k", end: "l" });
  rig.create(1, { key: "k1" });
  putMany(rig);
  while (client.parts.length < 2) rig.turn();
  rig.cancel(1, 0n);
  rig.settle();
  const [, , canceled, other, ...rest] = client.take();
  assert.ok(canceled?.canceled && canceled.watchId === 0n);
  assert.deepEqual([other?.watchId, other?.events.length, rest], [1n, 1, []]);
  assert.deepEqual(client.parts, []);
  rig.put("k2");
  rig.create(1, { key: "k2", startRevision: 2 });
  rig.settle();
  assert.deepEqual(eventsOf(client.take()), ["k2@2", "k2@3"]);
});

test("what a turn makes for too many watchers is read up: nobody misses an event, and responses get fewer", async () => {
  const { rig } = await open();
  const clients = Array.from({ length: 500 }, (_, i) => rig.open(10 + i));
  for (let i = 0; i < clients.length; i++) rig.create(10 + i, { key: "a" });
  rig.settle();
  for (const client of clients) client.take();
  const first = rig.put("a");
  for (let i = 1; i < 100; i++) rig.put("a");
  assert.equal(rig.watches.slowWatchers, clients.length, "the turn has told of some, and goes on with none");
  rig.settle();
  assert.equal(rig.watches.slowWatchers, 0);
  const wanted = Array.from({ length: 100 }, (_, i) => `a@${first + i}`);
  for (const client of clients) {
    const responses = client.take();
    assert.deepEqual(eventsOf(responses), wanted);
    assert.ok(responses.length < 20, `${responses.length} responses`);
  }
  rig.put("a");
  assert.equal(rig.watches.slowWatchers, 0, "a new turn tells at once again");
});

test("metrics tell of streams, watchers, those behind and events sent", async () => {
  const { rig } = await open();
  rig.create(1, { key: "a" });
  rig.create(1, { key: "b", startRevision: 1 });
  rig.put("a");
  const line = (name: string): string | undefined =>
    rig.registry
      .text()
      .split("\n")
      .find((each) => each.startsWith(`etcd_debugging_mvcc_${name} `))
      ?.split(" ")[1];
  assert.equal(line("watch_stream_total"), "1");
  assert.equal(line("watcher_total"), "2");
  assert.equal(line("slow_watcher_total"), "1");
  rig.settle();
  assert.equal(line("slow_watcher_total"), "0");
  assert.equal(line("events_total"), "1");
  rig.close(1);
  assert.equal(line("watch_stream_total"), "0");
  assert.equal(line("watcher_total"), "0");
});

test("who is given up by one pass and read up by another gets each event once", async () => {
  for (let lead = 0; lead < 6; lead++) {
    const { rig, client } = await open();
    const other = rig.open(2);
    const last = 11_200;
    rig.put("b");
    while (rig.store.currentRevision < last) rig.put("a", "v".repeat(150));
    // Both are read up by one pass; this one's reader takes nothing, so the pass gives it up and goes on with the other.
    client.slow = true;
    rig.create(1, { key: "a", startRevision: 2 });
    rig.create(2, { key: "b", startRevision: 2 });
    while (rig.watches.slowWatchers > 0 && client.owed < 128 << 10) rig.turn();
    for (let i = 0; i < 4 + lead; i++) rig.turn();
    assert.equal(rig.watches.slowWatchers, 2);
    // Now it is near enough to be read up apart, while the first pass comes to its end.
    client.slow = false;
    rig.settle();
    const expected = Array.from({ length: last - 2 }, (_, i) => `a@${i + 3}`);
    assert.deepEqual(eventsOf(client.take()), expected, `after ${lead}`);
    assert.deepEqual(eventsOf(other.take()), ["b@2"]);
  }
});
