/** The leader's checkpoints, and what a new leader waits for: the keeper with a stand-in for apply. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { LeaseOp } from "../apply/index.js";
import { ErrTimeout } from "../errors/index.js";
import { LeaseRig, other } from "./lease-rig.test-support.js";

const checkpoint = -1;

test("the leader tells the log of what long leases have left, and a renewal gives the whole time back first", () => {
  const rig = new LeaseRig();
  rig.event(7, 1000);
  rig.event(8, 300);
  rig.pass(300_100);
  assert.deepEqual(rig.checkpoints, [[7, 700]]);
  rig.keeper.onEnded = () => void answers.push(rig.keeper.keepAlive(5, 7, 0));
  const answers: boolean[] = [];
  assert.equal(rig.keeper.keepAlive(5, 7, 0), false, "the checkpoint may be in the log");
  rig.event(7, checkpoint, 700);
  assert.deepEqual(answers, []);
  assert.equal(rig.keeper.keepAlive(6, 7, 0), false);
  assert.deepEqual(rig.checkpoints.splice(0), [
    [7, 700],
    [7, 0],
  ]);
  rig.event(7, checkpoint, 0);
  assert.deepEqual(answers, [true]);
  assert.deepEqual(rig.calls.at(-1), { callId: 5, minAppliedIndex: 0, op: LeaseOp.KeepAlive, id: 7, number: 0 });
  assert.equal(rig.keeper.renewedCount, 1);
  rig.pass(300_100);
  assert.deepEqual(rig.checkpoints, [[7, 700]]);
});

test("a checkpoint of 0 that was lost is proposed again; a member that leads no longer proposes none", () => {
  const rig = new LeaseRig();
  rig.event(7, 1000, 500);
  assert.equal(rig.keeper.keepAlive(5, 7, 0), false);
  rig.pass(2000);
  assert.equal(rig.keeper.keepAlive(5, 7, 0), false);
  assert.deepEqual(rig.checkpoints, [[7, 0]]);
  rig.pass(1000);
  assert.deepEqual(rig.checkpoints.splice(0), [
    [7, 0],
    [7, 0],
  ]);
  rig.leads = false;
  rig.keeper.leadershipChanged(false);
  rig.pass(400_000);
  assert.deepEqual(rig.checkpoints, []);
});

test("a new leader renews nothing before it knows of the last checkpoint of a former one", () => {
  const rig = new LeaseRig();
  rig.event(7, 1000);
  rig.keeper.leadershipChanged(false);
  rig.last = 20;
  rig.keeper.leadershipChanged(true);
  const answers: boolean[] = [];
  rig.keeper.onEnded = () => void answers.push(rig.keeper.keepAlive(5, 7, 0));
  assert.equal(rig.keeper.keepAlive(5, 7, 0), false);
  rig.applied = 10;
  rig.event(7, checkpoint, 400);
  rig.barriers.pop()!(null);
  assert.deepEqual(answers, [false]);
  assert.deepEqual(rig.checkpoints, [[7, 0]]);
  rig.applied = 21;
  rig.event(7, checkpoint, 0);
  assert.deepEqual(answers, [false, true]);
});

test("a new leader ends no lease and writes no checkpoint before it knows what former ones have written", () => {
  const rig = new LeaseRig();
  rig.event(7, 1000);
  rig.event(8, 5);
  rig.keeper.leadershipChanged(false);
  rig.keeper.leadershipChanged(true);
  rig.pass(310_000);
  assert.deepEqual([rig.proposed, rig.checkpoints], [[], []]);
  assert.equal(rig.barriers.length, 1, "one question under way");
  // Nobody has answered in time: it is asked again.
  rig.barriers.pop()!(new ErrTimeout());
  rig.pass(100);
  assert.deepEqual([rig.proposed, rig.checkpoints], [[], []]);
  rig.barriers.pop()!(null);
  rig.pass(100);
  assert.deepEqual(rig.proposed.length, 1);
  assert.deepEqual(rig.checkpoints, [[7, 691]]);
});

test("checkpoints that are lost on their way do not keep others from being written", () => {
  const rig = new LeaseRig();
  for (let id = 1; id <= 2500; id++) rig.event(id, 1000);
  rig.pass(300_100);
  assert.equal(rig.checkpoints.splice(0).length, 1000, "no more before the log tells of them");
  rig.pass(2900);
  assert.equal(rig.checkpoints.length, 0);
  rig.pass(200);
  assert.equal(rig.checkpoints.splice(0).length, 1000);
  rig.pass(3100);
  assert.equal(rig.checkpoints.splice(0).length, 500);
});

test("a new leader says how much of a lease is left once it knows what former ones have written", () => {
  const rig = new LeaseRig();
  rig.event(7, 1000, 400);
  rig.keeper.leadershipChanged(false);
  rig.last = 20;
  rig.keeper.leadershipChanged(true);
  rig.keeper.timeToLive(5, 7, 0, false);
  assert.equal(rig.calls.length, 0);
  rig.applied = 10;
  rig.event(7, checkpoint, 0);
  rig.barriers.pop()!(null);
  rig.keeper.flush();
  assert.deepEqual([rig.calls[0]!.callId, Math.round(rig.calls[0]!.number)], [5, 1_001_000]);
  // Where it does not hear of it, the call fails; where another member leads by then, that one is asked.
  rig.keeper.leadershipChanged(true);
  rig.keeper.timeToLive(6, 7, 0, false);
  rig.barriers.pop()!(new ErrTimeout());
  assert.deepEqual(rig.failed, [{ callId: 6, text: "etcdserver: request timed out" }]);
  rig.keeper.timeToLive(7, 7, 0, false);
  rig.leads = false;
  rig.leader = other;
  rig.keeper.leadershipChanged(false);
  assert.deepEqual(
    rig.questions.map(({ id }) => id),
    [7n],
  );
});
