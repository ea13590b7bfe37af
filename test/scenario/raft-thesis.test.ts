/**
 * What Ongaro's thesis adds to the paper: leadership transfer (§3.10), membership (§4), reads (§6.4), check-quorum
 * (§6.2), pre-vote (§9.6), writes in parallel (§10.2.1); and etcd's flow control.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { EntryType } from "../../src/base/index.js";
import {
  ConfChangeTransition,
  ConfChangeType,
  message,
  MessageType,
  ProgressState,
  Role,
  type ConfChangeSingle,
} from "../../src/raft/index.js";
import { Cluster, proposal } from "./cluster.js";
import { encodeConfChangeV1, encodeConfChangeV2, parseChanges } from "./conf-change-text.js";

function three(config = {}): Cluster {
  const cluster = new Cluster({ voters: [1n, 2n, 3n], config });
  cluster.elect(1n);
  assert.equal(cluster.leader?.id, 1n);
  return cluster;
}

/** Cuts `id` off from everyone. */
function isolate(cluster: Cluster, ...ids: bigint[]): void {
  cluster.loses = (m) => ids.includes(m.to) !== ids.includes(m.from) || (ids.includes(m.to) && m.to !== m.from);
}

function tick(cluster: Cluster, count: number): void {
  for (let i = 0; i < count; i++) {
    cluster.tickAll();
    cluster.settle();
  }
}

function change(cluster: Cluster, id: bigint, text: string, transition: ConfChangeTransition = 0): void {
  const changes: ConfChangeSingle[] = parseChanges(text);
  const data = encodeConfChangeV2({ transition, changes });
  assert.equal(cluster.node(id).proposeConfChange(EntryType.ConfChangeV2, data), "ok");
}

test("leadership is handed over to a member with the whole log, at once (§3.10)", () => {
  const cluster = three();
  isolate(cluster, 2n);
  cluster.propose(1n, "a");
  cluster.settle();
  cluster.loses = () => false;
  cluster.node(3n).transferLeader(2n);
  cluster.processReady(cluster.member(3n));
  cluster.deliver(0);
  assert.equal(cluster.propose(1n, "b"), "leaderTransfer");
  // Whatever was lost to it is sent first.
  tick(cluster, 1);
  assert.deepEqual([cluster.leader?.id, cluster.node(2n).term, cluster.node(2n).lastIndex], [2n, 2, 3]);
  assert.equal(cluster.propose(1n, "c"), "ok");
  cluster.settle();
  assert.equal(cluster.node(1n).commitIndex, 4);
});

test("a transfer that does not come about is given up after an election timeout (§3.10)", () => {
  const cluster = three({ checkQuorum: false });
  isolate(cluster, 2n);
  cluster.node(1n).transferLeader(2n);
  assert.equal(cluster.propose(1n, "a"), "leaderTransfer");
  for (let i = 0; i < 10; i++) cluster.node(1n).tick();
  assert.equal(cluster.propose(1n, "a"), "ok");
});

test("a learner gets the log, but neither counts nor leads (§4.2.1)", () => {
  const cluster = new Cluster({ voters: [1n, 2n], learners: [3n] });
  cluster.elect(1n);
  isolate(cluster, 2n);
  cluster.propose(1n, "a");
  cluster.settle();
  assert.equal(cluster.node(3n).lastIndex, 2);
  assert.equal(cluster.node(1n).commitIndex, 1);
  cluster.node(1n).transferLeader(3n);
  cluster.node(3n).campaign();
  cluster.settle();
  assert.equal(cluster.node(3n).role, Role.Follower);
  assert.equal(cluster.node(1n).status().leadTransferee, 0n);
});

test("a learner votes when asked, since whoever asks may know that it was promoted (§4.2.1)", () => {
  const cluster = new Cluster({ voters: [1n, 2n], learners: [3n] });
  cluster.node(3n).step(message({ type: MessageType.Vote, to: 3n, from: 1n, term: 1 }));
  cluster.processReady(cluster.member(3n));
  cluster.processAppend(cluster.member(3n));
  assert.deepEqual(
    cluster.network.map((m) => [m.type, m.reject]),
    [[MessageType.VoteResp, false]],
  );
});

