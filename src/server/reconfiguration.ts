/**
 * Changes of membership as clients ask for them: etcd's checks at the member that is asked (strict reconfiguration),
 * then the log. What is only true when the change is applied is checked then, on every member alike.
 * Thread: main.
 */
import {
  ErrLearnerNotReady,
  ErrMemberBadUrls,
  ErrMemberNotEnoughStarted,
  ErrMemberNotFound,
  ErrUnhealthy,
  type EtcdError,
} from "../errors/index.js";
import type { Logger } from "../base/index.js";
import {
  ConfChangeType,
  formatMember,
  formatPromoteContext,
  memberIdOf,
  memberIdText,
  parsePeerUrls,
  readyToAddVoter,
  readyToPromote,
  readyToRemoveVoter,
  type Member,
} from "../membership/index.js";
import type { Barriers } from "./barriers.js";
import type { ClusterView } from "./cluster-view.js";
import type { ConfChangeDone, ConfChangeOutcome, ConfChangeProposal } from "./conf-changes.js";
import type { LeaderCall, LeaderCalls } from "./leader-calls.js";
import { connectedSince } from "./connections.js";
import type { Peers } from "./peers.js";

/** Others count as healthy when they have been connected for so long (etcd's HealthInterval). */
const healthMs = 5000;
/** A learner with so much of the leader's log may become a voter. */
const readyShare = 0.9;

/** Ends the wait for an outcome; the change itself is not withdrawn. */
export type GiveUp = () => void;
const nothingToGiveUp: GiveUp = () => {};

export interface ReconfigurationOptions {
  readonly localId: bigint;
  /** --strict-reconfig-check. */
  readonly strict: boolean;
  readonly view: ClusterView;
  readonly peers: Peers;
  readonly barriers: Barriers;
  readonly leaderCalls: LeaderCalls;
  readonly nowMs: () => number;
  /** Milliseconds since 1970. */
  readonly wallMs: () => number;
  readonly logger: Logger;
  readonly configure: (change: ConfChangeProposal, done: ConfChangeDone) => GiveUp;
  /** What the leader knows each member to have of its log; undefined: this member does not lead. */
  readonly matches: () => ReadonlyMap<bigint, number> | undefined;
}

const refused = (error: EtcdError): ConfChangeOutcome => ({ members: null, error });

export class Reconfiguration {
  readonly #options: ReconfigurationOptions;

  /** Promotions decided here, as the leader; failed ones by their reason. */
  readonly promotions = { succeeded: 0, failed: new Map<string, number>() };

  constructor(options: ReconfigurationOptions) {
    this.#options = options;
  }

  /** Adds a member with the given peer URLs; `done` also gets what it is like. */
  add(
    peerURLs: readonly string[],
    isLearner: boolean,
    done: (outcome: ConfChangeOutcome, added: Member | null) => void,
  ): GiveUp {
    const urls = parsePeerUrls(peerURLs);
    if (urls === null) return this.#refuse((outcome) => done(outcome, null), new ErrMemberBadUrls());
    const id = memberIdOf(urls, "", Math.floor(this.#options.wallMs() / 1000));
    const member: Member = { id, name: "", peerURLs: urls, clientURLs: [], isLearner };
    const fault = this.#options.strict ? this.#faultOfAdding(isLearner) : null;
    if (fault !== null) return this.#refuse((outcome) => done(outcome, member), fault, "member add", id);
    const type = isLearner ? ConfChangeType.AddLearnerNode : ConfChangeType.AddNode;
    const context = formatMember(member);
    return this.#options.configure({ type, nodeId: id, context }, (outcome) => done(outcome, member));
  }

  remove(id: bigint, done: ConfChangeDone): GiveUp {
    const fault = this.#faultOfRemoving(id);
    if (fault !== null) return this.#refuse(done, fault, "member remove", id);
    return this.#options.configure({ type: ConfChangeType.RemoveNode, nodeId: id, context: new Uint8Array(0) }, done);
  }

  /**
   * Gives a member other peer URLs, which are stored as they are. What is no URL is refused: etcd takes it, and then
   * every member but the one it is about ends by a panic.
   */
  update(id: bigint, peerURLs: readonly string[], done: ConfChangeDone): GiveUp {
    if (parsePeerUrls(peerURLs) === null) return this.#refuse(done, new ErrMemberBadUrls());
    const context = formatMember({ id, name: "", peerURLs, clientURLs: [], isLearner: false });
    return this.#options.configure({ type: ConfChangeType.UpdateNode, nodeId: id, context }, done);
  }

  /** Makes a learner a voter. Only the leader knows whether it is ready, so it is the leader who decides. */
  promote(id: bigint, done: ConfChangeDone): GiveUp {
    const { leaderCalls, peers } = this.#options;
    let giveUp = nothingToGiveUp;
    const call: LeaderCall = {
      here: () => (giveUp = this.promoteHere(id, done, () => leaderCalls.begin(call))),
      there: (leader, again) =>
        peers.promote(leader, id, (answer) => {
          if (answer === null) again();
          else if (leaderCalls.end(call)) done("value" in answer ? answer.value : refused(answer.error));
        }),
      fail: (error) => done(refused(error)),
    };
    leaderCalls.begin(call);
    return () => {
      leaderCalls.end(call);
      giveUp();
    };
  }

  /** A promotion at the leader; `notLeader` when it turns out that this member does not lead. */
  promoteHere(id: bigint, answer: ConfChangeDone, notLeader: () => void): GiveUp {
    const done: ConfChangeDone = (outcome) => {
      this.#count(outcome.error);
      answer(outcome);
    };
    let giveUp: GiveUp | null = nothingToGiveUp;
    this.#options.barriers.applied((late) => {
      if (giveUp === null) return;
      const matches = this.#options.matches();
      if (late !== null) done(refused(late));
      else if (matches === undefined) notLeader();
      else giveUp = this.#promote(id, matches, done);
    });
    return () => {
      giveUp?.();
      giveUp = null;
    };
  }

