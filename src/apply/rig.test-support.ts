/**
 * Drives the applier and the reads without a thread, on the memory backend: requests in as messages, answers out
 * decoded. Only tests import it.
 */
import { AlarmBoard, copyOf, EntryBatch, EntryType, SeededPrng, silentLogger, type Logger } from "../base/index.js";
import { LeaseTable } from "../lease/index.js";
import { MembershipStore } from "../membership/index.js";
import { Registry } from "../metrics/index.js";
import { callHeaderBytes, CallKind, ReplyBatchWriter } from "../native/index.js";
import {
  encodeInternalRaftRequest,
  encodeRangeRequest,
  encodeTxnRequest,
  type InternalRaftRequestInit,
  type RangeRequestInit,
  type TxnRequestInit,
} from "../proto/index.js";
import { MemoryBackend, type Backend } from "../storage/backend/index.js";
import { MvccStore, type SliceLimits } from "../storage/mvcc/index.js";
import { AlarmStore } from "./alarm-store.js";
import { Applier } from "./applier.js";
import { Compactor } from "./compactor.js";
import type { FromApply } from "./control.js";
import { LeaseEvents } from "./lease-events.js";
import { ApplyMessageReader, ApplyMessageWriter, type ReadsHeader } from "./messages.js";
import { ApplyMetrics } from "./metrics.js";
import { Reads } from "./reads.js";
import { Defragmenter } from "./defragmenter.js";
import { OneAtATime } from "./one-at-a-time.js";
import { HeaderWriter } from "./response.js";
import { Watches } from "./watch/index.js";

export const clusterId = 0xcdf818194e3a8c32n;
export const memberId = 0x8e9e05c52164694dn;
export const raftTerm = 7;

export const methods = [
  "/etcdserverpb.KV/Range",
  "/etcdserverpb.KV/Txn",
  "/etcdserverpb.Maintenance/Status",
  "/etcdserverpb.Maintenance/HashKV",
  "/etcdserverpb.Cluster/MemberList",
  "/etcdserverpb.Watch/Watch",
  "/etcdserverpb.KV/RangeStream",
  "/etcdserverpb.Maintenance/Hash",
];

/** One reply as the edge would send it. */
export interface Reply {
  readonly callId: number;
  readonly kind: number;
  readonly code: number;
  readonly text: string;
  readonly message: Uint8Array;
}

/** Reads all records of a reply batch. */
export function parseReplies(bytes: Uint8Array, length: number): Reply[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const replies: Reply[] = [];
  for (let at = 0; at < length; at += view.getUint32(at, true)) {
    const messageEnd = at + 16 + view.getUint32(at + 12, true);
    const textEnd = messageEnd + view.getUint16(at + 10, true);
    replies.push({
      callId: view.getUint32(at + 4, true),
      kind: view.getUint8(at + 8),
      code: view.getUint8(at + 9),
      text: Buffer.from(bytes.subarray(messageEnd, textEnd)).toString(),
      message: copyOf(bytes, at + 16, messageEnd),
    });
  }
  return replies;
}

