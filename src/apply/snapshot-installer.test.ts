/** A snapshot becomes the state of a member that is behind, in the midst of what it does. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { copyOf, silentLogger } from "../base/index.js";
import { AlarmAction, AlarmType, type InternalRaftRequestInit } from "../proto/index.js";
import { MemoryBackend } from "../storage/backend/index.js";
import { MvccStore, RevisionStatus } from "../storage/mvcc/index.js";
import { readLeaseEvents } from "./lease-events.js";
import { OneAtATime } from "./one-at-a-time.js";
import { memberId, raftTerm, Rig } from "./rig.test-support.js";
import { installAtStart, SnapshotInstaller } from "./snapshot-installer.js";

const bytes = (text: string): Uint8Array => Buffer.from(text);
const yieldTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const crc32c = (crc: number, part: Uint8Array): number =>
  part.reduce((sum, byte) => (Math.imul(sum ^ byte, 0x01000193) + 1) >>> 0, crc);

const put = (key: string, value: string, lease = 0n): InternalRaftRequestInit => ({
  put: { key: bytes(key), value: bytes(value), lease },
});

/** What a leader has: revisions, a lease with a key, an alarm, a compaction that is not carried out yet. */
const history: readonly InternalRaftRequestInit[] = [
  { leaseGrant: { ID: 5n, TTL: 60 } },
  ...Array.from({ length: 300 }, (_, i) => put(`k${i % 40}`, `v${i}`)),
  { leaseGrant: { ID: 7n, TTL: 70 } },
  put("leased", "x", 7n),
  { leaseRevoke: { ID: 5n } },
  { deleteRange: { key: bytes("k1"), rangeEnd: bytes("k2") } },
  { alarm: { action: AlarmAction.ACTIVATE, memberID: memberId, alarm: AlarmType.NOSPACE } },
  { compaction: { revision: 200 } },
];

async function pair(followed: number) {
  const leader = await Rig.open();
  for (const request of history) leader.follow(request);
  const files: string[] = [];
  const openSnapshot = (file: string): MemoryBackend => {
    files.push(file);
    return leader.backend as MemoryBackend;
  };
  const backend = new MemoryBackend({ flushAtOnce: true, openSnapshot });
  const follower = await Rig.open({ backend });
  for (const request of history.slice(0, followed)) follower.follow(request);
  let restored = 0;
  const shown: boolean[] = [];
  const installer = new SnapshotInstaller({
    backend,
    store: follower.store,
    leases: follower.leases,
    membership: follower.membership,
    alarms: follower.alarms,
    applier: follower.applier,
    compactor: follower.compactor,
    watches: { restored: () => restored++ },
    metrics: { installing: (isActive) => shown.push(isActive) },
    rebuilds: new OneAtATime(),
    mvcc: { yield: yieldTurn, crc32c },
    leaseTtlMin: 2,
    snapshotDir: "snap",
    post: (event) => void follower.events.push(event),
    logger: silentLogger,
  });
  return { leader, follower, installer, files, shown, restored: () => restored };
}

const mark = { index: history.length, term: raftTerm };
const range = { key: bytes("\0"), rangeEnd: bytes("\0") };

test("everything that a member has in memory is the snapshot's, and entries go on behind it", async () => {
  const { leader, follower, installer, files, shown, restored } = await pair(100);
  assert.equal(follower.leases.has(5, 0), true);
  follower.leaseEvents.take();
  await installer.install(mark);
  assert.deepEqual(files, [`snap/${mark.index.toString(16).padStart(16, "0")}.snap.db`]);
  assert.equal(restored(), 1);
  assert.deepEqual(shown, [true, false]);
  assert.equal(follower.applier.appliedIndex, mark.index);
  assert.equal(follower.store.currentRevision, leader.store.currentRevision);
  assert.equal(follower.store.compactRevision, 200);
  assert.deepEqual(follower.alarms.all, [{ memberId, alarm: AlarmType.NOSPACE }]);
  assert.deepEqual(follower.alarmBoard.read(), [AlarmType.NOSPACE]);
  assert.deepEqual([follower.leases.has(5, 0), follower.leases.has(7, 0)], [false, true]);
  assert.deepEqual(
    follower.leases.keysOf(7, 0).map((key) => Buffer.from(key).toString()),
    ["leased"],
  );
  const event = follower.events.find(({ type }) => type === "installed");
  assert.deepEqual(event, {
    type: "installed",
    index: mark.index,
    members: [],
    removedMembers: [],
    clusterVersion: null,
    downgrade: { enabled: false, targetVersion: "" },
    alarms: follower.alarms.all,
  });
  const refused = { key: bytes("new"), value: bytes("y") };
  assert.notEqual(follower.request({ put: refused }).code, 0, "the alarm counts at once");
  leader.follow({ put: refused });
  for (const rig of [leader, follower]) {
    rig.follow({ alarm: { action: AlarmAction.DEACTIVATE, memberID: memberId, alarm: AlarmType.NOSPACE } });
    rig.follow(put("new", "z"));
  }
  assert.deepEqual(follower.range(range).message, leader.range(range).message);
});