  #count(error: EtcdError | null): void {
    const { failed } = this.promotions;
    if (error === null) this.promotions.succeeded++;
    else failed.set(error.message, (failed.get(error.message) ?? 0) + 1);
  }

  #promote(id: bigint, matches: ReadonlyMap<bigint, number>, done: ConfChangeDone): GiveUp {
    const fault = this.#faultOfPromoting(id, matches);
    if (fault !== null) return this.#refuse(done, fault, "member promote", id);
    const context = formatPromoteContext(id);
    return this.#options.configure({ type: ConfChangeType.AddNode, nodeId: id, context }, done);
  }

  #refuse(done: ConfChangeDone, error: EtcdError, what?: string, id?: bigint): GiveUp {
    const { logger, localId } = this.#options;
    if (what !== undefined && id !== undefined) {
      const ids = { "local-member-id": memberIdText(localId), "requested-member-id": memberIdText(id) };
      logger.warn(`rejecting ${what} request`, { ...ids, error: error.message });
    }
    done(refused(error));
    return nothingToGiveUp;
  }

  #faultOfAdding(isLearner: boolean): EtcdError | null {
    const { view } = this.#options;
    if (!isLearner && !readyToAddVoter(view.members.values())) return new ErrMemberNotEnoughStarted();
    const { voters } = view;
    // The new member counts as one that is not there yet. A sole member may always grow.
    const isHealthy = voters.length === 1 || this.#healthy(voters) >= Math.floor((voters.length + 1) / 2) + 1;
    return isHealthy ? null : new ErrUnhealthy();
  }

  #faultOfRemoving(id: bigint): EtcdError | null {
    const { view, strict, peers, localId } = this.#options;
    const member = view.members.get(id);
    const { voters } = view;
    // Nobody would be left to decide anything: every etcd member ends by a panic when it applies such a change.
    if (voters.length === 1 && voters[0]!.id === id) return new ErrMemberNotEnoughStarted();
    if (!strict || member?.isLearner === true) return null;
    if (!readyToRemoveVoter(view.members.values(), id)) return new ErrMemberNotEnoughStarted();
    // One that cannot be reached is no part of the quorum that works.
    if (id !== localId && peers.activeSince(id) === null) return null;
    return this.#healthy(voters) - 1 < 1 + Math.trunc((voters.length - 1) / 2) ? new ErrUnhealthy() : null;
  }

  #faultOfPromoting(id: bigint, matches: ReadonlyMap<bigint, number>): EtcdError | null {
    const { localId, strict, view } = this.#options;
    const match = matches.get(id);
    if (match === undefined) return new ErrMemberNotFound();
    if (match / (matches.get(localId) ?? 0) < readyShare) return new ErrLearnerNotReady();
    return strict && !readyToPromote(view.members.values()) ? new ErrMemberNotEnoughStarted() : null;
  }

  #healthy(voters: readonly Member[]): number {
    const { peers, nowMs, localId } = this.#options;
    return connectedSince(peers, nowMs() - healthMs, localId, voters);
  }
}
