/**
 * The members of the cluster as this member has applied them, kept in the backend's buckets.
 * Every change is made by an entry and reaches the disk in that entry's transaction.
 * Thread: apply.
 */
import { assert, type Logger } from "../base/index.js";
import { Bucket, clusterVersionKey, metaKey, type Backend } from "../storage/backend/index.js";
import { applyConfChange, ConfChangeType, emptyConfState, type ConfState } from "./conf-state.js";
import { formatConfState, formatMember, parseConfState, parseMember } from "./member-json.js";
import { memberIdText, type Member } from "./member.js";
import { validateConfChange, type ConfChange, type Membership } from "./rules.js";
import type { EtcdErrorClass } from "../errors/index.js";
import { clusterVersionText, compareMajorMinor, parseVersion, serverVersionText, type Version } from "./version.js";

/** The state of a downgrade, as stored. */
export interface DowngradeInfo {
  readonly enabled: boolean;
  /** "" when not enabled. */
  readonly targetVersion: string;
}

/** A committed entry says something that this member cannot go along with; it must stop. */
export class MembershipError extends Error {
  override readonly name = "MembershipError";
}

const downgradeKey = Buffer.from("downgrade");
const removedMark = Buffer.from("removed");
/** The schema that this server writes, and the oldest that has a version of its own. */
const storageVersionMin: Version = { major: 3, minor: 6, patch: 0 };

function memberKey(id: bigint): Uint8Array {
  return Buffer.from(memberIdText(id));
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
}

export interface MembershipStoreOptions {
  readonly backend: Backend;
  readonly localId: bigint;
  readonly clusterId: bigint;
  readonly learnersMax: number;
  readonly logger: Logger;
}

export class MembershipStore implements Membership {
  readonly members = new Map<bigint, Member>();
  readonly removed = new Set<bigint>();
  readonly #options: MembershipStoreOptions;
  #confState: ConfState | null = null;
  #clusterVersion: Version | null = null;
  #storageVersion = "";
  #downgrade: DowngradeInfo = { enabled: false, targetVersion: "" };

  /** Loads what the backend holds. */
  constructor(options: MembershipStoreOptions) {
    this.#options = options;
    const { backend } = options;
    for (const { key, value } of backend.entries(Bucket.Members)) {
      this.members.set(BigInt(`0x${text(key)}`), parseMember(value));
    }
    for (const { key } of backend.entries(Bucket.MembersRemoved)) this.removed.add(BigInt(`0x${text(key)}`));
    const confState = backend.get(Bucket.Meta, metaKey.confState);
    if (confState !== undefined) this.#confState = parseConfState(confState);
    const version = backend.get(Bucket.Cluster, clusterVersionKey);
    if (version !== undefined) this.#clusterVersion = this.#checked(text(version));
    const storage = backend.get(Bucket.Meta, metaKey.storageVersion);
    if (storage !== undefined) this.#storageVersion = text(storage);
    const downgrade = backend.get(Bucket.Cluster, downgradeKey);
    if (downgrade !== undefined) this.#loadDowngrade(downgrade);
  }

  /** Becomes what `other` is, as a snapshot has it. */
  adopt(other: MembershipStore): void {
    this.members.clear();
    for (const [id, member] of other.members) this.members.set(id, member);
    this.removed.clear();
    for (const id of other.removed) this.removed.add(id);
    this.#confState = other.#confState;
    this.#clusterVersion = other.#clusterVersion;
    this.#storageVersion = other.#storageVersion;
    this.#downgrade = other.#downgrade;
  }