test("one change at a time: the next waits until the last is applied (§4.1)", () => {
  const cluster = three();
  cluster.add(4n);
  cluster.add(5n);
  change(cluster, 1n, "v4");
  change(cluster, 1n, "v5");
  cluster.settle();
  assert.deepEqual(cluster.node(1n).confState.voters, [1n, 2n, 3n, 4n]);
  change(cluster, 1n, "v5");
  cluster.settle();
  assert.deepEqual(cluster.node(4n).confState.voters, [1n, 2n, 3n, 4n, 5n]);
});

test("no member stands before the changes that it knows committed are applied (§4.1)", () => {
  const cluster = three();
  change(cluster, 1n, "v4");
  for (let i = 0; i < 3; i++) cluster.processReady(cluster.member(1n));
  for (let busy = true; busy;) {
    busy = false;
    for (const member of cluster.members) {
      if (member.node.hasReady()) cluster.processReady(member);
      while (member.appends.length > 0) cluster.processAppend(member);
      if (cluster.network.length > 0) cluster.deliver(0);
      busy ||= member.node.hasReady() || cluster.network.length > 0;
    }
  }
  assert.equal(cluster.node(2n).commitIndex, 2);
  assert.equal(cluster.node(2n).appliedIndex, 1);
  cluster.node(2n).campaign();
  assert.equal(cluster.node(2n).role, Role.Follower);
  cluster.settle();
  cluster.node(2n).campaign();
  assert.equal(cluster.node(2n).role, Role.PreCandidate);
});

/** Members 1, 2, 3 in a joint configuration with 3, 4, 5, which has been applied everywhere. */
function joint(): Cluster {
  const cluster = three(noPreVote);
  cluster.add(4n);
  cluster.add(5n);
  change(cluster, 1n, "r1 r2 v4 v5", ConfChangeTransition.JointExplicit);
  cluster.settle();
  const { voters, votersOutgoing } = cluster.node(5n).confState;
  assert.deepEqual(
    [voters, votersOutgoing],
    [
      [3n, 4n, 5n],
      [1n, 2n, 3n],
    ],
  );
  return cluster;
}

const noPreVote = { preVote: false, checkQuorum: false };

test("a joint configuration commits by both majorities (§4.3)", () => {
  for (const cut of [
    [2n, 3n],
    [4n, 5n],
  ]) {
    const cluster = joint();
    isolate(cluster, ...cut);
    const before = cluster.node(1n).commitIndex;
    cluster.propose(1n, "a");
    cluster.settle();
    assert.equal(cluster.node(1n).commitIndex, before, `without ${String(cut)}`);
    cluster.loses = () => false;
    tick(cluster, 2);
    assert.equal(cluster.node(1n).commitIndex, before + 1);
  }
});

test("a joint configuration elects by both majorities (§4.3)", () => {
  for (const cut of [
    [1n, 2n],
    [4n, 5n],
  ]) {
    const cluster = joint();
    isolate(cluster, ...cut);
    cluster.elect(3n);
    assert.equal(cluster.node(3n).role, Role.Candidate, `without ${String(cut)}`);
    cluster.loses = () => false;
    cluster.elect(3n);
    assert.equal(cluster.node(3n).role, Role.Leader);
  }
});

test("a joint configuration is left by itself where that was asked for, and by an empty change else (§4.3)", () => {
  const explicit = joint();
  explicit.elect(4n);
  change(explicit, 4n, "");
  explicit.settle();
  assert.deepEqual(explicit.node(3n).confState.votersOutgoing, []);
  assert.deepEqual(explicit.node(3n).confState.voters, [3n, 4n, 5n]);
  const implicit = three();
  implicit.add(4n);
  change(implicit, 1n, "r2 v4");
  implicit.settle();
  assert.deepEqual(implicit.node(3n).confState.voters, [1n, 3n, 4n]);
  assert.deepEqual(implicit.node(3n).confState.votersOutgoing, []);
});

