/**
 * One run: members, network, clients and faults on one timeline, all from one scenario. First anything may fail; then
 * everything heals, and what was asked for must finish (liveness); in the end all members must be equal and the
 * clients' history linearizable.
 */
import { makeConfig, type Config, type OptionName } from "../../src/config/index.js";
import { clusterIdOf, memberIdOf, type Member } from "../../src/membership/index.js";
import type { Message, StepResult } from "../../src/raft/index.js";
import { smallBuckets } from "../../src/storage/backend/index.js";
import { checkAllKeys } from "./all-keys.js";
import { Chance } from "./chance.js";
import { Checker, SimulationFailure } from "./checker.js";
import { Clients } from "./clients.js";
import { FaultInjector } from "./faults.js";
import { Happened } from "./happened.js";
import { checkKvHistory, describeCall, type KvCall } from "./kv-model.js";
import { LeaseChecks } from "./lease-checks.js";
import { LeaseClients } from "./lease-clients.js";
import type { Call } from "./linearizability.js";
import { goodManner, SimulatedMember } from "./member.js";
import { Network } from "./network.js";
import { Operator } from "./operator.js";
import type { Scenario } from "./scenario.js";
import { wholeDigest } from "./state-digest.js";
import { Timeline } from "./timeline.js";
import type { Trace } from "./trace.js";
import { WatchClients } from "./watch-clients.js";

/** What may become of a message between honest members. */
const harmless: ReadonlySet<StepResult> = new Set(["ok", "unknownPeer", "noLeader", "notMember", "leaderTransfer"]);

/** So long after everything has healed, requests must have ended; etcd's own limit of them is 7 s. */
const finishMs = 30_000;
/** What clients could not do in an outage they do after it, unless it is older than this: an hour's would not finish. */
const backlogMs = 10_000;
/** Whoever was down when everything healed has started after this. */
const startedMs = 100;
/** A new write succeeds within this, at every member. */
const writeMs = 30_000;
/** Watchers have all events within this, members have removed what is compacted. */
const followMs = 15_000;
/** A lease ends so long after its time. */
const endMs = 5_000;
/** All members have applied everything within this. */
const convergeMs = 20_000;

/** What a run comes to. */
export interface Outcome {
  readonly failure: SimulationFailure | null;
  readonly simulatedMs: number;
  readonly events: number;
  readonly counts: Readonly<Record<string, number>>;
  /** What the faults have done, by kind. */
  readonly happened: Readonly<Record<string, number>>;
}

export class World {
  readonly scenario: Scenario;
  readonly timeline = new Timeline();
  readonly config: Config;
  readonly founders: readonly Member[];
  /** In the order in which they came. */
  readonly members: SimulatedMember[];
  readonly network = new Network(this);
  readonly checker: Checker;
  readonly clients: Clients;
  readonly operator = new Operator(this);
  readonly leaseChecks = new LeaseChecks(this);
  readonly leaseClients = new LeaseClients(this);
  readonly watchClients = new WatchClients(this);
  readonly netChance: Chance;
  readonly diskChance: Chance;
  readonly threadChance: Chance;
  readonly raftChance: Chance;
  readonly faultChance: Chance;
  readonly trace: Trace | null;
  readonly #faults: FaultInjector;
  readonly happened = new Happened();
  readonly #byId = new Map<bigint, SimulatedMember>();
  /** The faults are over. */
  healed = false;
  crashes = 0;
  refusals = 0;
  /** Snapshots that have become a member's state. */
  installs = 0;
  #failure: SimulationFailure | null = null;
  #undecided = 0;

  constructor(scenario: Scenario, trace: Trace | null = null) {
    this.scenario = scenario;
    this.trace = trace;
    const streams = [0, 1, 2, 3, 4].map((stream) => new Chance(scenario.seed, stream));
    [this.netChance, this.diskChance, this.threadChance, this.raftChance, this.faultChance] = streams as [
      Chance,
      Chance,
      Chance,
      Chance,
      Chance,
    ];
    this.config = configOf(scenario);
    this.founders = Array.from({ length: scenario.members }, (_, i) => founder(i));
    const clusterId = clusterIdOf(this.founders.map(({ id }) => id));
    this.members = this.founders.map(({ id, name }) => new SimulatedMember(this, name, { memberId: id, clusterId }));
    for (const member of this.members) this.#byId.set(member.id, member);
    this.checker = new Checker(() => this.members);
    this.checker.bootstrapIndex = this.founders.length;
    this.checker.proposed = ({ id }, entry) =>
      this.leaseChecks.proposed(this.memberOf(id)!, entry, this.checker.leaderOf(entry.term));
    this.checker.committed = (index, term) => this.leaseChecks.committed(index, term);
    this.network.weather = scenario.weather;
    this.clients = new Clients(this, scenario.operations);
    this.#faults = new FaultInjector(this);
    if (trace !== null) trace.now = () => this.timeline.now;
  }

