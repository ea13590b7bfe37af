/**
 * Calls that only the leader can answer: made here when this member leads, passed on to the leader when another does,
 * held while nobody is known to, and given up after etcd's limit of a request.
 * Thread: main. Bound: one for each open call of a client.
 */
import { ErrNoLeader, ErrTimeout, type EtcdError } from "../errors/index.js";
import type { Member } from "../membership/index.js";

/** Between two attempts with the same leader, as etcd's. */
const pauseMs = 50;

export interface LeaderCall {
  /** This member leads: the call ends here, or goes its own way. */
  here(): void;
  /** Asks the leader; then calls `again` if no answer came. True answers end the call by `LeaderCalls.end`. */
  there(leader: Member, again: () => void): void;
  fail(error: EtcdError): void;
}

export interface LeaderCallsOptions {
  readonly nowMs: () => number;
  /** How long a call may take. */
  readonly timeoutMs: number;
  readonly isLeader: () => boolean;
  /** The leader, when it is known and a member. */
  readonly leader: () => Member | undefined;
}

interface Waiting {
  readonly call: LeaderCall;
  readonly deadlineMs: number;
  /** Not before; Infinity while it is asked. */
  nextMs: number;
}

export class LeaderCalls {
  readonly #options: LeaderCallsOptions;
  readonly #waiting = new Map<LeaderCall, Waiting>();

  constructor(options: LeaderCallsOptions) {
    this.#options = options;
  }

  /** Begins a call, which ends by its own `here`, by `end`, or by `fail`. */
  begin(call: LeaderCall): void {
    const now = this.#options.nowMs();
    const waiting = { call, deadlineMs: now + this.#options.timeoutMs, nextMs: now };
    this.#waiting.set(call, waiting);
    this.#try(waiting, now);
  }

  /** The call has been answered, or nobody waits for it any more. False: it had ended before. */
  end(call: LeaderCall): boolean {
    return this.#waiting.delete(call);
  }

  /** Goes on with what waits; called at each tick and when the leader has changed. */
  tick(): void {
    const now = this.#options.nowMs();
    const waitingNow = [...this.#waiting.values()];
    for (const waiting of waitingNow) {
      if (waiting.deadlineMs <= now) this.#giveUp(waiting);
      else if (waiting.nextMs <= now) this.#try(waiting, now);
    }
  }

  #giveUp({ call }: Waiting): void {
    this.#waiting.delete(call);
    call.fail(this.#options.leader() === undefined ? new ErrNoLeader() : new ErrTimeout());
  }

  #try(waiting: Waiting, now: number): void {
    const { call } = waiting;
    if (this.#options.isLeader()) {
      this.#waiting.delete(call);
      call.here();
      return;
    }
    const leader = this.#options.leader();
    if (leader === undefined) return;
    waiting.nextMs = Number.POSITIVE_INFINITY;
    call.there(leader, () => (waiting.nextMs = Math.max(now, this.#options.nowMs()) + pauseMs));
  }
}