test("a leader that is removed leads until that is committed, then steps down where that is set (§4.2.2)", () => {
  for (const stepDownOnRemoval of [true, false]) {
    const cluster = three({ stepDownOnRemoval });
    const [single] = parseChanges("r1");
    cluster.node(1n).proposeConfChange(EntryType.ConfChange, encodeConfChangeV1(single!));
    assert.equal(cluster.node(1n).role, Role.Leader);
    cluster.settle();
    assert.equal(cluster.node(1n).role, stepDownOnRemoval ? Role.Follower : Role.Leader);
    if (!stepDownOnRemoval) assert.equal(cluster.propose(1n, "a"), "notMember");
  }
});

test("a snapshot's configuration is not undone by older changes that are still with apply", () => {
  const cluster = three();
  const member = cluster.member(3n);
  change(cluster, 1n, "l9");
  cluster.settle();
  const { node } = member;
  const confState = { ...node.confState, learners: [] };
  const snapshot = { index: 20, term: 1, confState, data: new Uint8Array(0) };
  assert.equal(node.step(message({ type: MessageType.Snap, to: 3n, from: 1n, term: 1, snapshot })), "ok");
  const changes = [{ type: ConfChangeType.AddLearnerNode, nodeId: 9n }];
  node.applyConfChange({ transition: ConfChangeTransition.Auto, changes }, 2);
  assert.deepEqual(node.confState.learners, []);
  node.applyConfChange({ transition: ConfChangeTransition.Auto, changes }, 20);
  assert.deepEqual(node.confState.learners, []);
});

test("a leader without a quorum steps down within two election timeouts (§6.2)", () => {
  const cluster = three();
  isolate(cluster, 1n);
  for (let i = 0; i < 20; i++) cluster.node(1n).tick();
  assert.equal(cluster.node(1n).role, Role.Follower);
  const without = three({ checkQuorum: false });
  isolate(without, 1n);
  for (let i = 0; i < 50; i++) without.node(1n).tick();
  assert.equal(without.node(1n).role, Role.Leader);
});

test("members that hear their leader ignore votes, unless the leader wants them (§4.2.3)", () => {
  const cluster = three({ preVote: false });
  cluster.elect(3n);
  assert.deepEqual([cluster.node(3n).role, cluster.node(1n).role], [Role.Candidate, Role.Leader]);
  assert.equal(cluster.node(1n).term, 1);
  const willing = three({ preVote: false });
  willing.node(1n).transferLeader(3n);
  willing.settle();
  assert.equal(willing.leader?.id, 3n);
});

test("a member that comes back from a higher term gets the leader to step down, and is free (§4.2.3)", () => {
  const cluster = three({ preVote: false });
  isolate(cluster, 3n);
  for (let i = 0; i < 60; i++) cluster.node(3n).tick();
  assert.ok(cluster.node(3n).term > 1);
  cluster.loses = () => false;
  tick(cluster, 60);
  const { leader } = cluster;
  assert.ok(leader !== undefined && leader.node.term > 1);
  assert.deepEqual(
    cluster.members.map((m) => m.node.lead),
    [leader.id, leader.id, leader.id],
  );
});

test("with pre-vote a member that was cut off disturbs nobody (§9.6)", () => {
  const cluster = three();
  isolate(cluster, 3n);
  for (let i = 0; i < 100; i++) {
    cluster.node(3n).tick();
    cluster.settle();
  }
  assert.equal(cluster.node(3n).term, 1);
  cluster.loses = () => false;
  tick(cluster, 25);
  assert.deepEqual(
    cluster.members.map((m) => [m.node.lead, m.node.term]),
    [
      [1n, 1],
      [1n, 1],
      [1n, 1],
    ],
  );
});

