/**
 * From the edge's batches to the server: each call is checked as etcd's RPC layer does and goes on its way as
 * a proposal, a read, or an answer from here. One pass over a batch, then one flush.
 *
 * Thread: main. Nothing is kept of a batch: its buffer is reused.
 */
import {
  ErrNoLeader,
  ErrTooManyRequests,
  type EtcdError,
  GrpcCode,
  unmarshalRequestError,
} from "../../errors/index.js";
import {
  callHeaderBytes,
  CallBatchReader,
  CallFlag,
  CallKind,
  InboxBuffer,
  RecordBuffer,
  writeCancelRecord,
} from "../../native/index.js";
import {
  AlarmRequestDescriptor,
  CompactionRequestDescriptor,
  decodeMemberListRequest,
  DefragmentRequestDescriptor,
  HashKVRequestDescriptor,
  HashRequestDescriptor,
  LeaseGrantRequestDescriptor,
  LeaseLeasesRequestDescriptor,
  LeaseRevokeRequestDescriptor,
  LeaseTimeToLiveRequestDescriptor,
  MemberListRequestDescriptor,
  SnapshotRequestDescriptor,
  StatusRequestDescriptor,
  validate,
  type MessageDescriptor,
} from "../../proto/index.js";
import type { EtcdServer } from "../../server/index.js";
import { refusalOf } from "./admission.js";
import { clusterRequests, ClusterService, type ClusterMethod } from "./cluster-service.js";
import { Connections } from "./connections.js";
import type { CallSource, DispatcherOptions } from "./dispatcher-options.js";
import { HandedOverCalls } from "./handed-over-calls.js";
import { HealthService } from "./health.js";
import { LeaseService } from "./lease-service.js";
import { LeaderStreams } from "./leader-streams.js";
import { isForLearners } from "./learner-calls.js";
import { type HandedOverPath, methodIndex, servedMethods, type ServedPath, unmarshalError } from "./methods.js";
import { requestField } from "./request-field.js";
import { checkAlarm } from "./validate-alarm.js";
import { KvValidator } from "./validate-kv.js";
import { readSlowRecord } from "../request-facts.js";
import type { RequestLog } from "../request-stats.js";
import { isTxnReadonly, isTxnSerializable } from "./validate-txn.js";

const watchMethod = methodIndex("/etcdserverpb.Watch/Watch");

/** A call's ID and message `bytes[start, end)`. */
type CallMessage = [callId: number, bytes: Uint8Array, start: number, end: number];

/** Batches taken in one go before other events of this thread get their turn. */
const batchesInARow = 4;

export class Dispatcher {
  readonly #server: EtcdServer;
  readonly #source: CallSource;
  readonly #requestLog: RequestLog;
  readonly #inbox = new InboxBuffer();
  readonly #reader = new CallBatchReader();
  readonly #validator: KvValidator;
  readonly #health: HealthService;
  readonly #leases: LeaseService;
  readonly #cluster: ClusterService;
  readonly #connections = new Connections();
  readonly #leaderStreams: LeaderStreams;
  readonly #handedOver: HandedOverCalls;
  readonly #handlers: readonly (() => void)[];
  /** Reads of this batch that apply answers without a ReadIndex. */
  readonly #local = new RecordBuffer();
  #scheduled = false;

