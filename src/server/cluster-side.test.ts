/** Which of etcd's time-outs a late proposal gets (etcdserver's parseProposeCtxErr), and conf changes without a leader. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../base/index.js";
import { loadConfig, type Config } from "../config/index.js";
import type { Member } from "../membership/index.js";
import { emptyConfState, none, Role, type RawNode } from "../raft/index.js";
import { ClusterSide } from "./cluster-side.js";
import { noPeers } from "./peers.js";
import { RequestIdGenerator } from "./request-id.js";

class Rig {
  now = 100_000;
  lead = none;
  readonly active = new Map<bigint, number>();
  readonly proposed: Uint8Array[] = [];
  readonly side: ClusterSide;
  removals = 0;

  constructor() {
    const { config } = loadConfig([], {}) as { config: Config };
    const members = [1n, 2n, 3n].map((id): Member => {
      return { id, name: "m", peerURLs: [`http://m${id}:1`], clientURLs: [], isLearner: false };
    });
    // Only what this side asks of Raft.
    const rest = {
      commitIndex: 0,
      status: () => ({ progress: [] }),
      proposeConfChange: (_type: number, data: Uint8Array) => {
        this.proposed.push(data);
        return "ok";
      },
    };
    const node = Object.defineProperties(rest, {
      lead: { get: () => this.lead },
      role: { get: () => (this.lead === 1n ? Role.Leader : Role.Follower) },
    }) as unknown as RawNode;
    const downgrade = { enabled: false, targetVersion: "" };
    this.side = new ClusterSide(
      {
        config,
        identity: { memberId: 1n, clusterId: 9n },
        logger: silentLogger,
        peers: { ...noPeers, activeSince: (id) => this.active.get(id) ?? null },
        ids: new RequestIdGenerator(1n, 1),
        nowMs: () => this.now,
        wallMs: () => this.now,
        timeoutMs: 7000,
        reads: { readLinearizable: () => {}, handOver: () => {} },
        node: () => node,
        flush: () => {},
        propose: () => {},
        removed: () => void this.removals++,
      },
      { members, removedMembers: [], clusterVersion: "3.7.0", downgrade },
    );
  }

  late(startMs: number): string {
    return this.side.lateError(startMs).message.replace("etcdserver: request timed out", "late");
  }
}

test("a late proposal is told of a lost leader, a lost connection, or only that it is late", () => {
  const rig = new Rig();
  assert.equal(rig.late(93_000), "late", "no leader");
  rig.lead = 2n;
  rig.side.leaderChanged();
  assert.equal(rig.late(99_000), "late, possibly due to previous leader failure");
  assert.equal(rig.late(97_000), "late, possibly due to connection lost", "more than two election timeouts before");
  rig.active.set(2n, 90_000);
  assert.equal(rig.late(97_000), "late");
  rig.lead = 1n;
  assert.equal(rig.late(97_000), "late", "a leader with one of two others");
  rig.active.set(2n, 98_000);
  assert.equal(rig.late(97_000), "late, possibly due to connection lost", "not since then");
});

test("a change of membership waits for a leader, unless its caller goes", () => {
  const rig = new Rig();
  const change = { type: 1, nodeId: 3n, context: new Uint8Array(0) } as const;
  const giveUp = rig.side.configure(change, () => {});
  rig.side.configure({ ...change, nodeId: 2n }, () => {});
  assert.equal(rig.proposed.length, 0);
  giveUp();
  rig.lead = 2n;
  rig.side.leaderChanged();
  assert.equal(rig.proposed.length, 1);
});

test("the server hears that this very member was removed, and of no other", () => {
  const rig = new Rig();
  const members = [...rig.side.view.members.values()];
  const change = { type: "confChange", accepted: true, id: 0n, changeType: 1, refusal: null } as const;
  const confState = { ...emptyConfState, voters: [1n, 2n] };
  rig.side.applied({ ...change, index: 4, nodeId: 3n, confState, members: members.slice(0, 2), removedSelf: false });
  assert.equal(rig.removals, 0);
  rig.side.applied({ ...change, index: 5, nodeId: 1n, confState, members: members.slice(1, 2), removedSelf: true });
  assert.equal(rig.removals, 1);
});
