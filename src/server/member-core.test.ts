/** A member between its parts: what it refuses, what it holds while it can do nothing, and what ends it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { LeaseCallWriter, LeaseOp } from "../apply/index.js";
import { EntryBatch, EntryType } from "../base/index.js";
import type { EtcdError } from "../errors/index.js";
import { decodeInternalRaftRequest, type InternalRaftRequest } from "../proto/index.js";
import { message, MessageType, none, type Message } from "../raft/index.js";
import type { WalAppend } from "../storage/wal/index.js";
import { MemberCore } from "./member-core.js";
import { MemberRig } from "./member-rig.test-support.js";
import { anonymous } from "./proposal-builder.js";

const putField = 4;
const put = Uint8Array.of(0x0a, 1, 107);

/** A member whose disk is quick unless the test says otherwise. */
class Rig extends MemberRig {
  isDiskQuick = true;
  readonly core: MemberCore;

  constructor(count: number, flags: readonly string[] = []) {
    super(count, { flags });
    this.core = new MemberCore(this.surroundings, this.state);
    this.core.begin();
  }

  override appended(work: WalAppend): void {
    super.appended(work);
    if (this.isDiskQuick) queueMicrotask(() => this.sync());
  }

  /** The log has everything. */
  sync(): void {
    this.core.onDurable(this.appends.at(-1)!.token);
  }

  /** Apply has done all it was given. */
  applied(): void {
    this.applyAll();
    this.core.onProgress();
  }

  receive(fields: Partial<Message> & { readonly type: MessageType }): string {
    return this.core.receive(message({ to: 1n, from: 2n, term: 2, ...fields }));
  }

  propose(callId: number, request = put): EtcdError | null {
    const refusal = this.core.propose(putField, request, 0, request.length, callId, anonymous);
    this.core.flush();
    return refusal;
  }
}

/** Microtasks have been done. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A member alone, which leads. */
async function alone(flags: readonly string[] = []): Promise<Rig> {
  const rig = new Rig(1, flags);
  for (let i = 0; i < 3; i++) {
    await turn();
    rig.applied();
  }
  assert.ok(rig.core.isLeader);
  return rig;
}

test("more than 5,000 entries that are committed and not applied are too many requests", async () => {
  const rig = await alone();
  for (let callId = 1; callId <= 5001; callId++) {
    assert.equal(rig.core.propose(putField, put, 0, put.length, callId, anonymous), null);
  }
  rig.core.flush();
  await turn();
  assert.equal(rig.core.commitIndex, rig.progress.appliedIndex + 5001);
  assert.equal(rig.propose(6000)?.message, "etcdserver: too many requests");
  rig.applied();
  assert.equal(rig.propose(6001), null);
});

test("what waits for a slow disk is bounded: calls are not taken any more, and are again when it goes on", async () => {
  const rig = await alone();
  rig.isDiskQuick = false;
  const large = new Uint8Array(1 << 20);
  for (let callId = 1; callId <= 64; callId++) rig.propose(callId, large);
  assert.equal(rig.core.blocked, true);
  rig.sync();
  assert.equal(rig.core.blocked, false);
});

test("a leader drops what others pass on to it when its apply stands still, and says so to its own clients", async () => {
  const rig = await alone();
  const large = new Uint8Array(1 << 20);
  let refused = 0;
  for (let callId = 1; callId <= 300; callId++) {
    rig.propose(callId, large);
    if (rig.failed.get(callId)?.message === "etcdserver: too many requests") refused++;
  }
  assert.ok(refused > 30 && refused < 60, `${refused} refused`);
  await turn();
  rig.applied();
  await turn();
  rig.applied();
  rig.propose(1000, large);
  assert.equal(rig.failed.get(1000), undefined);
});

test("who hears no leader stands after --election-timeout, up to twice that, in ticks of --heartbeat-interval (§5.2)", () => {
  for (const [flags, ticksMin] of [
    [[], 10],
    [["--heartbeat-interval=50", "--election-timeout=1500"], 30],
  ] as const) {
    const rig = new Rig(3, flags);
    let ticks = 0;
    while (!rig.sent.some(({ type }) => type === MessageType.PreVote)) {
      assert.ok(ticks < 2 * ticksMin, `${ticks} ticks`);
      rig.core.tick();
      ticks++;
    }
    assert.ok(ticks >= ticksMin, `${ticks} ticks`);
  }
});

