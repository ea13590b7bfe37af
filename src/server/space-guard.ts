/**
 * Room for what is written: --quota-backend-bytes as it is checked before a request is proposed (apply checks once
 * more), the disk, and this member's NOSPACE alarm, which either raises.
 * Thread: main.
 */
import { Quota, requestCost, type ActiveAlarm } from "../apply/index.js";
import { ErrNoSpace } from "../errors/index.js";
import { AlarmType } from "../proto/index.js";
import type { MemberSurroundings } from "./member-surroundings.js";
import type { Publisher } from "./publisher.js";

type Surroundings = Pick<
  MemberSurroundings,
  "config" | "logger" | "apply" | "identity" | "replies" | "nowMs" | "alarmBoard"
>;

export class SpaceGuard {
  readonly #surroundings: Surroundings;
  readonly #publisher: Pick<Publisher, "raiseNoSpace" | "diskSpace">;
  readonly #timeoutMs: number;
  readonly #quota: Quota;
  #alarms: readonly ActiveAlarm[];
  /** Calls that are refused as soon as the alarm is on. */
  #refused: { readonly callId: number; readonly untilMs: number }[] = [];

  /** `timeoutMs`: how long a refused call waits for the alarm at most. */
  constructor(
    surroundings: Surroundings,
    publisher: Pick<Publisher, "raiseNoSpace" | "diskSpace">,
    timeoutMs: number,
    alarms: readonly ActiveAlarm[],
  ) {
    this.#surroundings = surroundings;
    this.#publisher = publisher;
    this.#timeoutMs = timeoutMs;
    this.#alarms = alarms;
    this.#quota = new Quota(surroundings.config.quotaBackendBytes, () => surroundings.apply.progress.dbSize);
  }

  /** The cluster's active alarms. */
  get alarms(): readonly ActiveAlarm[] {
    return this.#alarms;
  }

  /** A change of alarms has been applied. */
  alarmsChanged(alarms: readonly ActiveAlarm[]): void {
    this.#alarms = alarms;
    if (this.#isToldRaised) this.#refuseUntil(Infinity);
  }

  /** Nobody waits for an alarm beyond a request's time: it may be that nobody leads. */
  tick(): void {
    if (this.#refused.length > 0) this.#refuseUntil(this.#surroundings.nowMs());
  }

  /** Answers with ErrNoSpace a call that exceeds the quota; as in etcd whoever hears of it finds the alarm on. */
  refuse(callId: number): void {
    const { nowMs, replies } = this.#surroundings;
    if (this.#isRaised) replies.error(callId, new ErrNoSpace());
    else this.#refused.push({ callId, untilMs: nowMs() + this.#timeoutMs });
  }

  /** Apply has found the quota exceeded by the request of call `callId` (0: nobody waits). */
  appliedBeyondQuota(callId: number): void {
    if (!this.#isRaised) this.#publisher.raiseNoSpace();
    if (callId !== 0) this.refuse(callId);
  }

  /** They were taken in order of time. */
  #refuseUntil(timeMs: number): void {
    const waiting = this.#refused.findIndex(({ untilMs }) => untilMs > timeMs);
    const due = this.#refused.splice(0, waiting === -1 ? Infinity : waiting);
    for (const { callId } of due) this.#surroundings.replies.error(callId, new ErrNoSpace());
  }

  /**
   * Whether a request of InternalRaftRequest's `field` would take the database over its quota; if so, NOSPACE is
   * raised for this member, and `refuse` is to answer. `bytes[start, end)` is the message, which parses.
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

  /** Whether a CORRUPT alarm is on, for whichever member. */
  get isCorrupt(): boolean {
    return this.#alarms.some((active) => active.alarm === AlarmType.CORRUPT);
  }

  /**
   * A disarm is known to its caller before it is known here; only the board has it by then, so that a write that comes
   * next raises the alarm anew. (The board does not say whose alarm it is: beside another member's NOSPACE, the
   * write after it does.)
   */
  get #isRaised(): boolean {
    const { alarmBoard } = this.#surroundings;
    return this.#isToldRaised && (alarmBoard === undefined || alarmBoard.read().includes(AlarmType.NOSPACE));
  }

  /** As apply has told last. Who waits for the alarm goes by this: it was on, even if it has been disarmed since. */
  get #isToldRaised(): boolean {
    const { memberId } = this.#surroundings.identity;
    return this.#alarms.some((active) => active.memberId === memberId && active.alarm === AlarmType.NOSPACE);
  }
}
