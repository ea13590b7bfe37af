/**
 * Configuration changes from their proposal to their outcome: who waits for which, by the change's own ID.
 * They have no limit of the server's own; a caller that gives up only stops waiting (etcd's configure).
 * Thread: main.
 */
import { EntryType } from "../base/index.js";
import { ErrProposalDropped, EtcdError, type GrpcCode } from "../errors/index.js";
import type { Member } from "../membership/index.js";
import { encodeConfChange } from "../proto/index.js";
import type { ConfChangeType, StepResult } from "../raft/index.js";
import type { ApplyEvent } from "./apply-client.js";
import type { RequestIdGenerator } from "./request-id.js";

/** What a change does; `context` is the JSON that membership makes of it, empty for a removal. */
export interface ConfChangeProposal {
  readonly type: ConfChangeType;
  readonly nodeId: bigint;
  readonly context: Uint8Array;
}

/** How a change ended: the members after it, or why not. */
export type ConfChangeOutcome =
  | { readonly members: readonly Member[]; readonly error: null }
  | { readonly members: null; readonly error: EtcdError };
export type ConfChangeDone = (outcome: ConfChangeOutcome) => void;

export class ConfChanges {
  readonly #ids: RequestIdGenerator;
  readonly #propose: (type: EntryType, data: Uint8Array) => StepResult;
  readonly #waiting = new Map<bigint, ConfChangeDone>();

  constructor(ids: RequestIdGenerator, propose: (type: EntryType, data: Uint8Array) => StepResult) {
    this.#ids = ids;
    this.#propose = propose;
  }

  /** Proposes a change; returns what ends the wait for it when the caller gives up. */
  propose({ type, nodeId, context }: ConfChangeProposal, done: ConfChangeDone): () => void {
    const id = this.#ids.idOf(this.#ids.next());
    // etcd leaves zeros out here, unlike in bootstrap entries.
    const data = encodeConfChange({
      id,
      type: type === 0 ? undefined : type,
      nodeId,
      context: context.length === 0 ? undefined : context,
    });
    if (this.#propose(EntryType.ConfChange, data) === "ok") this.#waiting.set(id, done);
    else done({ members: null, error: new ErrProposalDropped() });
    return () => void this.#waiting.delete(id);
  }

  /** Apply has judged a change. */
  applied({ id, refusal, members }: Extract<ApplyEvent, { type: "confChange" }>): void {
    const done = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (refusal === null) done?.({ members, error: null });
    else done?.({ members: null, error: new EtcdError(refusal.code as GrpcCode, refusal.message) });
  }
}
