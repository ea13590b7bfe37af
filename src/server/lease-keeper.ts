/**
 * The leader's side of leases: the clock, fed by what apply has applied; revokes of leases whose time has come; and
 * the lease calls that need the clock. Apply answers them all, for it knows the revision and what is there at it:
 * main says what its clock says, or what the leader has said where another member leads, and hands the call on.
 *
 * Thread: main. Invariants: a revoke is proposed only in the very turn in which this member is found leading, so that
 * none of a former leader is ever taken for a new leader's; at most `revokesMax` are on their way, so that leases that
 * end together do not push aside what clients ask for.
 */
import { appliedBefore, LeaseCallWriter, LeaseOp, readLeaseEvents } from "../apply/index.js";
import type { EtcdError } from "../errors/index.js";
import { LeaseClock, leaseIdOf, Renewal, signedLeaseIdOf, writeVarintHalves } from "../lease/index.js";
import { encodeLeaseKeepAliveResponse, encodeLeaseTimeToLiveResponse } from "../proto/index.js";
import type { BarrierDone } from "./barriers.js";
import { DoubtedLeases } from "./doubted-leases.js";
import type { LeaderCall, LeaderCalls } from "./leader-calls.js";
import { LeaseCheckpoints } from "./lease-checkpoints.js";
import type { LeaseStatus, Peers } from "./peers.js";
import type { ConfirmationDone } from "./read-index.js";

/**
 * Revokes between their proposal and apply's word that they are done; a put that comes then waits for them. The first
 * ones of a process run before V8 has compiled their code, at 100 µs each: with 256 of them puts waited for 20 ms. On a
 * disk that syncs within 1 ms this many a time are 50,000 a second.
 */
const revokesMax = 64;
/** After a pause of so many ticks, clients get one tick to have their renewals read before leases end. */
const lateTicks = 3;
/**
 * In election timeouts: for so long after a question to which a quorum answers that this member leads it takes it that
 * it does. A next leader may be there right behind the answers (a transfer asks nobody to wait), and gives leases one
 * election timeout of its clock: half of one here is less even if this clock runs at half the other's rate.
 */
const confirmedFor = 0.5;
/** Of that time: a renewal that comes later has the question asked anew, so that those behind it need not wait. */
const freshFor = 0.5;
/** InternalRaftRequest.lease_revoke. */
const revokeField = 9;

export interface LeaseKeeperActions {
  readonly nowMs: () => number;
  readonly heartbeatMs: number;
  readonly electionMs: number;
  /** Between two checkpoints of a lease; Infinity: none are written. */
  readonly checkpointIntervalMs: number;
  readonly leaderCalls: LeaderCalls;
  readonly peers: Peers;
  /** Until this member knows what was committed anywhere before. */
  knowAll(done: BarrierDone): void;
  /** Asks a quorum, after this call, whether this member still leads; it may be done at once. */
  confirmLeadership(done: ConfirmationDone): void;
  /** Hands a call record to apply, to be answered after a ReadIndex. */
  readLinearizable(record: Uint8Array, length: number): void;
  isLeader(): boolean;
  /** The last entry known to be committed, and the last of the log. */
  commitIndex(): number;
  lastIndex(): number;
  /** Takes what apply has told up to now. */
  pollApply(): void;
  /** Gathers a proposal of the server's own; `flush` sends what has gathered. */
  propose(field: number, message: Uint8Array): void;
  flush(): void;
  fail(callId: number, error: EtcdError): void;
  /** Hands call records to apply, to be answered once it has applied `minAppliedIndex`. */
  handOver(minAppliedIndex: number, records: Uint8Array, length: number): void;
}

interface TimeToLiveCall {
  readonly callId: number;
  readonly low: number;
  readonly high: number;
  readonly withKeys: boolean;
}

