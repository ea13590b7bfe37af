/**
 * What a member tells its cluster by itself, through the log: its name and client URLs after each start; alarms it
 * must raise.
 *
 * Thread: main. Each is proposed again until it has been applied.
 */
import type { Logger } from "../base/index.js";
import type { Config } from "../config/index.js";
import { memberIdText, type Member } from "../membership/index.js";
import { encodeAlarmRequest, encodeClusterMemberAttrSetRequest } from "../proto/index.js";

/** Fields of InternalRaftRequest. */
const alarmField = 10;
const clusterMemberAttrSetField = 1301;

const alarmActivate = 1;
const alarmDeactivate = 2;
const alarmNoSpace = 1;

export interface PublisherOptions {
  readonly config: Config;
  readonly memberId: bigint;
  readonly clusterId: bigint;
  readonly logger: Logger;
  /** How long to wait for an own proposal before it is made again. */
  readonly timeoutMs: number;
  /** Proposes the message of InternalRaftRequest's `field`. */
  readonly propose: (field: number, message: Uint8Array) => void;
}

/** What `diskSpace` judges by. */
export interface DiskState {
  readonly low: boolean;
  /** NOSPACE is active for this member. */
  readonly isRaised: boolean;
  readonly isOverQuota: boolean;
}

export class Publisher {
  /** Resolves once this member's attributes have been applied. */
  readonly published: Promise<void>;
  /** Resolves once the cluster has a version, without which no call of the API is answered. */
  readonly capable: Promise<void>;
  readonly #options: PublisherOptions;
  #resolvePublished: () => void = () => {};
  #resolveCapable: () => void = () => {};
  #isPublished = false;
  #publishedMs = Number.NEGATIVE_INFINITY;
  #hasLeader = false;
  #raisedForDisk = false;

  constructor(options: PublisherOptions, clusterVersion: string | null) {
    this.#options = options;
    this.published = new Promise((resolve) => {
      this.#resolvePublished = resolve;
    });
    this.capable = new Promise((resolve) => {
      this.#resolveCapable = resolve;
    });
    if (clusterVersion !== null) this.clusterVersionSet(clusterVersion);
  }

  /** A leader is known, or none is. */
  leaderChanged(isKnown: boolean): void {
    this.#hasLeader = isKnown;
  }

  get isPublished(): boolean {
    return this.#isPublished;
  }

  /** Proposes what is due; called at each tick and after each event that may make something due. */
  tick(nowMs: number): void {
    if (!this.#hasLeader || this.#isPublished || nowMs - this.#publishedMs < this.#options.timeoutMs) return;
    this.#publishedMs = nowMs;
    this.#publishAttributes();
  }

  /** A member's attributes have been applied. */
  membersChanged(members: readonly Member[]): void {
    const { config, memberId, clusterId, logger, timeoutMs } = this.#options;
    const self = members.find((member) => member.id === memberId);
    if (this.#isPublished || self === undefined || self.name !== config.name) return;
    // Another member's attributes may come first, after a restart with other URLs.
    if (self.clientURLs.join() !== this.#clientUrls.join()) return;
    this.#isPublished = true;
    logger.info("published local member to cluster through raft", {
      "local-member-id": memberIdText(memberId),
      "local-member-attributes": `{Name:${self.name} ClientURLs:[${self.clientURLs.join(" ")}]}`,
      "cluster-id": memberIdText(clusterId),
      "publish-timeout": `${timeoutMs / 1000}s`,
    });
    this.#resolvePublished();
  }

  /** The cluster version has been applied. */
  clusterVersionSet(version: string): void {
    this.#logCapabilities(version);
    this.#resolveCapable();
  }

  /** Raises NOSPACE for this member: writes will be refused, reads go on, until an operator disarms it. */
  raiseNoSpace(): void {
    this.#noSpace(alarmActivate);
  }

  /**
   * While the disk is nearly full NOSPACE is raised, again when an operator has taken it back or it was lost; once
   * there is room it is taken back, unless it was raised for the quota.
   */
  diskSpace({ low, isRaised, isOverQuota }: DiskState): void {
    const { logger } = this.#options;
    if (low) {
      if (!isRaised) logger.warn("the disk is nearly full; raising alarm");
      if (!isRaised) this.#noSpace(alarmActivate);
      this.#raisedForDisk ||= !isRaised || !isOverQuota;
    } else if (this.#raisedForDisk) {
      if (isRaised) logger.info("there is space on the disk again; clearing alarm");
      if (isRaised) this.#noSpace(alarmDeactivate);
      else this.#raisedForDisk = false;
    }
  }

  get #clientUrls(): readonly string[] {
    return this.#options.config.advertiseClientUrls.map((url) => url.text);
  }

  #noSpace(action: number): void {
    const { memberId, propose } = this.#options;
    propose(alarmField, encodeAlarmRequest({ action, memberID: memberId, alarm: alarmNoSpace }));
  }

  #publishAttributes(): void {
    const { config, memberId, propose } = this.#options;
    const clientUrls = this.#clientUrls;
    propose(
      clusterMemberAttrSetField,
      encodeClusterMemberAttrSetRequest({ memberID: memberId, memberAttributes: { name: config.name, clientUrls } }),
    );
  }

  #logCapabilities(version: string): void {
    this.#options.logger.info("enabled capabilities for version", { "cluster-version": version.replace(/\.\d+$/, "") });
  }
}
