/** Corner cases in which an implementation of Raft is easily wrong, each with the section that it falls under. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { EntryType } from "../../src/base/index.js";
import { ConfChangeTransition, message, MessageType, ProgressState, Role } from "../../src/raft/index.js";
import { Cluster, proposal } from "./cluster.js";
import { encodeConfChangeV2, parseChanges } from "./conf-change-text.js";

const quiet = { preVote: false, checkQuorum: false };

function three(config = {}, learners: readonly bigint[] = []): Cluster {
  const cluster = new Cluster({ voters: [1n, 2n, 3n], learners, config: { ...quiet, ...config } });
  cluster.elect(1n);
  assert.equal(cluster.leader?.id, 1n);
  return cluster;
}

function tick(cluster: Cluster, count: number): void {
  for (let i = 0; i < count; i++) {
    cluster.tickAll();
    cluster.settle();
  }
}

function change(cluster: Cluster, id: bigint, text: string, transition: ConfChangeTransition = 0): void {
  const data = encodeConfChangeV2({ transition, changes: parseChanges(text) });
  assert.equal(cluster.node(id).proposeConfChange(EntryType.ConfChangeV2, data), "ok");
}

test("a learner that is told to stand does not (§3.10, §4.2.1)", () => {
  const cluster = three({}, [4n]);
  const { term } = cluster.node(4n);
  cluster.node(4n).step(message({ type: MessageType.TimeoutNow, to: 4n, from: 1n, term }));
  assert.deepEqual([cluster.node(4n).role, cluster.node(4n).term], [Role.Follower, term]);
});

test("a new leader takes no change before its log is applied: there may be one in it (§4.1)", () => {
  const cluster = three();
  // Leader 1 leaves a change that only 2 has.
  cluster.loses = (m) => m.to === 3n || m.type === MessageType.AppResp;
  change(cluster, 1n, "v4");
  cluster.settle();
  cluster.loses = (m) => m.from === 1n || m.to === 1n || m.type === MessageType.AppResp;
  cluster.elect(2n);
  assert.equal(cluster.node(2n).role, Role.Leader);
  const last = cluster.node(2n).lastIndex;
  change(cluster, 2n, "v5");
  cluster.loses = (m) => m.from === 1n || m.to === 1n;
  tick(cluster, 3);
  assert.deepEqual(cluster.node(2n).confState.voters, [1n, 2n, 3n, 4n], "5 was refused");
  assert.equal(cluster.node(2n).lastIndex, last + 1, "an empty entry is in its place");
  change(cluster, 2n, "v5");
  cluster.settle();
  tick(cluster, 1);
  assert.deepEqual(cluster.node(2n).lastIndex, last + 2);
});

test("whoever leads next leaves a joint configuration that its leader has left behind (§4.3)", () => {
  const cluster = three();
  change(cluster, 1n, "r3", ConfChangeTransition.JointImplicit);
  for (let i = 0; cluster.node(2n).confState.votersOutgoing.length === 0; i++) {
    assert.ok(i < 100);
    const before = cluster.network.length;
    for (let n = 0; n < before; n++) cluster.deliver(0);
    for (const member of cluster.members) {
      if (member.node.hasReady()) cluster.processReady(member);
      while (member.appends.length > 0) cluster.processAppend(member);
      // Leader 1 has not applied the change, so it does not end it.
      if (member.id !== 1n) while (member.applies.length > 0) cluster.processApply(member);
    }
    if (before === 0) cluster.tickAll();
  }
  assert.equal(cluster.node(1n).confState.votersOutgoing.length, 0, "its leader has not come to it");
  cluster.member(1n).crash(cluster.prng);
  cluster.member(1n).restart();
  cluster.loses = (m) => m.from === 3n || m.to === 3n;
  cluster.elect(2n);
  tick(cluster, 3);
  assert.equal(cluster.leader?.id, 2n);
  const { voters, votersOutgoing } = cluster.node(2n).confState;
  assert.deepEqual([voters, votersOutgoing], [[1n, 2n], []]);
});

test("a joint configuration's end is proposed once, however much is applied meanwhile (§4.3)", () => {
  // The limit lets one entry be applied at a time, so each is a chance to propose the end again.
  const cluster = three({ maxApplyingSize: 1 });
  const first = cluster.node(1n).lastIndex + 1;
  change(cluster, 1n, "r3", ConfChangeTransition.JointImplicit);
  const values = ["a", "b", "c", "d", "e"];
  for (const value of values) assert.equal(cluster.propose(1n, value), "ok");
  cluster.settle();
  tick(cluster, 1);
  const { confState, lastIndex, appliedIndex } = cluster.node(1n);
  assert.deepEqual([confState.voters, confState.votersOutgoing], [[1n, 2n], []]);
  assert.equal(lastIndex, first + values.length + 1, "the change, what was proposed behind it, and its end");
  assert.equal(appliedIndex, lastIndex);
});

test("a pre-vote refused by a newer term takes that term over, and leads nobody (§9.6)", () => {
  const cluster = three({ preVote: true });
  const { node } = cluster.member(3n);
  node.campaign();
  assert.equal(node.role, Role.PreCandidate);
  node.step(message({ type: MessageType.PreVoteResp, to: 3n, from: 2n, term: node.term + 3, reject: true }));
  assert.deepEqual([node.role, node.lead, node.term], [Role.Follower, 0n, 4]);
});

test("a late rejection does not move a probe, nor one that replicates below what matches (§5.3)", () => {
  const cluster = three();
  for (const value of ["a", "b", "c"]) cluster.propose(1n, value);
  cluster.settle();
  const { node } = cluster.member(1n);
  const progress = node.status().progress.find(({ id }) => id === 2n)!;
  const { match, next } = progress;
  const late = (index: number): void => {
    const fields = { to: 1n, from: 2n, term: node.term, index, reject: true, rejectHint: 0 };
    assert.equal(node.step(message({ type: MessageType.AppResp, ...fields })), "ok");
  };
  late(match);
  assert.deepEqual([progress.state, progress.match, progress.next], [ProgressState.Replicate, match, next]);
  node.reportUnreachable(2n);
  assert.equal(progress.state, ProgressState.Probe);
  late(match - 1);
  assert.deepEqual([progress.match, progress.next], [match, match + 1]);
});

test("proposals passed on to a leader that hands over are dropped there, not queued (§3.10)", () => {
  const cluster = three();
  cluster.loses = (m) => m.type === MessageType.TimeoutNow;
  cluster.node(1n).transferLeader(3n);
  cluster.settle();
  const last = cluster.node(1n).lastIndex;
  assert.equal(cluster.propose(2n, "passed on"), "ok");
  cluster.settle();
  assert.equal(cluster.propose(1n, "own"), "leaderTransfer");
  assert.equal(cluster.node(1n).lastIndex, last);
});

test("a transfer to a member that is removed meanwhile is given up (§3.10)", () => {
  const cluster = three();
  cluster.loses = (m) => m.to === 3n || m.from === 3n;
  change(cluster, 1n, "r3");
  cluster.node(1n).transferLeader(3n);
  cluster.settle();
  assert.deepEqual(cluster.node(1n).confState.voters, [1n, 2n]);
  assert.equal(cluster.node(1n).status().leadTransferee, 0n);
  assert.equal(cluster.node(1n).propose(proposal(["goes on"])), "ok");
});

test("an acknowledgement of what this leader does not have is refused (§5.3)", () => {
  const cluster = three();
  const { node } = cluster.member(1n);
  const fields = { to: 1n, from: 2n, term: node.term, index: node.lastIndex + 1 };
  assert.equal(node.step(message({ type: MessageType.AppResp, ...fields })), "invalidMessage");
});

test("a member whose snapshot is not installed yet does not stand (§7)", () => {
  const cluster = three();
  const { node } = cluster.member(2n);
  const snapshot = { index: 50, term: 1, confState: node.confState, data: new Uint8Array(0) };
  assert.equal(node.step(message({ type: MessageType.Snap, to: 2n, from: 1n, term: node.term, snapshot })), "ok");
  node.campaign();
  assert.equal(node.role, Role.Follower);
  cluster.processReady(cluster.member(2n));
  node.campaign();
  assert.equal(node.role, Role.Follower, "it is being written");
});

test("a snapshot goes only to who has been heard from, and after a failure waits for a heartbeat's answer (§7)", () => {
  const cluster = three({ checkQuorum: true });
  const leader = cluster.member(1n);
  const sent: MessageType[] = [];
  cluster.loses = (m) => {
    if (m.to === 3n) sent.push(m.type);
    return m.to === 3n || m.from === 3n;
  };
  tick(cluster, 20);
  for (const value of ["a", "b", "c"]) cluster.propose(1n, value);
  cluster.settle();
  leader.history = [leader.state];
  leader.compact();
  leader.node.reportUnreachable(3n);
  cluster.propose(1n, "d");
  cluster.settle();
  assert.ok(!sent.includes(MessageType.Snap), "it is silent");

  const answer = message({ type: MessageType.HeartbeatResp, to: 1n, from: 3n, term: leader.node.term });
  const snapshots = (): number => sent.filter((type) => type === MessageType.Snap).length;
  leader.node.step(answer);
  // It is lost on its way, which the leader hears of at once.
  cluster.settle();
  assert.equal(snapshots(), 1);
  cluster.propose(1n, "e");
  cluster.settle();
  assert.equal(snapshots(), 1, "not again at each proposal");
  leader.node.step(answer);
  cluster.settle();
  assert.equal(snapshots(), 2);
});
