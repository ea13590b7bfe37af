/**
 * Storage work that Raft has handed out, and the responses to deliver when it is done.
 * Invariant: work is done, and its responses are delivered, in the order in which Raft gave it.
 * Bound: what Raft hands out. A disk that hangs gathers nothing more: what a response has said already and nobody has
 * heard yet is not kept again (a leader sends an empty append with each heartbeat to a follower that is behind).
 */
import type { Message } from "../raft/index.js";

interface Work {
  /** Append: the WAL's token. Apply: the last index. */
  readonly until: number;
  readonly responses: Message[];
  readonly startMs: number;
}

export class Outstanding {
  readonly #work: Work[] = [];

  /** Pieces of work under way. */
  get count(): number {
    return this.#work.length;
  }

  /** Responses that wait. */
  get responses(): number {
    return this.#work.reduce((sum, { responses }) => sum + responses.length, 0);
  }

  /** When the oldest work began; null when none is under way. */
  get oldestMs(): number | null {
    return this.#work[0]?.startMs ?? null;
  }

  /** `responses` wait for all work up to `until`. */
  add(until: number, responses: readonly Message[], startMs: number): void {
    const last = this.#work.at(-1);
    if (last === undefined || last.until !== until) {
      this.#work.push({ until, responses: [...responses], startMs });
      return;
    }
    for (const response of responses) {
      if (!last.responses.some((other) => saysTheSame(response, other))) last.responses.push(response);
    }
  }

  /** Everything up to `until` is done: gives each response to `deliver`. */
  done(until: number, deliver: (response: Message) => void): void {
    let count = 0;
    while (count < this.#work.length && this.#work[count]!.until <= until) count++;
    if (count === 0) return;
    // What is added meanwhile is none of these.
    for (const { responses } of this.#work.splice(0, count)) for (const response of responses) deliver(response);
  }
}

function saysTheSame(a: Message, b: Message): boolean {
  const isSameKind = a.type === b.type && a.to === b.to && a.from === b.from && a.term === b.term;
  const isSamePlace = a.index === b.index && a.logTerm === b.logTerm && a.entries === b.entries;
  return (
    isSameKind && isSamePlace && a.reject === b.reject && a.rejectHint === b.rejectHint && a.snapshot === b.snapshot
  );
}