  /** What one on another backend would be: `adopt` takes it. */
  of(backend: Backend): MembershipStore {
    return new MembershipStore({ ...this.#options, backend });
  }

  /** null in a new backend. */
  get confState(): ConfState | null {
    return this.#confState;
  }

  /** "3.7.0"; null before one is set. */
  get clusterVersion(): string | null {
    const version = this.#clusterVersion;
    return version === null ? null : `${version.major}.${version.minor}.${version.patch}`;
  }
  /** The cluster has a version, of that minor version or a later one. */
  isAtLeast(version: Version): boolean {
    return this.#clusterVersion !== null && compareMajorMinor(this.#clusterVersion, version) >= 0;
  }

  /** The schema's version as stored; "" before it is. */
  get storageVersion(): string {
    return this.#storageVersion;
  }

  get downgrade(): DowngradeInfo {
    return this.#downgrade;
  }

  get localIsLearner(): boolean {
    return this.members.get(this.#options.localId)?.isLearner ?? false;
  }

  /** In order of ID. */
  sortedMembers(): Member[] {
    return [...this.members.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** Why the change is refused; null, and it has been made: `confState` then is the new one, to be stored with the entry. */
  apply(change: ConfChange): EtcdErrorClass | null {
    const refusal = validateConfChange(this, change, this.#options.learnersMax);
    if (refusal !== null) {
      this.#options.logger.error("Validation on configuration change failed", {
        shouldApplyV3: true,
        error: refusal.message,
      });
      return refusal;
    }
    this.#confState = applyConfChange(this.#confState ?? emptyConfState, change.type, change.nodeId);
    switch (change.type) {
      case ConfChangeType.AddNode:
      case ConfChangeType.AddLearnerNode:
        this.#add(change);
        break;
      case ConfChangeType.RemoveNode:
        this.#remove(change.nodeId);
        break;
      case ConfChangeType.UpdateNode:
        this.#update(change);
        break;
    }
    return null;
  }

  /** The ConfState as etcd stores it; undefined in a new backend. */
  confStateBytes(): Uint8Array | undefined {
    return this.#confState === null ? undefined : formatConfState(this.#confState);
  }

  /** ClusterMemberAttrSet: what a member publishes of itself. False: it is gone, and nothing was done. */
  setAttributes(id: bigint, name: string, clientURLs: readonly string[]): boolean {
    const member = this.members.get(id);
    if (member !== undefined) {
      this.#save({ ...member, name, clientURLs: [...clientURLs] });
      return true;
    }
    if (!this.removed.has(id)) throw new MembershipError(`attributes of the unknown member ${memberIdText(id)}`);
    this.#options.logger.warn("skipped attributes update of removed member", {
      ...this.#identity(),
      "updated-peer-id": memberIdText(id),
    });
    return false;
  }

  /** ClusterVersionSet. The storage's schema follows the cluster from 3.6 on. */
  setClusterVersion(versionText: string): void {
    const { backend, logger } = this.#options;
    const version = this.#checked(versionText);
    const before = this.#clusterVersion;
    if (before === null) {
      logger.info("set initial cluster version", {
        ...this.#identity(),
        "cluster-version": clusterVersionText(version),
      });
    } else {
      logger.info("updated cluster version", {
        ...this.#identity(),
        from: clusterVersionText(before),
        to: clusterVersionText(version),
      });
    }
    this.#clusterVersion = version;
    backend.put(Bucket.Cluster, clusterVersionKey, Buffer.from(this.clusterVersion ?? ""));
    if (compareMajorMinor(version, storageVersionMin) < 0) return;
    this.#storageVersion = `${clusterVersionText(version)}.0`;
    backend.put(Bucket.Meta, metaKey.storageVersion, Buffer.from(this.#storageVersion));
  }

  setDowngrade(enabled: boolean, targetVersion: string): void {
    this.#downgrade = { enabled, targetVersion: enabled ? targetVersion : "" };
    const row = JSON.stringify({ "target-version": this.#downgrade.targetVersion, enabled });
    this.#options.backend.put(Bucket.Cluster, downgradeKey, Buffer.from(row));
  }

  #identity(): Readonly<Record<string, string>> {
    return {
      "cluster-id": memberIdText(this.#options.clusterId),
      "local-member-id": memberIdText(this.#options.localId),
    };
  }

  /** A server older than its cluster must not run. */
  #checked(versionText: string): Version {
    const version = parseVersion(versionText);
    if (version === undefined) throw new MembershipError(`the cluster version ${versionText} is none`);
    const server = parseVersion(serverVersionText);
    assert(server !== undefined, "the server's own version");
    if (compareMajorMinor(server, version) < 0) {
      throw new MembershipError(
        `invalid downgrade; server version ${serverVersionText} is lower than determined cluster version ${versionText}`,
      );
    }
    return version;
  }

  #loadDowngrade(bytes: Uint8Array): void {
    const row = JSON.parse(text(bytes)) as { enabled?: unknown; "target-version"?: unknown };
    const target = row["target-version"];
    this.#downgrade = { enabled: row.enabled === true, targetVersion: typeof target === "string" ? target : "" };
  }

  #save(member: Member): void {
    this.members.set(member.id, member);
    this.#options.backend.put(Bucket.Members, memberKey(member.id), formatMember(member));
  }

  #add(change: ConfChange): void {
    const { context, nodeId } = change;
    if (context === null) throw new MembershipError("a member is added without a context");
    if (context.member.id !== nodeId) {
      throw new MembershipError(
        `the entry adds ${memberIdText(nodeId)}, its context ${memberIdText(context.member.id)}`,
      );
    }
    const known = this.members.get(nodeId);
    if (context.isPromote && known !== undefined) {
      this.#save({ ...known, isLearner: false });
      this.#options.logger.info("promote member", { ...this.#identity(), "promoted-member-id": memberIdText(nodeId) });
      return;
    }
    this.#save(context.member);
    this.#options.logger.info("added member", {
      ...this.#identity(),
      "added-peer-id": memberIdText(nodeId),
      "added-peer-peer-urls": context.member.peerURLs,
      "added-peer-is-learner": context.member.isLearner,
    });
  }

  #remove(id: bigint): void {
    const { backend, logger } = this.#options;
    const member = this.members.get(id);
    this.members.delete(id);
    this.removed.add(id);
    backend.delete(Bucket.Members, memberKey(id));
    backend.put(Bucket.MembersRemoved, memberKey(id), removedMark);
    logger.info("removed member", {
      ...this.#identity(),
      "removed-remote-peer-id": memberIdText(id),
      "removed-remote-peer-urls": member?.peerURLs ?? [],
      "removed-remote-peer-is-learner": member?.isLearner ?? false,
    });
  }

  /** Only the peer URLs can be changed. */
  #update(change: ConfChange): void {
    const member = this.members.get(change.nodeId);
    if (member === undefined || change.context === null || change.context.member.id !== change.nodeId) {
      throw new MembershipError(`the entry that updates ${memberIdText(change.nodeId)} is for another member`);
    }
    this.#save({ ...member, peerURLs: change.context.member.peerURLs });
    this.#options.logger.info("updated member", {
      ...this.#identity(),
      "updated-remote-peer-id": memberIdText(change.nodeId),
      "updated-remote-peer-urls": change.context.member.peerURLs,
      "updated-remote-peer-is-learner": member.isLearner,
    });
  }
}
