/**
 * Calls and streams whose clients want a leader (`hasleader`), in one run of a member: the real rules on the member's
 * own ticks, and what must hold of them at each tick.
 */
import { LeaderStreams, refusalOf } from "../../src/api/grpc/index.js";
import { ErrNoLeader, type EtcdError } from "../../src/errors/index.js";
import { CallFlag } from "../../src/native/index.js";
import type { MemberCore } from "../../src/server/index.js";
import type { SimulatedMember } from "./member.js";

/** etcd ends such streams after so many election timeouts without a leader (v3rpc, maxNoLeaderCnt). */
const electionTimeoutsMax = 3;

const rule = "hasleader: who needs a leader is told that there is none";

export class LeaderNeeds {
  readonly #member: SimulatedMember;
  readonly #core: MemberCore;
  readonly #streams: LeaderStreams;
  /** Streams that are under way, by the simulation's own account. */
  readonly #open = new Set<number>();
  /** What is to run at a later tick. */
  #later: { ticks: number; readonly run: () => void }[] = [];
  /** Ticks in a row at which the member knew no leader. */
  #ticksWithout = 0;

  /** `end` ends a stream with the error. */
  constructor(member: SimulatedMember, core: MemberCore, end: (callId: number, error: EtcdError) => void) {
    const { electionTimeout, heartbeatInterval } = member.world.config;
    this.#member = member;
    this.#core = core;
    this.#streams = new LeaderStreams({
      electionTimeoutMs: electionTimeout,
      hasLeader: () => core.leader !== 0n,
      end: (callId) => {
        if (core.leader !== 0n) this.#fail(`ends stream ${callId} while ${core.leader} leads`);
        end(callId, new ErrNoLeader());
      },
      after: (milliseconds, run) => void this.#later.push({ ticks: Math.ceil(milliseconds / heartbeatInterval), run }),
    });
  }

  /** Why a call or stream is refused as it comes; null: it is taken. */
  refusal(needsLeader: boolean): EtcdError | null {
    const { clusterVersion, leader } = this.#core;
    const error = refusalOf(this.#core, needsLeader ? CallFlag.RequireLeader : 0, false);
    const mustRefuse = clusterVersion !== null && needsLeader && leader === 0n;
    if (mustRefuse !== error instanceof ErrNoLeader)
      this.#fail(`answers a call with ${error?.message ?? "nothing yet"}; leader ${leader}, needed: ${needsLeader}`);
    return error;
  }

  /** A stream that needs a leader was taken. */
  opened(callId: number): void {
    this.#open.add(callId);
    this.#streams.add(callId);
  }

  /** A stream has ended, whoever ended it. */
  ended(callId: number): void {
    this.#open.delete(callId);
    this.#streams.delete(callId);
  }

  tick(): void {
    const { electionTimeout, heartbeatInterval } = this.#member.world.config;
    this.#ticksWithout = this.#core.leader === 0n ? this.#ticksWithout + 1 : 0;
    const later = this.#later;
    this.#later = [];
    for (const one of later) {
      if (--one.ticks > 0) this.#later.push(one);
      else one.run();
    }
    const ticksMax = (electionTimeoutsMax * electionTimeout) / heartbeatInterval;
    if (this.#ticksWithout >= ticksMax && this.#open.size > 0)
      this.#fail(`${this.#open.size} streams are open after ${this.#ticksWithout} ticks without a leader`);
  }

  #fail(detail: string): never {
    return this.#member.world.fail(rule, `${this.#member.name} ${detail}`);
  }
}
