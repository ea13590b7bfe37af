/**
 * Several members with asynchronous storage, a network in memory and disks that survive a crash. Every step is the
 * caller's choice, or a seed's. What Raft promises is checked whenever something is applied, elected or read.
 */
import assert from "node:assert/strict";
import { EntryBatch, EntryType, SeededPrng, type Prng } from "../../src/base/index.js";
import {
  ConfChangeError,
  ConfChangeTransition,
  emptyConfState,
  localAppendThread,
  localApplyThread,
  MessageType,
  none,
  RawNode,
  Role,
  roleNames,
  type ConfState,
  type HardState,
  type Message,
  type RawNodeConfig,
  type StepResult,
} from "../../src/raft/index.js";
import { decodeConfChange } from "./conf-change-text.js";
import { describeProgress } from "./describe.js";

/** What may become of a message between honest members. */
const harmless: ReadonlySet<StepResult> = new Set(["ok", "unknownPeer", "noLeader", "notMember", "leaderTransfer"]);

/** What a member's disk holds. */
interface Disk {
  hardState: HardState | null;
  prevIndex: number;
  prevTerm: number;
  entries: EntryBatch[];
}

/** The state machine at some index; only the configuration and the index matter. */
interface Applied {
  readonly index: number;
  readonly term: number;
  readonly confState: ConfState;
}

export interface ClusterOptions {
  readonly voters: readonly bigint[];
  readonly learners?: readonly bigint[];
  readonly config?: Partial<RawNodeConfig>;
  readonly seed?: number;
  /** Logs that members start with, by ID: the term of each entry. Nothing is known to be committed. */
  readonly logs?: ReadonlyMap<bigint, readonly number[]>;
}

export class ClusterMember {
  readonly id: bigint;
  node: RawNode;
  up = true;
  readonly appends: Message[] = [];
  readonly applies: Message[] = [];
  readonly disk: Disk;
  /** Ascending; the last is the present state, the first what would be left after the worst crash. */
  history: Applied[];
  /** Reads by context: what was already applied anywhere when they were asked for. */
  readonly reads = new Map<string, number>();
  readonly answered = new Set<string>();
  readonly #make: (member: ClusterMember) => RawNode;

  constructor(id: bigint, start: { state: Applied; log: readonly number[] }, make: (m: ClusterMember) => RawNode) {
    const { state, log } = start;
    this.id = id;
    this.disk = { hardState: null, prevIndex: state.index, prevTerm: state.term, entries: logOf(log) };
    if (log.length > 0) this.disk.hardState = { term: log.at(-1)!, vote: none, commit: 0 };
    this.history = [state];
    this.#make = make;
    this.node = make(this);
  }

  get state(): Applied {
    return this.history.at(-1)!;
  }

  /** Unwritten work is lost; the state machine falls back to some state that it had. */
  crash(prng: Prng): void {
    this.up = false;
    this.appends.length = 0;
    this.applies.length = 0;
    this.history = this.history.slice(0, 1 + prng.below(this.history.length));
    // The commit index is written lazily.
    const { hardState } = this.disk;
    if (hardState !== null && prng.below(2) === 0) {
      this.disk.hardState = { ...hardState, commit: prng.below(hardState.commit + 1) };
    }
  }

  restart(): void {
    this.node = this.#make(this);
    this.up = true;
  }

  /** Forgets older states: the state machine has been flushed up to some of them. */
  flush(prng: Prng): void {
    this.history = this.history.slice(prng.below(this.history.length));
  }

  /** Cuts the log up to what the state machine cannot lose. */
  compact(): void {
    const index = this.history[0]!.index;
    if (index <= this.disk.prevIndex || index < this.node.firstIndex) return;
    this.node.compact(index);
    this.disk.prevTerm = this.history[0]!.term;
    this.disk.prevIndex = index;
    this.disk.entries = cut(this.disk.entries, index + 1, Number.POSITIVE_INFINITY);
  }
}