test("without a leader, proposals and reads are held within a bound, and given up by etcd's limit of a request", () => {
  const rig = new Rig(3);
  const large = new Uint8Array(1 << 20);
  rig.propose(7);
  const read = new LeaseCallWriter();
  read.add(8, LeaseOp.Head, 0, 0, 0, 0);
  rig.core.readLinearizable(read.bytes, 0, read.length);
  rig.core.flush();
  assert.equal(rig.core.blocked, false);
  for (let callId = 100; callId < 164; callId++) rig.propose(callId, large);
  assert.equal(rig.core.blocked, true, "no more calls are taken");
  rig.now += 6999;
  rig.core.tick();
  assert.equal(rig.failed.size, 0);
  rig.now += 1;
  rig.core.tick();
  assert.equal(rig.failed.get(7)?.message, "context deadline exceeded");
  assert.equal(rig.failed.get(8)?.message, "etcdserver: request timed out");
  assert.equal(rig.core.blocked, false);
});

test("what is held goes to the leader that comes, and its entries answer who waits", async () => {
  const rig = new Rig(3);
  rig.propose(7);
  rig.receive({ type: MessageType.Heartbeat, commit: 0 });
  const forwarded = rig.sent.find(({ type }) => type === MessageType.Prop)!;
  assert.deepEqual([forwarded.to, forwarded.entries[0]!.count], [2n, 1]);
  const entries = [forwarded.entries[0]!.at(2, 4)];
  rig.receive({ type: MessageType.App, index: 3, logTerm: 1, entries, commit: 4 });
  await turn();
  assert.deepEqual(rig.handed.at(-1)!.callIds, [7]);
});

test("a read that came before there was a leader is asked of it as soon as there is one", () => {
  const rig = new Rig(3);
  const read = new LeaseCallWriter();
  read.add(8, LeaseOp.Head, 0, 0, 0, 0);
  rig.core.readLinearizable(read.bytes, 0, read.length);
  rig.core.flush();
  rig.receive({ type: MessageType.Heartbeat, commit: 0 });
  assert.deepEqual(
    rig.sent.filter(({ type }) => type === MessageType.ReadIndex).map(({ to }) => to),
    [2n],
  );
});

test("--strict-reconfig-check: a member is not added to a cluster that is not healthy, unless that is turned off", () => {
  for (const [flags, refusal] of [
    [[], "etcdserver: unhealthy cluster"],
    [["--strict-reconfig-check=false"], undefined],
  ] as const) {
    const rig = new Rig(3, flags);
    let text: string | undefined;
    rig.core.cluster.reconfiguration.add(["http://d:1"], false, ({ error }) => (text = error?.message));
    assert.equal(text, refusal);
  }
});

test("entries that a new leader replaces do not count as under way for ever", async () => {
  const rig = new Rig(3);
  const data = new Uint8Array(8 << 20);
  for (let term = 2; term < 12; term++) {
    const entries = [EntryBatch.single({ term, index: 4, type: EntryType.Normal, data })];
    assert.equal(rig.receive({ type: MessageType.App, term, index: 3, logTerm: 1, entries, commit: 3 }), "ok");
    await turn();
  }
  assert.equal(rig.core.blocked, false);
});

test("a follower whose disk hangs gathers nothing, whatever its leader says", () => {
  const rig = new Rig(3);
  rig.isDiskQuick = false;
  rig.receive({ type: MessageType.Heartbeat, commit: 0 });
  const before = rig.appends.length;
  for (let i = 0; i < 1000; i++) {
    rig.receive({ type: MessageType.Heartbeat, commit: 3 });
    rig.receive({ type: MessageType.App, index: 3, logTerm: 1, commit: 3 });
    rig.core.tick();
  }
  assert.equal(rig.appends.length, before);
  const responses = (): number => rig.sent.filter(({ type }) => type === MessageType.AppResp).length;
  assert.equal(responses(), 0, "nothing is acknowledged");
  rig.sync();
  assert.equal(responses(), 1);
});

test("a follower whose disk stands still does not stand for election, and does once it goes on", () => {
  const rig = new Rig(3);
  rig.isDiskQuick = false;
  const entries = [EntryBatch.single({ term: 2, index: 4, type: EntryType.Normal, data: new Uint8Array(1) })];
  rig.receive({ type: MessageType.App, index: 3, logTerm: 1, entries, commit: 3 });
  rig.now += 2001;
  const pass = (): void => {
    for (let i = 0; i < 40; i++) rig.core.tick();
  };
  const stands = (): boolean => rig.sent.some(({ type }) => type === MessageType.PreVote);
  pass();
  assert.equal(stands(), false);
  rig.sync();
  pass();
  assert.equal(stands(), true);
});

test("a member whose log has lost what it acknowledged ends, with etcd's words", () => {
  const rig = new Rig(3);
  assert.equal(rig.receive({ type: MessageType.Heartbeat, commit: 3 }), "ok");
  assert.deepEqual(rig.fatals, []);
  assert.equal(rig.receive({ type: MessageType.Heartbeat, commit: 5 }), "commitBeyondLog");
  assert.deepEqual(rig.fatals, [
    "tocommit(5) is out of range [lastIndex(3)]. Was the raft log corrupted, truncated, or lost?",
  ]);
});

