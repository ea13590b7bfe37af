/**
 * A cluster of one goes the way of any other: election, log, disk, commit, apply.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { EntryBatch, EntryType, SeededPrng } from "../base/index.js";
import {
  ConfChangeTransition,
  ConfChangeType,
  emptyConfState,
  entryCount,
  MessageType,
  none,
  RaftConfigError,
  RaftStateError,
  RawNode,
  Role,
  type HardState,
  type InitialState,
  type Message,
  type RawNodeConfig,
  type Ready,
} from "./index.js";

const id = 0x8e9e05c52164694dn;
const text = new TextEncoder();

function config(initialState: Partial<InitialState> = {}): RawNodeConfig {
  return {
    id,
    electionTicks: 10,
    heartbeatTicks: 1,
    preVote: true,
    checkQuorum: true,
    maxSizePerMessage: 1024 * 1024,
    maxInflightMessages: 512,
    maxUncommittedSize: Number.POSITIVE_INFINITY,
    asyncStorageWrites: true,
    prng: new SeededPrng(7),
    initialState: {
      hardState: null,
      confState: emptyConfState,
      prevIndex: 0,
      prevTerm: 0,
      entries: [],
      applied: 0,
      ...initialState,
    },
    snapshot: () => null,
  };
}

function batch(...values: string[]): EntryBatch {
  const parts = values.map((value) => text.encode(value));
  const ends = new Uint32Array(parts.length);
  let end = 0;
  parts.forEach((part, i) => (ends[i] = end += part.length));
  const bytes = new Uint8Array(Buffer.concat(parts));
  return new EntryBatch({ term: 0, firstIndex: 0, types: new Uint8Array(parts.length), ends, bytes });
}

const bootstrapEntry = EntryBatch.single({
  term: 1,
  index: 1,
  type: EntryType.ConfChange,
  data: text.encode("not read by raft"),
});

/** A disk and a state machine that do everything at once when told. */
class Host {
  readonly node: RawNode;
  hardState: HardState | null = null;
  readonly log: EntryBatch[] = [];
  readonly applied: string[] = [];
  readonly appends: Message[] = [];
  readonly applies: Message[] = [];

  constructor(node: RawNode) {
    this.node = node;
  }

  take(): Ready {
    const ready = this.node.ready();
    if (ready.append !== null) this.appends.push(ready.append);
    if (ready.apply !== null) this.applies.push(ready.apply);
    return ready;
  }

  writeNext(): void {
    const m = this.appends.shift()!;
    if (m.term > 0) this.hardState = { term: m.term, vote: m.vote, commit: m.commit };
    this.log.push(...m.entries);
    for (const response of m.responses) assert.equal(this.node.stepStorageResponse(response), "ok");
  }

  applyNext(): void {
    const m = this.applies.shift()!;
    for (const b of m.entries) {
      for (let index = b.firstIndex; index <= b.lastIndex; index++) {
        if (b.typeOf(index) === EntryType.Normal) this.applied.push(new TextDecoder().decode(b.dataOf(index)));
        else this.#applyConfChange(index);
      }
    }
    for (const response of m.responses) assert.equal(this.node.stepStorageResponse(response), "ok");
  }

  #applyConfChange(index: number): void {
    const changes = [{ type: ConfChangeType.AddNode, nodeId: id }];
    this.node.applyConfChange({ transition: ConfChangeTransition.Auto, changes }, index);
  }

  settle(): void {
    while (this.node.hasReady() || this.appends.length > 0 || this.applies.length > 0) {
      if (this.node.hasReady()) this.take();
      if (this.appends.length > 0) this.writeNext();
      if (this.applies.length > 0) this.applyNext();
    }
  }
}

/** A new cluster of one, elected, with everything so far applied. */
function started(): Host {
  const host = new Host(new RawNode(config()));
  host.node.bootstrap(bootstrapEntry, [id]);
  host.settle();
  host.node.campaign();
  host.settle();
  return host;
}

test("first start: etcd's first records, then a leader of term 2", () => {
  const host = new Host(new RawNode(config()));
  host.node.bootstrap(bootstrapEntry, [id]);
  const first = host.take();
  assert.deepEqual(first.hardState, { term: 1, vote: none, commit: 1 });
  assert.deepEqual(first.entries, [bootstrapEntry]);
  assert.equal(first.committed.length, 0, "not durable yet, so not applied");
  host.settle();
  host.node.campaign();
  const campaign = host.take();
  assert.equal(host.node.role, Role.PreCandidate);
  assert.deepEqual(
    campaign.append?.responses.map((m) => m.type),
    [MessageType.PreVoteResp],
  );
  host.writeNext();
  assert.equal(host.node.role, Role.Candidate);
  const vote = host.take();
  assert.deepEqual(vote.hardState, { term: 2, vote: id, commit: 1 });
  assert.equal(host.node.role, Role.Candidate, "its own vote counts when it is durable (§3.8)");
  host.settle();
  assert.equal(host.node.role, Role.Leader);
  assert.equal(host.node.commitIndex, 2);
  assert.deepEqual(host.hardState, { term: 2, vote: id, commit: 2 });
  assert.deepEqual(host.applied, [""]);
});

test("a time-out elects it without being told", () => {
  const host = new Host(new RawNode(config()));
  host.node.bootstrap(bootstrapEntry, [id]);
  host.settle();
  for (let i = 0; i < 19; i++) host.node.tick();
  host.settle();
  assert.equal(host.node.role, Role.Leader);
});

test("it does not campaign before the configuration changes that are committed are applied", () => {
  const host = new Host(new RawNode(config()));
  host.node.bootstrap(bootstrapEntry, [id]);
  host.take();
  host.writeNext();
  host.node.campaign();
  assert.equal(host.node.role, Role.Follower);
});