export class Cluster {
  readonly members: ClusterMember[] = [];
  network: Message[] = [];
  readonly prng: Prng;
  /** Which messages are lost. */
  loses: (m: Message) => boolean = () => false;
  /** Every entry that was applied anywhere, by index. */
  readonly applied = new Map<number, string>();
  readonly #leaders = new Map<number, bigint>();
  readonly #options: ClusterOptions;
  appliedMax = 0;
  readsAnswered = 0;
  snapshotsInstalled = 0;

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.prng = new SeededPrng(options.seed ?? 1);
    const { voters, learners = [] } = options;
    for (const id of [...voters, ...learners]) this.add(id);
  }

  /** A member that starts where the log does; if it is not in the first configuration, a change must add it. */
  add(id: bigint): ClusterMember {
    const { voters, learners = [] } = this.#options;
    const state = { index: 0, term: 0, confState: { ...emptyConfState, voters, learners } };
    const log = this.#options.logs?.get(id) ?? [];
    const member = new ClusterMember(id, { state, log }, (m) => this.#make(m));
    this.members.push(member);
    return member;
  }

  #make(member: ClusterMember): RawNode {
    const { hardState, prevIndex, prevTerm, entries } = member.disk;
    const { index: applied, confState } = member.state;
    return new RawNode({
      id: member.id,
      electionTicks: 10,
      heartbeatTicks: 1,
      preVote: true,
      checkQuorum: true,
      maxSizePerMessage: 200,
      maxInflightMessages: 8,
      maxUncommittedSize: Number.POSITIVE_INFINITY,
      maxApplyingSize: 400,
      asyncStorageWrites: true,
      prng: this.prng,
      initialState: { hardState, confState, prevIndex, prevTerm, entries: [...entries], applied },
      snapshot: () => this.#snapshotOf(member),
      ...this.#options.config,
    });
  }

  #snapshotOf(member: ClusterMember): ReturnType<RawNodeConfig["snapshot"]> {
    return { ...member.state, data: new Uint8Array(0) };
  }

  member(id: bigint): ClusterMember {
    return this.members.find((each) => each.id === id)!;
  }

  node(id: bigint): RawNode {
    return this.member(id).node;
  }

  get leader(): ClusterMember | undefined {
    const leaders = this.members.filter((m) => m.up && m.node.role === Role.Leader);
    return leaders.sort((a, b) => b.node.term - a.node.term)[0];
  }

  tickAll(): void {
    for (const member of this.members) if (member.up) member.node.tick();
  }

  /** Takes one Ready. */
  processReady(member: ClusterMember): void {
    const ready = member.node.ready();
    this.#checkLeader(member);
    for (const m of ready.messages) this.send(m);
    if (ready.append !== null) member.appends.push(ready.append);
    if (ready.apply !== null) member.applies.push(ready.apply);
    for (const { index, context } of ready.readStates) {
      const key = Buffer.from(context).toString();
      const asked = member.reads.get(key);
      assert.ok(asked !== undefined, "answer to a read that was not asked for");
      assert.ok(index >= asked, `stale read: ${index}, but ${asked} was applied when it was asked for (thesis §6.4)`);
      // A request or its answer may have been delivered twice.
      member.answered.add(key);
      this.readsAnswered += 1;
    }
  }

  /** §5.2: at most one leader can be elected in a term. */
  #checkLeader(member: ClusterMember): void {
    if (member.node.role !== Role.Leader) return;
    const known = this.#leaders.get(member.node.term);
    assert.ok(known === undefined || known === member.id, `two leaders in term ${member.node.term} (§5.2)`);
    this.#leaders.set(member.node.term, member.id);
  }

  send(m: Message): void {
    if (this.loses(m)) this.#reportSnapshot(m, false);
    else this.network.push(m);
  }

  /** Loses the message at a position of the network. */
  lose(position: number): void {
    const [m] = this.network.splice(position, 1);
    this.#reportSnapshot(m!, false);
  }

  /** Delivers the message at a position of the network. */
  deliver(position: number): void {
    const [m] = this.network.splice(position, 1);
    const member = this.members.find((each) => each.id === m!.to);
    const up = member !== undefined && member.up;
    if (up) this.#expectTaken(member.node.step(m!));
    this.#reportSnapshot(m!, up);
  }

  /** Snapshots are sent by themselves, and whoever sent one hears how that ended. */
  #reportSnapshot(m: Message, delivered: boolean): void {
    if (m.type !== MessageType.Snap) return;
    const sender = this.member(m.from);
    if (sender.up) sender.node.reportSnapshot(m.to, delivered);
  }

  #expectTaken(result: StepResult): void {
    assert.ok(harmless.has(result), `step: ${result}`);
  }

  processAppend(member: ClusterMember): void {
    const m = member.appends.shift()!;
    const { disk } = member;
    if (m.term > 0) disk.hardState = { term: m.term, vote: m.vote, commit: m.commit };
    if (m.snapshot !== null) {
      const { index, term, confState } = m.snapshot;
      Object.assign(disk, { prevIndex: index, prevTerm: term, entries: [] });
      member.history = [{ index, term, confState }];
      this.snapshotsInstalled += 1;
    }
    if (m.entries.length > 0) {
      disk.entries = [...cut(disk.entries, 0, m.entries[0]!.firstIndex - 1), ...m.entries];
    }
    this.#respond(member, m.responses);
  }

  processApply(member: ClusterMember): void {
    const m = member.applies.shift()!;
    for (const batch of m.entries) {
      for (let index = batch.firstIndex; index <= batch.lastIndex; index++) this.#applyEntry(member, batch, index);
    }
    this.#respond(member, m.responses);
  }

  /** §5.4.3: whoever applies an index applies the same entry. */
  #applyEntry(member: ClusterMember, batch: EntryBatch, index: number): void {
    // A snapshot may have been installed since this was handed out.
    if (index <= member.state.index) return;
    assert.equal(index, member.state.index + 1, "entries are applied in order");
    const type = batch.typeOf(index);
    const data = batch.dataOf(index);
    const text = `${batch.term} ${type} ${Buffer.from(data).toString("latin1")}`;
    const known = this.applied.get(index);
    assert.ok(known === undefined || known === text, `two entries at ${index}: ${known} and ${text} (§5.4.3)`);
    this.applied.set(index, text);
    this.appliedMax = Math.max(this.appliedMax, index);
    let { confState } = member.state;
    if (type !== EntryType.Normal) confState = this.#applyConfChange(member.node, type, data, index);
    member.history.push({ index, term: batch.term, confState });
  }

  #applyConfChange(node: RawNode, type: EntryType, data: Uint8Array, index: number): ConfState {
    try {
      return node.applyConfChange(decodeConfChange(type, data), index);
    } catch (error) {
      if (!(error instanceof ConfChangeError)) throw error;
      const changes = [{ type: 0 as const, nodeId: none }];
      // In a joint configuration even that does not fit; then the configuration just stays.
      if (node.confState.votersOutgoing.length > 0) return node.confState;
      return node.applyConfChange({ transition: ConfChangeTransition.Auto, changes }, index);
    }
  }

  #respond(member: ClusterMember, responses: readonly Message[]): void {
    for (const m of responses) {
      const local = m.from === localAppendThread || m.from === localApplyThread || m.to === member.id;
      if (local) this.#expectTaken(member.node.stepStorageResponse(m));
      else this.send(m);
    }
  }

  /** Works off everything that is to be done, in order, until nothing is left. */
  settle(): void {
    for (let rounds = 0; this.#settleOnce(); rounds++) assert.ok(rounds < 10_000, "never settles");
  }

  #settleOnce(): boolean {
    let busy = this.network.length > 0;
    for (let count = this.network.length; count > 0; count--) this.deliver(0);
    for (const member of this.members) {
      if (!member.up) continue;
      busy ||= member.node.hasReady() || member.appends.length > 0 || member.applies.length > 0;
      if (member.node.hasReady()) this.processReady(member);
      while (member.appends.length > 0) this.processAppend(member);
      while (member.applies.length > 0) this.processApply(member);
    }
    return busy;
  }

  /** Makes `id` stand and lets everything happen. */
  elect(id: bigint): void {
    this.node(id).campaign();
    this.settle();
  }

  propose(id: bigint, ...values: string[]): StepResult {
    return this.node(id).propose(proposal(values));
  }

  read(member: ClusterMember, context: string): void {
    member.reads.set(context, this.appliedMax);
    member.node.readIndex(Buffer.from(context));
  }

  /** One line a member, for failures. */
  describe(): string {
    const lines = this.members.map(({ id, up, node, state }) => {
      const log = `log ${node.firstIndex}..${node.lastIndex} commit ${node.commitIndex} applied ${state.index}`;
      const conf = [node.confState.voters, node.confState.votersOutgoing, node.confState.learners].join(" / ");
      return `${id} ${up ? "up" : "down"} ${roleNames[node.role]} term ${node.term} lead ${node.lead} ${log} conf ${conf}`;
    });
    const leader = this.leader;
    if (leader !== undefined) lines.push(...describeProgress(leader.node.status().progress));
    return lines.join("\n");
  }

  /** §5.3: logs that agree on an entry's term agree on all entries before. */
  checkLogsMatch(): void {
    for (const a of this.members) {
      for (const b of this.members) this.#checkPair(a.node, b.node);
    }
  }

  #checkPair(a: RawNode, b: RawNode): void {
    const first = Math.max(a.firstIndex, b.firstIndex) - 1;
    let agreed = false;
    for (let index = Math.min(a.lastIndex, b.lastIndex); index >= first; index--) {
      const same = a.termOf(index) === b.termOf(index);
      assert.ok(same || !agreed, `logs differ at ${index}, and agree behind it (§5.3)`);
      agreed ||= same;
    }
  }
}

export function proposal(values: readonly string[]): EntryBatch {
  const bytes = new Uint8Array(Buffer.from(values.join("")));
  const ends = new Uint32Array(values.length);
  let end = 0;
  values.forEach((value, i) => (ends[i] = end += Buffer.byteLength(value)));
  return new EntryBatch({ term: 0, firstIndex: 0, types: new Uint8Array(values.length), ends, bytes });
}

/** One entry a term given, with the same data wherever it has the same index and term. */
function logOf(terms: readonly number[]): EntryBatch[] {
  return terms.map((term, i) => proposal([`${term}/${i + 1}`]).at(term, i + 1));
}

function cut(batches: readonly EntryBatch[], first: number, last: number): EntryBatch[] {
  return batches
    .filter((batch) => batch.lastIndex >= first && batch.firstIndex <= last)
    .map((batch) => batch.slice(Math.max(first, batch.firstIndex), Math.min(last, batch.lastIndex)));
}

/** The terms of a log, entry by entry, for comparison. */
export function termsOf(node: RawNode): number[] {
  return Array.from({ length: node.lastIndex - node.firstIndex + 1 }, (_, i) => node.termOf(node.firstIndex + i));
}
