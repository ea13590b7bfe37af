/**
 * A member's dealings with its cluster beside Raft: who belongs to it and how that changes, its version, who leads and
 * who should, and calls that only the leader can answer. Built of parts of one purpose each; `MemberCore` feeds it.
 * Thread: main.
 */
import type { EntryType, Logger } from "../base/index.js";
import type { Config } from "../config/index.js";
import {
  ErrTimeout,
  ErrTimeoutDueToConnectionLost,
  ErrTimeoutDueToLeaderFail,
  type EtcdError,
} from "../errors/index.js";
import type { Member } from "../membership/index.js";
import { none, Role, type RawNode, type StepResult } from "../raft/index.js";
import type { ApplyEvent } from "./apply-client.js";
import { Barriers, type BarriersOptions } from "./barriers.js";
import type { MemberIdentity } from "./bootstrap.js";
import { ClusterVersions } from "./cluster-versions.js";
import { ClusterView, type ClusterState } from "./cluster-view.js";
import { ConfChanges, type ConfChangeDone, type ConfChangeProposal } from "./conf-changes.js";
import { isConnectedSince, isQuorumConnectedSince } from "./connections.js";
import { Downgrades } from "./downgrades.js";
import { LeaderCalls } from "./leader-calls.js";
import { LeaderTransfer, type Follower } from "./leader-transfer.js";
import type { Peers } from "./peers.js";
import { Reconfiguration, type GiveUp } from "./reconfiguration.js";
import type { RequestIdGenerator } from "./request-id.js";

export interface ClusterSideOptions {
  readonly config: Config;
  readonly identity: MemberIdentity;
  readonly logger: Logger;
  readonly peers: Peers;
  readonly ids: RequestIdGenerator;
  readonly nowMs: () => number;
  readonly wallMs: () => number;
  /** etcd's limit of a request. */
  readonly timeoutMs: number;
  readonly reads: Pick<BarriersOptions, "readLinearizable" | "handOver">;
  readonly node: () => RawNode;
  /** What was gathered before goes to Raft first, so that request IDs stay in order; then what Raft wants is done. */
  readonly flush: () => void;
  readonly propose: (field: number, message: Uint8Array) => void;
  /** This member was removed from the cluster. */
  readonly removed: () => void;
}

export class ClusterSide {
  readonly view: ClusterView;
  readonly leaderCalls: LeaderCalls;
  readonly barriers: Barriers;
  readonly reconfiguration: Reconfiguration;
  readonly transfer: LeaderTransfer;
  readonly versions: ClusterVersions;
  readonly downgrades: Downgrades;
  readonly #options: ClusterSideOptions;
  readonly #confChanges: ConfChanges;
  /** When this member last heard of a leader that was new to it. */
  #leaderSinceMs = Number.NEGATIVE_INFINITY;

