/** HashKV and Hash calls, and the member's own questions: one after another, each read in slices of the store's own. */
import { ReplyKind, type ReplyBatchWriter } from "../native/index.js";
import { encodeHashKVResponse, encodeHashResponse, writeVarint64 } from "../proto/index.js";
import type { HashResult, MvccStore } from "../storage/mvcc/index.js";
import type { Clock } from "./clock.js";
import type { Compactor } from "./compactor.js";
import { FieldCursor } from "./field-cursor.js";
import type { ApplyMetrics } from "./metrics.js";
import { refusalOf } from "./range-status.js";

const revisionTag = 0x08;
const hashRevisionTag = 0x20;

interface AskedHash {
  /** Of the whole store: Hash, not HashKV. */
  readonly whole: boolean;
  /** The member itself asks, and no call. */
  readonly own?: (result: HashResult) => void;
  readonly callId: number;
  readonly raftTerm: number;
  /** Any int64: the answer repeats it. */
  readonly revision: bigint;
}

export interface HashesOptions {
  readonly store: MvccStore;
  readonly compactor: Compactor;
  readonly replies: ReplyBatchWriter;
  readonly clusterId: bigint;
  readonly localId: bigint;
  readonly metrics: ApplyMetrics;
  readonly clock: Clock;
  /** There is an answer to send. */
  readonly wake: () => void;
  readonly fatal: (error: unknown) => void;
}

export class Hashes {
  readonly #options: HashesOptions;
  readonly #asked: AskedHash[] = [];
  readonly #cursor = new FieldCursor();
  #hashing = false;

  constructor(options: HashesOptions) {
    this.#options = options;
  }

  get pending(): number {
    return this.#asked.length + (this.#hashing ? 1 : 0);
  }

  /** Takes a HashKVRequest. */
  ask(callId: number, raftTerm: number, bytes: Uint8Array, start: number, end: number): void {
    const cursor = this.#cursor;
    let revision = 0n;
    cursor.reset(bytes, start, end);
    while (cursor.next()) if (cursor.tag === revisionTag) revision = cursor.int64Exact;
    this.#add({ whole: false, callId, raftTerm, revision });
  }

  /** Takes a HashRequest. */
  askWhole(callId: number, raftTerm: number): void {
    this.#add({ whole: true, callId, raftTerm, revision: 0n });
  }

  /** HashKV up to the present revision, for the member itself. */
  now(): Promise<HashResult> {
    return new Promise((own) => this.#add({ whole: false, own, callId: 0, raftTerm: 0, revision: 0n }));
  }

  #add(asked: AskedHash): void {
    this.#asked.push(asked);
    if (!this.#hashing) void this.#run();
  }

  async #run(): Promise<void> {
    const { store, clock, metrics, fatal } = this.#options;
    this.#hashing = true;
    try {
      for (let asked = this.#asked.shift(); asked !== undefined; asked = this.#asked.shift()) {
        const began = clock.now();
        if (asked.whole) {
          await this.#hashWhole(asked);
          metrics.storeHashed(clock.now() - began);
          continue;
        }
        const result = await store.hashKv(saturated(asked.revision));
        metrics.hashed(clock.now() - began);
        if (asked.own === undefined) this.#answer(asked, result);
        else asked.own(result);
      }
    } catch (error) {
      fatal(error);
    } finally {
      this.#hashing = false;
    }
  }

  async #hashWhole({ callId, raftTerm }: AskedHash): Promise<void> {
    const { store, compactor, replies, clusterId, localId, wake } = this.#options;
    let revision = 0;
    const hash = await compactor.withoutCompaction(() => {
      revision = store.currentRevision;
      return store.hash();
    });
    const header = { clusterId, memberId: localId, revision, raftTerm };
    replies.message(callId, ReplyKind.MessageAndEnd, encodeHashResponse({ header, hash }));
    wake();
  }

  #answer({ callId, raftTerm, revision }: AskedHash, result: HashResult): void {
    const { replies, clusterId, localId, wake } = this.#options;
    const refusal = refusalOf(result.status);
    if (refusal !== null) replies.status(callId, refusal.code, refusal.message);
    else {
      const response = encodeHashKVResponse({
        header: { clusterId, memberId: localId, revision: result.currentRevision, raftTerm },
        hash: result.hash,
        compactRevision: result.compactRevision,
      });
      let at = replies.begin(callId, ReplyKind.MessageAndEnd, response.length + 11);
      replies.bytes.set(response, at);
      at += response.length;
      const hashRevision = revision < 0n ? revision : BigInt(result.revision);
      // Asked for 0 after a compaction at 0, the answer is that one's.
      if (hashRevision !== 0n) {
        replies.bytes[at++] = hashRevisionTag;
        at = writeVarint64(hashRevision, replies.bytes, at);
      }
      replies.finish(at);
    }
    wake();
  }
}

function saturated(value: bigint): number {
  const max = BigInt(Number.MAX_SAFE_INTEGER);
  return Number(value > max ? max : value < -max ? -max : value);
}
