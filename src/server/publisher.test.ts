import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../base/index.js";
import { loadConfig, type Config } from "../config/index.js";
import { decodeAlarmRequest } from "../proto/index.js";
import { Publisher } from "./publisher.js";

const timeoutMs = 7000;

function rig(clusterVersion: string | null = "3.7.0") {
  const proposed: { field: number; message: Uint8Array }[] = [];
  const { config } = loadConfig([], {}) as { config: Config };
  const publisher = new Publisher(
    {
      config,
      memberId: 7n,
      clusterId: 9n,
      logger: silentLogger,
      timeoutMs,
      propose: (field, message) => proposed.push({ field, message }),
    },
    clusterVersion,
  );
  return { publisher, proposed, actions: () => proposed.map(({ message }) => decodeAlarmRequest(message).action) };
}

const self = { id: 7n, name: "default", peerURLs: [], clientURLs: ["http://localhost:2379"], isLearner: false };

test("attributes are proposed until they have been applied as they are now", async () => {
  const { publisher, proposed } = rig(null);
  publisher.tick(0);
  assert.equal(proposed.length, 0, "no leader yet");
  publisher.leaderChanged(true);
  publisher.tick(1);
  publisher.tick(timeoutMs);
  assert.equal(proposed.length, 1);
  publisher.membersChanged([{ ...self, clientURLs: ["http://before:2379"] }]);
  assert.equal(publisher.isPublished, false, "another member's attributes came; this one's are those of its last run");
  publisher.leaderChanged(false);
  publisher.tick(timeoutMs + 1);
  assert.equal(proposed.length, 1, "no leader");
  publisher.leaderChanged(true);
  publisher.tick(timeoutMs + 1);
  assert.deepEqual(
    proposed.map(({ field }) => field),
    [1301, 1301],
  );
  publisher.membersChanged([self]);
  await publisher.published;
  publisher.tick(1e6);
  assert.equal(proposed.length, 2);
});

test("the member is capable once the cluster has a version, not before", async () => {
  const { publisher } = rig(null);
  const isCapable = ({ capable }: Publisher): Promise<boolean> =>
    Promise.race([capable.then(() => true), new Promise<boolean>((resolve) => setImmediate(resolve, false))]);
  publisher.leaderChanged(true);
  publisher.membersChanged([self]);
  assert.equal(await isCapable(publisher), false);
  publisher.clusterVersionSet("3.7.0");
  assert.equal(await isCapable(publisher), true);
  assert.equal(await isCapable(rig("3.6.0").publisher), true, "it was set before this start");
});

test("NOSPACE is raised while the disk is nearly full, raised again when it was taken back, and cleared with room", () => {
  const { publisher, actions } = rig();
  publisher.diskSpace({ low: true, isRaised: false, isOverQuota: false });
  publisher.diskSpace({ low: true, isRaised: true, isOverQuota: false });
  assert.deepEqual(actions(), [1]);
  publisher.diskSpace({ low: true, isRaised: false, isOverQuota: false });
  assert.deepEqual(actions(), [1, 1]);
  publisher.diskSpace({ low: false, isRaised: true, isOverQuota: false });
  publisher.diskSpace({ low: false, isRaised: false, isOverQuota: false });
  publisher.diskSpace({ low: false, isRaised: true, isOverQuota: false });
  assert.deepEqual(actions(), [1, 1, 2], "an alarm raised later is not its own");
});

test("an alarm found at start is taken as the disk's own only if the quota does not explain it", () => {
  const disk = rig();
  disk.publisher.diskSpace({ low: true, isRaised: true, isOverQuota: false });
  disk.publisher.diskSpace({ low: false, isRaised: true, isOverQuota: false });
  assert.deepEqual(disk.actions(), [2]);
  const quota = rig();
  quota.publisher.diskSpace({ low: true, isRaised: true, isOverQuota: true });
  quota.publisher.diskSpace({ low: false, isRaised: true, isOverQuota: true });
  assert.deepEqual(quota.actions(), []);
});