  /** A member comes to the cluster. */
  join(member: SimulatedMember): void {
    this.members.push(member);
    this.#byId.set(member.id, member);
    member.start();
  }

  memberOf(id: bigint): SimulatedMember | undefined {
    return this.#byId.get(id);
  }

  /** Who leads in the newest term; the first member while nobody does. */
  get leader(): SimulatedMember {
    let found = this.members[0]!;
    for (const member of this.members) {
      const core = member.process?.core;
      if (core?.isLeader === true && core.term > (found.process?.core?.isLeader === true ? found.process.core.term : 0))
        found = member;
    }
    return found;
  }

  /** A promise is broken: the run is over. */
  fail(kind: string, detail: string): never {
    this.#failure ??= new SimulationFailure(kind, detail);
    throw this.#failure;
  }

  /** Something threw in a member. */
  failed(error: unknown, where: string): void {
    if (this.#failure !== null) return;
    if (error instanceof SimulationFailure) this.#failure = error;
    else {
      const { message, stack } = error instanceof Error ? error : new Error(String(error));
      this.#failure = new SimulationFailure(`panic: ${message}`, `${where}: ${stack ?? ""}`);
    }
  }

  /** A message was taken by a member, or not. */
  received(member: SimulatedMember, message: Message, result: StepResult): void {
    if (!harmless.has(result))
      this.fail("honest messages are taken", `${member.name}: ${result} for type ${message.type}`);
  }

  /** Runs to the end. Nothing else may happen in this process meanwhile. */
  async run(): Promise<Outcome> {
    try {
      await this.#runAll();
    } catch (error) {
      this.failed(error, "run");
    }
    this.trace?.note(null, "end", this.#failure?.message ?? "");
    for (const member of this.members) member.process?.kill();
    const { timeline, clients, network, crashes, refusals, checker } = this;
    const counts = {
      ...clients.counts,
      changes: this.operator.done,
      refusedChanges: this.operator.refused,
      messages: network.sent,
      snapshots: network.snapshots,
      installs: this.installs,
      lost: network.lost,
      crashes,
      refusals,
      elections: checker.elections,
      entries: checker.committedIndex,
      undecided: this.#undecided,
      ...this.leaseClients.counts,
      renewed: this.leaseChecks.renewed,
      expired: this.leaseChecks.expired,
      checkpoints: this.leaseChecks.checkpoints,
      ...this.watchClients.counts,
    };
    const happened = this.happened.counts;
    return { failure: this.#failure, simulatedMs: timeline.now, events: timeline.count, counts, happened };
  }

  async #runAll(): Promise<void> {
    // From here on this is a promise's work itself, so that `settled` waits for all of that, whoever has called.
    await settled();
    for (const member of this.members) member.start();
    this.clients.start();
    const { leases = [], watches = [], compactions = [] } = this.scenario;
    this.leaseClients.schedule(leases, compactions);
    this.watchClients.schedule(watches);
    this.#faults.schedule();
    await this.#until(this.scenario.durationMs, () => false);
    this.#heal();
    // Those that were down may know of members that nobody else does.
    await this.#until(this.timeline.now + startedMs, () => false);
    await this.#expect("liveness: requests finish", finishMs, () => this.clients.done && this.#callsAnswered());
    await this.#writeEverywhere();
    await this.#leasesEnd();
    await this.#expect("liveness: watchers see everything", followMs, () => this.watchClients.done);
    await this.#expect("liveness: members converge", convergeMs, () => this.#converged());
    await this.#expect("equal state", followMs, () => this.#areEqual());
    await this.#checkKeys();
    await this.#checkCalm();
    this.#checkHistory();
  }

  /** Lets time pass until it is `time` or `done`. */
  async #until(time: number, done: () => boolean): Promise<boolean> {
    const { timeline } = this;
    while (timeline.nextAt <= time) {
      timeline.step();
      await settled();
      if (this.#failure !== null) throw this.#failure;
      if (done()) return true;
    }
    timeline.skipTo(time);
    return done();
  }

  async #expect(kind: string, withinMs: number, done: () => boolean): Promise<void> {
    if (done() || (await this.#until(this.timeline.now + withinMs, done))) return;
    this.fail(kind, `not within ${withinMs} ms after everything has healed: ${this.#describe()}`);
  }

  #describe(): string {
    const watches = this.watchClients.describe();
    const members = this.members
      .map(({ name, process, refused, up }) => {
        if (refused) return `${name} refused`;
        if (process === null || !up) return `${name} down`;
        const { term, commitIndex, leader } = process.core!;
        const open = `${process.openCalls} calls open`;
        return `${name} term ${term} leader ${this.memberOf(leader)?.name ?? "none"} commit ${commitIndex} applied ${process.appliedIndex} ${open}`;
      })
      .join("; ");
    return watches === "" ? members : `${members}; ${watches}`;
  }

  /** All faults end; who can, comes back. */
  #heal(): void {
    this.trace?.note(null, "heal");
    this.healed = true;
    this.#faults.end();
    this.network.heal();
    this.clients.leaveOut(this.timeline.now - backlogMs);
    this.operator.lookAfter();
    for (const member of this.members) {
      Object.assign(member.manner, goodManner);
      member.disk.misdirectNext = false;
      member.applyTurnMs = 0.05;
      member.clock.changeRate(this.timeline.now, 1);
      member.armed = null;
      member.process?.main.resume();
      member.process?.applier.resume();
      member.start();
    }
  }

  #callsAnswered(): boolean {
    return this.members.every(({ process }) => process === null || process.openCalls === 0);
  }

