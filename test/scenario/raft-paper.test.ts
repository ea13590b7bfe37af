/**
 * What the Raft paper says, section by section, on whole members. "§" is the paper (extended version); the thesis is
 * named. Membership, reads and storage are in raft-thesis.test.ts.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { message, MessageType, none, Role, type Message } from "../../src/raft/index.js";
import { Cluster, proposal, termsOf } from "./cluster.js";

/** The election rules alone, without what the thesis adds. */
const plain = { preVote: false, checkQuorum: false };

/** Three members whose first leads, with its first entry committed everywhere. */
function three(config = {}): Cluster {
  const cluster = new Cluster({ voters: [1n, 2n, 3n], config });
  cluster.elect(1n);
  assert.equal(cluster.leader?.id, 1n);
  return cluster;
}

/** Takes what `id` wants to send now, its disk being fast. */
function sent(cluster: Cluster, id: bigint): Message[] {
  const member = cluster.member(id);
  const before = cluster.network;
  cluster.network = [];
  while (member.node.hasReady() || member.appends.length > 0) {
    if (member.node.hasReady()) cluster.processReady(member);
    while (member.appends.length > 0) cluster.processAppend(member);
  }
  const messages = cluster.network;
  cluster.network = before;
  return messages;
}

function from2(fields: Partial<Message> & { type: MessageType }): Message {
  return message({ to: 1n, from: 2n, ...fields });
}

test("a member starts as follower, in term 0 and without a leader (§5.2)", () => {
  const { node } = new Cluster({ voters: [1n, 2n, 3n] }).member(1n);
  assert.deepEqual([node.role, node.term, node.lead], [Role.Follower, 0, none]);
});

test("whatever its role, a member that hears of a newer term follows in it (§5.1)", () => {
  for (const role of [Role.Follower, Role.Candidate, Role.Leader]) {
    const cluster = new Cluster({ voters: [1n, 2n, 3n], config: plain });
    if (role === Role.Leader) cluster.elect(1n);
    if (role === Role.Candidate) cluster.node(1n).campaign();
    assert.equal(cluster.node(1n).role, role);
    const { term } = cluster.node(1n);
    cluster.node(1n).step(from2({ type: MessageType.Heartbeat, term: term + 3 }));
    assert.deepEqual(
      [cluster.node(1n).role, cluster.node(1n).term, cluster.node(1n).lead],
      [Role.Follower, term + 3, 2n],
    );
  }
});

test("messages of old terms are ignored (§5.1)", () => {
  const cluster = three(plain);
  cluster.elect(2n);
  const before = cluster.node(1n).status();
  assert.equal(before.hardState.term, 2);
  const entries = [proposal(["old"]).at(1, 3)];
  cluster.node(1n).step(from2({ type: MessageType.App, term: 1, index: 2, logTerm: 2, entries, commit: 9 }));
  cluster.node(1n).step(from2({ type: MessageType.Vote, term: 1, index: 9, logTerm: 9 }));
  assert.deepEqual(cluster.node(1n).status(), before);
  assert.equal(cluster.node(1n).lastIndex, 2);
});

test("a leader sends heartbeats at every interval and nothing between (§5.2)", () => {
  const cluster = three({ heartbeatTicks: 3, electionTicks: 20 });
  const counts: number[] = [];
  for (let i = 0; i < 6; i++) {
    cluster.node(1n).tick();
    counts.push(sent(cluster, 1n).filter((m) => m.type === MessageType.Heartbeat).length);
  }
  assert.deepEqual(counts, [0, 0, 2, 0, 0, 2]);
});

test("a follower that hears nothing stands in [T, 2T-1] ticks, by chance (§5.2)", () => {
  const seen = new Set<number>();
  for (let seed = 0; seed < 400; seed++) {
    const { node } = new Cluster({ voters: [1n, 2n, 3n], config: plain, seed }).member(1n);
    let ticks = 0;
    for (; node.role === Role.Follower; ticks++) node.tick();
    seen.add(ticks);
  }
  assert.deepEqual(
    [...seen].sort((a, b) => a - b),
    [10, 11, 12, 13, 14, 15, 16, 17, 18, 19],
  );
});

test("a candidate starts a term, votes for itself and asks all others (§5.2)", () => {
  const cluster = new Cluster({ voters: [1n, 2n, 3n], config: plain });
  cluster.node(1n).campaign();
  const votes = sent(cluster, 1n);
  assert.deepEqual(
    votes.map((m) => [m.type, m.to, m.term]),
    [
      [MessageType.Vote, 2n, 1],
      [MessageType.Vote, 3n, 1],
    ],
  );
  assert.deepEqual(cluster.member(1n).disk.hardState, { term: 1, vote: 1n, commit: 0 });
});

