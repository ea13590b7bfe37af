/**
 * A member of a transcript: a RawNode, its disk in memory, and a state machine that appends the data of every
 * entry it applies.
 */
import { EntryType, SeededPrng, type EntryBatch } from "../../src/base/index.js";
import {
  emptyConfState,
  RawNode,
  type ConfState,
  type Message,
  type RawNodeConfig,
  type Snapshot,
} from "../../src/raft/index.js";
import { decodeConfChange } from "./conf-change-text.js";

/** What `add-nodes` may set. */
export interface MemberOptions {
  readonly config: Partial<RawNodeConfig>;
  /** Where the member starts; index 0 for an empty one. */
  readonly start: Snapshot;
}

export const electionTicks = 3;
export const heartbeatTicks = 1;

export class Member {
  readonly id: bigint;
  readonly node: RawNode;
  readonly async: boolean;
  /** Storage work that is not done yet. */
  readonly appends: Message[] = [];
  readonly applies: Message[] = [];
  /** The state machine after every entry; the last is what a snapshot is made of. */
  readonly #history: Snapshot[];
  /** The log on disk; `#prevIndex` is the entry before it. */
  #disk: EntryBatch[] = [];
  #prevIndex: number;

  constructor(id: bigint, options: MemberOptions) {
    const { start, config } = options;
    this.id = id;
    this.async = config.asyncStorageWrites ?? false;
    this.#history = [start];
    this.#prevIndex = start.index;
    this.node = new RawNode({
      id,
      electionTicks,
      heartbeatTicks,
      preVote: false,
      checkQuorum: false,
      maxSizePerMessage: Number.POSITIVE_INFINITY,
      maxInflightMessages: 2 ** 31 - 1,
      maxUncommittedSize: Number.POSITIVE_INFINITY,
      asyncStorageWrites: false,
      prng: new SeededPrng(Number(id)),
      initialState: {
        hardState: null,
        confState: start.confState,
        prevIndex: start.index,
        prevTerm: start.term,
        entries: [],
        applied: start.index,
      },
      snapshot: () => this.snapshot,
      ...config,
    });
  }

  get snapshot(): Snapshot {
    return this.#history.at(-1)!;
  }

  /** The first and last index on disk. */
  get range(): { first: number; last: number } {
    return { first: this.#prevIndex + 1, last: this.#disk.at(-1)?.lastIndex ?? this.#prevIndex };
  }

  get disk(): readonly EntryBatch[] {
    return this.#disk;
  }

  compact(index: number): void {
    this.#prevIndex = index;
    this.#disk = slice(this.#disk, index + 1, Number.POSITIVE_INFINITY);
    this.node.compact(index);
  }

  write(entries: readonly EntryBatch[], snapshot: Snapshot | null): void {
    if (snapshot !== null && snapshot.index !== 0) {
      if (entries.length > 0) throw new Error("can't apply snapshot and entries at the same time");
      this.#disk = [];
      this.#prevIndex = snapshot.index;
    } else if (entries.length > 0) {
      const first = entries[0]!.firstIndex;
      if (first > this.range.last + 1) throw new Error(`missing log entry before ${first}`);
      this.#disk = [...slice(this.#disk, 0, first - 1), ...entries];
    }
  }

  apply(entries: readonly EntryBatch[]): void {
    for (const batch of entries) {
      for (let index = batch.firstIndex; index <= batch.lastIndex; index++) this.#applyEntry(batch, index);
    }
  }

  #applyEntry(batch: EntryBatch, index: number): void {
    const { confState: before, data } = this.snapshot;
    const type = batch.typeOf(index);
    let update: Uint8Array = new Uint8Array(0);
    let confState: ConfState = before;
    if (type === EntryType.Normal) update = batch.dataOf(index);
    else confState = this.node.applyConfChange(decodeConfChange(type, batch.dataOf(index)), index);
    const state = new Uint8Array(Buffer.concat([data, update]));
    this.#history.push({ index, term: batch.term, confState, data: state });
  }
}

export const emptyStart: Snapshot = { index: 0, term: 0, confState: emptyConfState, data: new Uint8Array(0) };

function slice(batches: readonly EntryBatch[], first: number, last: number): EntryBatch[] {
  return batches
    .filter((batch) => batch.lastIndex >= first && batch.firstIndex <= last)
    .map((batch) => batch.slice(Math.max(first, batch.firstIndex), Math.min(last, batch.lastIndex)));
}
