import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../base/index.js";
import type { Barriers } from "./barriers.js";
import { ClusterView } from "./cluster-view.js";
import { ClusterVersions } from "./cluster-versions.js";
import type { Peers } from "./peers.js";

const electionMs = 1000;
const timeoutMs = 7000;

/** A leader alone, whose proposals are applied when the test says so. */
function rig() {
  const localId = 1n;
  const member = { id: localId, name: "a", peerURLs: ["http://a:1"], clientURLs: [], isLearner: false };
  const view = new ClusterView(localId, {
    members: [member],
    removedMembers: [],
    clusterVersion: null,
    downgrade: { enabled: false, targetVersion: "" },
  });
  let proposed = 0;
  const versions = new ClusterVersions({
    localId,
    view,
    // There is nobody to ask, and all that was committed is applied.
    peers: {} as Peers,
    barriers: { linearizable: (done: (late: null) => void) => done(null) } as unknown as Barriers,
    timeoutMs,
    electionMs,
    downgradeCheckMs: 0,
    logger: silentLogger,
    leads: () => true,
    propose: () => void proposed++,
  });
  return { view, versions, proposed: () => proposed };
}

test("a version is proposed once, however often it is looked for before it is applied", () => {
  const { view, versions, proposed } = rig();
  versions.leads(0);
  versions.check(1);
  for (let now = electionMs; now < timeoutMs; now += 100) versions.tick(now);
  assert.equal(proposed(), 1);
  view.version = "3.7.0";
  versions.decided();
  versions.tick(timeoutMs);
  assert.equal(proposed(), 1, "the cluster has the version that its members speak");
});

test("a proposal that came to nothing is made again, by a new leader at once", () => {
  const { versions, proposed } = rig();
  versions.leads(0);
  versions.tick(timeoutMs);
  assert.equal(proposed(), 2);
  versions.leads(timeoutMs + 1);
  assert.equal(proposed(), 3);
});