export class LeaseKeeper {
  readonly #actions: LeaseKeeperActions;
  readonly #clock: LeaseClock;
  readonly #checkpoints: LeaseCheckpoints;
  readonly #calls = new LeaseCallWriter();
  #callsIndex = 0;
  /** One call that waits for a ReadIndex. */
  readonly #question = new LeaseCallWriter();
  readonly #doubted: DoubtedLeases;
  readonly #message = new Uint8Array(11);
  /** Counts the states of the clock that were sent for lists; the calls of one wake-up share one. */
  #listSequence = 0;
  #listIsSent = false;
  /** Former leaders' entries end at or before this one. */
  #formerIndex = 0;
  #lastTickMs = -Infinity;
  /** When the question was asked to which a quorum last said that this member leads. */
  #confirmedMs = -Infinity;
  #isConfirming = false;
  /** A renewal waits for the question's answer. */
  #isAwaited = false;
  /** Apply has what former leaders have written of leases: what it tells from now on is of this leadership. */
  #isSettled = false;
  /** The question, of this leadership, that settles it. */
  #settling: object | null = null;
  /** Questions for a lease's time that wait for it; one for each open call at most. */
  #unsettled: TimeToLiveCall[] = [];
  #expiredCount = 0;
  /** A lease has ended or is certain not to be there, or this member leads no longer: who waits may go on. */
  onEnded: (() => void) | undefined = undefined;

