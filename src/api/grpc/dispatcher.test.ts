/** What becomes of a call before it reaches its service. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../../base/index.js";
import { ErrNotCapable, type EtcdError } from "../../errors/index.js";
import type { EtcdServer } from "../../server/index.js";
import { RequestLog } from "../request-stats.js";
import { callRecord } from "./call-record.test-support.js";
import { Dispatcher } from "./dispatcher.js";
import { methodIndex, servedMethods } from "./methods.js";

/** A dispatcher whose server notes what reaches it. */
class Rig {
  readonly errors: { readonly callId: number; readonly error: EtcdError }[] = [];
  readonly reached: string[] = [];
  readonly core = {
    blocked: false,
    clusterVersion: null as string | null,
    leader: 1n,
    cluster: { view: { local: { isLearner: false } } },
    leases: {},
    space: { exceedsQuota: () => false },
    propose: () => {
      this.reached.push("propose");
      return null;
    },
    readLinearizable: () => this.reached.push("readLinearizable"),
    readSerializable: () => this.reached.push("readSerializable"),
    flush: () => {},
  };
  readonly #batches: Uint8Array[] = [];
  readonly #dispatcher: Dispatcher;

  constructor() {
    const replies = {
      error: (callId: number, error: EtcdError) => this.errors.push({ callId, error }),
      answer: () => this.reached.push("answer"),
      message: () => this.reached.push("message"),
      flush: () => {},
    };
    const config = { maxTxnOps: 128, electionTimeout: 1000 };
    const snapshots = { start: () => this.reached.push("snapshot") > 0 };
    this.#dispatcher = new Dispatcher(
      // Only what these calls come by.
      { core: this.core, replies, defragmentations: {}, config, snapshots } as unknown as EtcdServer,
      { drain: (into) => this.#drain(into) },
      {
        requestLog: new RequestLog({ logger: silentLogger, logsDebug: false, slowAfterMs: 300 }),
        stopsOnDefragment: false,
        logger: silentLogger,
        handOver: ({ kind }) => this.reached.push(kind),
      },
    );
  }

  call(callId: number, method: number, message: Uint8Array = new Uint8Array(0)): void {
    this.#batches.push(callRecord(callId, message, method));
    this.#dispatcher.wake();
  }

  #drain(into: Uint8Array): number {
    const batch = this.#batches.shift();
    into.set(batch ?? []);
    return batch?.length ?? 0;
  }
}

test("before the cluster has a version, no call of any kind is served, as by etcd without the v3 capability", () => {
  for (const [method, { path }] of servedMethods.entries()) {
    const rig = new Rig();
    rig.call(7, method);
    assert.deepEqual(rig.errors, [{ callId: 7, error: new ErrNotCapable() }], path);
    assert.deepEqual(rig.reached, [], path);
  }
});

test("calls are served from the moment it has one", () => {
  const rig = new Rig();
  const put = Uint8Array.of(0x0a, 1, 107);
  rig.call(1, methodIndex("/etcdserverpb.KV/Put"), put);
  rig.core.clusterVersion = "3.7.0";
  rig.call(2, methodIndex("/etcdserverpb.KV/Put"), put);
  rig.call(3, methodIndex("/grpc.health.v1.Health/Check"));
  rig.call(4, methodIndex("/etcdserverpb.Maintenance/Status"));
  rig.call(5, methodIndex("/etcdserverpb.Maintenance/Snapshot"));
  rig.call(6, methodIndex("/v3lockpb.Lock/Lock"));
  assert.deepEqual(
    rig.errors.map(({ callId }) => callId),
    [1],
  );
  assert.deepEqual(rig.reached, ["propose", "answer", "readSerializable", "snapshot", "call"]);
});
