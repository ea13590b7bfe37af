/** Auto-compaction on a clock of the test's own, against the times that etcd's documentation and source give. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger, type Logger } from "../base/index.js";
import type { AutoCompactionRule } from "../config/index.js";
import { ErrTooManyRequests, type EtcdError } from "../errors/index.js";
import { decodeCompactionRequest } from "../proto/index.js";
import { AutoCompaction } from "./auto-compaction.js";

const minute = 60_000;
const hour = 60 * minute;

/** One that is ticked each second, with a revision that grows by one a second. */
class Rig {
  readonly proposed: { atMs: number; revision: number }[] = [];
  readonly lines: string[] = [];
  /** The same with their fields. */
  readonly told: (readonly [message: string, fields: unknown])[] = [];
  now = 0;
  revision = 1;
  compactRevision = -1;
  isLeader = true;
  isCorrupt = false;
  applies = true;
  refusal: EtcdError | null = null;
  readonly auto: AutoCompaction;

  constructor(rule: AutoCompactionRule) {
    const line = (message: string, fields?: unknown): void => {
      this.lines.push(message);
      this.told.push([message, fields]);
    };
    const logger: Logger = { ...silentLogger, info: line, warn: line };
    this.auto = new AutoCompaction({ rule, timeoutMs: 7000, logger, propose: (message) => this.#propose(message) });
    this.#tick();
  }

  #propose(message: Uint8Array): EtcdError | null {
    if (this.refusal !== null) return this.refusal;
    const { revision } = decodeCompactionRequest(message, 0, message.length);
    this.proposed.push({ atMs: this.now, revision: Number(revision) });
    if (this.applies) this.compactRevision = Number(revision);
    return null;
  }

  #tick(): void {
    this.auto.tick(this.now, this);
  }

  pass(ms: number): void {
    for (const end = this.now + ms; this.now < end;) {
      this.now += 1000;
      this.revision++;
      this.#tick();
    }
  }

  get times(): number[] {
    return this.proposed.map(({ atMs }) => atMs);
  }
}

// Of eleven notes the oldest is taken before the newest is made: after the first time it is 11 tenths of an hour old.
test("periodic, an hour: nothing in the first hour, then each hour to what was an hour ago", () => {
  const rig = new Rig({ mode: "periodic", retention: hour });
  rig.pass(hour - 1000);
  assert.deepEqual(rig.proposed, []);
  rig.pass(3 * hour);
  assert.deepEqual(rig.times, [hour, 2 * hour, 3 * hour]);
  assert.deepEqual(
    rig.proposed.map(({ revision }) => revision),
    [1, 3241, 6841],
  );
});

test("periodic, a day: after the first day each hour to what was a day ago", () => {
  const rig = new Rig({ mode: "periodic", retention: 24 * hour });
  rig.pass(26 * hour + minute);
  assert.deepEqual(rig.times, [24 * hour, 25 * hour, 26 * hour]);
  assert.deepEqual(
    rig.proposed.map(({ revision }) => revision),
    [1, 3241, 6841],
  );
});

test("periodic, five minutes: each five minutes", () => {
  const rig = new Rig({ mode: "periodic", retention: 5 * minute });
  rig.pass(15 * minute);
  assert.deepEqual(rig.times, [5 * minute, 10 * minute, 15 * minute]);
});

test("nothing is compacted to where it was, nor by a follower", () => {
  const rig = new Rig({ mode: "periodic", retention: 5 * minute });
  rig.isLeader = false;
  rig.pass(10 * minute);
  assert.deepEqual(rig.proposed, []);
  rig.isLeader = true;
  rig.pass(30_000);
  assert.deepEqual(rig.times, [10 * minute + 30_000]);
  // The notes of ten minutes with the same revision.
  const still = new Rig({ mode: "periodic", retention: 5 * minute });
  for (let i = 0; i < 900; i++) {
    still.revision = 0;
    still.pass(1000);
  }
  assert.equal(still.proposed.length, 1);
});

test("what fails is tried again at the next note", () => {
  const rig = new Rig({ mode: "periodic", retention: 5 * minute });
  rig.refusal = new ErrTooManyRequests();
  rig.pass(5 * minute);
  assert.equal(rig.lines.at(-1), "failed auto periodic compaction");
  rig.refusal = null;
  rig.pass(30_000);
  assert.deepEqual(rig.times, [5 * minute + 30_000]);
  rig.applies = false;
  rig.pass(5 * minute + 7000);
  assert.equal(rig.lines.at(-1), "failed auto periodic compaction");
  rig.applies = true;
  rig.pass(30_000);
  assert.equal(rig.lines.at(-1), "completed auto periodic compaction");
});

test("revision: each five minutes to so many below the present", () => {
  const rig = new Rig({ mode: "revision", retention: 500 });
  rig.pass(15 * minute);
  // At five minutes there are fewer revisions than are kept.
  assert.deepEqual(rig.proposed, [
    { atMs: 10 * minute, revision: 101 },
    { atMs: 15 * minute, revision: 401 },
  ]);
});

test("lines are etcd's, with its fields", () => {
  const rig = new Rig({ mode: "periodic", retention: 90 * minute });
  rig.pass(90 * minute);
  const of = { revision: 1, "compact-period": "1h30m0s" };
  assert.deepEqual(rig.told, [
    ["starting auto periodic compaction", of],
    ["completed auto periodic compaction", { ...of, took: "0s" }],
  ]);
  const slow = new Rig({ mode: "periodic", retention: 5 * minute });
  slow.applies = false;
  slow.pass(5 * minute + 7000);
  const failure = { "retry-interval": "30s", error: "etcdserver: request timed out" };
  assert.deepEqual(slow.told[1], [
    "failed auto periodic compaction",
    { revision: 1, "compact-period": "5m0s", ...failure },
  ]);
  const byRevision = new Rig({ mode: "revision", retention: 100 });
  byRevision.refusal = new ErrTooManyRequests();
  byRevision.pass(5 * minute);
  const kept = { revision: 201, "revision-compaction-retention": 100 };
  const refused = { ...kept, "retry-interval": "5m0s", error: "etcdserver: too many requests" };
  assert.deepEqual(byRevision.told, [
    ["starting auto revision compaction", kept],
    ["failed auto revision compaction", refused],
  ]);
  byRevision.refusal = null;
  byRevision.pass(5 * minute);
  assert.deepEqual(byRevision.told.at(-1), [
    "completed auto revision compaction",
    { revision: 501, "revision-compaction-retention": 100, took: "0s" },
  ]);
});

test("a corrupt cluster is not asked: it refuses, and its reason is told", () => {
  const rig = new Rig({ mode: "periodic", retention: 5 * minute });
  rig.isCorrupt = true;
  rig.pass(5 * minute);
  const failure = { "retry-interval": "30s", error: "etcdserver: corrupt cluster" };
  assert.deepEqual(rig.told.at(-1), [
    "failed auto periodic compaction",
    { revision: 1, "compact-period": "5m0s", ...failure },
  ]);
  assert.deepEqual(rig.proposed, []);
  rig.isCorrupt = false;
  rig.pass(30_000);
  assert.deepEqual(rig.times, [5 * minute + 30_000]);
});

test("what another has compacted past is complete, and not asked for again", () => {
  const rig = new Rig({ mode: "revision", retention: 100 });
  rig.compactRevision = 250;
  rig.pass(5 * minute);
  assert.deepEqual(rig.proposed, []);
  assert.equal(rig.lines.at(-1), "completed auto revision compaction");
  rig.pass(5 * minute);
  assert.deepEqual(rig.proposed, [{ atMs: 10 * minute, revision: 501 }]);
});
