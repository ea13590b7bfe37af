/** A lease keeper with a stand-in for apply, other members and the clock. */
import assert from "node:assert/strict";
import { copyOf } from "../base/index.js";
import type { Member } from "../membership/index.js";
import { callHeaderBytes, CallBatchReader } from "../native/index.js";
import { decodeLeaseCheckpointRequest } from "../proto/index.js";
import type { BarrierDone } from "./barriers.js";
import { LeaderCalls } from "./leader-calls.js";
import { noPeers, type LeaderAnswer, type LeaseStatus, type Peers } from "./peers.js";
import type { ConfirmationDone } from "./read-index.js";
import { LeaseKeeper } from "./lease-keeper.js";
import type { EtcdError } from "../errors/index.js";

interface Call {
  readonly callId: number;
  readonly minAppliedIndex: number;
  readonly op: number;
  readonly id: number;
  readonly number: number;
}

export class LeaseRig {
  now = 1000;
  leads = true;
  commit = 7;
  last = 7;
  applied = 7;
  readonly proposed: Uint8Array[] = [];
  /** Leases of checkpoints, each with what is left of it. */
  readonly checkpoints: [number, number][] = [];
  readonly calls: Call[] = [];
  /** Those that wait for a ReadIndex. */
  readonly confirmedCalls: Call[] = [];
  readonly failed: { callId: number; text: string }[] = [];
  /** Comes with the next poll. */
  untold: (() => void) | null = null;
  /** Whom this member takes for the leader when it does not lead itself. */
  leader: Member | undefined = undefined;
  readonly barriers: BarrierDone[] = [];
  /** Questions to a quorum whether this member leads; false: it says yes at once. */
  isCutOff = false;
  readonly confirmations: ConfirmationDone[] = [];
  /** Renewals and questions for a lease's time that are with the leader. */
  readonly renewals: { id: bigint; done: (answer: LeaderAnswer<number>) => void }[] = [];
  readonly questions: { id: bigint; done: (answer: LeaderAnswer<LeaseStatus | null>) => void }[] = [];
  readonly peers: Peers = {
    ...noPeers,
    renewLease: (_leader, id, done) => void this.renewals.push({ id, done }),
    leaseTimeToLive: (_leader, id, _withKeys, done) => void this.questions.push({ id, done }),
  };
  readonly leaderCalls = new LeaderCalls({
    nowMs: () => this.now,
    timeoutMs: 7000,
    isLeader: () => this.leads,
    leader: () => this.leader,
  });
  readonly keeper = new LeaseKeeper({
    nowMs: () => this.now,
    heartbeatMs: 100,
    electionMs: 1000,
    checkpointIntervalMs: 300_000,
    leaderCalls: this.leaderCalls,
    peers: this.peers,
    knowAll: (done) => this.barriers.push(done),
    confirmLeadership: (done) => {
      this.confirmations.push(done);
      if (!this.isCutOff) done(true);
    },
    readLinearizable: (record, length) => this.#take(this.confirmedCalls, -1, record, length),
    isLeader: () => this.leads,
    commitIndex: () => this.commit,
    lastIndex: () => this.last,
    pollApply: () => {
      this.untold?.();
      this.untold = null;
    },
    propose: (field, message) => {
      if (field === 9) return void this.proposed.push(copyOf(message));
      assert.equal(field, 11);
      for (const { ID, remainingTTL } of decodeLeaseCheckpointRequest(message).checkpoints)
        this.checkpoints.push([Number(ID), remainingTTL]);
    },
    flush: () => {},
    fail: (callId: number, error: EtcdError) => void this.failed.push({ callId, text: error.message }),
    handOver: (index, records, length) => this.#take(this.calls, index, records, length),
  });

  constructor() {
    this.lead();
    this.keeper.tick();
  }

  /** This member leads from now on, and has heard of what former leaders have written. */
  lead(): void {
    this.keeper.leadershipChanged(true);
    assert.equal(this.keeper.keepAlive(1, 0, 0), false);
    this.barriers.pop()!(null);
  }

  /** A LEASES message of one event. */
  event(id: number, ttl: number, remainingTtl = 0): void {
    const view = new DataView(new ArrayBuffer(16 + 24));
    view.setUint32(0, 4, true);
    view.setUint32(4, 1, true);
    view.setFloat64(8, this.applied, true);
    view.setUint32(16, id, true);
    view.setFloat64(24, ttl, true);
    view.setFloat64(32, remainingTtl, true);
    this.keeper.events(view, 0);
  }

  /** Ticks as a member's clock does. */
  pass(milliseconds: number): void {
    for (let i = 0; i < milliseconds; i += 100) {
      this.now += 100;
      this.leaderCalls.tick();
      this.keeper.tick();
    }
  }

  #take(calls: Call[], minAppliedIndex: number, records: Uint8Array, length: number): void {
    const reader = new CallBatchReader();
    reader.reset(records, length);
    const view = new DataView(records.buffer);
    while (reader.next()) {
      const at = reader.recordStart + callHeaderBytes;
      calls.push({
        callId: reader.callId,
        minAppliedIndex,
        op: view.getUint32(at, true),
        id: view.getUint32(at + 8, true),
        number: view.getFloat64(at + 16, true),
      });
    }
  }
}

/** Another member, which may lead. */
export const other: Member = { id: 9n, name: "b", peerURLs: ["http://b:1"], clientURLs: [], isLearner: false };