  async #writeEverywhere(): Promise<void> {
    const missing = new Set(this.members);
    this.members.forEach((member, i) => this.#writeAt(i, 0, () => missing.delete(member)));
    // A member may be removed yet by a change that was under way.
    const isMissing = (member: SimulatedMember): boolean => missing.has(member) && this.#takesPart(member);
    const withinMs = writeMs + this.#backlog() * goodManner.flushMs;
    await this.#expect("liveness: a new write succeeds", withinMs, () => !this.members.some(isMissing));
  }

  /**
   * Entries that some member has to apply yet. Where the limit on what is being applied takes one at a time, each waits
   * for apply's word that the one before it is done, which comes with every flush.
   */
  #backlog(): number {
    const { committedIndex } = this.checker;
    const behind = (member: SimulatedMember): number => committedIndex - (member.process?.appliedIndex ?? 0);
    return Math.max(0, ...this.members.filter((member) => this.#takesPart(member)).map(behind));
  }

  #writeAt(member: number, attempt: number, done: () => void): void {
    if (!this.#takesPart(this.members[member]!)) return;
    const value = `final-${member}-${attempt}`;
    const fields = { atMs: 0, client: -1, keys: [`final-${member}`], timeoutMs: 8000, needsLeader: member % 2 === 1 };
    this.clients.perform({ ...fields, member, kind: "put", value }, (success) => {
      if (success) done();
      else this.timeline.after(50, () => this.#writeAt(member, attempt + 1, done));
    });
  }

  #converged(): boolean {
    const { committedIndex } = this.checker;
    return this.members.every((member) => {
      const { up, process, backend } = member;
      if (!this.#takesPart(member)) return true;
      return up && process!.appliedIndex === committedIndex && backend.flushedIndex === committedIndex;
    });
  }

  /** Neither damaged nor removed. */
  #takesPart({ refused, removed, id }: SimulatedMember): boolean {
    if (refused || removed) return false;
    return this.members.every(({ process }) => process?.core?.cluster.view.removed.has(id) !== true);
  }

  /** All follow one who takes part: a removal that came late may have taken the leader itself away. */
  #agreeOnLeader(): boolean {
    const active = this.members.filter((member) => this.#takesPart(member));
    const leaders = new Set(active.map(({ process }) => process?.core?.leader ?? 0n));
    return active.length === 0 || (leaders.size === 1 && active.some(({ id }) => leaders.has(id)));
  }

  /** While nothing fails, the leader stays. */
  async #checkCalm(): Promise<void> {
    await this.#expect("liveness: members converge", convergeMs, () => this.#agreeOnLeader());
    // The newest term alone: a member that was taken late starts meanwhile.
    const newestTerm = (): number => {
      const members = this.members.filter((member) => this.#takesPart(member));
      return Math.max(...members.map(({ process }) => process?.core?.term ?? 0));
    };
    const before = newestTerm();
    await this.#until(this.timeline.now + 3 * this.config.electionTimeout, () => false);
    const after = newestTerm();
    if (after !== before) this.fail("liveness: the leader stays", `term ${before}, then ${after}`);
  }

  /** All that is stored is equal on all members, byte by byte, once each has removed what is compacted. */
  #areEqual(): boolean {
    // Whoever reads all of a damaged store, as HashKV does, meets the damage.
    for (const member of this.members) if (member.storeDamage !== null && this.#takesPart(member)) readAll(member);
    const [first, ...others] = this.members.filter((member) => this.#takesPart(member));
    if (first === undefined) return true;
    const expected = wholeDigest(first.backend, smallBuckets);
    return others.every(
      (other) =>
        describeMembers(other) === describeMembers(first) && wholeDigest(other.backend, smallBuckets) === expected,
    );
  }

  async #checkKeys(): Promise<void> {
    let isDone = false;
    const active = this.members.filter((member) => this.#takesPart(member));
    checkAllKeys(this, active, () => (isDone = true));
    await this.#expect("liveness: all keys are read", followMs, () => isDone);
  }

  /** Nobody renews any more: all leases end in their time. */
  async #leasesEnd(): Promise<void> {
    const { leases } = this.checker.oracle;
    const ttlMax = Math.max(0, ...[...leases.values()].map(({ ttl }) => ttl));
    const withinMs = 1000 * ttlMax + 2 * this.config.electionTimeout + endMs;
    await this.#expect("liveness: leases end", withinMs, () => leases.size === 0);
  }

  #checkHistory(): void {
    const verdict = checkKvHistory(this.clients.history);
    if (verdict.result === "undecided") this.#undecided++;
    if (verdict.result !== "violation") return;
    const show = (calls: readonly Call<KvCall>[]): string => calls.slice(-5).map(describeCall).join("; ");
    this.fail("linearizability", `after ${show(verdict.order)} none of ${show(verdict.stuck)} can be next`);
  }
}

