/**
 * Defragmentations that calls have asked for: who is told of them, and the answers. They are given here and not by
 * apply, so that who has been answered finds everything as it is after a defragmentation.
 * Thread: main.
 */
import { EtcdError, GrpcCode } from "../errors/index.js";
import type { ApplyEvent } from "./apply-client.js";
import type { Replies } from "./replies.js";

/** What apply tells of them. */
export type DefragmentEvent = Extract<ApplyEvent, { type: "defragmenting" | "defragmented" }>;

/** Maintenance.DefragmentResponse, which has nothing to tell. */
const answer = new Uint8Array(0);

type Answers = Pick<Replies, "answer" | "error" | "flush">;

export class Defragmentations {
  /** One begins, or has ended. */
  onChanged: (isActive: boolean) => void = () => {};
  readonly #replies: Answers;

  constructor(replies: Answers) {
    this.#replies = replies;
  }

  told(event: DefragmentEvent): void {
    if (event.type === "defragmenting") return this.onChanged(true);
    this.onChanged(false);
    const { callId, failure } = event;
    if (failure === null) this.#replies.answer(callId, answer);
    else this.#replies.error(callId, new EtcdError(GrpcCode.Unknown, failure));
    this.#replies.flush();
  }
}
