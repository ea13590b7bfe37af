/**
 * Configuration changes from their proposal to their outcome: who waits for which, by the change's own ID.
 * They have no limit of the server's own; a caller that gives up only stops waiting (etcd's configure).
 * Thread: main.
 */
import { EntryType, type Logger } from "../base/index.js";
import { ErrProposalDropped, EtcdError, type GrpcCode } from "../errors/index.js";
import { memberIdText, type Member } from "../membership/index.js";
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

/** raftpb.ConfChangeType's names, by number. */
const typeNames = ["ConfChangeAddNode", "ConfChangeRemoveNode", "ConfChangeUpdateNode", "ConfChangeAddLearnerNode"];

export interface ConfChangesOptions {
  readonly ids: RequestIdGenerator;
  readonly localId: bigint;
  readonly hasLeader: () => boolean;
  readonly propose: (type: EntryType, data: Uint8Array) => StepResult;
  readonly logger: Logger;
}

export class ConfChanges {
  readonly #options: ConfChangesOptions;
  readonly #waiting = new Map<bigint, ConfChangeDone>();
  /** Changes that no leader could take yet; each has a caller that waits. */
  readonly #leaderless = new Map<bigint, Uint8Array>();

  constructor(options: ConfChangesOptions) {
    this.#options = options;
  }

  /** Proposes a change; returns what ends the wait for it when the caller gives up. */
  propose({ type, nodeId, context }: ConfChangeProposal, done: ConfChangeDone): () => void {
    const { ids, hasLeader } = this.#options;
    const id = ids.idOf(ids.next());
    // etcd leaves zeros out here, unlike in bootstrap entries.
    const data = encodeConfChange({
      id,
      type: type === 0 ? undefined : type,
      nodeId,
      context: context.length === 0 ? undefined : context,
    });
    this.#waiting.set(id, done);
    if (hasLeader()) this.#submit(id, data);
    else this.#leaderless.set(id, data);
    return () => {
      this.#waiting.delete(id);
      this.#leaderless.delete(id);
    };
  }

  /** There is a leader to take what was held. */
  leaderElected(): void {
    const held = [...this.#leaderless];
    this.#leaderless.clear();
    for (const [id, data] of held) this.#submit(id, data);
  }

  #submit(id: bigint, data: Uint8Array): void {
    if (this.#options.propose(EntryType.ConfChange, data) === "ok") return;
    const done = this.#waiting.get(id);
    this.#waiting.delete(id);
    done?.({ members: null, error: new ErrProposalDropped() });
  }

  /** Apply has judged a change. */
  applied({ id, refusal, members, changeType, nodeId }: Extract<ApplyEvent, { type: "confChange" }>): void {
    const done = this.#waiting.get(id);
    if (!this.#waiting.delete(id)) return;
    this.#options.logger.info("applied a configuration change through raft", {
      "local-member-id": memberIdText(this.#options.localId),
      "raft-conf-change": typeNames[changeType] ?? String(changeType),
      "raft-conf-change-node-id": memberIdText(nodeId),
    });
    if (refusal === null) done?.({ members, error: null });
    else done?.({ members: null, error: new EtcdError(refusal.code as GrpcCode, refusal.message) });
  }
}