/** What promises and microtasks do belongs to the event that set them off: resolves when none is left. */
function settled(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}

function readAll(member: SimulatedMember): void {
  try {
    wholeDigest(member.backend, smallBuckets);
  } catch (error) {
    member.processFailed(member.process!, error);
  }
}

/** Who belongs to the cluster, as a member's main thread has it. */
function describeMembers({ process }: SimulatedMember): string {
  const { members } = process!.core!.cluster.view;
  return [...members.values()].map(({ id, isLearner, peerURLs }) => `${id} ${isLearner} ${peerURLs.join()}`).join("; ");
}

function founder(i: number): Member {
  const peerURLs = [`http://m${i}:2380`];
  return { id: memberIdOf(peerURLs, "simulation"), name: `m${i}`, peerURLs, clientURLs: [], isLearner: false };
}

function configOf(scenario: Scenario): Config {
  const given: [OptionName, unknown][] = [
    ["heartbeat-interval", scenario.heartbeatMs],
    ["election-timeout", scenario.electionMs],
    ["pre-vote", scenario.preVote],
    ["strict-reconfig-check", scenario.strict ?? true],
    ["snapshot-count", scenario.snapshotCount],
    ["snapshot-catchup-entries", scenario.catchupEntries],
    ["auto-compaction-mode", scenario.autoCompaction?.[0] ?? "periodic"],
    ["auto-compaction-retention", scenario.autoCompaction?.[1] ?? "0"],
    ["feature-gates", scenario.leaseCheckpointMs === undefined ? "" : "LeaseCheckpoint=true"],
  ];
  return makeConfig(new Map(given));
}
