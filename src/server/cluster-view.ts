/**
 * The cluster as this member has applied it, for what main decides: who belongs to it, its version, a downgrade.
 * Apply owns the state and tells of each change in the order of the log.
 * Thread: main.
 */
import type { DowngradeInfo, Member, Membership } from "../membership/index.js";

/** What apply had at its start. */
export interface ClusterState {
  readonly members: readonly Member[];
  readonly removedMembers: readonly bigint[];
  readonly clusterVersion: string | null;
  readonly downgrade: DowngradeInfo;
}

export class ClusterView implements Membership {
  readonly #localId: bigint;
  #members: ReadonlyMap<bigint, Member> = new Map();
  readonly removed = new Set<bigint>();
  /** "3.7.0"; null before the cluster has one. */
  version: string | null;
  downgrade: DowngradeInfo;

  constructor(localId: bigint, { members, removedMembers, clusterVersion, downgrade }: ClusterState) {
    this.#localId = localId;
    this.version = clusterVersion;
    this.downgrade = downgrade;
    for (const id of removedMembers) this.removed.add(id);
    this.setMembers(members);
  }

  /** The state is a snapshot's. */
  installed({ members, removedMembers, clusterVersion, downgrade }: ClusterState): void {
    this.version = clusterVersion;
    this.downgrade = downgrade;
    this.removed.clear();
    for (const id of removedMembers) this.removed.add(id);
    this.#members = new Map(members.map((member) => [member.id, member]));
  }

  get members(): ReadonlyMap<bigint, Member> {
    return this.#members;
  }
  get local(): Member | undefined {
    return this.#members.get(this.#localId);
  }
  /** All but this one. */
  get others(): readonly Member[] {
    return [...this.#members.values()].filter(({ id }) => id !== this.#localId);
  }
  get voters(): readonly Member[] {
    return [...this.#members.values()].filter(({ isLearner }) => !isLearner);
  }

  /** Those that are there no longer have been removed. */
  setMembers(members: readonly Member[]): void {
    const next = new Map(members.map((member) => [member.id, member]));
    for (const id of this.#members.keys()) if (!next.has(id)) this.removed.add(id);
    this.#members = next;
  }
}