/** One call-batch record. */
export function callRecord(
  callId: number,
  method: number,
  message: Uint8Array,
  kind: number = CallKind.Call,
): Uint8Array {
  const record = new Uint8Array(Math.ceil((callHeaderBytes + message.length) / 8) * 8);
  const view = new DataView(record.buffer);
  view.setUint32(0, record.length, true);
  view.setUint32(4, callId, true);
  view.setUint8(8, kind);
  view.setUint16(10, method, true);
  view.setUint32(12, message.length, true);
  record.set(message, callHeaderBytes);
  return record;
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** Any CRC will do where only equality counts. */
function anyCrc(crc: number, bytes: Uint8Array): number {
  for (const byte of bytes) crc = (Math.imul(crc ^ byte, 0x01000193) + 1) >>> 0;
  return crc;
}

export interface RigOptions {
  readonly backend?: Backend;
  /** Leases that are there from the start. */
  readonly leaseIds?: readonly bigint[];
  readonly quotaBackendBytes?: number;
  readonly learnersMax?: number;
  readonly compactionBatchLimit?: number;
  readonly compactionSleepMs?: number;
  /** Between chunks of a compaction; a turn, if nothing is given. */
  readonly compactionSleep?: (milliseconds: number) => Promise<void>;
  /** Of compactions. */
  readonly logger?: Logger;
  readonly streamMessageBytes?: number;
  readonly responseBytesMax?: number;
  readonly writeSlice?: SliceLimits;
}

const yieldTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export class Rig {
  readonly backend: Backend;
  readonly store: MvccStore;
  readonly membership: MembershipStore;
  readonly alarms: AlarmStore;
  /** What the alarms are written to for others to read. */
  readonly alarmBoard = new AlarmBoard();
  readonly leases: LeaseTable;
  readonly leaseEvents = new LeaseEvents();
  readonly applier: Applier;
  readonly compactor: Compactor;
  readonly reads: Reads;
  readonly watches: Watches;
  readonly replies = new ReplyBatchWriter();
  readonly events: FromApply[] = [];
  /** Answers sent by the reads themselves. */
  readonly sent: Reply[] = [];
  readonly registry = new Registry();
  readonly failures: unknown[] = [];
  /** As if an entry was under way. */
  isEntryOpen = false;
  readonly #writer = new ApplyMessageWriter();
  readonly #message = new ApplyMessageReader();
  /** Runs between the slices of an entry; `turns` counts them. */
  betweenSlices: () => void = () => {};
  turns = 0;
  /** Of reads that go on in slices by themselves. */
  pauses = 0;
  #nextCall = 1;

  static async open(options: RigOptions = {}): Promise<Rig> {
    const backend = options.backend ?? new MemoryBackend();
    const yieldNow = (): Promise<void> => Promise.resolve();
    const leases = new LeaseTable(backend, 2);
    for (const id of options.leaseIds ?? []) leases.grant(Number(id & 0xffff_ffffn), Number(id >> 32n), 60);
    const store = await MvccStore.open({ backend, keyLeases: leases, yield: yieldNow, crc32c: anyCrc });
    return new Rig(backend, store, leases, options);
  }

  private constructor(backend: Backend, store: MvccStore, leases: LeaseTable, options: RigOptions) {
    this.leases = leases;
    leases.observer = this.leaseEvents;
    this.backend = backend;
    this.store = store;
    const quotaBackendBytes = options.quotaBackendBytes ?? 0;
    this.membership = new MembershipStore({
      backend,
      localId: memberId,
      clusterId,
      learnersMax: options.learnersMax ?? 1,
      logger: silentLogger,
    });
    this.alarms = new AlarmStore(backend, this.alarmBoard);
    const header = new HeaderWriter(clusterId, memberId);
    const metrics = new ApplyMetrics(this.registry);
    let time = 0;
    const shared = {
      backend,
      leases,
      store,
      membership: this.membership,
      alarms: this.alarms,
      replies: this.replies,
      header,
      localId: memberId,
      quotaBackendBytes,
      metrics,
      clock: { now: () => time++, timeOrigin: 1_700_000_000_000 },
    };
    this.compactor = new Compactor({
      ...shared,
      batchLimit: options.compactionBatchLimit,
      sleepMs: options.compactionSleepMs,
      sleep: options.compactionSleep ?? yieldTurn,
      yield: yieldTurn,
      isBusy: () => this.isEntryOpen || this.applier.isBusy,
      wake: () => {},
      logger: options.logger ?? silentLogger,
      fatal: (error) => this.failures.push(error),
    });
    this.applier = new Applier({
      ...shared,
      compactor: this.compactor,
      send: (bytes, length) => this.sent.push(...parseReplies(bytes, length)),
      warningApplyDurationMs: 100,
      responseBytesMax: options.responseBytesMax,
      writeSlice: options.writeSlice,
      post: (event) => this.events.push(event),
      logger: silentLogger,
    });
    this.watches = new Watches({
      ...shared,
      counts: this.applier.counts,
      header: new HeaderWriter(clusterId, memberId),
      send: (bytes, length) => this.sent.push(...parseReplies(bytes, length)),
      wake: () => {},
      prng: new SeededPrng(1),
      registry: this.registry,
      fragmentBytesMax: 2 << 20,
      progressIntervalMs: 600_000,
      after: () => {},
    });
    this.reads = new Reads({
      ...shared,
      watches: this.watches,
      compactor: this.compactor,
      defragmenter: new Defragmenter({
        ...shared,
        compactor: this.compactor,
        rebuilds: new OneAtATime(),
        path: "",
        post: (event) => this.events.push(event),
        tellProgress: () => {},
        logger: silentLogger,
      }),
      streamMessageBytes: options.streamMessageBytes,
      clusterId,
      methods,
      counts: this.applier.counts,
      warningApplyDurationMs: 1e9,
      logger: silentLogger,
      send: (bytes, length) => this.sent.push(...parseReplies(bytes, length)),
      post: (event) => this.events.push(event),
      wake: () => {},
      yield: () => {
        this.pauses++;
        return yieldTurn();
      },
      fatal: (error) => this.failures.push(error),
    });
    metrics.attach({ ...shared, counts: this.applier.counts, leasesRevoked: () => this.applier.leasesRevoked });
    this.reads.applied(this.applier.appliedIndex);
  }

  /** Applies a batch of entries; `callIds` 0: nobody waits. Returns the answers. */
  applyEntries(
    entries: readonly Uint8Array[],
    callIds: readonly number[],
    type: EntryType = EntryType.Normal,
  ): Reply[] {
    const ends = new Uint32Array(entries.length);
    let end = 0;
    entries.forEach((entry, i) => (ends[i] = end += entry.length));
    const batch = new EntryBatch({
      term: raftTerm,
      firstIndex: this.applier.appliedIndex + 1,
      types: new Uint8Array(entries.length).fill(type),
      ends,
      bytes: concat(entries),
    });
    this.applyBatch(batch, callIds);
    this.reads.applied(this.applier.appliedIndex);
    return this.takeReplies();
  }

  applyBatch(batch: EntryBatch, callIds: readonly number[]): void {
    this.#writer.entries(batch, Uint32Array.from(callIds), 0, raftTerm);
    this.#message.reset(copyOf(this.#writer.bytes, 0, this.#writer.length), 0);
    let done = this.applier.apply(this.#message);
    for (; !done; this.turns++) {
      this.betweenSlices();
      done = this.applier.resume();
    }
  }

  /** Applies one request that a call waits for. */
  request(request: InternalRaftRequestInit): Reply {
    const entry = encodeInternalRaftRequest({ ...request, header: { ID: 77n } });
    const callId = this.#nextCall++;
    const replies = this.applyEntries([entry], [callId]);
    if (replies.length !== 1 || replies[0]!.callId !== callId) throw new Error("not exactly one answer");
    return replies[0]!;
  }

  /** Applies one request that nobody waits for, as on another member. */
  follow(request: InternalRaftRequestInit): void {
    const replies = this.applyEntries([encodeInternalRaftRequest({ ...request, header: { ID: 77n } })], [0]);
    if (replies.length !== 0) throw new Error("an answer to nobody");
  }

  /** Hands records over as main would. */
  accept(records: Uint8Array, header: Partial<ReadsHeader> = {}): void {
    const full = { raftTerm, minAppliedIndex: 0, commitIndex: 0, leaderId: memberId, startMs: 0, ...header };
    this.reads.accept(full, records, 0, records.length);
  }

  /** Runs turns until nothing is left to do; returns all answers. */
  finishReads(turnsMax = 100_000): Reply[] {
    for (let turn = 0; this.reads.hasWork; turn++) {
      if (turn === turnsMax) throw new Error("reads do not end");
      this.reads.beginTurn();
      this.reads.work();
    }
    return this.takeReplies();
  }

  /** A serializable read of one method. */
  read(method: string, message: Uint8Array): Reply {
    const callId = this.#nextCall++;
    this.reads.beginTurn();
    this.accept(callRecord(callId, methods.indexOf(method), message));
    const replies = this.finishReads();
    if (replies.length !== 1 || replies[0]!.callId !== callId) throw new Error("not exactly one answer");
    return replies[0]!;
  }

  range(request: RangeRequestInit): Reply {
    return this.read("/etcdserverpb.KV/Range", encodeRangeRequest(request));
  }

  readTxn(request: TxnRequestInit): Reply {
    return this.read("/etcdserverpb.KV/Txn", encodeTxnRequest(request));
  }

  /** Answers since the last call, those sent as batches of their own last. */
  takeReplies(): Reply[] {
    const replies = parseReplies(this.replies.bytes, this.replies.length);
    this.replies.clear();
    return [...replies, ...this.sent.splice(0)];
  }
}
