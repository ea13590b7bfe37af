/**
 * What etcd's raft adds to the paper: limits on what is sent and held, hints that pass over whole terms, and the care
 * that keeps a leader, or a cluster that could have one, from standing still.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { EntryType } from "../../src/base/index.js";
import {
  ConfChangeTransition,
  emptyConfState,
  message,
  MessageType,
  Role,
  type Message,
} from "../../src/raft/index.js";
import { Cluster, proposal } from "./cluster.js";
import { encodeConfChangeV2, parseChanges } from "./conf-change-text.js";

const quiet = { preVote: false, checkQuorum: false };

function three(config = {}): Cluster {
  const cluster = new Cluster({ voters: [1n, 2n, 3n], config: { ...quiet, ...config } });
  cluster.elect(1n);
  assert.equal(cluster.leader?.id, 1n);
  return cluster;
}

function isolate(cluster: Cluster, ...ids: bigint[]): void {
  cluster.loses = (m) => ids.includes(m.to) !== ids.includes(m.from);
}

function change(cluster: Cluster, text: string, transition: ConfChangeTransition = 0): string {
  const data = encodeConfChangeV2({ transition, changes: parseChanges(text) });
  return cluster.node(1n).proposeConfChange(EntryType.ConfChangeV2, data);
}

/** From 1, 2, 3 to 1, 3, 4, 5, led by 1: both halves decide. */
function joint(config = {}): Cluster {
  const cluster = three(config);
  cluster.add(4n);
  cluster.add(5n);
  assert.equal(change(cluster, "r2 v4 v5", ConfChangeTransition.JointExplicit), "ok");
  cluster.settle();
  assert.deepEqual(cluster.node(5n).confState.votersOutgoing, [1n, 2n, 3n]);
  return cluster;
}

/** What member `id` answers to a message of another member. */
function answersOf(cluster: Cluster, id: bigint, fields: Omit<Parameters<typeof message>[0], "to">): Message[] {
  const member = cluster.member(id);
  assert.equal(member.node.step(message({ ...fields, to: id })), "ok");
  const { messages, append } = member.node.ready();
  return [...messages, ...(append?.responses ?? [])].filter(({ to }) => to === fields.from);
}

test("a follower's rejection passes over its whole run of terms that the leader cannot have (§5.3)", () => {
  const logs = new Map([[2n, [1, 1, 3, 3, 3, 3, 3, 3]]]);
  const cluster = new Cluster({ voters: [1n, 2n, 3n], config: quiet, logs });
  const append = { type: MessageType.App, from: 1n, term: 4, index: 6, logTerm: 2 };
  const [rejection] = answersOf(cluster, 2n, append);
  assert.equal(rejection?.type, MessageType.AppResp);
  assert.deepEqual([rejection.reject, rejection.index, rejection.rejectHint, rejection.logTerm], [true, 6, 2, 1]);
});

test("an append holds what fits into the limit, and a larger entry goes alone", () => {
  const cluster = three({ maxSizePerMessage: 60 });
  isolate(cluster, 2n);
  for (const length of [20, 20, 20, 200, 20, 20, 20, 20]) cluster.propose(1n, "x".repeat(length));
  cluster.settle();
  const sizes: number[][] = [];
  cluster.loses = (m) => {
    const batches = m.to === 2n ? m.entries : [];
    if (batches.length > 0)
      sizes.push(batches.flatMap((b) => Array.from(b.ends, (end, i) => end - (i === 0 ? 0 : b.ends[i - 1]!))));
    return false;
  };
  for (let i = 0; i < 3; i++) {
    cluster.tickAll();
    cluster.settle();
  }
  assert.equal(cluster.node(2n).lastIndex, cluster.node(1n).lastIndex);
  assert.ok(
    sizes.some((each) => each.length > 1),
    "several go together",
  );
  for (const each of sizes)
    assert.ok(each.length === 1 || each.reduce((a, b) => a + b) <= 60, `too much in one append: ${String(each)}`);
});

test("an empty proposal is taken at any time: a joint configuration must be left even then (§4.3)", () => {
  const cluster = three({ maxUncommittedSize: 10 });
  isolate(cluster, 1n);
  assert.equal(cluster.propose(1n, "0123456789abcdef"), "ok");
  assert.equal(cluster.propose(1n, "x"), "uncommittedLimit");
  assert.equal(cluster.propose(1n, ""), "ok");
});

test("a change that was refused for its size stands in no other's way (§4.1)", () => {
  const cluster = three({ maxUncommittedSize: 10 });
  isolate(cluster, 1n);
  assert.equal(cluster.propose(1n, "0123456789abcdef"), "ok");
  assert.equal(change(cluster, "l4"), "uncommittedLimit");
  cluster.loses = () => false;
  cluster.tickAll();
  cluster.settle();
  assert.equal(change(cluster, "l5"), "ok");
  cluster.settle();
  assert.deepEqual(cluster.node(1n).confState.learners, [5n]);
});

