/** The keeper with a stand-in for apply: revokes on their way, held keepalives, leadership, pauses. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { LeaseOp } from "../apply/index.js";
import { ErrTimeout } from "../errors/index.js";
import { LeaseRig, other } from "./lease-rig.test-support.js";

test("an ended lease is revoked through the log, once, and counted when it is gone", () => {
  const rig = new LeaseRig();
  rig.event(300, 2);
  rig.pass(1900);
  assert.equal(rig.proposed.length, 0);
  rig.pass(200);
  assert.deepEqual(
    rig.proposed.map((message) => [...message]),
    [[0x08, 0xac, 0x02]],
  );
  rig.pass(1000);
  assert.equal(rig.proposed.length, 1);
  rig.event(300, 0);
  assert.deepEqual([rig.keeper.expiredCount, rig.keeper.count], [1, 0]);
});

test("ten thousand leases that end together are all asked for as fast as apply makes them go", () => {
  const rig = new LeaseRig();
  for (let id = 1; id <= 10_000; id++) rig.event(id, 2);
  rig.pass(2200);
  let done = 0;
  let most = 0;
  while (done < rig.proposed.length) {
    most = Math.max(most, rig.proposed.length - done);
    const message = rig.proposed[done++]!;
    rig.event(message[1]! < 0x80 ? message[1]! : (message[1]! & 0x7f) | (message[2]! << 7), 0);
  }
  assert.equal(done, 10_000);
  assert.equal(rig.keeper.count, 0);
  assert.ok(most <= 64, `${most} on their way`);
});

test("after a pause, renewals that were waiting come first", () => {
  const rig = new LeaseRig();
  rig.event(1, 2);
  rig.now += 60_000;
  rig.keeper.tick();
  assert.equal(rig.proposed.length, 0);
  assert.ok(rig.keeper.keepAlive(5, 1, 0));
  rig.pass(1900);
  assert.equal(rig.proposed.length, 0);
  rig.pass(300);
  assert.equal(rig.proposed.length, 1);
});

test("keepalives are answered by apply, in their stream's order", () => {
  const rig = new LeaseRig();
  rig.event(1, 20);
  rig.event(2, 20);
  assert.ok(rig.keeper.keepAlive(5, 2, 0));
  assert.ok(rig.keeper.keepAlive(5, 1, 0));
  rig.keeper.endStream(5, 0, "");
  rig.keeper.flush();
  assert.deepEqual(
    rig.calls.map(({ op, minAppliedIndex, id }) => [op, minAppliedIndex, id]),
    [
      [LeaseOp.KeepAlive, 0, 2],
      [LeaseOp.KeepAlive, 0, 1],
      [LeaseOp.End, 0, 0],
    ],
  );
});

test("a lease of a former leader's that is applied after a promotion gets the time on top, one of this leader's not", () => {
  const rig = new LeaseRig();
  const isEnded = (): boolean => rig.proposed.length > 0;
  rig.keeper.leadershipChanged(false);
  // The log holds a grant of the former leader's, not known to be committed yet.
  rig.last = 9;
  rig.lead();
  rig.event(1, 2);
  rig.pass(2900);
  assert.equal(isEnded(), false, "the former leader, cut off, may renew it for an election timeout yet");
  rig.pass(200);
  assert.ok(isEnded());
  rig.proposed.length = 0;
  rig.event(1, 0);
  rig.keeper.leadershipChanged(false);
  rig.lead();
  rig.applied = 9;
  rig.event(2, 2);
  rig.pass(2100);
  assert.ok(isEnded());
});

test("a leader that does not know a lease says so once it knows all that was committed before the question", () => {
  const rig = new LeaseRig();
  let again: () => boolean = () => rig.keeper.keepAlive(5, 1, 0);
  const answers: boolean[] = [];
  rig.keeper.onEnded = () => void answers.push(again());
  // A former leader has granted it, and this one has not committed an entry of its own term yet.
  assert.equal(rig.keeper.keepAlive(5, 1, 0), false);
  assert.equal(rig.keeper.keepAlive(5, 1, 0), false);
  assert.equal(rig.keeper.keepAlive(6, 2, 0), false);
  assert.equal(rig.barriers.length, 1, "one ReadIndex under way for all that wait");
  rig.untold = () => rig.event(1, 20);
  rig.barriers[0]!(null);
  assert.deepEqual(answers, [true]);
  assert.deepEqual([rig.calls[0]!.id, rig.keeper.renewedCount], [1, 1]);
  // Asked when the first ReadIndex was under way already.
  again = () => rig.keeper.keepAlive(6, 2, 0);
  assert.equal(rig.barriers.length, 2);
  rig.barriers[1]!(new ErrTimeout());
  assert.deepEqual(answers, [true, false]);
  rig.barriers[2]!(null);
  assert.deepEqual(answers, [true, false, true]);
  assert.deepEqual([rig.calls[1]!.id, rig.calls[1]!.op], [2, LeaseOp.KeepAlive]);
  assert.equal(again(), false, "it may have been granted since");
  assert.equal(rig.barriers.length, 4);
});

test("a lease's time is asked of apply after a ReadIndex where the leader does not know the lease", () => {
  const rig = new LeaseRig();
  rig.event(1, 20);
  rig.keeper.timeToLive(6, 1, 0, true);
  rig.keeper.timeToLive(7, 2, 0, true);
  rig.keeper.flush();
  assert.deepEqual(
    rig.calls.map(({ callId, minAppliedIndex }) => [callId, minAppliedIndex]),
    [[6, 7]],
  );
  assert.deepEqual(
    rig.confirmedCalls.map(({ callId, op, id }) => [callId, op, id]),
    [[7, LeaseOp.TimeToLive, 2]],
  );
});

test("what apply has told but main has not read counts as known", () => {
  const rig = new LeaseRig();
  rig.untold = () => rig.event(3, 20);
  assert.ok(rig.keeper.keepAlive(5, 3, 0));
  rig.untold = () => rig.event(4, 20);
  rig.keeper.timeToLive(6, 4, 0, true);
  rig.keeper.flush();
  assert.equal(Math.round(rig.calls[1]!.number), 20_000);
});

test("a keepalive of a lease about to end waits for that", () => {
  const rig = new LeaseRig();
  rig.event(1, 2);
  rig.pass(2200);
  let ended = 0;
  rig.keeper.onEnded = () => {
    ended++;
    rig.keeper.keepAlive(5, 1, 0);
  };
  assert.equal(rig.keeper.keepAlive(5, 1, 0), false);
  rig.event(1, 0);
  assert.deepEqual([ended, rig.calls.length], [1, 0]);
  rig.barriers[0]!(null);
  assert.deepEqual([ended, rig.calls.length], [2, 1]);
});

test("without leadership nothing ends, and questions wait for a leader, but not for ever", () => {
  const rig = new LeaseRig();
  rig.event(1, 2);
  rig.leads = false;
  rig.keeper.leadershipChanged(false);
  rig.pass(10_000);
  assert.equal(rig.proposed.length, 0);
  assert.equal(rig.keeper.keepAlive(5, 1, 0), false);
  rig.keeper.timeToLive(6, 1, 0, false);
  rig.pass(5000);
  rig.keeper.timeToLive(7, 1, 0, false);
  rig.pass(3000);
  assert.deepEqual(rig.failed, [{ callId: 6, text: "etcdserver: no leader" }]);
  rig.leads = true;
  rig.lead();
  rig.leaderCalls.tick();
  rig.keeper.flush();
  assert.deepEqual(
    rig.calls.map(({ callId, number }) => [callId, Math.round(number)]),
    [[7, 3000]],
  );
  rig.pass(2900);
  assert.equal(rig.proposed.length, 0);
  rig.pass(300);
  assert.equal(rig.proposed.length, 1);
});

test("where another member leads, it renews and tells a lease's time, and is asked again until it answers", () => {
  const rig = new LeaseRig();
  rig.leads = false;
  rig.leader = other;
  rig.keeper.leadershipChanged(false);
  const answers: unknown[] = [];
  const note = (answer: unknown): void => void answers.push(answer);
  rig.keeper.renewAtLeader(5, 1, note);
  assert.equal(rig.renewals[0]!.id, 0x1_0000_0005n);
  rig.renewals[0]!.done(null);
  rig.pass(100);
  rig.renewals[1]!.done({ value: 20 });
  rig.renewals[1]!.done({ value: 30 });
  assert.deepEqual(answers, [{ ttl: 20 }]);
  rig.keeper.renewed(3, 5, 1, 20);
  rig.keeper.timeToLive(6, 5, 1, true);
  rig.questions[0]!.done({ value: { ttl: 7, grantedTtl: 20, keys: [Buffer.from("k")] } });
  rig.keeper.timeToLive(7, 5, 1, true);
  rig.questions[1]!.done({ value: null });
  assert.deepEqual(
    rig.calls.map(({ callId, op, minAppliedIndex }) => [callId, op, minAppliedIndex]),
    [
      [3, LeaseOp.Head, 0],
      [6, LeaseOp.Head, 0],
      [7, LeaseOp.Head, 0],
    ],
  );
  // Nobody answers: etcd's limit of a request. This member leads meanwhile: the call is its own.
  rig.keeper.renewAtLeader(5, 1, (answer) => note(typeof answer === "object" && "error" in answer ? "late" : answer));
  rig.pass(7000);
  rig.keeper.renewAtLeader(5, 1, note);
  rig.renewals.at(-1)!.done(null);
  rig.leads = true;
  rig.pass(100);
  assert.deepEqual(answers.slice(1), ["late", "here"]);
});

test("a leader that stood still renews nothing until a quorum has said that it still leads", () => {
  const rig = new LeaseRig();
  rig.event(1, 20);
  assert.ok(rig.keeper.keepAlive(5, 1, 0));
  rig.now += 5000;
  rig.isCutOff = true;
  rig.confirmations.length = 0;
  let again = 0;
  rig.keeper.onEnded = () => again++;
  assert.equal(rig.keeper.keepAlive(5, 1, 0), false);
  assert.equal(rig.keeper.keepAlive(5, 1, 0), false);
  assert.equal(rig.confirmations.length, 1, "one question for all that wait");
  rig.confirmations[0]!(true);
  assert.equal(again, 1);
  assert.ok(rig.keeper.keepAlive(5, 1, 0));
});

test("a leader that is cut off renews for half an election timeout after its last question that was answered", () => {
  const rig = new LeaseRig();
  rig.event(1, 20);
  const renews = (): boolean => rig.keeper.keepAlive(5, 1, 0);
  assert.ok(renews());
  rig.isCutOff = true;
  // The question's answer comes late: what counts is when it was asked.
  rig.pass(300);
  assert.ok(renews());
  rig.pass(100);
  rig.confirmations[1]!(true);
  rig.pass(400);
  assert.ok(renews());
  rig.pass(100);
  assert.equal(renews(), false);
  assert.equal(rig.confirmations.length, 3, "asked before it was needed, once");
  // Nobody has answered in time: asked again, as the renewal still waits.
  let again = 0;
  rig.keeper.onEnded = () => {
    again++;
    assert.equal(renews(), false);
  };
  rig.confirmations[2]!(false);
  assert.deepEqual([again, rig.confirmations.length], [1, 4]);
  // Another member was asked by then, which says what it knows, and not that this one leads.
  rig.leads = false;
  rig.confirmations[3]!(true);
  rig.leads = true;
  assert.equal(renews(), false);
});

/** A LEASES event's TTL that says: a checkpoint. */
