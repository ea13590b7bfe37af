/** etcd's checks at the member that is asked, with a stand-in for Raft, apply and the other members. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../base/index.js";
import type { Member } from "../membership/index.js";
import type { Barriers } from "./barriers.js";
import { ClusterView } from "./cluster-view.js";
import type { ConfChangeDone, ConfChangeOutcome, ConfChangeProposal } from "./conf-changes.js";
import { LeaderCalls } from "./leader-calls.js";
import { noPeers, type LeaderAnswer } from "./peers.js";
import { Reconfiguration } from "./reconfiguration.js";

const member = (id: bigint, fields: Partial<Member> = {}): Member => ({
  id,
  name: `m${id}`,
  peerURLs: [`http://m${id}:1`],
  clientURLs: [],
  isLearner: false,
  ...fields,
});

class Rig {
  now = 100_000;
  leads = true;
  strict = true;
  /** Since when others are connected. */
  readonly active = new Map<bigint, number>();
  readonly matches = new Map<bigint, number>([[1n, 100]]);
  readonly proposed: { change: ConfChangeProposal; done: ConfChangeDone }[] = [];
  readonly forwarded: ((answer: LeaderAnswer<ConfChangeOutcome>) => void)[] = [];
  readonly results: string[] = [];
  readonly #members: readonly Member[];

  constructor(members: readonly Member[]) {
    this.#members = members;
  }

  readonly note: ConfChangeDone = ({ error }) =>
    void this.results.push(error?.message.replace("etcdserver: ", "") ?? "ok");

  get subject(): Reconfiguration {
    const downgrade = { enabled: false, targetVersion: "" };
    const state = { members: this.#members, removedMembers: [], clusterVersion: "3.7.0", downgrade };
    const peers = {
      ...noPeers,
      activeSince: (id: bigint) => this.active.get(id) ?? null,
      promote: (_leader: Member, _id: bigint, done: (answer: LeaderAnswer<ConfChangeOutcome>) => void) =>
        void this.forwarded.push(done),
    };
    const view = new ClusterView(1n, state);
    const nowMs = (): number => this.now;
    const leader = (): Member | undefined => view.members.get(2n);
    return new Reconfiguration({
      localId: 1n,
      strict: this.strict,
      view,
      peers,
      // The rig is never behind.
      barriers: { applied: (done) => done(null) } as Barriers,
      leaderCalls: new LeaderCalls({ nowMs, timeoutMs: 7000, isLeader: () => this.leads, leader }),
      nowMs,
      wallMs: nowMs,
      logger: silentLogger,
      configure: (change, done) => {
        this.proposed.push({ change, done });
        return () => {};
      },
      matches: () => (this.leads ? this.matches : undefined),
    });
  }
}

const three = [member(1n), member(2n), member(3n)];
const notEnough = "re-configuration failed due to not enough started members";

test("a voter is added only where a quorum of the larger cluster has been connected for five seconds", () => {
  const rig = new Rig(three);
  rig.active.set(2n, rig.now - 6000);
  rig.subject.add(["http://n:1"], false, rig.note);
  assert.deepEqual(rig.results, ["unhealthy cluster"]);
  rig.active.set(3n, rig.now - 4000);
  rig.subject.add(["http://n:1"], false, rig.note);
  assert.equal(rig.proposed.length, 0, "not long enough");
  rig.active.set(3n, rig.now - 6000);
  rig.subject.add(["http://n:1"], false, rig.note);
  assert.equal(rig.proposed.length, 1);
  rig.strict = false;
  rig.active.clear();
  rig.subject.add(["http://n:1"], false, rig.note);
  assert.equal(rig.proposed.length, 2, "whoever turns the checks off has been warned");
});

test("members that never started count as not there", () => {
  const rig = new Rig([member(1n), member(2n, { name: "" })]);
  rig.subject.add(["http://n:1"], false, rig.note);
  rig.subject.remove(1n, rig.note);
  assert.deepEqual(rig.results, [notEnough, notEnough]);
});

test("a removal leaves a quorum that works; whoever cannot be reached, or does not vote, may go", () => {
  const rig = new Rig([...three, member(4n, { isLearner: true })]);
  rig.active.set(2n, rig.now - 6000);
  rig.subject.remove(2n, rig.note);
  assert.deepEqual(rig.results, ["unhealthy cluster"]);
  rig.subject.remove(3n, rig.note);
  rig.subject.remove(4n, rig.note);
  assert.deepEqual(
    rig.proposed.map(({ change }) => change.nodeId),
    [3n, 4n],
  );
});

test("the last voter is never removed, whatever the options say: no member could apply that", () => {
  const rig = new Rig([member(1n), member(4n, { isLearner: true })]);
  rig.strict = false;
  rig.subject.remove(1n, rig.note);
  assert.deepEqual(rig.results, [notEnough]);
});

test("URLs that a member could not be reached by are refused in an update, too: real members end by them", () => {
  const rig = new Rig(three);
  for (const urls of [[], ["http://a:1/"], ["nonsense"]]) rig.subject.update(2n, urls, rig.note);
  assert.deepEqual(rig.results, Array(3).fill("given member URLs are invalid"));
  rig.subject.update(2n, ["http://b:1", "http://a:1"], rig.note);
  const { context } = rig.proposed[0]!.change;
  assert.equal(Buffer.from(context).toString(), '{"id":2,"peerURLs":["http://b:1","http://a:1"]}');
});

test("a learner is promoted once it has nine tenths of the leader's log", () => {
  const rig = new Rig([member(1n), member(4n, { isLearner: true })]);
  rig.subject.promote(4n, rig.note);
  rig.matches.set(4n, 89);
  rig.subject.promote(4n, rig.note);
  assert.deepEqual(rig.results, ["member not found", "can only promote a learner member which is in sync with leader"]);
  rig.matches.set(4n, 90);
  rig.subject.promote(4n, rig.note);
  assert.equal(rig.proposed.length, 1);
});

test("a learner is promoted only where a quorum of the larger cluster has started, unless the check is off", () => {
  const rig = new Rig([
    member(1n),
    member(2n, { name: "" }),
    member(3n, { name: "" }),
    member(4n, { isLearner: true }),
  ]);
  rig.matches.set(4n, 100);
  rig.subject.promote(4n, rig.note);
  assert.deepEqual([rig.results, rig.proposed.length], [[notEnough], 0]);
  rig.strict = false;
  rig.subject.promote(4n, rig.note);
  assert.equal(rig.proposed.length, 1);
  const started = new Rig([member(1n), member(2n), member(3n, { name: "" }), member(4n, { isLearner: true })]);
  started.matches.set(4n, 100);
  started.subject.promote(4n, started.note);
  assert.deepEqual([started.results, started.proposed.length], [[], 1], "the learner counts as started");
});

test("a promotion is passed on to the leader, whose word counts", () => {
  const rig = new Rig([...three, member(4n, { isLearner: true })]);
  rig.leads = false;
  rig.subject.promote(4n, rig.note);
  assert.equal(rig.proposed.length, 0);
  rig.forwarded[0]!({ value: { members: [], error: null } });
  rig.forwarded[0]!(null);
  assert.deepEqual(rig.results, ["ok"]);
});
