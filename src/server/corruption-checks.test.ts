/** Corruption checks: which difference between members leads to what; the other members are stand-ins. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger, type Logger } from "../base/index.js";
import { ErrClusterIdMismatch, ErrCompacted, ErrFutureRevision, ErrTimeout, type EtcdError } from "../errors/index.js";
import type { Member } from "../membership/index.js";
import type { KeyValueHash } from "../storage/mvcc/index.js";
import { ClusterView } from "./cluster-view.js";
import { CorruptionChecks } from "./corruption-checks.js";
import type { HashAnswer, PeerHash } from "./peers.js";

type Own = PeerHash & KeyValueHash;

const own = (fields: Partial<Own> = {}): Own => {
  return { hash: 1, revision: 10, compactRevision: 5, currentRevision: 10, ...fields };
};
const peer = (fields: Partial<PeerHash> = {}): PeerHash => {
  return { hash: 1, compactRevision: 5, currentRevision: 10, ...fields };
};

/** Member 1 and as many others as there are lists of answers; each asked answers by the revision. */
class Rig {
  /** This member's hashes, one a question; the last one again and again. */
  own: Own[] = [own()];
  kept: KeyValueHash[] = [];
  leads = true;
  late: EtcdError | null = null;
  readonly raised: bigint[] = [];
  readonly lines: string[] = [];
  readonly asked: string[] = [];
  readonly subject: CorruptionChecks;

  constructor(others: readonly ((revision: number) => HashAnswer)[], options: { periodicMs?: number } = {}) {
    const members = [null, ...others].map((_, i): Member => {
      return { id: BigInt(i + 1), name: "m", peerURLs: [`http://m${i + 1}`], clientURLs: [], isLearner: false };
    });
    const downgrade = { enabled: false, targetVersion: "" };
    const note = (line: string): void => void this.lines.push(line);
    const logger: Logger = { ...silentLogger, info: note, warn: note, error: note };
    this.subject = new CorruptionChecks({
      localId: 1n,
      view: new ClusterView(1n, { members, removedMembers: [], clusterVersion: "3.7.0", downgrade }),
      peers: {
        hashKv: (of, revision, done) => {
          this.asked.push(`${of.id}@${revision}`);
          queueMicrotask(() => done(others[Number(of.id) - 2]!(revision)));
        },
      },
      barriers: { linearizable: (done) => queueMicrotask(() => done(this.late)) },
      hashes: {
        hashNow: () => Promise.resolve(this.own.length > 1 ? this.own.shift()! : this.own[0]!),
        keptHashes: () => Promise.resolve(this.kept),
      },
      periodicMs: options.periodicMs ?? 0,
      compactionsMs: 60_000,
      timeoutMs: 7000,
      isLeader: () => this.leads,
      raise: (id) => void this.raised.push(id),
      logger,
    });
  }
}

const saying = (answer: HashAnswer) => (): HashAnswer => answer;
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("at a start only another hash at the same compaction ends it", async () => {
  const passes = async (answer: HashAnswer): Promise<string[]> => {
    const rig = new Rig([saying(answer), saying(null)]);
    await rig.subject.initial();
    assert.deepEqual(rig.asked, ["2@10", "3@10"]);
    return rig.lines.slice(1, -1).filter((line) => line !== "failed hash kv request");
  };
  assert.deepEqual(await passes(peer()), []);
  assert.deepEqual(await passes(peer({ hash: 2, compactRevision: 4 })), [
    "found different compact revision values from remote peer",
  ]);
  assert.deepEqual(await passes(null), []);
  assert.deepEqual(await passes(new ErrTimeout()), []);
  assert.deepEqual(await passes(new ErrFutureRevision()), ["cannot fetch hash from slow remote peer"]);
  assert.deepEqual(await passes(new ErrCompacted()), ["cannot fetch hash from remote peer; local member is behind"]);
  assert.deepEqual(await passes(new ErrClusterIdMismatch()), ["cluster ID mismatch"]);
  const rig = new Rig([saying(peer()), saying(peer({ hash: 2 }))]);
  await assert.rejects(rig.subject.initial(), new Error("1 found data inconsistency with peers"));
  assert.deepEqual(rig.lines, ["starting initial corruption check", "found different hash values from remote peer"]);
});

test("a member alone passes at a start, and says so", async () => {
  const rig = new Rig([]);
  await rig.subject.initial();
  assert.deepEqual(rig.lines, [
    "starting initial corruption check",
    "initial corruption checking passed; no corruption",
  ]);
});

