/**
 * From the edge's batches to the server: each call is checked as etcd's RPC layer does and goes on its way as
 * a proposal, a read, or an answer from here. One pass over a batch, then one flush.
 *
 * Thread: main. Nothing is kept of a batch: its buffer is reused.
 */
import {
  ErrInvalidClientApiVersion,
  ErrNoLeader,
  ErrNoSpace,
  ErrNotCapable,
  ErrNotSupportedForLearner,
  ErrTooManyRequests,
  EtcdError,
  GrpcCode,
  unmarshalRequestError,
} from "../../errors/index.js";
import { callHeaderBytes, CallBatchReader, CallFlag, CallKind, writeCancelRecord } from "../../native/index.js";
import {
  AlarmRequestDescriptor,
  CompactionRequestDescriptor,
  decodeAlarmRequest,
  decodeMemberListRequest,
  decodeRangeRequest,
  DefragmentRequestDescriptor,
  HashKVRequestDescriptor,
  HashRequestDescriptor,
  LeaseGrantRequestDescriptor,
  LeaseLeasesRequestDescriptor,
  LeaseRevokeRequestDescriptor,
  LeaseTimeToLiveRequestDescriptor,
  MemberListRequestDescriptor,
  RangeRequestDescriptor,
  SnapshotRequestDescriptor,
  StatusRequestDescriptor,
  validate,
  type MessageDescriptor,
} from "../../proto/index.js";
import type { EtcdServer } from "../../server/index.js";
import { clusterRequests, ClusterService, type ClusterMethod } from "./cluster-service.js";
import { Connections } from "./connections.js";
import { HealthService } from "./health.js";
import { LeaseService } from "./lease-service.js";
import { LeaderStreams } from "./leader-streams.js";
import { methodIndex, servedMethods, type ServedPath } from "./methods.js";
import { requestField } from "./request-field.js";
import { KvValidator } from "./validate-kv.js";
import { readSlowRecord } from "../request-facts.js";
import type { RequestLog } from "../request-stats.js";
import { isTxnReadonly, isTxnSerializable } from "./validate-txn.js";

const alarmActionMax = 2;

const watchMethod = methodIndex("/etcdserverpb.Watch/Watch");

/** Where batches of calls come from: the edge. */
export interface CallSource {
  /** Copies whole records into `into` and returns their bytes; 0: nothing is left. */
  drain(into: Uint8Array): number;
}

/** A call's ID and message `bytes[start, end)`. */
type CallMessage = [callId: number, bytes: Uint8Array, start: number, end: number];

/** Batches taken in one go before other events of this thread get their turn. */
const batchesInARow = 4;

export class Dispatcher {
  readonly #server: EtcdServer;
  readonly #source: CallSource;
  readonly #requestLog: RequestLog;
  readonly #buffer: Uint8Array;
  readonly #reader = new CallBatchReader();
  readonly #validator: KvValidator;
  readonly #health: HealthService;
  readonly #leases: LeaseService;
  readonly #cluster: ClusterService;
  readonly #connections = new Connections();
  readonly #leaderStreams: LeaderStreams;
  readonly #handlers: readonly (() => void)[];
  /** Records for apply that need no ReadIndex. */
  #local = new Uint8Array(1 << 16);
  #localLength = 0;
  #scheduled = false;

