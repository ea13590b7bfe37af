/**
 * LeaseLeases: all IDs, in the order in which the leases end by main's clock. Sorted and encoded in slices; the calls
 * that came with one state of the clock get one answer's bytes, a call a slice.
 *
 * Bounds: one list is made at a time, and one waits; a later state takes the place of the one that waits, whose calls
 * get it too. So memory is bounded by three states and one answer.
 */
import { ascending, copyOf, sortInSlices } from "../base/index.js";
import { ErrTooManyRequests, GrpcCode } from "../errors/index.js";
import { writeVarintHalves } from "../lease/index.js";
import { ReplyBatchWriter, ReplyKind } from "../native/index.js";
import type { MvccStore } from "../storage/mvcc/index.js";
import type { LeaseCallReader } from "./lease-calls.js";
import { headerBytesMax, type HeaderWriter } from "./response.js";

/** Moves of the sort and IDs encoded in a slice: about 1 ms. */
const sortSlice = 10_000;
const idsSlice = 10_000;
/** Tag and length of a LeaseStatus, tag and value of its ID. */
const statusBytesMax = 2 + 11;
/** A longer answer is handed over in parts of this size. */
const partBytesMax = 512 << 10;
/** Calls that wait for lists. */
const callsMax = 10_000;

export interface LeaseListsOptions {
  readonly store: MvccStore;
  /** For refusals, in the turn in which a call came. */
  readonly replies: ReplyBatchWriter;
  readonly header: HeaderWriter;
  /** Sends a batch of its own. */
  readonly send: (bytes: Uint8Array, length: number) => void;
  /** Awaited between slices. */
  readonly yield: () => Promise<void>;
  readonly fatal: (error: unknown) => void;
}

/** Who has asked, and main's term then. */
export interface ListCall {
  readonly callId: number;
  readonly raftTerm: number;
}

interface List {
  readonly sequence: number;
  /** Little-endian int64. */
  readonly ids: Uint32Array;
  readonly ends: Float64Array;
  readonly calls: ListCall[];
}

export class LeaseLists {
  readonly #options: LeaseListsOptions;
  readonly #writer = new ReplyBatchWriter();
  #waiting: List | null = null;
  #running = false;
  #pending = 0;

  constructor(options: LeaseListsOptions) {
    this.#options = options;
  }

  /** Calls that are not answered yet. */
  get pending(): number {
    return this.#pending;
  }

  /** Takes a call, whose record is `record`, in `bytes`. */
  ask(call: ListCall, record: LeaseCallReader, bytes: Uint8Array): void {
    const waiting = this.#waiting;
    const isKnown = record.operand === 0;
    if (this.#pending >= callsMax || (isKnown && waiting?.sequence !== record.number)) return this.#refuse(call);
    this.#pending++;
    if (isKnown) waiting!.calls.push(call);
    else {
      const count = (record.tailEnd - record.tailStart) / 16;
      const tail = copyOf(bytes, record.tailStart, record.tailEnd).buffer;
      const calls = [...(waiting?.calls ?? []), call];
      const sequence = record.number;
      this.#waiting = {
        sequence,
        ids: new Uint32Array(tail, 0, 2 * count),
        ends: new Float64Array(tail, 8 * count),
        calls,
      };
    }
    if (!this.#running) void this.#run();
  }

  #refuse({ callId }: ListCall): void {
    this.#options.replies.status(callId, ErrTooManyRequests.code, ErrTooManyRequests.message);
  }

  async #run(): Promise<void> {
    this.#running = true;
    try {
      // The other calls of the state in hand are still to come.
      await this.#options.yield();
      for (let list = this.#take(); list !== null; list = this.#take()) await this.#answer(list);
    } catch (error) {
      this.#options.fatal(error);
    } finally {
      this.#running = false;
    }
  }

  #take(): List | null {
    const list = this.#waiting;
    this.#waiting = null;
    return list;
  }

  async #answer(list: List): Promise<void> {
    const body = await this.#encode(list);
    for (const call of list.calls) {
      await this.#send(call, body);
      this.#pending--;
    }
  }

  /** Hands an answer over, a long one in parts. */
  async #send({ callId, raftTerm }: ListCall, body: Uint8Array): Promise<void> {
    const { store, header, send, yield: yieldNow } = this.#options;
    const writer = this.#writer;
    const isLong = body.length > partBytesMax;
    for (let from = 0; from === 0 || from < body.length; from += partBytesMax) {
      const part = body.subarray(from, from + partBytesMax);
      const isLast = from + partBytesMax >= body.length;
      const kind = !isLong ? ReplyKind.MessageAndEnd : isLast ? ReplyKind.LastPart : ReplyKind.Part;
      let at = writer.begin(callId, kind, headerBytesMax + part.length);
      if (from === 0) {
        header.raftTerm = raftTerm;
        at = header.write(store.currentRevision, writer.bytes, at);
      }
      writer.bytes.set(part, at);
      writer.finish(at + part.length);
      if (isLong && isLast) writer.status(callId, GrpcCode.OK, "");
      send(writer.bytes, writer.length);
      writer.clear();
      await yieldNow();
    }
  }

  async #encode({ ids, ends }: List): Promise<Uint8Array> {
    const yieldNow = this.#options.yield;
    const sorting = sortInSlices(ascending(ends.length), (a, b) => ends[a]! < ends[b]!, sortSlice);
    let step = sorting.next();
    for (; step.done !== true; step = sorting.next()) await yieldNow();
    const order = step.value;
    const body = new Uint8Array(order.length * statusBytesMax);
    let at = 0;
    for (let from = 0; from < order.length; from += idsSlice) {
      at = encodeIds(ids, order.subarray(from, from + idsSlice), body, at);
      await yieldNow();
    }
    return body.subarray(0, at);
  }
}

/** Writes field 2, a LeaseStatus, for each. */
function encodeIds(ids: Uint32Array, order: Uint32Array, into: Uint8Array, at: number): number {
  for (const i of order) {
    into[at] = 0x12;
    // LeaseStatus has the ID as field 1.
    into[at + 2] = 0x08;
    const end = writeVarintHalves(ids[2 * i]!, ids[2 * i + 1]!, into, at + 3);
    into[at + 1] = end - at - 2;
    at = end;
  }
  return at;
}
