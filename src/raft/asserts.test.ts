/**
 * Every assertion of this folder fires when its rule is broken, at its own place. Most cannot be reached from outside,
 * as messages are validated first: then the part that asserts is called by itself, as a fault elsewhere would.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import { AssertionError, EntryBatch, EntryType, SeededPrng } from "../base/index.js";
import { handleAppend } from "./append.js";
import { emptyConfState, simple } from "./conf-change.js";
import type { InitialState, RawNodeConfig } from "./config.js";
import { EntryDeque } from "./entry-deque.js";
import { Inflights } from "./inflights.js";
import { RaftLog } from "./log.js";
import { localAppendThread, message, MessageType } from "./message.js";
import { Progress } from "./progress.js";
import { Raft } from "./raft.js";
import { RawNode } from "./raw-node.js";
import { pendingReadsMax, ReadOnly } from "./read-only.js";
import { maybeSendAppend } from "./replication.js";
import { Tracker } from "./tracker.js";
import type { ConfState, Snapshot } from "./types.js";

const limits = { inflightMessagesMax: 4, inflightBytesMax: Number.POSITIVE_INFINITY };
const faulty: ConfState = { ...emptyConfState, voters: [1n], learners: [1n] };

function entries(term: number, firstIndex: number, count = 1): EntryBatch {
  const ends = Uint32Array.from({ length: count }, (_, i) => i + 1);
  return new EntryBatch({ term, firstIndex, types: new Uint8Array(count), ends, bytes: new Uint8Array(count) });
}

function confOf(...voters: bigint[]): ConfState {
  return { ...emptyConfState, voters };
}

function config(initialState: Partial<InitialState> = {}, rest: Partial<RawNodeConfig> = {}): RawNodeConfig {
  return {
    id: 1n,
    electionTicks: 10,
    heartbeatTicks: 1,
    preVote: false,
    checkQuorum: false,
    maxSizePerMessage: 1024,
    maxInflightMessages: 4,
    maxUncommittedSize: 1024,
    asyncStorageWrites: true,
    prng: new SeededPrng(1),
    snapshot: () => null,
    ...rest,
    initialState: {
      hardState: null,
      confState: confOf(1n, 2n, 3n),
      prevIndex: 0,
      prevTerm: 0,
      entries: [],
      applied: 0,
      ...initialState,
    },
  };
}

/** Member 1 of three, in term 1, with two entries, of which one is committed and applied. */
function raftWith(rest: Partial<RawNodeConfig> = {}): Raft {
  const hardState = { term: 1, vote: 0n, commit: 1 };
  return new Raft(config({ hardState, entries: [entries(1, 1, 2)], applied: 1 }, rest));
}

function leader(rest: Partial<RawNodeConfig> = {}): Raft {
  const raft = raftWith(rest);
  raft.becomeCandidate();
  raft.becomeLeader();
  return raft;
}

/** Two entries, the first of which is committed; none is applied. */
function log(applyingSizeMax = Number.POSITIVE_INFINITY): RaftLog {
  const made = new RaftLog({ prevIndex: 0, prevTerm: 0, applyingSizeMax });
  made.load([entries(1, 1, 2)]);
  made.commitTo(1);
  return made;
}

/** Entries 3 and 4; those before are compacted. */
function deque(): EntryDeque {
  const made = new EntryDeque(2, 2);
  made.push(entries(2, 3, 2));
  return made;
}

/** A leader whose log begins behind entry 2 sends `snapshot` to a follower that lacks all. */
function sendSnapshot(snapshot: Snapshot): void {
  const hardState = { term: 1, vote: 0n, commit: 3 };
  const state = { hardState, prevIndex: 2, prevTerm: 1, entries: [entries(1, 3, 2)], applied: 3 };
  const raft = new Raft(config(state, { snapshot: () => snapshot }));
  raft.becomeCandidate();
  raft.becomeLeader();
  const follower = raft.tracker.progressOf(2n)!;
  follower.recentActive = true;
  follower.next = 1;
  maybeSendAppend(raft, follower, true);
}