  constructor(options: ClusterSideOptions, state: ClusterState) {
    const { config, identity, ids, logger, nowMs, peers, timeoutMs, wallMs } = options;
    const { memberId: localId } = identity;
    this.#options = options;
    const view = new ClusterView(localId, state);
    this.view = view;
    const leads = (): boolean => this.#leads;
    this.leaderCalls = new LeaderCalls({ nowMs, timeoutMs, isLeader: leads, leader: () => this.#leaderMember });
    const commitIndex = (): number => options.node().commitIndex;
    this.barriers = new Barriers({ ...options.reads, nowMs, timeoutMs, commitIndex });
    this.#confChanges = new ConfChanges({
      ids,
      localId,
      hasLeader: () => this.#lead !== none,
      propose: (type, data) => this.#proposeConfChange(type, data),
      logger,
    });
    const { barriers, leaderCalls } = this;
    const electionMs = config.electionTimeout;
    const parts = { localId, view, peers, barriers, leaderCalls, nowMs, wallMs, timeoutMs, electionMs, logger };
    this.reconfiguration = new Reconfiguration({
      ...parts,
      strict: config.strictReconfigCheck,
      configure: (change, done) => this.configure(change, done),
      matches: () => (leads() ? new Map(this.#followers.map(({ id, match }) => [id, match])) : undefined),
    });
    this.transfer = new LeaderTransfer({
      ...parts,
      leader: () => this.#lead,
      followers: () => this.#followers,
      transfer: (to) => this.#withNode((node) => node.transferLeader(to)),
      stepDown: () => this.#withNode((node) => node.stepDown()),
    });
    const { propose } = options;
    const downgradeCheckMs = config.downgradeCheckTime;
    this.versions = new ClusterVersions({ ...parts, downgradeCheckMs, leads, propose });
    this.downgrades = new Downgrades({ ...parts, propose });
  }

  get #lead(): bigint {
    return this.#options.node().lead;
  }
  get #leads(): boolean {
    return this.#options.node().role === Role.Leader;
  }
  get #leaderMember(): Member | undefined {
    return this.view.members.get(this.#lead);
  }
  get #followers(): readonly Follower[] {
    return this.#options.node().status().progress;
  }

  /** What there is to do at the start, and when the state has become a snapshot's. */
  begin(): void {
    this.#options.peers.membersChanged(this.view.others);
    if (this.view.removed.has(this.#options.identity.memberId)) this.#options.removed();
  }

  /** Takes a change of membership into the log; `done` hears of its outcome once it is applied. */
  configure(change: ConfChangeProposal, done: ConfChangeDone): GiveUp {
    this.#options.flush();
    const giveUp = this.#confChanges.propose(change, done);
    this.#options.flush();
    return giveUp;
  }

  #proposeConfChange(type: EntryType, data: Uint8Array): StepResult {
    return this.#options.node().proposeConfChange(type, data);
  }

  #withNode(run: (node: RawNode) => void): void {
    run(this.#options.node());
    this.#options.flush();
  }

  /** Somebody leads now, or nobody does. */
  leaderChanged(): void {
    if (this.#lead !== none) {
      this.#leaderSinceMs = this.#options.nowMs();
      this.#confChanges.leaderElected();
    }
    this.transfer.leaderChanged();
    this.leaderCalls.tick();
    if (this.#leads) this.versions.leads(this.#options.nowMs());
  }

  /** `stalledMs`: how long the oldest write of the log has been under way. */
  tick(stalledMs: number): void {
    this.leaderCalls.tick();
    this.barriers.tick();
    this.downgrades.tick();
    this.transfer.tick(stalledMs);
    this.versions.tick(this.#options.nowMs());
  }

  /** What apply has applied. Conf changes are in force in Raft before they come here. */
  applied(event: ApplyEvent): void {
    switch (event.type) {
      case "confChange":
        this.view.setMembers(event.members);
        if (event.refusal === null) this.#options.peers.membersChanged(this.view.others);
        this.#confChanges.applied(event);
        if (event.removedSelf) this.#options.removed();
        break;
      case "members":
        this.view.setMembers(event.members);
        break;
      case "clusterVersion":
        this.view.version = event.version;
        this.versions.decided();
        break;
      case "installed":
        this.view.installed(event);
        this.begin();
        this.downgrades.applied(event.downgrade);
        break;
      case "downgrade":
        this.view.downgrade = event.downgrade;
        this.downgrades.applied(event.downgrade);
        break;
      case "barrier":
        this.barriers.passed(event.token);
        break;
      default:
        break;
    }
  }

  /** Why a proposal of `startMs` was not applied in time (etcd's parseProposeCtxErr). */
  lateError(startMs: number): EtcdError {
    const { config, identity, peers } = this.#options;
    const lostMs = this.#leaderSinceMs - 2 * config.electionTimeout;
    if (startMs > lostMs && startMs < this.#leaderSinceMs) return new ErrTimeoutDueToLeaderFail();
    const lead = this.#lead;
    if (lead === none) return new ErrTimeout();
    const isConnected =
      lead === identity.memberId
        ? isQuorumConnectedSince(peers, startMs, identity.memberId, [...this.view.members.values()])
        : isConnectedSince(peers, startMs, lead);
    return isConnected ? new ErrTimeout() : new ErrTimeoutDueToConnectionLost();
  }
}
