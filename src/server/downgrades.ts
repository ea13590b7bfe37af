/**
 * Maintenance.Downgrade: whether the cluster may go down by one minor version, and telling it to, or no longer to. What
 * follows of it, the cluster's new version and the end of the downgrade, is `ClusterVersions`' business.
 * Thread: main.
 */
import {
  ErrClusterVersionUnavailable,
  ErrDowngradeInProcess,
  ErrInvalidDowngradeTargetVersion,
  ErrNoInflightDowngrade,
  ErrTimeout,
  ErrUnknownMethod,
  ErrWrongDowngradeVersionFormat,
  type EtcdError,
} from "../errors/index.js";
import type { Logger } from "../base/index.js";
import {
  clusterVersionText,
  compareMajorMinor,
  parseVersion,
  type DowngradeInfo,
  type Version,
} from "../membership/index.js";
import { encodeDowngradeInfoSetRequest } from "../proto/index.js";
import type { Barriers } from "./barriers.js";
import { downgradeInfoSetField, downgradeTargetOf } from "./cluster-versions.js";
import type { ClusterView } from "./cluster-view.js";

/** DowngradeRequest.DowngradeAction. */
const action = { validate: 0, enable: 1, cancel: 2 } as const;

export interface DowngradesOptions {
  readonly view: ClusterView;
  readonly barriers: Barriers;
  readonly timeoutMs: number;
  readonly nowMs: () => number;
  readonly logger: Logger;
  readonly propose: (field: number, message: Uint8Array) => void;
}

/** The cluster's version as the response gives it ("3.7"), or why not. */
export type DowngradeDone = (answer: { readonly version: string } | { readonly error: EtcdError }) => void;

/** A proposal that waits to be applied. */
interface Proposed {
  readonly enabled: boolean;
  readonly deadlineMs: number;
  readonly done: DowngradeDone;
}

export class Downgrades {
  readonly #options: DowngradesOptions;
  #proposed: Proposed[] = [];

  constructor(options: DowngradesOptions) {
    this.#options = options;
  }

  /** Does what a DowngradeRequest asks for. */
  request(requested: number, versionText: string, done: DowngradeDone): void {
    switch (requested) {
      case action.validate:
        return this.#validate(versionText, done, () => done(this.#answer()));
      case action.enable:
        return this.#validate(versionText, this.#warning("reject downgrade request", done), (target) =>
          this.#propose({ enabled: true, targetVersion: `${clusterVersionText(target)}.0` }, done),
        );
      case action.cancel:
        return this.#cancel(done);
      default:
        return done({ error: new ErrUnknownMethod() });
    }
  }

  #answer(): { version: string } {
    return { version: clusterVersionText(parseVersion(this.#options.view.version ?? "0.0.0")!) };
  }

  #warning(message: string, done: DowngradeDone): DowngradeDone {
    return (answer) => {
      if ("error" in answer) this.#options.logger.warn(message, { error: answer.error.message });
      done(answer);
    };
  }

  #validate(versionText: string, done: DowngradeDone, valid: (target: Version) => void): void {
    const { view, barriers } = this.#options;
    const target = parseTarget(versionText);
    if (target === undefined) return done({ error: new ErrWrongDowngradeVersionFormat() });
    if (view.version === null) return done({ error: new ErrClusterVersionUnavailable() });
    barriers.linearizable((late) => {
      const allowed = downgradeTargetOf(parseVersion(view.version!)!);
      if (late !== null) done({ error: late });
      else if (compareMajorMinor(target, allowed) !== 0) done({ error: new ErrInvalidDowngradeTargetVersion() });
      else if (view.downgrade.enabled) done({ error: new ErrDowngradeInProcess() });
      else valid(target);
    });
  }

  /** As in etcd, what goes wrong is logged, and the call succeeds. */
  #cancel(done: DowngradeDone): void {
    const { view, barriers } = this.#options;
    const ended = this.#warning("failed to cancel downgrade", () => done(this.#answer()));
    barriers.linearizable((late) => {
      if (late !== null) ended({ error: late });
      else if (!view.downgrade.enabled) ended({ error: new ErrNoInflightDowngrade() });
      else this.#propose({ enabled: false, targetVersion: "" }, ended);
    });
  }

  #propose({ enabled, targetVersion }: DowngradeInfo, done: DowngradeDone): void {
    const { nowMs, propose, timeoutMs } = this.#options;
    this.#proposed.push({ enabled, deadlineMs: nowMs() + timeoutMs, done });
    const message = encodeDowngradeInfoSetRequest({ enabled, ver: targetVersion });
    propose(downgradeInfoSetField, message);
  }

  /** The cluster has been told of a downgrade's beginning or end. */
  applied({ enabled }: DowngradeInfo): void {
    const over = this.#proposed.filter((each) => each.enabled === enabled);
    this.#proposed = this.#proposed.filter((each) => each.enabled !== enabled);
    for (const { done } of over) done(this.#answer());
  }

  tick(): void {
    const now = this.#options.nowMs();
    while (this.#proposed.length > 0 && this.#proposed[0]!.deadlineMs <= now)
      this.#proposed.shift()!.done({ error: new ErrTimeout() });
  }
}

/** "3.6" or "3.6.1"; undefined: neither. The patch does not matter. */
function parseTarget(text: string): Version | undefined {
  return parseVersion(text) ?? parseVersion(`${text}.0`);
}
