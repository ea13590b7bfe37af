/**
 * --quota-backend-bytes as it is checked before a request is proposed; apply checks once more.
 * Thread: main.
 */
import { Quota, requestCost } from "../apply/index.js";
import type { MemberSurroundings } from "./member-surroundings.js";

export class QuotaCheck {
  readonly #surroundings: Pick<MemberSurroundings, "config" | "logger" | "apply">;
  readonly #quota: Quota;

  constructor(surroundings: Pick<MemberSurroundings, "config" | "logger" | "apply">) {
    this.#surroundings = surroundings;
    this.#quota = new Quota(surroundings.config.quotaBackendBytes, () => surroundings.apply.progress.dbSize);
  }

  /** No write fits any more. */
  get isUsedUp(): boolean {
    return !this.#quota.allows(1);
  }

  /**
   * Whether a request of InternalRaftRequest's `field` would take the database over its quota.
   * `bytes[start, end)` is the message, which parses.
   */
  exceeds(field: number, bytes: Uint8Array, start: number, end: number): boolean {
    if (this.#quota.allowsAnyTxn(end - start)) return false;
    const cost = requestCost(field, bytes, start, end);
    if (this.#quota.allows(cost)) return false;
    this.#surroundings.logger.warn("message exceeded backend quota; raising alarm", {
      "quota-size-bytes": this.#surroundings.config.quotaBackendBytes,
      "message-cost-bytes": cost,
    });
    return true;
  }
}
