/**
 * Proposals from their arrival to their end: gathered by wake-up, held while there is no leader, proposed, and
 * awaited until apply has them or their time is up.
 *
 * Thread: main. Bound: `leaderlessBytes`; the caller takes no more calls above its limit.
 */
import { nobodysCall } from "../apply/index.js";
import type { EntryBatch } from "../base/index.js";
import { ErrContextDeadlineExceeded, ErrProposalDropped, ErrTooManyRequests, type EtcdError } from "../errors/index.js";
import type { StepResult } from "../raft/index.js";
import { ProposalBuilder, type Identity, type TakenProposals } from "./proposal-builder.js";
import type { RequestIdGenerator } from "./request-id.js";
import { Waiters } from "./waiters.js";

export interface ProposalsOptions {
  readonly requestBytesMax: number;
  /** etcd's own limit of a request: 5 s and two election timeouts. */
  readonly timeoutMs: number;
  readonly propose: (batch: EntryBatch) => StepResult;
  /** Why a proposal of `startMs` has not been applied in time. */
  readonly late: (startMs: number) => EtcdError;
  /** Ends a call with an error. */
  readonly fail: (callId: number, error: EtcdError) => void;
}

/** Proposals that no leader could take yet. */
interface Leaderless {
  readonly taken: TakenProposals;
  readonly startMs: number;
}

export class Proposals {
  readonly waiters = new Waiters();
  readonly #options: ProposalsOptions;
  readonly #builder: ProposalBuilder;
  #leaderless: Leaderless[] = [];
  #leaderlessBytes = 0;
  #failedCount = 0;

  constructor(ids: RequestIdGenerator, options: ProposalsOptions) {
    this.#options = options;
    this.#builder = new ProposalBuilder(ids, options.requestBytesMax);
  }

  /** Bytes that wait for a leader. */
  get leaderlessBytes(): number {
    return this.#leaderlessBytes;
  }

  /** Proposals that were dropped or given up (etcd_server_proposals_failed_total). */
  get failedCount(): number {
    return this.#failedCount;
  }

  /** See `ProposalBuilder.add`. */
  add(field: number, bytes: Uint8Array, start: number, end: number, callId: number, identity: Identity): boolean {
    return this.#builder.add(field, bytes, start, end, callId, identity);
  }

  /** Proposes what has gathered, or holds it until there is a leader. */
  flush(nowMs: number, hasLeader: boolean): void {
    const taken = this.#builder.take();
    if (taken === null) return;
    if (hasLeader) {
      this.#propose({ taken, startMs: nowMs });
    } else {
      this.#leaderless.push({ taken, startMs: nowMs });
      this.#leaderlessBytes += taken.batch.bytes.length;
    }
  }

  /** There is a leader to take what was held. */
  leaderElected(): void {
    const held = this.#leaderless;
    this.#leaderless = [];
    this.#leaderlessBytes = 0;
    for (const each of held) this.#propose(each);
  }

  /** Gives up what has waited too long. What was proposed may be applied all the same. */
  expire(nowMs: number): void {
    this.waiters.expire(nowMs, (callId, startMs) => this.#giveUp(callId, this.#options.late(startMs)));
    while (this.#leaderless.length > 0 && this.#leaderless[0]!.startMs + this.#options.timeoutMs <= nowMs) {
      const { taken } = this.#leaderless.shift()!;
      this.#leaderlessBytes -= taken.batch.bytes.length;
      // Without a leader the server's own limit ends a proposal with the bare context error, as in etcd.
      for (const callId of taken.callIds) if (callId !== 0) this.#giveUp(callId, new ErrContextDeadlineExceeded());
    }
  }

  #propose({ taken, startMs }: Leaderless): void {
    this.waiters.add(taken.firstSequence, taken.callIds, startMs, startMs + this.#options.timeoutMs);
    const result = this.#options.propose(taken.batch);
    if (result === "ok") return;
    for (let i = 0; i < taken.callIds.length; i++) {
      const callId = this.waiters.resolve(taken.firstSequence + i);
      if (callId === nobodysCall) continue;
      this.#giveUp(callId, result === "uncommittedLimit" ? new ErrTooManyRequests() : new ErrProposalDropped());
    }
  }

  #giveUp(callId: number, error: EtcdError): void {
    this.#failedCount++;
    this.#options.fail(callId, error);
  }
}