test("a read is answered once a quorum still follows (§6.4)", () => {
  const cluster = three();
  cluster.propose(1n, "a");
  cluster.settle();
  isolate(cluster, 1n);
  cluster.read(cluster.member(1n), "cut off");
  cluster.settle();
  assert.equal(cluster.readsAnswered, 0);
  cluster.loses = (m) => m.to === 3n;
  tick(cluster, 1);
  assert.equal(cluster.readsAnswered, 1, "the next heartbeat carries it");
});

test("a follower's read goes through the leader (§6.4)", () => {
  const cluster = three();
  cluster.propose(1n, "a");
  cluster.settle();
  cluster.read(cluster.member(2n), "from 2");
  cluster.read(cluster.member(3n), "from 3");
  cluster.settle();
  assert.deepEqual([...cluster.member(2n).answered, ...cluster.member(3n).answered], ["from 2", "from 3"]);
});

test("reads wait for a new leader's first commit (§6.4)", () => {
  const cluster = new Cluster({ voters: [1n, 2n, 3n], config: noPreVote });
  cluster.loses = (m) => m.type === MessageType.AppResp;
  cluster.elect(1n);
  cluster.read(cluster.member(1n), "early");
  cluster.read(cluster.member(2n), "early from 2");
  cluster.settle();
  assert.equal(cluster.readsAnswered, 0);
  cluster.loses = () => false;
  tick(cluster, 3);
  assert.equal(cluster.readsAnswered, 2);
});

test("several reads ride on one heartbeat, and are answered in order (§6.4)", () => {
  const cluster = three();
  isolate(cluster, 1n);
  for (const name of ["a", "b", "c"]) cluster.read(cluster.member(1n), name);
  cluster.settle();
  cluster.loses = (m) => m.to === 3n || m.from === 3n;
  tick(cluster, 1);
  assert.deepEqual([...cluster.member(1n).answered], ["a", "b", "c"]);
});

test("lease-based reads need no quorum's answer, but a commit of the term and a leader that is not forgotten (§6.4.1)", () => {
  const config = { preVote: false, readOnlyOption: "leaseBased" } as const;
  const cluster = new Cluster({ voters: [1n, 2n, 3n], config });
  cluster.loses = (m) => m.type === MessageType.AppResp;
  cluster.elect(1n);
  cluster.read(cluster.member(1n), "before the term's first commit");
  cluster.settle();
  assert.equal(cluster.readsAnswered, 0);
  cluster.loses = () => false;
  tick(cluster, 1);
  assert.equal(cluster.readsAnswered, 1);
  isolate(cluster, 1n);
  cluster.read(cluster.member(1n), "within the lease");
  cluster.settle();
  assert.equal(cluster.readsAnswered, 2);
  cluster.node(2n).forgetLeader();
  assert.equal(cluster.node(2n).lead, 1n);
  tick(cluster, 20);
  assert.notEqual(cluster.node(1n).role, Role.Leader, "the lease has ended");
});

test("a leader that leads again counts and is asked anew (figure 2, §6.4)", () => {
  const cluster = three(noPreVote);
  cluster.propose(1n, "a");
  cluster.settle();
  const { node } = cluster.member(1n);
  const matches = (): number[] => node.status().progress.map((p) => p.match);
  assert.deepEqual(matches(), [2, 2, 2]);
  isolate(cluster, 1n);
  cluster.read(cluster.member(1n), "of term 1");
  cluster.settle();
  cluster.loses = () => false;
  cluster.elect(2n);
  assert.equal(cluster.leader?.id, 2n);
  cluster.loses = (m) => m.type === MessageType.AppResp;
  cluster.elect(1n);
  assert.deepEqual([node.role, node.term], [Role.Leader, 3]);
  assert.deepEqual(matches(), [4, 0, 0]);
  node.tick();
  cluster.processReady(cluster.member(1n));
  const heartbeats = cluster.network.filter((m) => m.type === MessageType.Heartbeat);
  assert.deepEqual(
    heartbeats.map((m) => m.context),
    [null, null],
  );
});

