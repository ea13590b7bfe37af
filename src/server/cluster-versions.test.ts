/** What version a leader decides on (etcd's version monitor), with stand-ins for the log and the other members. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../base/index.js";
import type { Member } from "../membership/index.js";
import { decodeClusterVersionSetRequest, decodeDowngradeInfoSetRequest } from "../proto/index.js";
import type { Barriers } from "./barriers.js";
import { ClusterVersions } from "./cluster-versions.js";
import { ClusterView } from "./cluster-view.js";
import { noPeers, type MemberVersions } from "./peers.js";

interface Case {
  readonly cluster: string | null;
  /** Of the others; null: not reached. The leader itself is 3.7.1. */
  readonly others: readonly (string | null)[];
  /** Of a downgrade. */
  readonly target?: string;
}

/** What is proposed at the first look: a cluster version, the end of a downgrade, or nothing. */
function decided({ cluster, others, target }: Case): string | null {
  const members = others.map((_, i): Member => {
    return { id: BigInt(i + 2), name: "m", peerURLs: [], clientURLs: [], isLearner: false };
  });
  const downgrade = { enabled: target !== undefined, targetVersion: target ?? "" };
  let proposed: string | null = null;
  const versions = new ClusterVersions({
    localId: 1n,
    view: new ClusterView(1n, { members, removedMembers: [], clusterVersion: cluster, downgrade }),
    peers: {
      ...noPeers,
      version: ({ id }, done: (versions: MemberVersions | null) => void) => {
        const server = others[Number(id) - 2]!;
        done(server === null ? null : { server, cluster: "3.6.0" });
      },
    },
    barriers: { linearizable: (done) => done(null) } as Barriers,
    timeoutMs: 7000,
    electionMs: 1000,
    downgradeCheckMs: 5000,
    logger: silentLogger,
    leads: () => true,
    propose: (field, message) => {
      if (field === 1300) proposed = decodeClusterVersionSetRequest(message).ver;
      else proposed = `downgrade ${decodeDowngradeInfoSetRequest(message).enabled ? "begins" : "ends"}`;
    },
  });
  versions.tick(0);
  return proposed;
}

test("the cluster speaks what its oldest member speaks", () => {
  assert.equal(decided({ cluster: null, others: [] }), "3.7.0");
  assert.equal(decided({ cluster: null, others: ["3.7.1", "3.6.4"] }), "3.6.0");
  assert.equal(
    decided({ cluster: null, others: ["3.7.1", null] }),
    "3.0.0",
    "the lowest while somebody is not reached",
  );
  assert.equal(decided({ cluster: "3.0.0", others: ["3.7.1", "3.7.2"] }), "3.7.0");
  assert.equal(decided({ cluster: "3.6.0", others: ["3.7.1", null] }), null, "an unknown version changes nothing");
  assert.equal(decided({ cluster: "3.7.0", others: ["3.6.4"] }), null, "never down by itself");
});

test("a downgrade lowers the version by one, and ends when all members run it", () => {
  assert.equal(decided({ cluster: "3.7.0", others: ["3.7.1"], target: "3.6.0" }), "3.6.0");
  assert.equal(decided({ cluster: "3.6.0", others: ["3.7.1"], target: "3.6.0" }), null);
  assert.equal(decided({ cluster: "3.7.0", others: ["3.7.1"], target: "3.5.0" }), null);
  assert.equal(decided({ cluster: "3.6.0", others: ["3.7.0"], target: "3.7.0" }), "downgrade ends");
});
