/** Whom a leader hands leadership to, and when; Raft and the other members are stand-ins. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../base/index.js";
import type { Member } from "../membership/index.js";
import { ClusterView } from "./cluster-view.js";
import { LeaderTransfer, type Follower } from "./leader-transfer.js";
import { noPeers } from "./peers.js";

class Rig {
  now = 0;
  lead = 1n;
  steppedDown = 0;
  readonly transfers: bigint[] = [];
  readonly active = new Map<bigint, number>();
  followers: Follower[] = [];
  readonly subject: LeaderTransfer;

  /** Member 1 leads; `learners` are the highest IDs. */
  constructor(voters: number, learners = 0) {
    const members = Array.from({ length: voters + learners }, (_, i): Member => {
      return { id: BigInt(i + 1), name: "m", peerURLs: [], clientURLs: [], isLearner: i >= voters };
    });
    this.followers = members.map(({ id, isLearner }) => ({ id, match: 10, isLearner, recentActive: true }));
    const downgrade = { enabled: false, targetVersion: "" };
    this.subject = new LeaderTransfer({
      localId: 1n,
      view: new ClusterView(1n, { members, removedMembers: [], clusterVersion: "3.7.0", downgrade }),
      peers: { ...noPeers, activeSince: (id) => this.active.get(id) ?? null },
      electionMs: 1000,
      timeoutMs: 7000,
      nowMs: () => this.now,
      logger: silentLogger,
      leader: () => this.lead,
      followers: () => this.followers,
      transfer: (to) => void this.transfers.push(to),
      stepDown: () => void this.steppedDown++,
    });
  }

  /** Ticks with a disk that stands still. */
  stall(milliseconds: number): void {
    for (const end = this.now + milliseconds; this.now < end; this.now += 100) this.subject.tick(this.now);
  }
}

test("a disk that stands still: the voter with the most of the log first, then the next, then stepping down", () => {
  const rig = new Rig(3, 1);
  rig.followers[2] = { ...rig.followers[2]!, match: 20 };
  rig.followers[3] = { ...rig.followers[3]!, match: 30 };
  rig.stall(2100);
  assert.deepEqual(rig.transfers, []);
  rig.stall(100);
  assert.deepEqual(rig.transfers, [3n]);
  rig.stall(900);
  assert.deepEqual(rig.transfers, [3n], "one at a time");
  rig.stall(200);
  assert.deepEqual(rig.transfers, [3n, 2n]);
  rig.stall(1000);
  assert.equal(rig.steppedDown, 1);
});

test("whoever is needed for a quorum stays", () => {
  const rig = new Rig(3);
  rig.followers[1] = { ...rig.followers[1]!, recentActive: false };
  rig.stall(10_000);
  assert.deepEqual([rig.transfers.length, rig.steppedDown], [0, 0]);
  const alone = new Rig(1);
  alone.stall(10_000);
  assert.deepEqual([alone.transfers.length, alone.steppedDown], [0, 0]);
});

test("a stopping leader hands over to the voter that is connected for longest, and waits for it", () => {
  const rig = new Rig(3, 1);
  const answers: (string | null)[] = [];
  const leave = (): void => rig.subject.leave((error) => answers.push(error?.message ?? null));
  leave();
  assert.deepEqual(answers, ["etcdserver: unhealthy cluster"]);
  for (const [id, since] of [
    [2n, 500],
    [3n, 400],
    [4n, 100],
  ] as const)
    rig.active.set(id, since);
  leave();
  assert.deepEqual(rig.transfers, [3n]);
  assert.equal(answers.length, 1);
  rig.lead = 3n;
  rig.subject.leaderChanged();
  leave();
  assert.deepEqual(answers.slice(1), [null, null]);
  rig.lead = 1n;
  leave();
  rig.now = 8000;
  rig.subject.tick(0);
  assert.equal(answers.at(-1), "etcdserver: request timed out, leader transfer took too long");
});

test("MoveLeader is for a leader and a voter, and to itself is done at once", () => {
  const rig = new Rig(2, 1);
  const answers: (string | null)[] = [];
  for (const id of [9n, 3n, 1n, 2n]) rig.subject.move(id, (error) => answers.push(error?.message ?? null));
  const bad = "etcdserver: bad leader transferee";
  assert.deepEqual(answers, [bad, bad, null]);
  rig.lead = 2n;
  rig.subject.leaderChanged();
  rig.subject.move(1n, (error) => answers.push(error?.message ?? null));
  assert.deepEqual(answers.slice(3), [null, "etcdserver: not leader"]);
});

test("MoveLeader has no limit of its own, and one that is given up is not answered", () => {
  const rig = new Rig(3);
  const answers: (string | null)[] = [];
  rig.subject.move(2n, (error) => answers.push(error?.message ?? null));
  const giveUp = rig.subject.move(2n, () => answers.push("given up"));
  rig.now = 3_600_000;
  rig.subject.tick(0);
  assert.deepEqual(answers, []);
  giveUp();
  rig.lead = 2n;
  rig.subject.leaderChanged();
  assert.deepEqual(answers, [null]);
});
