/**
 * Watches on a store in memory, without a thread: requests in as call records, responses out decoded. The other side of
 * each stream takes what it is sent at once, or only when told (`slow`). Only tests import it.
 */
import { createHash } from "node:crypto";
import { copyOf, SeededPrng } from "../../base/index.js";
import { Registry } from "../../metrics/index.js";
import { CallBatchReader, callHeaderBytes, CallKind, ReplyKind } from "../../native/index.js";
import {
  decodeWatchResponse,
  encodeWatchRequest,
  type WatchCreateRequestInit,
  type WatchRequestInit,
  type WatchResponse,
} from "../../proto/index.js";
import { MemoryBackend, type Backend } from "../../storage/backend/index.js";
import { CompactionStep, MvccStore, RevisionStatus, type Compaction } from "../../storage/mvcc/index.js";
import { HeaderWriter } from "../response.js";
import type { LongLimits } from "./long-response.js";
import { Watches } from "./watches.js";

export const bytesOf = (text: string): Uint8Array => Buffer.from(text, "latin1");
export const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

/** "key@revision" of each event, deletes with a minus. */
export const eventsOf = (responses: readonly WatchResponse[]): string[] =>
  responses.flatMap((response) =>
    response.events.map(({ type, kv }) => `${type === 1 ? "-" : ""}${textOf(kv!.key)}@${String(kv!.modRevision)}`),
  );
export const revisionOf = (response: WatchResponse): number => Number(response.header!.revision);

/** One side of a Watch call. */
export class Client {
  readonly responses: WatchResponse[] = [];
  /** Bytes of each response. */
  readonly sizes: number[] = [];
  /** It takes nothing until `WatchRig.read`. */
  slow = false;
  asked = false;
  /** Bytes that it has not taken. */
  owed = 0;
  /** Of all messages. */
  readonly digest = createHash("sha256");
  /** Of a response that is not whole. */
  parts: Uint8Array[] = [];
  end: { code: number; text: string } | null = null;

  take(): WatchResponse[] {
    return this.responses.splice(0);
  }
  /** The next response; there must be one. */
  next(): WatchResponse {
    const response = this.responses.shift();
    if (response === undefined) throw new Error("no response came");
    return response;
  }
}

export interface WatchRigOptions {
  readonly fragmentBytesMax?: number;
  readonly progressIntervalMs?: number;
  readonly longLimits?: LongLimits;
  /** With what an earlier rig has written; in memory and empty when not given. */
  readonly backend?: Backend;
}

export class WatchRig {
  readonly store: MvccStore;
  readonly backend: Backend;
  readonly watches: Watches;
  readonly clients = new Map<number, Client>();
  readonly registry = new Registry();
  readonly counts = { ranges: 0 };
  /** What `after` was asked for. */
  readonly timers: { at: number; run: () => void }[] = [];
  now = 0;
  /** Bytes of the longest part, or message, that was handed over at a time. */
  longestRecord = 0;
  #entry: number;
  readonly #records = new CallBatchReader();

  static async open(options: WatchRigOptions = {}): Promise<WatchRig> {
    const backend = options.backend ?? new MemoryBackend();
    const store = await MvccStore.open({ backend, yield: () => Promise.resolve(), crc32c: () => 0 });
    return new WatchRig(store, backend, options);
  }

  private constructor(store: MvccStore, backend: Backend, options: WatchRigOptions) {
    this.store = store;
    this.backend = backend;
    this.#entry = backend.consistentIndex;
    this.watches = new Watches({
      store,
      backend,
      header: new HeaderWriter(1n, 2n),
      send: (bytes, length) => this.#receive(bytes, length),
      wake: () => {},
      clock: { now: () => this.now },
      prng: new SeededPrng(3),
      registry: this.registry,
      counts: this.counts,
      fragmentBytesMax: options.fragmentBytesMax ?? 2 << 20,
      progressIntervalMs: options.progressIntervalMs ?? 600_000,
      after: (ms, run) => void this.timers.push({ at: this.now + ms, run }),
      longLimits: options.longLimits,
    });
    this.watches.raftTerm = 5;
  }

  // The store.