/** All requests that have been committed. */
function committed(rig: Rig): InternalRaftRequest[] {
  return rig.handed.flatMap(({ batch }) =>
    Array.from({ length: batch.count }, (_, i) => decodeInternalRaftRequest(batch.dataOf(batch.firstIndex + i))),
  );
}

test("NOSPACE: what apply finds over the quota becomes this member's alarm, by way of the log", async () => {
  const rig = await alone();
  rig.core.onApplyEvent({ type: "noSpace", callId: 7 });
  await turn();
  const alarms = committed(rig).flatMap(({ alarm }) => alarm ?? []);
  assert.deepEqual(
    alarms.map(({ action, memberID, alarm }) => [action, memberID, alarm]),
    [[1, 1n, 1]],
  );
  assert.equal(rig.failed.get(7), undefined, "whoever hears of it finds the alarm on");
  rig.core.onApplyEvent({ type: "alarms", index: 9, alarms: [{ memberId: 1n, alarm: 1 }] });
  assert.deepEqual(rig.core.space.alarms, [{ memberId: 1n, alarm: 1 }]);
  assert.equal(rig.failed.get(7)?.message, "etcdserver: mvcc: database space exceeded");
});

test("auto-compaction: who leads proposes through the log what the options ask for", async () => {
  for (const [flags, revisions] of [
    [["--auto-compaction-mode=periodic", "--auto-compaction-retention=5m"], [10]],
    [["--auto-compaction-mode=revision", "--auto-compaction-retention=4"], [96]],
    [["--auto-compaction-mode=revision"], []],
  ] as const) {
    const rig = await alone(flags);
    for (const revision of [10, 100]) {
      Object.assign(rig.progress, { revision });
      rig.core.tick();
      await turn();
      rig.now += 5 * 60_000;
    }
    // The second tick is five minutes after the first.
    const compactions = committed(rig).flatMap(({ compaction }) => compaction ?? []);
    assert.deepEqual(
      compactions.map(({ revision }) => revision),
      revisions,
      flags.join(" "),
    );
  }
});

test("auto-compaction of a corrupt cluster: it is not asked", async () => {
  const rig = await alone(["--auto-compaction-mode=revision", "--auto-compaction-retention=4"]);
  rig.core.onApplyEvent({ type: "alarms", index: 9, alarms: [{ memberId: 2n, alarm: 2 }] });
  Object.assign(rig.progress, { revision: 100 });
  for (let i = 0; i < 2; i++) {
    rig.core.tick();
    await turn();
    rig.now += 5 * 60_000;
  }
  assert.deepEqual(
    committed(rig).flatMap(({ compaction }) => compaction ?? []),
    [],
  );
});

test("calls over the quota are refused when the alarm is on, or when their time is over", async () => {
  const rig = await alone(["--quota-backend-bytes=10000"]);
  rig.core.space.refuse(5);
  rig.core.tick();
  assert.equal(rig.failed.size, 0);
  rig.now += 3000;
  rig.core.space.refuse(6);
  rig.now += 4000;
  rig.core.tick();
  assert.deepEqual([...rig.failed.keys()], [5], "5 s and two election timeouts");
  rig.core.onApplyEvent({ type: "alarms", index: 9, alarms: [{ memberId: 2n, alarm: 1 }] });
  assert.deepEqual([...rig.failed.keys()], [5], "another member's");
  rig.core.onApplyEvent({ type: "alarms", index: 10, alarms: [{ memberId: 1n, alarm: 1 }] });
  rig.core.space.refuse(8);
  assert.deepEqual([...rig.failed.keys()], [5, 6, 8]);
});

test("a start hands apply only what comes behind the state it has, however much longer the log is", async () => {
  const rig = new MemberRig(1);
  const data = new Uint8Array(8);
  for (let index = 2; index <= 9; index++)
    rig.state.log.entriesRecord(EntryBatch.single({ term: 1, index, type: EntryType.Normal, data }));
  rig.state.log.hardStateRecord({ term: 1, vote: none, commit: 8 });
  const core = new MemberCore(rig.surroundings, { ...rig.state, ready: { ...rig.state.ready, consistentIndex: 5 } });
  core.begin();
  await turn();
  const indexes = rig.handed.flatMap(({ batch }) =>
    Array.from({ length: batch.count }, (_, i) => batch.firstIndex + i),
  );
  assert.deepEqual(indexes, [6, 7, 8], "9 is not known to be committed");
});