test("a leader commits by its followers' disks before its own (§10.2.1)", () => {
  const cluster = three();
  const leader = cluster.member(1n);
  cluster.propose(1n, "a");
  cluster.processReady(leader);
  for (let rounds = 0; rounds < 10; rounds++) {
    for (let count = cluster.network.length; count > 0; count--) cluster.deliver(0);
    for (const member of [cluster.member(2n), cluster.member(3n)]) {
      if (member.node.hasReady()) cluster.processReady(member);
      while (member.appends.length > 0) cluster.processAppend(member);
    }
  }
  assert.equal(leader.node.commitIndex, 2);
  cluster.processReady(leader);
  assert.equal(leader.applies.length, 0, "it applies what is durable here");
  while (leader.appends.length > 0) cluster.processAppend(leader);
  cluster.processReady(leader);
  assert.equal(leader.applies.length, 1);
});

test("an answer to a write of an older term does not make entries durable (§10.2.1)", () => {
  // Raft's ABA transcript, in short: entry 1 of term 1, replaced in term 2, comes back in term 3.
  const cluster = new Cluster({ voters: [1n, 2n, 3n], config: noPreVote });
  const member = cluster.member(1n);
  const append = (term: number, entryTerm: number): void => {
    const entries = [proposal(["x"]).at(entryTerm, 1)];
    const m = message({ type: MessageType.App, to: 1n, from: 2n, term, entries, commit: term === 3 ? 1 : 0 });
    assert.equal(member.node.step(m), "ok");
    cluster.processReady(member);
  };
  append(1, 1);
  append(2, 2);
  append(3, 1);
  cluster.processAppend(member);
  if (member.node.hasReady()) cluster.processReady(member);
  assert.equal(member.applies.length, 0, "the write of term 2 will still replace it");
  while (member.appends.length > 0) cluster.processAppend(member);
  cluster.processReady(member);
  assert.equal(member.applies.length, 1);
});

test("appends are split by size and limited in number; a probe is one at a time", () => {
  const cluster = three({ maxSizePerMessage: 30, maxInflightMessages: 3 });
  const { node } = cluster.member(1n);
  cluster.loses = (m) => m.to !== 1n;
  for (let i = 0; i < 8; i++) cluster.propose(1n, "0123456789".repeat(2));
  assert.deepEqual(
    node.status().progress.map((p) => [p.id, p.inflights.count]),
    [
      [1n, 0],
      [2n, 3],
      [3n, 3],
    ],
  );
  node.reportUnreachable(2n);
  cluster.settle();
  assert.equal(node.status().progress[1]!.state, ProgressState.Probe);
  cluster.loses = () => false;
  tick(cluster, 3);
  assert.deepEqual(
    [2n, 3n].map((id) => cluster.node(id).lastIndex),
    [9, 9],
  );
  assert.equal(node.status().progress[1]!.state, ProgressState.Replicate);
});

test("proposals beyond the limit on uncommitted data are dropped; one is always taken", () => {
  const cluster = three({ maxUncommittedSize: 10 });
  isolate(cluster, 1n);
  assert.equal(cluster.propose(1n, "0123456789abcdef"), "ok");
  assert.equal(cluster.propose(1n, "x"), "uncommittedLimit");
  cluster.loses = () => false;
  tick(cluster, 2);
  assert.equal(cluster.propose(1n, "x"), "ok");
});

test("a follower passes proposals on, unless told not to", () => {
  const cluster = three();
  assert.equal(cluster.propose(2n, "a", "b"), "ok");
  cluster.settle();
  assert.equal(cluster.node(3n).commitIndex, 3);
  const strict = three({ disableProposalForwarding: true });
  assert.equal(strict.propose(2n, "a"), "forwardingDisabled");
  const leaderless = new Cluster({ voters: [1n, 2n, 3n] });
  assert.equal(leaderless.propose(1n, "a"), "noLeader");
});
