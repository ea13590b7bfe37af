/** Status: where each field comes from, and alarms as etcd prints them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../base/index.js";
import { MembershipStore } from "../membership/index.js";
import { AlarmType, decodeStatusResponse, type StatusResponse } from "../proto/index.js";
import { Bucket, MemoryBackend, metaKey } from "../storage/backend/index.js";
import { AlarmStore } from "./alarm-store.js";
import { clusterId, memberId, Rig } from "./rig.test-support.js";
import { encodeStatus } from "./status.js";

class SizedBackend extends MemoryBackend {
  override sizes(): { total: number; inUse: number } {
    return { total: 8192, inUse: 4096 };
  }
}

/** A member's answer; `change` is what is stored before it starts. */
async function statusOf(change: (backend: MemoryBackend) => void, quotaBackendBytes = 0): Promise<StatusResponse> {
  const backend = new SizedBackend();
  change(backend);
  const { store } = await Rig.open({ backend });
  const membership = new MembershipStore({
    backend,
    localId: memberId,
    clusterId,
    learnersMax: 1,
    logger: silentLogger,
  });
  const alarms = new AlarmStore(backend);
  const sources = { clusterId, localId: memberId, quotaBackendBytes, store, backend, membership, alarms };
  const header = { raftTerm: 7, minAppliedIndex: 0, commitIndex: 12, leaderId: memberId, startMs: 0 };
  return decodeStatusResponse(encodeStatus(sources, header, 11));
}

const nothing = (): void => {};

test("alarms are told as Go prints them: a member of 0 is left out", async () => {
  const { errors } = await statusOf((backend) => {
    const alarms = new AlarmStore(backend);
    alarms.activate(0n, AlarmType.CORRUPT);
    alarms.activate(0xffff_ffff_ffff_ffffn, AlarmType.CORRUPT);
    alarms.activate(3n, AlarmType.NOSPACE);
    alarms.activate(0n, 9);
  });
  assert.deepEqual(errors, [
    "memberID:3 alarm:NOSPACE",
    "alarm:CORRUPT",
    "memberID:18446744073709551615 alarm:CORRUPT",
    "alarm:9",
  ]);
});

test("sizes, the quota that holds, and what this member is", async () => {
  const learner = '{"id":10276657743932975437,"peerURLs":["http://a:1"],"isLearner":true}';
  const status = await statusOf((backend) => {
    backend.put(Bucket.Meta, metaKey.storageVersion, Buffer.from("3.6.0"));
    backend.put(Bucket.Members, Buffer.from(memberId.toString(16)), Buffer.from(learner));
  }, 12_345);
  assert.deepEqual([status.dbSize, status.dbSizeInUse, status.dbSizeQuota], [8192, 4096, 12_345]);
  assert.deepEqual([status.storageVersion, status.isLearner], ["3.6.0", true]);
  assert.deepEqual([status.leader, status.raftIndex, status.raftAppliedIndex], [memberId, 12, 11]);
  const fresh = await statusOf(nothing);
  assert.deepEqual([fresh.storageVersion, fresh.isLearner, fresh.errors], ["", false, []]);
  assert.equal((await statusOf(nothing, -1)).dbSizeQuota, -1, "none");
});