test("the clock of leases hears of those that are gone and of those that have come", async () => {
  const { follower, installer } = await pair(3);
  follower.leaseEvents.take();
  await installer.install(mark);
  const message = follower.leaseEvents.take();
  const heard: string[] = [];
  readLeaseEvents(new DataView(message.buffer), 0, {
    granted: (low, _high, ttl) => heard.push(`granted ${low} ${ttl}`),
    revoked: (low) => heard.push(`revoked ${low}`),
    checkpointed: () => assert.fail("no checkpoint"),
  });
  assert.deepEqual(heard, ["revoked 5", "granted 7 70"]);
});

test("the compaction that the snapshot has pending is carried out, one of before is dropped", async () => {
  const { leader, follower, installer } = await pair(150);
  await installer.install(mark);
  while (follower.store.pendingCompactions.length > 0) await yieldTurn();
  while (leader.store.pendingCompactions.length > 0) await yieldTurn();
  assert.deepEqual(follower.failures, []);
  assert.deepEqual(await follower.store.hashKv(0), await leader.store.hashKv(0));
  assert.equal(await follower.store.hash(), await leader.store.hash());
});

test("a range under way goes on, unless what it reads is compacted", async () => {
  const { leader, follower, installer } = await pair(250);
  const scan = follower.store.newRangeScan();
  const query = { ...noQuery, bytes: bytes("k"), keyStart: 0, keyEnd: 1, endStart: 0, endEnd: 0 };
  const end = bytes("kl");
  const both = Buffer.concat([query.bytes, end]);
  const whole = { ...query, bytes: both, endStart: 1, endEnd: 3, revision: 240 };
  assert.equal(scan.start(whole), RevisionStatus.Ok);
  const keys: Uint8Array[] = [];
  const sink = { record: (part: Uint8Array, from: number, to: number) => void keys.push(copyOf(part, from, to)) };
  assert.equal(scan.next(sink, { keys: 5, bytes: 1 << 20 }), false);
  await installer.install(mark);
  while (!scan.next(sink, { keys: 5, bytes: 1 << 20 }));
  const expected: Uint8Array[] = [];
  const other = leader.store.newRangeScan();
  other.start(whole);
  while (
    !other.next(
      { record: (part, from, to) => void expected.push(copyOf(part, from, to)) },
      { keys: 50, bytes: 1 << 20 },
    )
  );
  assert.deepEqual(keys, expected);
  assert.equal(follower.store.checkRevision(199), RevisionStatus.Compacted);
});

const noQuery = { revision: 0, limit: 0, count: false, countOnly: false, keysOnly: false };

test("a hash under way begins anew", async () => {
  const { leader, follower } = await pair(250);
  while (leader.store.pendingCompactions.length > 0) await yieldTurn();
  const turns: (() => void)[] = [];
  const gate = (): Promise<void> => new Promise((resolve) => turns.push(resolve));
  const step = async (): Promise<void> => {
    for (const turn of turns.splice(0)) turn();
    await yieldTurn();
  };
  const opening = MvccStore.open({ backend: follower.backend, yield: gate, crc32c });
  await step();
  const store = await opening;
  const other = await MvccStore.open({ backend: leader.backend, yield: yieldTurn, crc32c });
  const hashes = [store.hashKv(0).then(({ hash }) => hash), store.hash()];
  await yieldTurn();
  assert.equal(turns.length, hashes.length, "both wait for their turn");
  await follower.backend.finishInstall(await follower.backend.beginInstall(""), () => store.adopt(other));
  while (turns.length > 0) await step();
  assert.deepEqual(await Promise.all(hashes), [(await other.hashKv(0)).hash, await other.hash()]);
});

test("a snapshot that is no newer changes nothing; one of another entry is refused before anything is changed", async () => {
  const { follower, installer, files } = await pair(history.length);
  await installer.install(mark);
  assert.deepEqual(files, []);
  const behind = await pair(10);
  const revision = behind.follower.store.currentRevision;
  await assert.rejects(behind.installer.install({ ...mark, index: mark.index + 1 }), /not at entry/);
  await assert.rejects(behind.installer.install({ ...mark, term: 1 }), /not at entry/);
  assert.equal(behind.follower.store.currentRevision, revision);
  assert.equal(behind.follower.backend.consistentIndex, 10);
  assert.equal(follower.failures.length, 0);
});

test("a start repeats an installation that was cut short, and no other", async () => {
  const { leader, follower } = await pair(10);
  const { backend } = follower;
  await installAtStart({ index: 10, term: raftTerm }, { backend, snapshotDir: "", logger: silentLogger });
  assert.equal(backend.consistentIndex, 10);
  await installAtStart(mark, { backend, snapshotDir: "", logger: silentLogger });
  assert.equal(backend.consistentIndex, mark.index);
  const store = await MvccStore.open({ backend, yield: yieldTurn, crc32c });
  assert.equal(store.currentRevision, leader.store.currentRevision);
});
