/**
 * Applies committed entries, one after another: reads the request in place, changes the store, the members or the
 * alarms, ends the entry in the backend together with its index, and answers whoever waits for it.
 *
 * What may refuse a request, in etcd's order: a CORRUPT alarm, a NOSPACE alarm, (auth, issue 6,) the quota.
 * Invariants: indexes are consecutive; an entry at or below the backend's consistent index changes nothing again;
 * a call named with an entry gets exactly one answer; effects depend on the log alone.
 */
import { assert, EntryType, type Logger } from "../base/index.js";
import { ErrCompacted, ErrCorrupt, ErrKeyNotFound, ErrNoSpace, type EtcdErrorClass } from "../errors/index.js";
import type { LeaseTable } from "../lease/index.js";
import type { MembershipStore } from "../membership/index.js";
import { ReplyKind, type ReplyBatchWriter } from "../native/index.js";
import { AlarmType } from "../proto/index.js";
import type { Backend } from "../storage/backend/index.js";
import type { MvccStore, SliceLimits } from "../storage/mvcc/index.js";
import type { AlarmStore } from "./alarm-store.js";
import type { Clock } from "./clock.js";
import { ClusterApplier } from "./cluster-applier.js";
import type { Compactor } from "./compactor.js";
import type { FromApply } from "./control.js";
import { describeRequest } from "./describe.js";
import { EntryFields, opOfField, RequestField } from "./entry-fields.js";
import { KvWriter, type KvCounts } from "./kv-writer.js";
import { LeaseAnswers } from "./lease-answers.js";
import { LeaseWriter } from "./lease-writer.js";
import { LongWrites } from "./long-writes.js";
import { nobodysCall, type ApplyMessageReader } from "./messages.js";
import type { ApplyMetrics, ApplyOp } from "./metrics.js";
import { leaseCost, putCost, Quota, txnCost } from "./quota.js";
import { PutFields } from "./requests.js";
import { headerBytesMax, type HeaderWriter } from "./response.js";
import { writeSlice } from "./slice.js";

/** From this cluster version on every member stores what checkpoints leave of leases. */
const storingVersion = { major: 3, minor: 6, patch: 0 } as const;

/** A committed entry cannot be applied by this server; the member must stop. */
export class ApplyError extends Error {
  override readonly name = "ApplyError";
}

export interface ApplierOptions {
  readonly store: MvccStore;
  readonly backend: Backend;
  readonly membership: MembershipStore;
  readonly alarms: AlarmStore;
  readonly leases: LeaseTable;
  readonly compactor: Compactor;
  /** Answers go here; whoever calls `apply` sends and clears it. */
  readonly replies: ReplyBatchWriter;
  /** Sends a batch of its own: a long answer is not copied into `replies`. */
  readonly send: (bytes: Uint8Array, length: number) => void;
  readonly header: HeaderWriter;
  readonly localId: bigint;
  readonly quotaBackendBytes: number;
  /** What is left of a lease by a checkpoint outlasts a restart even in a cluster of a version that has no such rule. */
  readonly leaseCheckpointPersist?: boolean | undefined;
  readonly warningApplyDurationMs: number;
  /** How long an answer may be, if not as gRPC allows. */
  readonly responseBytesMax?: number | undefined;
  /** What one turn does of a long write, if not the usual. */
  readonly writeSlice?: SliceLimits | undefined;
  /** Tells main. */
  readonly post: (event: FromApply) => void;
  readonly clock: Clock;
  readonly metrics: ApplyMetrics;
  readonly logger: Logger;
}

export class Applier {
  readonly #options: ApplierOptions;
  readonly #store: MvccStore;
  readonly #backend: Backend;
  readonly #replies: ReplyBatchWriter;
  readonly #header: HeaderWriter;
  readonly #quota: Quota;
  readonly #cluster: ClusterApplier;
  readonly #kv: KvWriter;
  readonly #long: LongWrites;
  readonly #lease: LeaseWriter;
  readonly #leaseAnswers: LeaseAnswers;
  readonly #entry = new EntryFields();
  readonly #put = new PutFields();
  #appliedIndex: number;
  #appliedTerm: number;
  #dbSize = 0;
  // The message in hand: entries before `#next` are applied.
  #message: ApplyMessageReader | null = null;
  #next = 0;
  /** The entry at `#next` is a delete, a transaction or a revoke that goes on in slices. */
  #busy = false;
  #busyBegan = 0;
  /** The transaction under way does not take the store beyond its quota. */
  #txnFits = true;
  readonly #slice: SliceLimits;
  #capped = false;
  #corrupt = false;
  // Of the entry in hand.
  #bytes: Uint8Array = new Uint8Array(0);
  #callId = 0;
  /** This member has proposed it. */
  #isOwn = false;

