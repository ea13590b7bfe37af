/**
 * Room for what is written: --quota-backend-bytes as it is checked before a request is proposed (apply checks once
 * more), the disk, and this member's NOSPACE alarm, which either raises.
 * Thread: main.
 */
import { Quota, requestCost, type ActiveAlarm } from "../apply/index.js";
import type { MemberSurroundings } from "./member-surroundings.js";
import type { Publisher } from "./publisher.js";

/** etcdserverpb.AlarmType. */
const alarmNoSpace = 1;

export class SpaceGuard {
  /** The cluster's active alarms. */
  alarms: readonly ActiveAlarm[];
  readonly #surroundings: Pick<MemberSurroundings, "config" | "logger" | "apply" | "identity">;
  readonly #publisher: Pick<Publisher, "raiseNoSpace" | "diskSpace">;
  readonly #quota: Quota;

  constructor(
    surroundings: Pick<MemberSurroundings, "config" | "logger" | "apply" | "identity">,
    publisher: Pick<Publisher, "raiseNoSpace" | "diskSpace">,
    alarms: readonly ActiveAlarm[],
  ) {
    this.#surroundings = surroundings;
    this.#publisher = publisher;
    this.alarms = alarms;
    this.#quota = new Quota(surroundings.config.quotaBackendBytes, () => surroundings.apply.progress.dbSize);
  }

  /**
   * Whether a request of InternalRaftRequest's `field` would take the database over its quota; if so, NOSPACE is
   * raised for this member. `bytes[start, end)` is the message, which parses.
   */
  exceedsQuota(field: number, bytes: Uint8Array, start: number, end: number): boolean {
    if (this.#quota.allowsAny(end - start)) return false;
    const cost = requestCost(field, bytes, start, end);
    if (this.#quota.allows(cost)) return false;
    this.#surroundings.logger.warn("message exceeded backend quota; raising alarm", {
      "quota-size-bytes": this.#surroundings.config.quotaBackendBytes,
      "message-cost-bytes": cost,
    });
    if (!this.#isRaised) this.#publisher.raiseNoSpace();
    return true;
  }

  /** Whether the disk is nearly full; said again and again. */
  diskSpace(low: boolean): void {
    this.#publisher.diskSpace({ low, isRaised: this.#isRaised, isOverQuota: !this.#quota.allows(1) });
  }

  get #isRaised(): boolean {
    const { memberId } = this.#surroundings.identity;
    return this.alarms.some((active) => active.memberId === memberId && active.alarm === alarmNoSpace);
  }
}