function snapshotAt(index: number): Snapshot {
  return { index, term: 1, confState: confOf(1n, 2n, 3n), data: new Uint8Array(0) };
}

function progress(next: number): Progress {
  return new Progress({ id: 2n, next, ...limits });
}

const unboundedReads = { from: 1n, request: [], index: 1 };

/** File and rule, and what breaks it. */
const broken: Readonly<Record<string, () => unknown>> = {
  "append: conflict with a committed entry": () => {
    const fields = { to: 1n, from: 2n, term: 1, index: 1, logTerm: 1, entries: [entries(2, 1)] };
    return handleAppend(raftWith(), message({ type: MessageType.App, ...fields }));
  },
  "conf-change: configuration change: ": () => simple({ ...faulty, voters: [1n, 2n] }, [{ type: 0, nodeId: 3n }]),
  "entry-deque: log gap": () => deque().push(entries(2, 6)),
  "entry-deque: term went back": () => deque().push(entries(1, 5)),
  "entry-deque: truncation of compacted entries": () => deque().truncateFrom(2),
  "entry-deque: compaction outside of the log": () => deque().compact(5),
  "entry-deque: log slice out of range": () => deque().slice(2, 3, 100),
  "inflights: inflights: no room for any message": () => new Inflights(0, 1),
  "inflights: inflights: add to a full window": () => {
    const window = new Inflights(1, 100);
    window.add(1, 1);
    window.add(2, 1);
  },
  "log: committed entries never change (§5.4)": () => log().append([entries(2, 1)], 1),
  "log: log gap": () => log().append([entries(2, 4)], 4),
  "log: commit index beyond the log": () => log().commitTo(3),
  "log: snapshot behind the commit index": () => log().restore(snapshotAt(1)),
  "log: log: applying although the limit is reached": () => {
    const full = log(1);
    full.acceptApplying(full.nextCommitted(true), true);
    full.nextCommitted(true);
  },
  "log: only committed entries are applied (§5.3)": () => log().acceptApplying([entries(1, 1, 2)], true),
  "log: applied index out of range": () => log().appliedTo(2, 0),
  "log: compaction of entries that are not applied": () => log().compact(1),
  "log: compaction of entries that are not durable": () => {
    const unstable = new RaftLog({ prevIndex: 0, prevTerm: 0, applyingSizeMax: 1 });
    unstable.append([entries(1, 1)], 1);
    unstable.commitTo(1);
    unstable.appliedTo(1, 0);
    unstable.compact(1);
  },
  "progress: progress: next must be above match": () => progress(0),
  "progress: progress: entries sent while a snapshot is pending": () => {
    const member = progress(1);
    member.becomeSnapshot(3);
    member.sentEntries(1, 1);
  },
  "raft: leader cannot become pre-candidate": () => leader().becomePreCandidate(),
  "raft: leader cannot become candidate": () => leader().becomeCandidate(),
  "raft: only a candidate becomes leader (§5.2)": () => raftWith().becomeLeader(),
  "raft: a leader is a member": () => {
    const stranger = new Raft(config({ confState: confOf(2n, 3n) }));
    stranger.becomeCandidate();
    stranger.becomeLeader();
  },
  "raft: the term never goes back (§5.1)": () => raftWith().becomeFollower(0, 2n),
  "raft: one vote a term (§5.2)": () => {
    const raft = raftWith();
    raft.castVote(2n);
    raft.castVote(3n);
  },
  "raft: message to this member itself": () => leader().send({ type: MessageType.Heartbeat, to: 1n }),
  "raft: only a leader appends on its own": () => raftWith().appendOwn([entries(0, 0)]),
  "raft: only a leader counts acknowledgements": () => raftWith().maybeCommit(),
  "raw-node: bootstrap of a log that is not empty": () =>
    new RawNode(config({ entries: [entries(1, 1)] })).bootstrap(entries(1, 1), [1n]),
  "raw-node: bootstrap entries start the log": () => new RawNode(config()).bootstrap(entries(1, 2), [1n]),
  "raw-node: bootstrap needs one entry a voter": () => new RawNode(config()).bootstrap(entries(1, 1), [1n, 2n]),
  "raw-node: not a configuration change": () =>
    new RawNode(config()).proposeConfChange(EntryType.Normal, new Uint8Array(0)),
  "raw-node: response for another member": () =>
    new RawNode(config()).stepStorageResponse(message({ type: MessageType.StorageAppendResp, to: 2n, from: 1n })),
  "raw-node: response from another member": () =>
    new RawNode(config()).stepStorageResponse(message({ type: MessageType.AppResp, to: 1n, from: 2n })),
  "raw-node: only committed changes are applied": () =>
    new RawNode(config()).applyConfChange({ transition: 0, changes: [] }, 1),
  "raw-node: ready() again without advance()": () => {
    const node = new RawNode(config({}, { asyncStorageWrites: false }));
    node.campaign();
    node.ready();
    node.ready();
  },
  "raw-node: advance() with asynchronous storage writes": () => new RawNode(config()).advance(),
  "read-only: read-only: too many reads wait": () => {
    const reads = new ReadOnly();
    for (let i = 0; i <= pendingReadsMax; i++) reads.add(unboundedReads);
  },
  "read-only: read-only: position that was never sent": () => new ReadOnly().acknowledge(2n, 1),
  "read-only: read-only: release beyond the last read": () => new ReadOnly().releaseTo(1),
  "replication: snapshot of what is not committed": () => sendSnapshot(snapshotAt(4)),
  "replication: snapshot from which the log cannot go on": () => sendSnapshot(snapshotAt(1)),
  "tracker: configuration: ": () => new Tracker(limits).switchTo({ confState: faulty, fresh: new Set() }, 0),
};

