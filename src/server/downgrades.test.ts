/** Downgrade calls: in which order they are judged, and what ends their wait; the log and apply are stand-ins. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger, type Logger } from "../base/index.js";
import { ErrTimeout, type EtcdError } from "../errors/index.js";
import { decodeDowngradeInfoSetRequest } from "../proto/index.js";
import type { BarrierDone, Barriers } from "./barriers.js";
import { ClusterView } from "./cluster-view.js";
import { Downgrades } from "./downgrades.js";

const [validate, enable, cancel] = [0, 1, 2];

class Rig {
  now = 0;
  readonly view: ClusterView;
  /** What each call was answered with, in order. */
  readonly answers: string[] = [];
  readonly proposed: string[] = [];
  readonly warnings: string[] = [];
  readonly #barriers: BarrierDone[] = [];
  readonly subject: Downgrades;

  constructor(clusterVersion: string | null = "3.7.0", targetVersion = "") {
    const downgrade = { enabled: targetVersion !== "", targetVersion };
    this.view = new ClusterView(1n, { members: [], removedMembers: [], clusterVersion, downgrade });
    const warn: Logger["warn"] = (message, fields) =>
      void this.warnings.push(`${message}: ${String(fields?.["error"])}`);
    this.subject = new Downgrades({
      view: this.view,
      barriers: { linearizable: (done: BarrierDone) => void this.#barriers.push(done) } as Barriers,
      timeoutMs: 7000,
      nowMs: () => this.now,
      logger: { ...silentLogger, warn },
      propose: (field, message) => {
        const { enabled, ver } = decodeDowngradeInfoSetRequest(message);
        this.proposed.push(`${field} ${enabled} ${ver}`);
      },
    });
  }

  ask(action: number, version = ""): void {
    this.subject.request(action, version, (answer) =>
      this.answers.push("error" in answer ? answer.error.message : answer.version),
    );
  }

  /** This member knows all that was committed before the calls, or does not in time. */
  pass(late: EtcdError | null = null): void {
    for (const done of this.#barriers.splice(0)) done(late);
  }

  /** The answer to one call of a cluster that is up to date. */
  answer(action: number, version = ""): string | undefined {
    this.ask(action, version);
    this.pass();
    return this.answers.pop();
  }
}

const badFormat = "etcdserver: wrong downgrade target version format";
const badTarget = "etcdserver: invalid downgrade target version";
const inProcess = "etcdserver: cluster has a downgrade job in progress";
const timedOut = "etcdserver: request timed out";

test("a target is judged by its form, then the cluster's version, then what is allowed, then what is under way", () => {
  const unborn = new Rig(null);
  assert.equal(unborn.answer(validate, "3.x"), badFormat);
  assert.equal(unborn.answer(validate, "3.6"), "etcdserver: cluster version not found during downgrade");
  const rig = new Rig("3.7.0", "3.6.0");
  assert.equal(rig.answer(validate, "3.5"), badTarget);
  assert.equal(rig.answer(validate, "3.6"), inProcess);
  assert.equal(new Rig().answer(validate, "3.6.9"), "3.7");
  assert.equal(new Rig().answer(3, "3.6"), "etcdserver: unknown method");
});

test("nothing is judged before this member knows what was committed", () => {
  const rig = new Rig();
  rig.ask(validate, "3.6");
  rig.ask(enable, "3.6");
  rig.ask(cancel);
  assert.deepEqual(rig.answers, []);
  // The downgrade that another member's client has begun.
  rig.view.downgrade = { enabled: true, targetVersion: "3.6.0" };
  rig.pass();
  assert.deepEqual(rig.answers, [inProcess, inProcess]);
  assert.deepEqual(rig.proposed, ["1302 false "]);
});

test("who does not learn it in time says so, but for a cancel, which succeeds and is logged", () => {
  const rig = new Rig("3.7.0", "3.6.0");
  for (const [action, version] of [
    [validate, "3.6"],
    [enable, "3.6"],
    [cancel, ""],
  ] as const)
    rig.ask(action, version);
  rig.pass(new ErrTimeout());
  assert.deepEqual(rig.answers, [timedOut, timedOut, "3.7"]);
  assert.deepEqual(rig.proposed, []);
  assert.deepEqual(rig.warnings, [`reject downgrade request: ${timedOut}`, `failed to cancel downgrade: ${timedOut}`]);
});

test("refused enabling and a cancel of nothing are logged, refused validation is not", () => {
  const rig = new Rig();
  assert.equal(rig.answer(validate, "3"), badFormat);
  assert.equal(rig.answer(enable, "3"), badFormat);
  assert.equal(rig.answer(enable, "3.5"), badTarget);
  assert.equal(rig.answer(cancel), "3.7");
  assert.deepEqual(rig.warnings, [
    `reject downgrade request: ${badFormat}`,
    `reject downgrade request: ${badTarget}`,
    "failed to cancel downgrade: etcdserver: no inflight downgrade job",
  ]);
});

test("who enables or cancels is answered when that is applied, or told that it takes too long", () => {
  const rig = new Rig();
  rig.ask(enable, "3.6.2");
  rig.pass();
  assert.deepEqual([rig.proposed, rig.answers], [["1302 true 3.6.0"], []]);
  rig.subject.applied({ enabled: false, targetVersion: "" });
  assert.deepEqual(rig.answers, [], "the end of another downgrade");
  rig.subject.applied({ enabled: true, targetVersion: "3.6.0" });
  assert.deepEqual(rig.answers, ["3.7"]);
  rig.view.downgrade = { enabled: true, targetVersion: "3.6.0" };
  rig.view.version = "3.6.0";
  rig.now = 1000;
  rig.ask(cancel);
  rig.pass();
  rig.now = 7999;
  rig.subject.tick();
  assert.equal(rig.answers.length, 1);
  rig.now = 8000;
  rig.subject.tick();
  assert.deepEqual(rig.answers, ["3.7", "3.6"]);
  assert.deepEqual(rig.warnings, [`failed to cancel downgrade: ${timedOut}`]);
  rig.subject.applied({ enabled: false, targetVersion: "" });
  assert.equal(rig.answers.length, 2, "nobody waits any more");
});
