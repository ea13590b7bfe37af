/**
 * The operator: changes who belongs to the cluster while everything else goes on. New members start as soon as the
 * cluster has taken them, removed ones must stop and are refused when they come back.
 */
import type { ConfChangeOutcome } from "../../src/server/index.js";
import type { Member } from "../../src/membership/index.js";
import { SimulatedMember } from "./member.js";
import type { MemberProcess } from "./process.js";
import type { Fault } from "./scenario.js";
import type { World } from "./world.js";

export type Change = Extract<
  Fault,
  { kind: "addMember" | "removeMember" | "updateMember" | "promoteMember" | "moveLeader" | "rejoin" }
>;

/** A request that is not answered is given up. */
const giveUpMs = 3000;
/** How often the operator looks who belongs to the cluster, once everything has healed. */
const lookMs = 100;
/** Never more members than Raft is run with here. */
const membersMax = 7;

/** A learner lags when it has just been added: its promotion is asked for again, so often. */
const notInSync = "etcdserver: can only promote a learner member which is in sync with leader";
const tryAgainMs = 300;
const triesMax = 5;

/** What a change of membership may be answered with. */
const refusals: ReadonlySet<string> = new Set([
  "etcdserver: re-configuration failed due to not enough started members",
  "etcdserver: unhealthy cluster",
  "etcdserver: too many learner members in cluster",
  "etcdserver: can only promote a learner member",
  notInSync,
  "etcdserver: member not found",
  "etcdserver: Peer URLs already exists",
  "etcdserver: no leader",
  "etcdserver: not leader",
  "etcdserver: bad leader transferee",
  "etcdserver: request timed out",
  "etcdserver: request timed out, waiting for the applied index took too long",
  "raft proposal dropped",
]);

export class Operator {
  readonly #world: World;
  /** Numbers of members, so that none is used twice. */
  #added = 0;
  done = 0;
  refused = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** Does what a fault of the scenario says, at the member that it names. */
  change(change: Change, at: SimulatedMember): void {
    if (change.kind === "rejoin") {
      const member = this.#world.members.find(({ removed }) => removed);
      if (member !== undefined) this.#world.happened.note(change.kind);
      member?.rejoin();
      return;
    }
    const { process } = at;
    process?.main.run(0, () => {
      if (process.core !== null) this.#request(change, process);
    });
  }

  /**
   * From now on all that belong to the cluster run. A change whose answer was lost may still wait in the log, to be
   * committed or applied at any time; as soon as a second voter is, the first can do nothing without it.
   */
  lookAfter(): void {
    this.#startMissing();
    this.#world.timeline.after(lookMs, () => this.lookAfter());
  }

  /** Members that the cluster has taken, but whose operator never heard of it, start, too. */
  #startMissing(): void {
    const known = this.#world.members.map(({ process }) => process?.core);
    const newest = known.reduce((a, b) => ((b?.commitIndex ?? 0) > (a?.commitIndex ?? 0) ? b : a), null);
    const view = newest?.cluster.view;
    for (const member of view?.members.values() ?? []) this.#start(member);
    // One that sends nothing would not be told; the real transport's connections would be refused.
    for (const member of this.#world.members) if (view?.removed.has(member.id) === true) member.leave();
  }

  #request(change: Exclude<Change, { kind: "rejoin" }>, process: MemberProcess, triesLeft = triesMax): void {
    const { reconfiguration, transfer, view } = process.core!.cluster;
    const target = "target" in change ? this.#targetOf(change, view.members.values()) : 0n;
    let over = false;
    const done = (outcome: ConfChangeOutcome): void => {
      over = true;
      this.#ended(change, target, outcome);
      const mayTryAgain = outcome.error?.message === notInSync && triesLeft > 0;
      if (mayTryAgain) process.main.run(tryAgainMs, () => this.#request(change, process, triesLeft - 1));
    };
    const begin = (): (() => void) => {
      switch (change.kind) {
        case "addMember": {
          if (view.members.size >= membersMax) return () => {};
          const urls = [`http://n${this.#added++}:2380`];
          return reconfiguration.add(urls, change.learner, (outcome, added) => {
            done(outcome);
            if (outcome.error === null) this.#start(added!);
          });
        }
        case "removeMember":
          return reconfiguration.remove(target, done);
        case "updateMember":
          return reconfiguration.update(target, [`http://u${change.atMs}:2380`], done);
        case "promoteMember":
          return reconfiguration.promote(target, done);
        case "moveLeader":
          return transfer.move(target, (error) =>
            done({ members: error === null ? [] : null, error } as ConfChangeOutcome),
          );
      }
    };
    const giveUp = begin();
    process.main.run(giveUpMs, () => {
      if (!over) giveUp();
    });
  }

  /** Whom an operator promotes is a learner, if there is one. */
  #targetOf({ kind, target }: { kind: Fault["kind"]; target: number }, known: Iterable<Member>): bigint {
    const { members } = this.#world;
    const learners = [...known].filter(({ isLearner }) => isLearner);
    const candidates = kind === "promoteMember" && learners.length > 0 ? learners : members;
    return candidates[target % candidates.length]!.id;
  }

  #ended(change: Change, target: bigint, { members, error }: ConfChangeOutcome): void {
    this.#world.trace?.note(null, "change", `${change.kind}: ${error?.message ?? "done"}`);
    if (error !== null) {
      this.refused++;
      if (!refusals.has(error.message)) this.#world.fail("etcd's refusals", `${change.kind}: ${error.message}`);
      return;
    }
    this.done++;
    this.#world.happened.note(change.kind);
    const found = members.find(({ id }) => id === target);
    const isRight =
      change.kind === "removeMember"
        ? found === undefined
        : change.kind === "promoteMember"
          ? found?.isLearner === false
          : change.kind === "updateMember"
            ? found?.peerURLs.length === 1
            : true;
    if (!isRight) this.#world.fail("changes take effect", `${change.kind} of ${target.toString(16)}`);
  }

  #start({ id, peerURLs }: Member): void {
    const world = this.#world;
    if (world.memberOf(id) !== undefined) return;
    const name = /\/\/([^:]*)/.exec(peerURLs[0]!)![1]!;
    const { clusterId } = world.members[0]!.identity;
    world.join(new SimulatedMember(world, name, { memberId: id, clusterId }, true));
  }
}