  put(key: string, value = "v"): number {
    return this.txn(() => this.putOne(key, value));
  }
  remove(key: string, end = ""): number {
    return this.txn(() => this.removeSome(key, end));
  }
  /** One revision; within it `putOne` and `removeSome`. */
  txn(changes: () => void): number {
    this.store.begin();
    changes();
    const revision = this.store.end();
    this.backend.endEntry(++this.#entry, 1);
    return revision;
  }
  putOne(key: string, value: string): void {
    const bytes = bytesOf(key + value);
    this.store.put(bytes, 0, key.length, bytes, key.length, bytes.length, 0, 0);
  }
  removeSome(key: string, end = ""): number {
    const bytes = bytesOf(key + end);
    return this.store.deleteRange(bytes, 0, key.length, key.length, bytes.length);
  }
  /** Compacts, also physically. */
  compact(revision: number): void {
    this.store.endCompaction(this.compactUnfinished(revision));
  }
  /** Compacts, also physically, and does not note that it is done. */
  compactUnfinished(revision: number): Compaction {
    if (this.store.compact(revision) !== RevisionStatus.Ok) throw new Error(`cannot compact at ${revision}`);
    this.backend.endEntry(++this.#entry, 1);
    return this.#compactPhysically();
  }
  /** Does again what a restart finds undone. */
  resumeCompaction(): void {
    this.store.endCompaction(this.#compactPhysically());
  }
  #compactPhysically(): Compaction {
    const compaction = this.store.beginCompaction()!;
    while (compaction.stepIndex());
    while (compaction.stepRecords(1000) !== CompactionStep.Done);
    return compaction;
  }

  // The streams.

  open(callId: number): Client {
    const client = new Client();
    this.clients.set(callId, client);
    this.#record(callId, CallKind.Call);
    return client;
  }
  create(
    callId: number,
    request: Omit<WatchCreateRequestInit, "key" | "rangeEnd"> & { key: string; end?: string },
  ): void {
    const { key, end = "", ...rest } = request;
    this.send(callId, {
      requestUnion: { case: "createRequest", value: { ...rest, key: bytesOf(key), rangeEnd: bytesOf(end) } },
    });
  }
  cancel(callId: number, watchId: bigint): void {
    this.send(callId, { requestUnion: { case: "cancelRequest", value: { watchId } } });
  }
  progress(callId: number): void {
    this.send(callId, { requestUnion: { case: "progressRequest", value: {} } });
  }
  send(callId: number, request: WatchRequestInit): void {
    this.sendBytes(callId, encodeWatchRequest(request));
  }
  sendBytes(callId: number, message: Uint8Array): void {
    this.#record(callId, CallKind.Message, message);
  }
  /** The client takes what it was sent. */
  read(callId: number): void {
    const client = this.clients.get(callId)!;
    client.owed = 0;
    if (!client.asked) return;
    client.asked = false;
    this.#record(callId, CallKind.Writable);
  }
  /** The client goes. */
  close(callId: number): void {
    this.clients.delete(callId);
    this.watches.cancel(callId);
  }

  // The thread.

  turn(): void {
    this.watches.beginTurn();
    this.watches.work();
    this.watches.flush();
    for (const [callId, client] of this.clients) if (!client.slow) this.read(callId);
  }
  /** Turns until nothing is left to do. */
  settle(): void {
    this.turn();
    for (let turns = 0; this.watches.hasWork || this.#isAsked; turns++) {
      if (turns > 100_000) throw new Error("watches do not come to rest");
      this.turn();
    }
  }
  /** Time passes, and timers ring. */
  pass(ms: number): void {
    const until = this.now + ms;
    for (;;) {
      const next = this.timers.filter(({ at }) => at <= until).toSorted((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.timers.splice(this.timers.indexOf(next), 1);
      this.now = Math.max(this.now, next.at);
      next.run();
    }
    this.now = until;
    this.settle();
  }

  get #isAsked(): boolean {
    for (const client of this.clients.values()) if (client.asked && !client.slow) return true;
    return false;
  }

  #record(callId: number, kind: number, message: Uint8Array = new Uint8Array(0)): void {
    const record = new Uint8Array(Math.ceil((callHeaderBytes + message.length) / 8) * 8);
    const view = new DataView(record.buffer);
    view.setUint32(0, record.length, true);
    view.setUint32(4, callId, true);
    view.setUint8(8, kind);
    view.setUint32(12, message.length, true);
    record.set(message, callHeaderBytes);
    this.#records.reset(record, record.length);
    this.#records.next();
    this.watches.take(this.#records);
  }

  #receive(bytes: Uint8Array, length: number): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at < length; at += view.getUint32(at, true)) {
      const client = this.clients.get(view.getUint32(at + 4, true));
      if (client === undefined) continue;
      const end = at + 16 + view.getUint32(at + 12, true);
      const code = view.getUint8(at + 9);
      const kind = view.getUint8(at + 8);
      this.longestRecord = Math.max(this.longestRecord, end - at - 16);
      if (kind === ReplyKind.Part) {
        if (code === 1) client.parts = [];
        else client.parts.push(copyOf(bytes, at + 16, end));
        continue;
      }
      if (kind === ReplyKind.End) {
        client.end = { code, text: textOf(bytes.subarray(end, end + view.getUint16(at + 10, true))) };
        continue;
      }
      if (client.asked && code === 1) throw new Error("asked twice");
      client.asked ||= code === 1;
      let message: Uint8Array = copyOf(bytes, at + 16, end);
      if (kind === ReplyKind.LastPart) message = Buffer.concat([...client.parts.splice(0), message]);
      client.owed += message.length;
      client.digest.update(message);
      client.sizes.push(message.length);
      client.responses.push(decodeWatchResponse(message));
    }
  }
}