test("a proposal is committed when it is durable, and shares the proposer's bytes", () => {
  const host = started();
  const proposal = batch("a", "bb", "ccc");
  assert.equal(host.node.propose(proposal), "ok");
  const ready = host.take();
  assert.equal(ready.mustSync, true);
  assert.equal(ready.entries.length, 1);
  assert.equal(ready.entries[0]!.bytes, proposal.bytes);
  assert.deepEqual([ready.entries[0]!.term, ready.entries[0]!.firstIndex], [2, 3]);
  assert.equal(host.node.commitIndex, 2);
  host.writeNext();
  assert.equal(host.node.commitIndex, 5);
  const committed = host.take();
  assert.equal(committed.mustSync, false, "a commit index alone needs no fdatasync");
  assert.equal(committed.append?.responses.length, 0);
  assert.equal(committed.apply?.entries[0]?.bytes, proposal.bytes);
  host.settle();
  assert.deepEqual(host.applied, ["", "a", "bb", "ccc"]);
  assert.equal(host.node.appliedIndex, 5);
});

test("writes, fsyncs and applies overlap (thesis §10.2.1)", () => {
  const host = started();
  host.node.propose(batch("a"));
  host.take();
  host.node.propose(batch("b"));
  host.take();
  host.node.propose(batch("c", "d"));
  host.take();
  assert.equal(host.appends.length, 3);
  host.writeNext();
  host.writeNext();
  host.take();
  assert.equal(host.node.commitIndex, 4);
  assert.equal(host.applies.length, 1);
  assert.equal(entryCount(host.applies[0]!.entries), 2);
  host.settle();
  assert.deepEqual(host.applied, ["", "a", "b", "c", "d"]);
});

test("a read is answered at once at the commit index", () => {
  const host = started();
  const context = text.encode("read 1");
  host.node.readIndex(context);
  const ready = host.take();
  assert.deepEqual(ready.readStates, [{ index: 2, context }]);
  assert.equal(ready.append, null);
});

test("a restarted leader answers no read before its first commit, so that acknowledged writes are seen", () => {
  // Entries 3 and 4 were acknowledged; the commit index on disk is older.
  const entries = [bootstrapEntry, batch("").at(2, 2), batch("x", "y").at(2, 3)];
  const confState = { ...emptyConfState, voters: [id] };
  const hardState = { term: 2, vote: id, commit: 2 };
  const host = new Host(new RawNode(config({ hardState, confState, entries, applied: 2 })));
  host.node.campaign();
  while (host.node.role !== Role.Leader) {
    if (host.node.hasReady()) host.take();
    if (host.appends.length > 0) host.writeNext();
  }
  host.node.readIndex(text.encode("r"));
  assert.deepEqual(host.take().readStates, []);
  host.writeNext();
  assert.deepEqual(host.take().readStates, [{ index: 5, context: text.encode("r") }]);
  host.settle();
  assert.deepEqual(host.applied, ["x", "y", ""]);
});

test("a restart applies only what the state machine does not hold", () => {
  const entries = [bootstrapEntry, batch("").at(2, 2), batch("x", "y", "z").at(2, 3)];
  const confState = { ...emptyConfState, voters: [id] };
  const hardState = { term: 2, vote: id, commit: 2 };
  // The state machine is ahead of the commit index on disk: what it holds was committed.
  const host = new Host(new RawNode(config({ hardState, confState, entries, applied: 4 })));
  assert.equal(host.node.commitIndex, 4);
  host.settle();
  assert.deepEqual(host.applied, []);
  host.node.campaign();
  host.settle();
  assert.deepEqual(host.applied, ["z", ""]);
  assert.equal(host.node.term, 3);
});

test("state from disk that cannot be is refused with a typed error", () => {
  const confState = { ...emptyConfState, voters: [id] };
  const lost = { hardState: { term: 2, vote: id, commit: 9 }, confState, entries: [bootstrapEntry] };
  assert.throws(() => new RawNode(config(lost)), RaftStateError);
  assert.throws(() => new RawNode(config({ confState, entries: [bootstrapEntry], applied: 2 })), RaftStateError);
  assert.throws(() => new RawNode(config({ confState, entries: [batch("a").at(1, 2)] })), RaftStateError);
  const back = [batch("a").at(2, 1), batch("a").at(1, 2)];
  assert.throws(() => new RawNode(config({ confState, entries: back })), RaftStateError);
});

test("a config that cannot work is refused", () => {
  assert.throws(() => new RawNode({ ...config(), id: 0n }), RaftConfigError);
  assert.throws(() => new RawNode({ ...config(), electionTicks: 1 }), RaftConfigError);
});

test("a configuration change is proposed as an entry and only one at a time (thesis §4.1)", () => {
  const host = started();
  const change = Uint8Array.of(0x10, 0, 0x18, 9);
  assert.equal(host.node.proposeConfChange(EntryType.ConfChange, change), "ok");
  assert.equal(host.node.proposeConfChange(EntryType.ConfChange, change), "ok");
  const { entries } = host.take();
  assert.deepEqual(
    entries.map((b) => [b.types[0], b.bytes.length]),
    [
      [EntryType.ConfChange, 4],
      [EntryType.Normal, 0],
    ],
  );
});

test("the log in memory ends where it was compacted", () => {
  const host = started();
  for (let i = 0; i < 10; i++) {
    host.node.propose(batch(`${i}`, `${i}`));
    host.settle();
  }
  host.node.compact(9);
  assert.equal(host.node.firstIndex, 10);
  assert.equal(host.node.termOf(9), 2);
  assert.equal(host.node.termOf(8), 0);
  assert.equal(host.node.lastIndex, 22);
});