  constructor(server: EtcdServer, source: CallSource, options: DispatcherOptions) {
    this.#requestLog = options.requestLog;
    this.#handedOver = new HandedOverCalls(options.handOver);
    this.#server = server;
    this.#source = source;
    this.#validator = new KvValidator({ txnOpsMax: server.config.maxTxnOps });
    this.#health = new HealthService(server, options);
    this.#leaderStreams = new LeaderStreams({
      electionTimeoutMs: server.config.electionTimeout,
      hasLeader: () => server.core.leader !== 0n,
      end: (callId) => this.#endStream(callId, new ErrNoLeader()),
      after: (milliseconds, run) => void setTimeout(run, milliseconds).unref(),
    });
    this.#leases = new LeaseService(server);
    this.#cluster = new ClusterService(server);
    const table: Readonly<Record<Exclude<ServedPath, HandedOverPath>, () => void>> = {
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
      "/grpc.health.v1.Health/List": () => this.#health.list(...this.#message()),
      "/grpc.health.v1.Health/Watch": () => this.#health.watch(...this.#message()),
    };
    this.#handlers = servedMethods.map(({ path }) =>
      path in table ? table[path as keyof typeof table] : () => this.#handOver(),
    );
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

  /** The HTTP thread has done with a call. */
  callEnded(callId: number): void {
    this.#leaderStreams.delete(callId);
    this.#handedOver.ended(callId);
  }

  /** False: there was nothing to take, or the server takes nothing for now. */
  #takeBatch(): boolean {
    if (this.#server.core.blocked) return false;
    const length = this.#inbox.receive((into) => this.#source.drain(into));
    if (length > 0) this.#walk(length);
    this.#inbox.done(length);
    this.#reader.reset(this.#inbox.bytes, 0);
    return length > 0;
  }

  #walk(length: number): void {
    const reader = this.#reader;
    for (reader.reset(this.#inbox.bytes, length); reader.next();) {
      if (reader.kind === CallKind.Call) this.#call();
      else this.#other();
    }
    if (this.#local.length > 0) this.#server.core.readSerializable(this.#local.bytes, this.#local.length);
    this.#local.clear();
    this.#server.core.flush();
  }

  #call(): void {
    const { core } = this.#server;
    const { method, flags } = this.#reader;
    const isKeptFromLearner = core.cluster.view.local?.isLearner === true && !isForLearners(this.#reader);
    const refusal = refusalOf(core, flags, isKeptFromLearner);
    if (refusal === null) this.#handlers[method]!();
    else this.#fail(refusal);
  }

  #other(): void {
    const reader = this.#reader;
    switch (reader.kind) {
      case CallKind.Cancel:
        this.#leases.cancel(reader.callId);
        this.#health.cancel(reader.callId);
        this.#cluster.cancel(reader.callId);
        this.#server.snapshots.cancel(reader.callId);
        this.#handedOver.cancel(reader.callId);
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
        this.#health.writable(reader.callId);
        this.#server.snapshots.writable(reader.callId);
        this.#handedOver.writable(reader.callId);
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

  /** Ends a stream that another thread serves; that hears of it as of a client's going. */
  #endStream(callId: number, error: EtcdError): void {
    this.#leases.cancel(callId);
    this.#handedOver.cancel(callId);
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
    const { callId, bytes, messageStart, messageEnd } = this.#reader;
    const { space } = this.#server.core;
    const parses = error === undefined || error.code !== GrpcCode.Internal;
    if (parses && space.exceedsQuota(field, bytes, messageStart, messageEnd)) space.refuse(callId);
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

  #alarm(): void {
    if (!this.#parses(AlarmRequestDescriptor)) return;
    const { bytes, messageStart, messageEnd } = this.#reader;
    const error = checkAlarm(bytes, messageStart, messageEnd);
    if (error !== undefined) this.#fail(error);
    else this.#propose(requestField.alarm);
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

  /** Locks and elections are served by the HTTP thread. */
  #handOver(): void {
    const { callId, flags, method } = this.#reader;
    const error = this.#handedOver.start(this.#reader);
    if (error !== null) return this.#fail(error);
    const needsLeader = (flags & CallFlag.RequireLeader) !== 0;
    if (needsLeader && servedMethods[method]!.serverStreams) this.#leaderStreams.add(callId);
  }

  #parses(request: MessageDescriptor): boolean {
    const { method, bytes, messageStart, messageEnd } = this.#reader;
    const text = validate(request, bytes, messageStart, messageEnd);
    if (text !== undefined) this.#fail(unmarshalError(method, text));
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
    this.#local.append(bytes, recordStart, recordEnd);
  }
}