test("a vote is given once a term, first come first served, also after a crash (§5.2)", () => {
  const cluster = new Cluster({ voters: [1n, 2n, 3n], config: plain });
  cluster.node(1n).step(from2({ type: MessageType.Vote, term: 1 }));
  assert.deepEqual(
    sent(cluster, 1n).map((m) => [m.to, m.reject]),
    [[2n, false]],
  );
  cluster.member(1n).crash(cluster.prng);
  cluster.member(1n).restart();
  cluster.node(1n).step(message({ type: MessageType.Vote, to: 1n, from: 3n, term: 1 }));
  assert.deepEqual(
    sent(cluster, 1n).map((m) => [m.to, m.reject]),
    [[3n, true]],
  );
  cluster.node(1n).step(from2({ type: MessageType.Vote, term: 1 }));
  assert.deepEqual(
    sent(cluster, 1n).map((m) => [m.to, m.reject]),
    [[2n, false]],
    "the same vote again",
  );
});

test("no vote is sent before it is on disk (§5.1)", () => {
  const cluster = new Cluster({ voters: [1n, 2n, 3n], config: plain });
  cluster.node(1n).step(from2({ type: MessageType.Vote, term: 1 }));
  cluster.processReady(cluster.member(1n));
  assert.deepEqual(cluster.network, []);
  cluster.processAppend(cluster.member(1n));
  assert.equal(cluster.network.length, 1);
  assert.deepEqual(cluster.member(1n).disk.hardState, { term: 1, vote: 2n, commit: 0 });
});

test("a majority elects, and no fewer (§5.2)", () => {
  const cluster = new Cluster({ voters: [1n, 2n, 3n, 4n, 5n], config: plain });
  cluster.node(1n).campaign();
  sent(cluster, 1n);
  cluster.node(1n).step(from2({ type: MessageType.VoteResp, term: 1 }));
  cluster.node(1n).step(from2({ type: MessageType.VoteResp, term: 1 }));
  assert.equal(cluster.node(1n).role, Role.Candidate, "one voter, however often it answers");
  cluster.node(1n).step(message({ type: MessageType.VoteResp, to: 1n, from: 4n, term: 1 }));
  assert.equal(cluster.node(1n).role, Role.Leader);
});

test("a candidate yields to the leader of its term (§5.2)", () => {
  for (const type of [MessageType.App, MessageType.Heartbeat]) {
    const cluster = new Cluster({ voters: [1n, 2n, 3n], config: plain });
    cluster.node(1n).campaign();
    cluster.node(1n).step(from2({ type, term: 1 }));
    assert.deepEqual([cluster.node(1n).role, cluster.node(1n).lead, cluster.node(1n).term], [Role.Follower, 2n, 1]);
  }
});

test("an entry is committed when a majority has it, and followers learn of it (§5.3)", () => {
  const cluster = three();
  cluster.loses = (m) => m.to === 3n || m.from === 3n;
  cluster.propose(1n, "a", "b");
  cluster.settle();
  assert.deepEqual(
    [1n, 2n, 3n].map((id) => cluster.node(id).commitIndex),
    [3, 3, 1],
  );
  cluster.loses = (m) => m.to !== 1n;
  cluster.propose(1n, "c");
  cluster.settle();
  assert.equal(cluster.node(1n).commitIndex, 3, "nobody else has it");
});

test("an append is taken only behind an entry that both have (§5.3)", () => {
  const logs = new Map([[1n, [1, 1, 2]]]);
  const cases: [index: number, logTerm: number, reject: boolean][] = [
    [0, 0, false],
    [2, 1, false],
    [3, 2, false],
    [3, 1, true],
    [2, 2, true],
    [9, 2, true],
  ];
  for (const [index, logTerm, reject] of cases) {
    const cluster = new Cluster({ voters: [1n, 2n, 3n], logs, config: plain });
    cluster.node(1n).step(from2({ type: MessageType.App, term: 3, index, logTerm }));
    const [answer] = sent(cluster, 1n);
    assert.deepEqual([answer!.reject, answer!.index], [reject, index], `append after ${index}`);
  }
});