test("who stands for election takes no proposals", () => {
  for (const preVote of [true, false]) {
    const cluster = new Cluster({ voters: [1n, 2n, 3n], config: { ...quiet, preVote } });
    cluster.node(1n).campaign();
    assert.equal(cluster.node(1n).role, preVote ? Role.PreCandidate : Role.Candidate);
    assert.equal(cluster.node(1n).propose(proposal(["a"])), "noLeader");
  }
});

test("reads and the quorum check need both halves of a joint configuration (§4.3, §6.2, §6.4)", () => {
  for (const cut of [
    [2n, 3n],
    [4n, 5n],
  ]) {
    const cluster = joint({ checkQuorum: true });
    cluster.propose(1n, "a");
    cluster.settle();
    isolate(cluster, ...cut);
    cluster.read(cluster.member(1n), "needs both");
    cluster.settle();
    assert.equal(cluster.readsAnswered, 0, `without ${String(cut)}`);
    for (let i = 0; i < 20; i++) {
      cluster.node(1n).tick();
      cluster.settle();
    }
    assert.equal(cluster.node(1n).role, Role.Follower, `without ${String(cut)}`);
  }
});

test("a leader that was heard by all once is asked again at each check (§6.2)", () => {
  const cluster = three({ checkQuorum: true });
  for (let i = 0; i < 25; i++) {
    cluster.node(1n).tick();
    cluster.settle();
  }
  isolate(cluster, 1n);
  for (let i = 0; i < 20; i++) cluster.node(1n).tick();
  assert.equal(cluster.node(1n).role, Role.Follower);
});

test("a member that has just been added counts as heard from until the next check (§6.2)", () => {
  const cluster = new Cluster({ voters: [1n], config: { ...quiet, checkQuorum: true } });
  cluster.elect(1n);
  for (let i = 0; i < 9; i++) cluster.node(1n).tick();
  cluster.settle();
  assert.equal(change(cluster, "v2"), "ok");
  cluster.settle();
  cluster.node(1n).tick();
  assert.equal(cluster.node(1n).role, Role.Leader, "it could not have answered yet");
  for (let i = 0; i < 10; i++) cluster.node(1n).tick();
  assert.equal(cluster.node(1n).role, Role.Follower);
});

test("what a smaller configuration has a majority of is committed with the change, without another answer (§4.1)", () => {
  const cluster = new Cluster({ voters: [1n, 2n, 3n, 4n], config: quiet });
  cluster.elect(1n);
  assert.equal(change(cluster, "r4"), "ok");
  const changed = cluster.node(1n).lastIndex;
  cluster.propose(1n, "a");
  // Of four members three have the change, and two what follows it.
  cluster.loses = (m) => m.to === 4n || (m.type === MessageType.AppResp && m.from !== 2n && m.index > changed);
  cluster.settle();
  assert.deepEqual(cluster.node(1n).confState.voters, [1n, 2n, 3n]);
  assert.equal(cluster.node(1n).commitIndex, changed + 1);
});

test("a snapshot of a configuration without this member is not taken (§7)", () => {
  const cluster = three();
  const { node } = cluster.member(3n);
  const { lastIndex, term } = node;
  const snapshot = { index: 9, term, confState: { ...emptyConfState, voters: [1n, 2n] }, data: new Uint8Array(0) };
  const [answer] = answersOf(cluster, 3n, { type: MessageType.Snap, from: 1n, term, snapshot });
  assert.deepEqual([node.lastIndex, node.confState.voters], [lastIndex, [1n, 2n, 3n]]);
  assert.deepEqual([answer?.type, answer?.index], [MessageType.AppResp, node.commitIndex]);
});

test("a pre-vote of an old term is refused with the present one, so that a longer log can still win (§9.6)", () => {
  const cluster = three();
  const { node } = cluster.member(3n);
  assert.equal(node.step(message({ type: MessageType.Heartbeat, to: 3n, from: 1n, term: 5 })), "ok");
  const fields = { type: MessageType.PreVote, from: 2n, term: 2, index: 50, logTerm: 1 };
  const [answer] = answersOf(cluster, 3n, fields);
  assert.deepEqual([answer?.type, answer?.reject, answer?.term], [MessageType.PreVoteResp, true, 5]);
});

test("a transfer that begins just before a check gets a whole election timeout all the same (§3.10)", () => {
  const cluster = three();
  isolate(cluster, 3n);
  cluster.propose(1n, "3 lacks this");
  cluster.settle();
  const { node } = cluster.member(1n);
  for (let i = 0; i < 8; i++) node.tick();
  node.transferLeader(3n);
  for (let i = 0; i < 9; i++) node.tick();
  assert.equal(node.status().leadTransferee, 3n);
  node.tick();
  assert.equal(node.status().leadTransferee, 0n);
});