/** Rules that hold by what is written a few lines away, and are asserted for whoever changes that. */
const unreachable: Readonly<Record<string, string>> = {
  "raft: a leader has its own vote": "only becomeCandidate makes a candidate, and votes; castVote changes no vote",
};

/** File and rule of each assertion in the compiled code. */
function assertions(): string[] {
  const found: string[] = [];
  for (const file of readdirSync(import.meta.dirname)) {
    if (!file.endsWith(".js") || file.includes(".test")) continue;
    const text = readFileSync(join(import.meta.dirname, file), "utf8");
    for (const [, quoted, template] of text.matchAll(/\bassert\(.*, (?:"([^"]*)"|`([^`$]*)\$\{[^`]*`)\);/g))
      found.push(`${basename(file, ".js")}: ${quoted ?? template}`);
    assert.equal(
      text.match(/\bassert\(/g)?.length ?? 0,
      found.filter((name) => name.startsWith(`${basename(file, ".js")}: `)).length,
    );
  }
  return found.sort();
}

test("every assertion is listed here, and stands once", () => {
  assert.deepEqual(assertions(), [...Object.keys(broken), ...Object.keys(unreachable)].sort());
});

for (const [name, act] of Object.entries(broken)) {
  const [file] = name.split(": ", 1);
  const rule = name.slice(file!.length + 2);
  test(`asserted in ${file}: ${rule}`, () => {
    assert.throws(act, (error) => {
      assert.ok(error instanceof AssertionError, String(error));
      assert.ok(error.message.startsWith(rule), error.message);
      // Behind the message and `assert` itself: whoever asserts.
      assert.match(error.stack!.split("\n")[2]!, new RegExp(`/raft/${file}\\.js:`));
      return true;
    });
  });
}

test("what is used as localAppendThread can never be a member", () => {
  assert.throws(() => new RawNode(config({}, { id: localAppendThread })), { name: "RaftConfigError" });
});