test("periodic: one alarm, for this member first, then for the first that cannot be right", async () => {
  const raised = async (owns: Own[], ...answers: HashAnswer[]): Promise<bigint[]> => {
    const rig = new Rig(answers.map(saying));
    rig.own = owns;
    assert.equal(await rig.subject.periodic(), null);
    assert.equal(rig.lines.at(-1), "finished peer corruption check");
    return rig.raised;
  };
  assert.deepEqual(await raised([own()], peer(), null, new ErrCompacted()), []);
  assert.deepEqual(await raised([own(), own({ hash: 2 })], peer({ hash: 3 })), [1n], "its own, read twice");
  assert.deepEqual(await raised([own(), own({ hash: 2, revision: 11, currentRevision: 11 })], peer()), []);
  assert.deepEqual(await raised([own(), own({ hash: 2, compactRevision: 6 })], peer()), []);
  assert.deepEqual(await raised([own()], peer(), peer({ currentRevision: 11 }), peer({ hash: 4 })), [3n]);
  const later = own({ revision: 11, currentRevision: 11 });
  assert.deepEqual(await raised([own(), later], peer({ currentRevision: 11 })), [], "it has come since");
  assert.deepEqual(await raised([own()], peer({ compactRevision: 6, hash: 2 })), [2n]);
  assert.deepEqual(await raised([own(), own({ compactRevision: 6 })], peer({ compactRevision: 6, hash: 2 })), []);
  assert.deepEqual(await raised([own()], peer({ compactRevision: 4, hash: 2 })), [], "still compacting");
  assert.deepEqual(await raised([own()], peer({ hash: 2 })), [2n]);
});

test("periodic: whoever does not know in time what was committed finds nothing", async () => {
  const rig = new Rig([saying(peer({ hash: 2 }))]);
  rig.late = new ErrTimeout();
  assert.equal((await rig.subject.periodic())?.message, "etcdserver: request timed out");
  assert.deepEqual(rig.raised, []);
});

const kept = (...revisions: number[]): KeyValueHash[] =>
  revisions.map((revision) => ({ hash: revision, compactRevision: revision - 2, revision }));
/** Has what the leader has. */
const alike = (revision: number): HashAnswer => peer({ hash: revision, compactRevision: revision - 2 });
const other =
  (hash: number) =>
  (revision: number): HashAnswer =>
    peer({ hash, compactRevision: revision - 2 });

test("compactions: the newest that all have is looked at, once", async () => {
  const rig = new Rig([alike, (revision) => (revision > 6 ? null : alike(revision))]);
  rig.kept = kept(4, 6, 8);
  await rig.subject.compactions();
  assert.deepEqual(rig.asked, ["2@8", "3@8", "2@6", "3@6"]);
  assert.deepEqual(rig.raised, []);
  await rig.subject.compactions();
  assert.deepEqual(rig.asked.slice(4), ["2@8", "3@8"], "6 and before are settled");
  const behind = new Rig([(revision) => peer({ hash: 99, compactRevision: revision - 4 })]);
  behind.kept = kept(8);
  await behind.subject.compactions();
  assert.deepEqual(behind.raised, [], "another compaction before it");
});

test("compactions: whoever is outside a quorum of equal hashes is corrupt; without one nobody knows who", async () => {
  const raised = async (...answers: ((revision: number) => HashAnswer)[]): Promise<bigint[]> => {
    const rig = new Rig(answers);
    rig.kept = kept(8);
    await rig.subject.compactions();
    return rig.raised;
  };
  assert.deepEqual(await raised(alike, other(9)), [3n]);
  assert.deepEqual(await raised(other(9), other(9)), [1n], "the leader itself");
  assert.deepEqual(await raised(other(9)), [0n]);
  assert.deepEqual(await raised(other(9), other(10)), [0n]);
  assert.deepEqual(await raised(other(9), saying(null)), [0n], "two of three do not agree");
  assert.deepEqual(await raised(alike, alike, other(9), other(10)), [4n, 5n]);
});

test("a member alone looks at what it has, and has nobody to accuse", async () => {
  const rig = new Rig([]);
  rig.kept = kept(4, 6);
  await rig.subject.compactions();
  assert.deepEqual(rig.lines, ["starting compact hash check", "finished compaction hash check"]);
});

test("each check comes after its time, on the leader alone, and not beside itself", async () => {
  const rig = new Rig([], { periodicMs: 1000 });
  assert.deepEqual(rig.lines.splice(0), ["enabled corruption checking"]);
  const checks = async (nowMs: number): Promise<number> => {
    rig.subject.tick(nowMs);
    await settled();
    return rig.lines.splice(0).filter((line) => line === "finished peer corruption check").length;
  };
  assert.equal(await checks(0), 0);
  assert.equal(await checks(999), 0);
  assert.equal(await checks(1000), 1);
  assert.equal(await checks(1999), 0);
  rig.leads = false;
  assert.equal(await checks(2000), 0);
  rig.leads = true;
  assert.equal(await checks(2500), 0, "the time of another's turn");
  rig.subject.tick(3000);
  rig.subject.tick(4000);
  await settled();
  assert.equal(rig.lines.splice(0).length, 1);
  rig.late = new ErrTimeout();
  rig.subject.tick(60_000);
  await settled();
  const found = ["failed to check hash KV", "starting compact hash check", "finished compaction hash check"];
  assert.deepEqual(rig.lines.toSorted(), found.toSorted());
  assert.ok(!new Rig([]).lines.includes("enabled corruption checking"));
});