test("a leader brings every log of figure 7 in line with its own, with few appends (§5.3)", () => {
  const leaderLog = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
  const followers: readonly (readonly number[])[] = [
    [1, 1, 1, 4, 4, 5, 5, 6, 6],
    [1, 1, 1, 4],
    [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    [1, 1, 1, 4, 4, 4, 4],
    [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
  ];
  for (const log of followers) {
    const logs = new Map<bigint, readonly number[]>([
      [1n, leaderLog],
      [2n, log],
      [3n, leaderLog],
    ]);
    const cluster = new Cluster({ voters: [1n, 2n, 3n], logs, config: plain });
    // Terms up to 7 have been; the next is 8.
    cluster.node(1n).step(from2({ type: MessageType.Heartbeat, term: 7 }));
    cluster.settle();
    let rejected = 0;
    cluster.loses = (m) => {
      if (m.type === MessageType.AppResp && m.reject) rejected += 1;
      return false;
    };
    cluster.elect(1n);
    cluster.elect(1n);
    assert.equal(cluster.node(1n).role, Role.Leader);
    assert.deepEqual(termsOf(cluster.node(2n)), [...leaderLog, cluster.node(1n).term], String(log));
    assert.ok(rejected <= 2, `${rejected} appends rejected for ${String(log)}`);
  }
});

test("a commit index counts only up to the last entry the append vouches for (figure 2)", () => {
  // The follower's second entry is not the leader's.
  const logs = new Map([[1n, [1, 1]]]);
  const cluster = new Cluster({ voters: [1n, 2n, 3n], logs, config: plain });
  cluster.node(1n).step(from2({ type: MessageType.App, term: 2, index: 1, logTerm: 1, commit: 2 }));
  assert.equal(cluster.node(1n).commitIndex, 1);
});

test("an old append does not cut off what followed it (figure 2)", () => {
  const cluster = three();
  cluster.loses = (m) => m.to === 3n;
  cluster.propose(1n, "a");
  cluster.settle();
  const { term } = cluster.node(1n);
  const old = message({
    type: MessageType.App,
    to: 2n,
    from: 1n,
    term,
    index: 0,
    commit: 1,
    entries: [proposal([""]).at(1, 1)],
  });
  cluster.propose(1n, "b");
  cluster.settle();
  assert.equal(cluster.node(2n).step(old), "ok");
  assert.equal(cluster.node(2n).lastIndex, 3);
});

test("a vote goes only to who has at least the voter's log (§5.4.1)", () => {
  const logs = new Map([[1n, [1, 2, 2]]]);
  const cases: [index: number, logTerm: number, granted: boolean][] = [
    [3, 2, true],
    [1, 3, true],
    [9, 2, true],
    [2, 2, false],
    [9, 1, false],
  ];
  for (const [index, logTerm, granted] of cases) {
    const cluster = new Cluster({ voters: [1n, 2n, 3n], logs, config: plain });
    cluster.node(1n).step(from2({ type: MessageType.Vote, term: 5, index, logTerm }));
    assert.deepEqual(
      sent(cluster, 1n).map((m) => m.reject),
      [!granted],
      `last entry ${index} of term ${logTerm}`,
    );
  }
});

test("figure 8: copies of an old term's entry commit nothing; one of the leader's own term commits all (§5.4.2)", () => {
  // (c): member 1 leads term 4 and has its entry 2, of term 2, on a majority.
  const logs = new Map([
    [1n, [1, 2]],
    [2n, [1, 2]],
    [3n, [1]],
    [4n, [1]],
    [5n, [1, 3]],
  ]);
  const cluster = new Cluster({ voters: [1n, 2n, 3n, 4n, 5n], logs, config: plain });
  cluster.node(1n).step(from2({ type: MessageType.Heartbeat, term: 3 }));
  cluster.settle();
  // The entry of term 4 is lost on its way to all; only entries up to 2 get through.
  cluster.loses = (m) => m.type === MessageType.App && m.entries.some((b) => b.term === 4);
  cluster.elect(1n);
  assert.deepEqual([cluster.node(1n).role, cluster.node(1n).term], [Role.Leader, 4]);
  for (const from of [2n, 3n]) {
    cluster.node(1n).step(message({ type: MessageType.AppResp, to: 1n, from, term: 4, index: 2 }));
  }
  assert.equal(cluster.node(1n).commitIndex, 0, "three of five have entry 2, of term 2");
  for (const from of [2n, 3n]) {
    cluster.node(1n).step(message({ type: MessageType.AppResp, to: 1n, from, term: 4, index: 3 }));
  }
  cluster.member(1n).node.hasReady();
  cluster.settle();
  assert.equal(cluster.node(1n).commitIndex, 3);
});

test("a new leader's first entry is empty and of its term (§8)", () => {
  const cluster = three();
  assert.deepEqual(termsOf(cluster.node(2n)), [1]);
  assert.equal(cluster.applied.get(1), "1 0 ");
});

test("a follower that lacks compacted entries gets a snapshot and goes on from there (§7)", () => {
  const cluster = three();
  cluster.loses = (m) => m.to === 3n || m.from === 3n;
  for (let i = 0; i < 5; i++) {
    cluster.propose(1n, `${i}`);
    cluster.settle();
  }
  const leader = cluster.member(1n);
  leader.history = leader.history.slice(-1);
  leader.compact();
  assert.equal(leader.node.firstIndex, 7);
  cluster.loses = () => false;
  cluster.tickAll();
  cluster.settle();
  cluster.propose(1n, "after");
  cluster.settle();
  assert.equal(cluster.snapshotsInstalled, 1);
  assert.deepEqual([cluster.node(3n).firstIndex, cluster.node(3n).lastIndex], [7, 7]);
  assert.equal(cluster.member(3n).state.index, 7);
});

test("a snapshot that the log already holds only moves the commit index (§7)", () => {
  const logs = new Map([[1n, [1, 1, 1]]]);
  const cluster = new Cluster({ voters: [1n, 2n, 3n], logs, config: plain });
  const snapshot = { index: 2, term: 1, confState: cluster.node(1n).confState, data: new Uint8Array(0) };
  assert.equal(cluster.node(1n).step(from2({ type: MessageType.Snap, term: 2, snapshot })), "ok");
  assert.deepEqual([cluster.node(1n).commitIndex, cluster.node(1n).lastIndex], [2, 3]);
  assert.deepEqual(
    sent(cluster, 1n).map((m) => [m.type, m.index]),
    [[MessageType.AppResp, 2]],
  );
});
