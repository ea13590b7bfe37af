/**
 * The cluster's version, which its leader decides: the lowest that all members speak, up as they are upgraded, down by
 * one minor version when a downgrade is enabled (etcd's version monitor).
 * Thread: main.
 */
import type { Logger } from "../base/index.js";
import {
  clusterVersionText,
  compareMajorMinor,
  memberIdText,
  parseVersion,
  serverVersionText,
  type Version,
} from "../membership/index.js";
import { encodeClusterVersionSetRequest, encodeDowngradeInfoSetRequest } from "../proto/index.js";
import type { Barriers } from "./barriers.js";
import type { ClusterView } from "./cluster-view.js";
import type { Peers } from "./peers.js";

/** Fields of InternalRaftRequest. */
const clusterVersionSetField = 1300;
export const downgradeInfoSetField = 1302;
/** Between two looks (etcd's monitorVersionInterval). */
const intervalMs = 4000;
/** While somebody's version is not known and the cluster has none yet. */
const lowest: Version = { major: 3, minor: 0, patch: 0 };

export interface ClusterVersionsOptions {
  readonly localId: bigint;
  readonly view: ClusterView;
  readonly peers: Peers;
  readonly barriers: Barriers;
  /** Members are asked for so long. */
  readonly timeoutMs: number;
  /** Between two looks while the cluster has no version, and so serves nobody. */
  readonly electionMs: number;
  /** --downgrade-check-time; 0: downgrades never end by themselves. */
  readonly downgradeCheckMs: number;
  readonly logger: Logger;
  readonly leads: () => boolean;
  readonly propose: (field: number, message: Uint8Array) => void;
}

/** Members' versions; null: one of them is not known. */
type Versions = readonly Version[] | null;

/** The version that a downgrade may lead to. */
export function downgradeTargetOf({ major, minor }: Version): Version {
  return { major, minor: minor - 1, patch: 0 };
}

export class ClusterVersions {
  readonly #options: ClusterVersionsOptions;
  #nextMs = 0;
  #nextDowngradeMs = 0;
  /** The look under way, and when it is taken to have failed. */
  #lookEndsMs = Number.NEGATIVE_INFINITY;
  #look = 0;

  constructor(options: ClusterVersionsOptions) {
    this.#options = options;
  }

  tick(nowMs: number): void {
    const { downgradeCheckMs, view } = this.#options;
    if (!this.#options.leads()) return;
    if (nowMs >= this.#nextMs) this.check(nowMs);
    if (downgradeCheckMs === 0 || !view.downgrade.enabled || nowMs < this.#nextDowngradeMs) return;
    this.#nextDowngradeMs = nowMs + downgradeCheckMs;
    this.#ask((versions) => this.#endDowngrade(versions));
  }

  /** This member leads from now on: what it looked for as a former leader is over. */
  leads(nowMs: number): void {
    this.#end(this.#look);
    this.check(nowMs);
  }

  /** Looks now, when this member leads. */
  check(nowMs: number): void {
    const { barriers, electionMs, leads, timeoutMs, view } = this.#options;
    if (!leads() || nowMs < this.#lookEndsMs) return;
    this.#nextMs = nowMs + (view.version === null ? electionMs : intervalMs);
    this.#lookEndsMs = nowMs + timeoutMs;
    const look = ++this.#look;
    // What former leaders have decided must be known first.
    barriers.linearizable((late) => {
      if (late === null && leads()) this.#ask((versions) => this.#decide(look, versions));
      else this.#end(look);
    });
  }

  /** The cluster has a version, maybe the one that the look under way has proposed. */
  decided(): void {
    this.#end(this.#look);
  }

  #end(look: number): void {
    if (look === this.#look) this.#lookEndsMs = Number.NEGATIVE_INFINITY;
  }

  /** Asks all members for their versions. One that never answers leaves the look without an end. */
  #ask(done: (versions: Versions) => void): void {
    const { view, peers } = this.#options;
    const { others } = view;
    const versions: Version[] = [parseVersion(serverVersionText)!];
    let isComplete = true;
    let missing = others.length;
    for (const member of others) {
      peers.version(member, (answer) => {
        const version = answer === null ? undefined : parseVersion(answer.server);
        if (version === undefined) isComplete = false;
        else versions.push(version);
        if (--missing === 0) done(isComplete ? versions : null);
      });
    }
    if (others.length === 0) done(versions);
  }

  /** A look that proposes a version lasts until that is applied, so that nothing is proposed twice. */
  #decide(look: number, versions: Versions): void {
    if (look !== this.#look) return;
    const { leads, logger, propose, view } = this.#options;
    const next = leads() ? nextVersion(view, versions) : null;
    if (next === null) return this.#end(look);
    if (next === "invalid downgrade") {
      this.#end(look);
      logger.error("Failed to monitor cluster version", { error: "invalid downgrade target" });
    } else {
      const to = clusterVersionText(next);
      if (view.version === null) {
        logger.info("setting up initial cluster version using v3 API", { "cluster-version": to });
      } else {
        const from = clusterVersionText(parseVersion(view.version)!);
        logger.info("updating cluster version using v3 API", { from, to });
      }
      propose(clusterVersionSetField, encodeClusterVersionSetRequest({ ver: `${to}.0` }));
    }
  }

  /** All members run the version that the downgrade was for. */
  #endDowngrade(versions: Versions): void {
    const { leads, localId, logger, propose, view } = this.#options;
    const target = parseVersion(view.downgrade.targetVersion);
    if (!leads() || versions === null || target === undefined || !view.downgrade.enabled) return;
    if (versions.some((version) => compareMajorMinor(version, target) !== 0)) return;
    logger.info("the cluster has been downgraded", {
      "local-member-id": memberIdText(localId),
      "cluster-version": view.downgrade.targetVersion,
    });
    propose(downgradeInfoSetField, encodeDowngradeInfoSetRequest({ enabled: false }));
  }
}

function nextVersion({ version, downgrade }: ClusterView, versions: Versions): Version | "invalid downgrade" | null {
  const current = version === null ? null : parseVersion(version)!;
  const least = versions === null ? null : versions.reduce((a, b) => (compareMajorMinor(b, a) < 0 ? b : a));
  if (current === null) return least ?? lowest;
  if (least === null) return null;
  const target = downgrade.enabled ? parseVersion(downgrade.targetVersion) : undefined;
  if (target !== undefined) {
    if (compareMajorMinor(target, current) === 0) return null;
    const fits = [current, least].every((from) => compareMajorMinor(downgradeTargetOf(from), target) === 0);
    return fits ? target : "invalid downgrade";
  }
  return current.major === least.major && compareMajorMinor(current, least) < 0 ? least : null;
}