  constructor(options: ApplierOptions) {
    this.#options = options;
    this.#store = options.store;
    this.#backend = options.backend;
    this.#replies = options.replies;
    this.#header = options.header;
    this.#quota = new Quota(options.quotaBackendBytes, () => this.#dbSize);
    this.#cluster = new ClusterApplier(options);
    this.#kv = new KvWriter(options.store, options.leases, options.replies);
    this.#slice = options.writeSlice ?? writeSlice;
    this.#long = new LongWrites(options, this.#kv.counts);
    this.#lease = new LeaseWriter(options.store, options.leases, this.#kv.counts);
    this.#leaseAnswers = new LeaseAnswers(options);
    this.#appliedIndex = options.backend.consistentIndex;
    this.#appliedTerm = options.backend.term;
    this.#readAlarms();
  }

  get appliedIndex(): number {
    return this.#appliedIndex;
  }
  /** As in etcd: members of 3.5 need to be told to, and all of a cluster must do alike. */
  get #storesCheckpoints(): boolean {
    const { leaseCheckpointPersist, membership } = this.#options;
    return leaseCheckpointPersist === true || membership.isAtLeast(storingVersion);
  }
  get appliedTerm(): number {
    return this.#appliedTerm;
  }
  /** An entry is under way: it goes on in slices. */
  get isBusy(): boolean {
    return this.#busy;
  }
  /** Leases revoked, by whomever. */
  get leasesRevoked(): number {
    return this.#lease.revokedCount;
  }
  /** Counts for etcd_mvcc_*_total. */
  get counts(): KvCounts {
    return this.#kv.counts;
  }

  /**
   * Applies one ENTRIES message. False: it is not done yet; its bytes must stay, and `resume` is to be called, turn
   * by turn, until it returns true. Until then the store may be read at its current revision, and no more.
   */
  apply(message: ApplyMessageReader): boolean {
    assert(this.#message === null, "apply: a message while another is not done");
    this.#message = message;
    this.#next = 0;
    return this.#run();
  }

  /** The caller of what is under way, perhaps, is gone: it need not be answered. */
  cancel(callId: number): void {
    if (this.#busy) this.#long.cancel(callId);
  }

  /** The backend holds another, later state: entries up to its consistent index are applied. */
  restored(): void {
    assert(this.#message === null, "apply: a snapshot while an entry is not done");
    this.#appliedIndex = this.#backend.consistentIndex;
    this.#appliedTerm = this.#backend.term;
    this.#readAlarms();
  }

  /** Goes on with the message in hand; true when it is done. */
  resume(): boolean {
    return this.#run();
  }

  #run(): boolean {
    const message = this.#message;
    assert(message !== null, "apply: nothing to go on with");
    const { count, firstIndex, term } = message;
    this.#header.raftTerm = message.raftTerm;
    this.#dbSize = this.#backend.sizes().total;
    this.#bytes = message.bytes;
    let began = this.#busy ? this.#busyBegan : this.#options.clock.now();
    for (; this.#next < count; this.#next++) {
      const index = firstIndex + this.#next;
      if (index <= this.#appliedIndex) continue;
      assert(index === this.#appliedIndex + 1, "apply: entries are not consecutive");
      const waiter = message.callId(this.#next);
      this.#isOwn = waiter !== 0;
      this.#callId = waiter === nobodysCall ? 0 : waiter;
      const start = message.entryStart(this.#next);
      const end = message.entryEnd(this.#next);
      if (message.entryType(this.#next) === EntryType.Normal) {
        began = this.#applyNormal(index, term, start, end, began);
        if (this.#busy) {
          this.#busyBegan = began;
          return false;
        }
      } else {
        this.#applyConfChange(message.entryType(this.#next), index, term, start, end);
        began = this.#options.clock.now();
      }
      this.#appliedIndex = index;
      this.#appliedTerm = term;
    }
    this.#message = null;
    return true;
  }

  /** Returns the time at which it was done, the begin of the next entry. */
  #applyNormal(index: number, term: number, start: number, end: number, began: number): number {
    if (start === end) {
      // A new leader's first entry.
      this.#backend.endEntry(index, term);
      return began;
    }
    const entry = this.#entry;
    entry.read(this.#bytes, start, end);
    if (!entry.hasId) throw new ApplyError(`entry ${index} has no request ID`);
    const op = opOfField(entry.field);
    if (op === undefined) throw new ApplyError(`entry ${index}: request field ${entry.field} is not implemented`);
    const refusal = this.#dispatch(index, entry.field, entry.start, entry.end);
    if (this.#busy) return began;
    this.#backend.endEntry(index, term);
    const ended = this.#options.clock.now();
    this.#options.metrics.applied(op, refusal === null || refusal === ErrCompacted, ended - began);
    if (this.#isOwn) this.#options.metrics.requested(op, true, this.#message!.startMs, ended);
    if (ended - began > this.#options.warningApplyDurationMs) this.#warnSlow(op, ended - began, refusal);
    return ended;
  }

  /** Applies and answers the request; what refused it, or null. */
  #dispatch(index: number, field: number, start: number, end: number): EtcdErrorClass | null {
    switch (field) {
      case RequestField.Put:
        return this.#answered(this.#applyPut(start, end));
      case RequestField.Txn:
        return this.#answered(this.#applyTxn(start, end));
      case RequestField.DeleteRange:
        return this.#answered(this.#applyDeleteRange(start, end));
      case RequestField.Compaction:
        return this.#applyCompaction(start, end);
      case RequestField.LeaseGrant:
        return this.#answered(this.#applyLeaseGrant(start, end));
      case RequestField.LeaseRevoke:
        return this.#answered(this.#applyLeaseRevoke(start, end));
      case RequestField.LeaseCheckpoint:
        this.#lease.checkpoint(this.#bytes, start, end, this.#storesCheckpoints);
        if (this.#callId !== 0) this.#leaseAnswers.bare(this.#callId);
        return null;
      case RequestField.Alarm:
        this.#cluster.alarm(index, this.#bytes, start, end, this.#callId);
        this.#readAlarms();
        return null;
      case RequestField.ClusterVersionSet:
        this.#cluster.clusterVersion(index, this.#bytes, start, end);
        return null;
      case RequestField.ClusterMemberAttrSet:
        this.#cluster.memberAttributes(index, this.#bytes, start, end);
        return null;
      case RequestField.DowngradeInfoSet:
        this.#cluster.downgradeInfo(index, this.#bytes, start, end);
        return null;
      default:
        // Reads in the log, which no server of this version proposes, have no effect.
        return null;
    }
  }

  /** Answers a refused request with its error. */
  #answered(refusal: EtcdErrorClass | null): EtcdErrorClass | null {
    // Nobody hears of it before the alarm is on, which is main's to raise.
    if (refusal === ErrNoSpace && !this.#capped) this.#options.post({ type: "noSpace", callId: this.#callId });
    else if (refusal !== null && this.#callId !== 0) this.#replies.status(this.#callId, refusal.code, refusal.message);
    return refusal;
  }

  #applyPut(start: number, end: number): EtcdErrorClass | null {
    if (this.#corrupt) return ErrCorrupt;
    if (this.#capped) return ErrNoSpace;
    const fields = this.#put;
    fields.read(this.#bytes, start, end);
    const refusal = this.#kv.refusePut(fields);
    if (refusal === ErrKeyNotFound) this.counts.ranges++;
    if (refusal !== null) return refusal;
    if (fields.needsPrevious) this.counts.txns++;
    const fits = this.#quota.allows(putCost(fields));
    this.#store.begin();
    if (this.#callId === 0 || !fits) {
      this.#kv.put(fields, -1);
      this.#store.end();
      return fits ? null : ErrNoSpace;
    }
    const revision = this.#store.currentRevision + 1;
    let at = this.#replies.begin(this.#callId, ReplyKind.MessageAndEnd, headerBytesMax);
    at = this.#header.write(revision, this.#replies.bytes, at);
    at = this.#kv.put(fields, at);
    const ended = this.#store.end();
    assert(ended === revision, "a put's revision is not the one that its answer says");
    this.#replies.finish(at);
    return null;
  }

  /** In slices: `#busy` tells that it is not done, and it is called again. */
  #applyDeleteRange(start: number, end: number): EtcdErrorClass | null {
    if (!this.#busy) {
      if (this.#corrupt) return ErrCorrupt;
      this.#long.beginDelete(this.#bytes, start, end, this.#callId);
    }
    this.#busy = !this.#long.step(this.#slice);
    return null;
  }

  #applyCompaction(start: number, end: number): EtcdErrorClass | null {
    if (this.#corrupt) return this.#answered(ErrCorrupt);
    const { compactor } = this.#options;
    const refusal = compactor.apply(this.#bytes, start, end, this.#callId, this.#message!.raftTerm);
    // etcd reads some key, for the revision.
    if (refusal === null) this.counts.ranges++;
    return refusal;
  }

  #applyLeaseGrant(start: number, end: number): EtcdErrorClass | null {
    if (this.#corrupt) return ErrCorrupt;
    if (this.#capped) return ErrNoSpace;
    const fits = this.#quota.allows(leaseCost);
    const lease = this.#lease;
    const refusal = lease.grant(this.#bytes, start, end);
    if (refusal !== null) return refusal;
    this.#options.metrics.leaseGranted(lease.grantedTtl);
    if (!fits) return ErrNoSpace;
    if (this.#callId !== 0) this.#leaseAnswers.granted(this.#callId, lease.low, lease.high);
    return null;
  }

  /** In slices, as a DeleteRange. */
  #applyLeaseRevoke(start: number, end: number): EtcdErrorClass | null {
    if (!this.#busy) {
      if (this.#corrupt) return ErrCorrupt;
      const refusal = this.#lease.beginRevoke(this.#bytes, start, end);
      if (refusal !== null) return refusal;
    }
    this.#busy = !this.#lease.stepRevoke(this.#slice.keys);
    if (!this.#busy && this.#callId !== 0) this.#leaseAnswers.bare(this.#callId);
    return null;
  }

  /** In slices, as a DeleteRange. */
  #applyTxn(start: number, end: number): EtcdErrorClass | null {
    if (!this.#busy) {
      const refusal = this.#beginTxn(start, end);
      if (refusal !== null) return refusal;
    }
    this.#busy = !this.#long.step(this.#slice);
    if (this.#busy) return null;
    return this.#long.refusal ?? (this.#txnFits ? null : ErrNoSpace);
  }

  #beginTxn(start: number, end: number): EtcdErrorClass | null {
    if (this.#corrupt) return ErrCorrupt;
    if (this.#capped && txnCost(this.#bytes, start, end) > 0) return ErrNoSpace;
    this.#txnFits = this.#quota.allowsAny(end - start) || this.#quota.allows(txnCost(this.#bytes, start, end));
    this.#long.beginTxn(this.#bytes, start, end, this.#txnFits ? this.#callId : 0);
    return null;
  }

  #applyConfChange(type: number, index: number, term: number, start: number, end: number): void {
    if (type !== EntryType.ConfChange) throw new ApplyError(`entry ${index}: entry type ${type} is not implemented`);
    const confState = this.#cluster.confChange(index, this.#bytes, start, end);
    this.#backend.endEntry(index, term, confState);
  }

  #readAlarms(): void {
    this.#capped = this.#options.alarms.has(AlarmType.NOSPACE);
    this.#corrupt = this.#options.alarms.has(AlarmType.CORRUPT);
  }

  #warnSlow(op: ApplyOp, milliseconds: number, refusal: EtcdErrorClass | null): void {
    this.#options.metrics.slowApply();
    this.#options.logger.warn("apply request took too long", {
      took: `${milliseconds.toFixed(3)}ms`,
      "expected-duration": `${this.#options.warningApplyDurationMs}ms`,
      prefix: "",
      request: describeRequest(op, this.#bytes, this.#entry.start, this.#entry.end),
      ...(refusal === null ? {} : { error: refusal.message }),
    });
  }
}