  constructor(actions: LeaseKeeperActions) {
    this.#actions = actions;
    this.#clock = new LeaseClock(actions.nowMs, actions.checkpointIntervalMs);
    this.#checkpoints = new LeaseCheckpoints(this.#clock, actions);
    this.#doubted = new DoubtedLeases(
      (done) => actions.knowAll(done),
      () => this.#tellEnded(),
    );
  }

  /** Renewals so far (etcd_debugging_lease_renewed_total). */
  get renewedCount(): number {
    return this.#clock.renewedCount;
  }
  /** Leases that ended because their time had come (etcd_debugging_server_lease_expired_total). */
  get expiredCount(): number {
    return this.#expiredCount;
  }
  /** Leases that main knows of. */
  get count(): number {
    return this.#clock.count;
  }

  /** What apply had at its start: a LEASES message. */
  restore(message: Uint8Array): void {
    readLeaseEvents(new DataView(message.buffer, message.byteOffset, message.byteLength), 0, this.#clock);
  }

  /** Takes the LEASES message that begins at `start`. */
  events(view: DataView, start: number): void {
    let ended = false;
    let cleared = false;
    const isFormer = appliedBefore(view, start) < this.#formerIndex;
    readLeaseEvents(view, start, {
      granted: (low, high, ttl, remainingTtl) => this.#clock.granted(low, high, ttl, remainingTtl, isFormer),
      revoked: (low, high) => {
        if (!this.#clock.revoked(low, high)) return;
        this.#expiredCount++;
        ended = true;
      },
      checkpointed: (low, high, remainingTtl) => {
        this.#clock.checkpointed(low, high, remainingTtl, isFormer);
        cleared ||= remainingTtl <= 0;
      },
    });
    if (ended) this.#revokeExpired();
    if (ended || cleared) this.#tellEnded();
  }

  /** This member leads, or leads no longer. */
  leadershipChanged(leads: boolean): void {
    this.#isSettled = false;
    this.#settling = null;
    if (leads) {
      this.#formerIndex = this.#actions.lastIndex();
      this.#clock.promote(this.#actions.electionMs);
    } else this.#clock.demote();
    // Wherever their leader is now.
    for (const { callId, low, high, withKeys } of this.#unsettled.splice(0))
      this.timeToLive(callId, low, high, withKeys);
    this.#tellEnded();
  }

  /** One heartbeat interval has passed. */
  tick(): void {
    const now = this.#actions.nowMs();
    const isLate = now - this.#lastTickMs > lateTicks * this.#actions.heartbeatMs;
    this.#lastTickMs = now;
    if (isLate || !this.#actions.isLeader()) return;
    if (!this.#isSettled) return this.#settle();
    this.#revokeExpired();
    this.#checkpoints.tick();
  }

  /**
   * Answers one request of a keepalive stream, after having renewed the lease. False: nothing was done, as the lease
   * is about to end, or is not known and not certain to be gone, or the log has less than its whole time, or this member
   * may lead no longer; the request is to come again after `onEnded`. Only for a member that leads.
   */
  keepAlive(callId: number, low: number, high: number): boolean {
    if (!this.#surelyLeads()) return false;
    let renewal = this.#clock.renew(low, high);
    if (renewal === Renewal.Unknown) {
      this.#actions.pollApply();
      renewal = this.#clock.renew(low, high);
    }
    if (renewal === Renewal.Ending) return false;
    if (renewal === Renewal.Checkpointed) {
      this.#checkpoints.clear(low, high);
      return false;
    }
    if (renewal === Renewal.Unknown && !this.#doubted.isGone(leaseIdOf(low, high))) return false;
    this.#add(0, callId, LeaseOp.KeepAlive, 0, low, high, 0);
    return true;
  }

  /** Passes one request of a keepalive stream on to the leader; `here`: this member leads. Returns what ends the wait. */
  renewAtLeader(
    low: number,
    high: number,
    done: (answer: { ttl: number } | { error: EtcdError } | "here") => void,
  ): () => void {
    const { leaderCalls, peers } = this.#actions;
    const call: LeaderCall = {
      here: () => done("here"),
      there: (leader, again) =>
        peers.renewLease(leader, leaseIdOf(low, high), (answer) => {
          if (answer === null) again();
          else if (leaderCalls.end(call)) done("error" in answer ? answer : { ttl: answer.value });
        }),
      fail: (error) => done({ error }),
    };
    leaderCalls.begin(call);
    return () => void leaderCalls.end(call);
  }

  /** Answers one request of a keepalive stream with what the leader has said. */
  renewed(callId: number, low: number, high: number, ttl: number): void {
    const message = encodeLeaseKeepAliveResponse({ ID: signedLeaseIdOf(low, high), TTL: ttl });
    this.#add(0, callId, LeaseOp.Head, 1, 0, 0, 0, message);
  }

  /** Ends a keepalive stream after the answers that it still gets. */
  endStream(callId: number, code: number, text: string): void {
    this.#add(0, callId, LeaseOp.End, code, 0, 0, 0, Buffer.from(text));
  }

  timeToLive(callId: number, low: number, high: number, withKeys: boolean): void {
    const { leaderCalls, peers, fail } = this.#actions;
    const call: LeaderCall = {
      here: () => this.timeToLiveHere(callId, low, high, withKeys),
      there: (leader, again) =>
        peers.leaseTimeToLive(leader, leaseIdOf(low, high), withKeys, (answer) => {
          if (answer === null) again();
          else if (!leaderCalls.end(call)) return;
          else if ("error" in answer) fail(callId, answer.error);
          else this.#timeToLiveToldBy(callId, leaseIdOf(low, high), answer.value);
        }),
      fail: (error) => fail(callId, error),
    };
    leaderCalls.begin(call);
  }

  #timeToLiveToldBy(callId: number, id: bigint, status: LeaseStatus | null): void {
    const { ttl, grantedTtl, keys } = status ?? { ttl: -1, grantedTtl: 0, keys: [] };
    const message = encodeLeaseTimeToLiveResponse({
      ID: BigInt.asIntN(64, id),
      TTL: ttl,
      grantedTTL: grantedTtl,
      keys,
    });
    this.#add(0, callId, LeaseOp.Head, 0, 0, 0, 0, message);
    this.flush();
  }

  /** As `timeToLive`, for a member that leads. */
  timeToLiveHere(callId: number, low: number, high: number, withKeys: boolean): void {
    if (!this.#isSettled) {
      this.#unsettled.push({ callId, low, high, withKeys });
      this.#settle();
      return;
    }
    this.#actions.pollApply();
    const remaining = this.#clock.remainingMs(low, high);
    const operand = withKeys ? 1 : 0;
    if (!Number.isNaN(remaining))
      return this.#add(this.#actions.commitIndex(), callId, LeaseOp.TimeToLive, operand, low, high, remaining);
    // What this member knows to be committed may not be all.
    const question = this.#question;
    question.add(callId, LeaseOp.TimeToLive, operand, low, high, remaining);
    this.#actions.readLinearizable(question.bytes, question.length);
    question.clear();
  }

  list(callId: number): void {
    this.#actions.pollApply();
    if (this.#listIsSent) return this.#add(0, callId, LeaseOp.Leases, 0, 0, 0, this.#listSequence);
    const { ids, ends } = this.#clock.all();
    const bytes = new Uint8Array(ids.byteLength + ends.byteLength);
    bytes.set(new Uint8Array(ids.buffer), 0);
    bytes.set(new Uint8Array(ends.buffer), ids.byteLength);
    this.#add(0, callId, LeaseOp.Leases, 1, 0, 0, ++this.#listSequence, bytes);
    this.#listIsSent = true;
  }

  /** Sends the calls gathered. */
  flush(): void {
    this.#listIsSent = false;
    if (this.#calls.length === 0) return;
    this.#actions.handOver(this.#callsIndex, this.#calls.bytes, this.#calls.length);
    this.#calls.clear();
  }

  /** A leader that is cut off, or stood still, does not hear that it was replaced (thesis §6.4.1). */
  #surelyLeads(): boolean {
    const { nowMs, electionMs, isLeader } = this.#actions;
    if (!isLeader()) return false;
    if (!this.#isSettled) {
      this.#settle();
      return false;
    }
    const validMs = confirmedFor * electionMs;
    const now = nowMs();
    if (now - this.#confirmedMs > freshFor * validMs) this.#confirmLeadership(now);
    this.#isAwaited = now - this.#confirmedMs > validMs;
    return !this.#isAwaited;
  }

  /**
   * A former leader may have written a checkpoint that this one has yet to hear of. It would count after a renewal, this
   * leader's own checkpoint would pass over it, and a revoke would end a lease that has been renewed.
   */
  #settle(): void {
    if (this.#settling !== null) return;
    const settling = {};
    this.#settling = settling;
    this.#actions.knowAll((error) => {
      if (settling !== this.#settling) return;
      this.#settling = null;
      this.#isSettled = error === null;
      for (const { callId, low, high, withKeys } of this.#unsettled.splice(0)) {
        if (error === null) this.timeToLiveHere(callId, low, high, withKeys);
        else this.#actions.fail(callId, error);
      }
      this.#tellEnded();
    });
  }

  #confirmLeadership(askedMs: number): void {
    if (this.#isConfirming) return;
    this.#isConfirming = true;
    this.#actions.confirmLeadership((isConfirmed) => {
      this.#isConfirming = false;
      if (isConfirmed && this.#actions.isLeader()) this.#confirmedMs = askedMs;
      if (!this.#isAwaited) return;
      this.#isAwaited = false;
      this.#tellEnded();
    });
  }

  #add(
    index: number,
    callId: number,
    op: LeaseOp,
    operand: number,
    low: number,
    high: number,
    number: number,
    tail?: Uint8Array,
  ): void {
    if (index !== this.#callsIndex) this.flush();
    this.#callsIndex = index;
    this.#calls.add(callId, op, operand, low, high, number, tail);
  }

  #tellEnded(): void {
    this.onEnded?.();
    this.flush();
  }

  #revokeExpired(): void {
    if (!this.#actions.isLeader() || !this.#isSettled) return;
    let any = false;
    this.#clock.takeExpired(revokesMax, (low, high) => {
      any = true;
      this.#message[0] = 0x08;
      this.#actions.propose(revokeField, this.#message.subarray(0, writeVarintHalves(low, high, this.#message, 1)));
    });
    if (any) this.#actions.flush();
  }
}