  /** `messageBytesMax`: the longest message that the edge lets through. */
  constructor(server: EtcdServer, source: CallSource, messageBytesMax: number, requestLog: RequestLog) {
    this.#requestLog = requestLog;
    this.#server = server;
    this.#source = source;
    this.#buffer = new Uint8Array(Math.max(1 << 20, messageBytesMax + (1 << 16)));
    this.#validator = new KvValidator({ txnOpsMax: server.config.maxTxnOps });
    this.#health = new HealthService(server.replies);
    this.#leaderStreams = new LeaderStreams({
      electionTimeoutMs: server.config.electionTimeout,
      hasLeader: () => server.core.leader !== 0n,
      end: (callId) => this.#endStream(callId, new ErrNoLeader()),
      after: (milliseconds, run) => void setTimeout(run, milliseconds).unref(),
    });
    this.#leases = new LeaseService(server);
    this.#cluster = new ClusterService(server);
    const table: Readonly<Record<ServedPath, () => void>> = {
      "/etcdserverpb.KV/Range": () => this.#range(),
      "/etcdserverpb.KV/Put": () => this.#put(),
      "/etcdserverpb.KV/DeleteRange": () => this.#deleteRange(),
      "/etcdserverpb.KV/Txn": () => this.#txn(),
      "/etcdserverpb.KV/RangeStream": () => this.#rangeStream(),
      "/etcdserverpb.KV/Compact": () => this.#compact(),
      "/etcdserverpb.Lease/LeaseGrant": () => this.#leaseGrant(),
      "/etcdserverpb.Lease/LeaseRevoke": () => this.#leaseRevoke(),
      "/etcdserverpb.Lease/LeaseKeepAlive": () => this.#leaseKeepAlive(),
      "/etcdserverpb.Lease/LeaseTimeToLive": () => this.#leaseTimeToLive(),
      "/etcdserverpb.Lease/LeaseLeases": () => this.#leaseLeases(),
      "/etcdserverpb.Maintenance/Alarm": () => this.#alarm(),
      "/etcdserverpb.Maintenance/Status": () => this.#localCall(StatusRequestDescriptor),
      "/etcdserverpb.Maintenance/Hash": () => this.#localCall(HashRequestDescriptor),
      "/etcdserverpb.Maintenance/HashKV": () => this.#localCall(HashKVRequestDescriptor),
      "/etcdserverpb.Maintenance/Snapshot": () => this.#snapshot(),
      "/etcdserverpb.Maintenance/Defragment": () => this.#localCall(DefragmentRequestDescriptor),
      "/etcdserverpb.Maintenance/MoveLeader": () => this.#clusterCall("moveLeader"),
      "/etcdserverpb.Maintenance/Downgrade": () => this.#clusterCall("downgrade"),
      "/etcdserverpb.Cluster/MemberList": () => this.#memberList(),
      "/etcdserverpb.Cluster/MemberAdd": () => this.#clusterCall("memberAdd"),
      "/etcdserverpb.Cluster/MemberRemove": () => this.#clusterCall("memberRemove"),
      "/etcdserverpb.Cluster/MemberUpdate": () => this.#clusterCall("memberUpdate"),
      "/etcdserverpb.Cluster/MemberPromote": () => this.#clusterCall("memberPromote"),
      "/etcdserverpb.Watch/Watch": () => this.#watch(),
      "/grpc.health.v1.Health/Check": () => this.#health.check(...this.#message()),
      "/grpc.health.v1.Health/List": () => this.#health.list(this.#reader.callId),
      "/grpc.health.v1.Health/Watch": () => this.#health.watch(...this.#message()),
    };
    this.#handlers = servedMethods.map(({ path }) => table[path as ServedPath]);
  }

  /** The edge has calls, or the server takes calls again. */
  wake(): void {
    for (let i = 0; i < batchesInARow; i++) if (!this.#takeBatch()) return;
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.wake();
    });
  }

  /** False: there was nothing to take, or the server takes nothing for now. */
  #takeBatch(): boolean {
    if (this.#server.core.blocked) return false;
    const length = this.#source.drain(this.#buffer);
    if (length === 0) return false;
    const reader = this.#reader;
    reader.reset(this.#buffer, length);
    while (reader.next()) {
      if (reader.kind === CallKind.Call) this.#call();
      else this.#other();
    }
    if (this.#localLength > 0) this.#server.core.readSerializable(this.#local, this.#localLength);
    this.#localLength = 0;
    this.#server.core.flush();
    return true;
  }

  #call(): void {
    const { method, flags } = this.#reader;
    if (this.#server.core.clusterVersion === null) return this.#fail(new ErrNotCapable());
    if (this.#server.core.cluster.view.local?.isLearner === true && !this.#isForLearners(method))
      return this.#fail(new ErrNotSupportedForLearner());
    if ((flags & CallFlag.BadClientApiVersion) !== 0) return this.#fail(new ErrInvalidClientApiVersion());
    if ((flags & CallFlag.RequireLeader) !== 0 && this.#server.core.leader === 0n) return this.#fail(new ErrNoLeader());
    this.#handlers[method]!();
  }

  /** A learner answers what it can without the others, and hands out its data. */
  #isForLearners(method: number): boolean {
    const { path } = servedMethods[method]!;
    if (path === "/etcdserverpb.Maintenance/Status" || path === "/etcdserverpb.Maintenance/Snapshot") return true;
    if (path !== "/etcdserverpb.KV/Range") return false;
    const { bytes, messageStart, messageEnd } = this.#reader;
    // What cannot be parsed is said to be so.
    if (validate(RangeRequestDescriptor, bytes, messageStart, messageEnd) !== undefined) return true;
    return decodeRangeRequest(bytes, messageStart, messageEnd).serializable;
  }

  #other(): void {
    const reader = this.#reader;
    switch (reader.kind) {
      case CallKind.Cancel:
        this.#leases.cancel(reader.callId);
        this.#cluster.cancel(reader.callId);
        this.#server.snapshots.cancel(reader.callId);
        this.#leaderStreams.delete(reader.callId);
        // A long read of that call need not go on.
        this.#readLocal();
        break;
      case CallKind.Connect:
        this.#connections.opened(reader);
        break;
      case CallKind.Disconnect:
        this.#connections.closed(reader.connectionId);
        break;
      case CallKind.Slow:
        this.#slowRequest();
        break;
      case CallKind.Writable:
        this.#server.snapshots.writable(reader.callId);
        this.#readLocal();
        break;
      default:
        if (reader.method === watchMethod) this.#readLocal();
        else if (reader.kind === CallKind.Message) this.#leases.message(...this.#message());
        else if (reader.kind === CallKind.HalfClose) this.#leaseStreamEnds();
        break;
    }
  }

  #slowRequest(): void {
    const remote = this.#connections.of(this.#reader.connectionId).address;
    const { path } = servedMethods[this.#reader.method]!;
    this.#requestLog.add({ ...readSlowRecord(this.#reader), remote, path });
  }

  /** A watch stream is apply's. */
  #watch(): void {
    if ((this.#reader.flags & CallFlag.RequireLeader) !== 0) this.#leaderStreams.add(this.#reader.callId);
    this.#readLocal();
  }

  /** Ends a stream that apply serves; it hears of that as of a client's going. */
  #endStream(callId: number, error: EtcdError): void {
    this.#leases.cancel(callId);
    const record = new Uint8Array(callHeaderBytes);
    writeCancelRecord(record, callId);
    this.#server.core.readSerializable(record, record.length);
    this.#server.replies.error(callId, error);
    this.#server.replies.flush();
  }

  #fail(error: EtcdError): void {
    this.#server.replies.error(this.#reader.callId, error);
  }

  #message(): CallMessage {
    const { callId, bytes, messageStart, messageEnd } = this.#reader;
    return [callId, bytes, messageStart, messageEnd];
  }

  #range(): void {
    const { bytes, messageStart, messageEnd } = this.#reader;
    const error = this.#validator.checkRange(bytes, messageStart, messageEnd);
    this.#readRange(error);
  }

  #rangeStream(): void {
    const { bytes, messageStart, messageEnd } = this.#reader;
    const error = this.#validator.checkRangeStream(bytes, messageStart, messageEnd);
    this.#readRange(error);
  }

  #readRange(error: EtcdError | undefined): void {
    if (error !== undefined) return this.#fail(error);
    if (this.#validator.range.serializable) this.#readLocal();
    else this.#readLinearizable();
  }

  #compact(): void {
    if (this.#parses(CompactionRequestDescriptor)) this.#propose(requestField.compaction);
  }

  #put(): void {
    const { bytes, messageStart, messageEnd } = this.#reader;
    const error = this.#validator.checkPut(bytes, messageStart, messageEnd);
    if (this.#refused(requestField.put, error)) return;
    this.#propose(requestField.put);
  }

  /** As in etcd the quota comes before all checks but the parser's. */
  #refused(field: number, error: EtcdError | undefined): boolean {
    const { bytes, messageStart, messageEnd } = this.#reader;
    const parses = error === undefined || error.code !== GrpcCode.Internal;
    if (parses && this.#server.core.exceedsQuota(field, bytes, messageStart, messageEnd)) this.#fail(new ErrNoSpace());
    else if (error !== undefined) this.#fail(error);
    else return false;
    return true;
  }

  #deleteRange(): void {
    const { bytes, messageStart, messageEnd } = this.#reader;
    const error = this.#validator.checkDeleteRange(bytes, messageStart, messageEnd);
    if (error !== undefined) this.#fail(error);
    else this.#propose(requestField.deleteRange);
  }

  #txn(): void {
    const { bytes, messageStart, messageEnd } = this.#reader;
    const error = this.#validator.checkTxn(bytes, messageStart, messageEnd);
    if (this.#refused(requestField.txn, error)) return;
    const { txn } = this.#validator;
    if (!isTxnReadonly(txn)) this.#propose(requestField.txn);
    else if (isTxnSerializable(txn)) this.#readLocal();
    else this.#readLinearizable();
  }

  #leaseGrant(): void {
    const { bytes, messageStart, messageEnd, callId, connectionId } = this.#reader;
    const text = validate(LeaseGrantRequestDescriptor, bytes, messageStart, messageEnd);
    if (this.#refused(requestField.leaseGrant, text === undefined ? undefined : unmarshalRequestError(text))) return;
    const { identity } = this.#connections.of(connectionId);
    const error = this.#leases.grant(bytes, messageStart, messageEnd, callId, identity);
    if (error !== null) this.#fail(error);
  }

  #leaseRevoke(): void {
    if (this.#parses(LeaseRevokeRequestDescriptor)) this.#propose(requestField.leaseRevoke);
  }

  #leaseKeepAlive(): void {
    const { callId, flags } = this.#reader;
    if ((flags & CallFlag.RequireLeader) !== 0) this.#leaderStreams.add(callId);
    this.#leases.open(callId);
  }

  #leaseStreamEnds(): void {
    this.#leaderStreams.delete(this.#reader.callId);
    this.#leases.halfClosed(this.#reader.callId);
  }

  #leaseTimeToLive(): void {
    if (!this.#parses(LeaseTimeToLiveRequestDescriptor)) return;
    const { bytes, messageStart, messageEnd, callId } = this.#reader;
    this.#leases.timeToLive(bytes, messageStart, messageEnd, callId);
  }

  #leaseLeases(): void {
    if (this.#parses(LeaseLeasesRequestDescriptor)) this.#leases.list(this.#reader.callId);
  }

  /** An unknown action crashes an etcd member, so none is ever proposed. */
  #alarm(): void {
    if (!this.#parses(AlarmRequestDescriptor)) return;
    const { bytes, messageStart, messageEnd } = this.#reader;
    const { action } = decodeAlarmRequest(bytes, messageStart, messageEnd);
    if (action < 0 || action > alarmActionMax) {
      return this.#fail(new EtcdError(GrpcCode.InvalidArgument, "etcdserver: unknown alarm action"));
    }
    this.#propose(requestField.alarm);
  }

  #memberList(): void {
    if (!this.#parses(MemberListRequestDescriptor)) return;
    const { bytes, messageStart, messageEnd } = this.#reader;
    if (decodeMemberListRequest(bytes, messageStart, messageEnd).linearizable) this.#readLinearizable();
    else this.#readLocal();
  }

  #clusterCall(name: ClusterMethod): void {
    if (this.#parses(clusterRequests[name])) this.#cluster[name](...this.#message());
  }

  #localCall(request: MessageDescriptor): void {
    if (this.#parses(request)) this.#readLocal();
  }

  #snapshot(): void {
    if (!this.#parses(SnapshotRequestDescriptor)) return;
    if (!this.#server.snapshots.start(this.#reader.callId)) this.#fail(new ErrTooManyRequests());
  }

  #parses(request: MessageDescriptor): boolean {
    const { bytes, messageStart, messageEnd } = this.#reader;
    const text = validate(request, bytes, messageStart, messageEnd);
    if (text !== undefined) this.#fail(unmarshalRequestError(text));
    return text === undefined;
  }

  #propose(field: number): void {
    const { bytes, messageStart, messageEnd, callId, connectionId } = this.#reader;
    const { identity } = this.#connections.of(connectionId);
    const error = this.#server.core.propose(field, bytes, messageStart, messageEnd, callId, identity);
    if (error !== null) this.#fail(error);
  }

  #readLinearizable(): void {
    const { bytes, recordStart, recordEnd } = this.#reader;
    this.#server.core.readLinearizable(bytes, recordStart, recordEnd);
  }

  #readLocal(): void {
    const { bytes, recordStart, recordEnd } = this.#reader;
    const needed = this.#localLength + recordEnd - recordStart;
    if (needed > this.#local.length) {
      const grown = new Uint8Array(Math.max(needed, this.#local.length * 2));
      grown.set(this.#local.subarray(0, this.#localLength));
      this.#local = grown;
    }
    this.#local.set(bytes.subarray(recordStart, recordEnd), this.#localLength);
    this.#localLength = needed;
  }
}
