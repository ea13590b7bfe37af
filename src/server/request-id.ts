/**
 * Request IDs as etcd makes them: 16 low bits of the member ID ‖ 40 bits of start time in ms ‖ an 8-bit
 * counter, the lower 48 bits counted up as one number (etcd pkg/idutil). IDs of a restarted member do
 * not meet those of its former run, and two members never make the same ID.
 *
 * The 48-bit part, here called the sequence, is a safe integer, so that the hot path needs no bigint.
 */
import { assert, type Prng } from "../base/index.js";

const counterBits = 8;
const timestampBits = 40;
const sequenceEnd = 2 ** (counterBits + timestampBits);
/** A run leaves no more requests than this that it does not know of any more: they fit into its memory. */
const unknownMax = 2 ** 22;
/** Bytes of the longest ID as a protobuf varint. */
export const requestIdVarintBytesMax = 10;

/** Makes the request IDs of one run of one member. */
export class RequestIdGenerator {
  /** The 16 highest bits of every ID. */
  readonly prefix: number;
  #sequence: number;

  /** `startMs`: wall clock at the start of the process, in ms since 1970. */
  constructor(memberId: bigint, startMs: number) {
    this.prefix = Number(memberId & 0xffffn);
    this.#sequence = (startMs % 2 ** timestampBits) * 2 ** counterBits;
  }

  /** The next ID's sequence; the whole ID is `prefix << 48 | sequence`. */
  next(): number {
    this.#sequence = (this.#sequence + 1) % sequenceEnd;
    return this.#sequence;
  }

  /**
   * `known` is the highest sequence of former runs that this member still knows. Below it, the clock was set back, and
   * IDs must not be made twice: a former run's entry, committed late, would answer this run's caller. Others may hold
   * entries of former runs that this member does not (passed on to a leader, or not yet on its disk when it ended), of
   * more than one run that began here; so this run begins at some far place above.
   */
  startAbove(known: number, prng: Prng): void {
    if (this.#sequence <= known) this.#sequence = (known + unknownMax + prng.uint32()) % sequenceEnd;
  }

  /** The sequence that `next` will give. */
  peek(): number {
    return (this.#sequence + 1) % sequenceEnd;
  }

  /** Takes the last ID back: its request was refused before anyone saw the ID. */
  giveBack(): void {
    this.#sequence = (this.#sequence + sequenceEnd - 1) % sequenceEnd;
  }

  /** The whole ID, for logs and rare requests. */
  idOf(sequence: number): bigint {
    return (BigInt(this.prefix) << 48n) | BigInt(sequence);
  }

  /** Writes the ID of `sequence` as a varint at `at` and returns where it ends. */
  writeVarint(sequence: number, into: Uint8Array, at: number): number {
    assert(sequence < sequenceEnd, "request ID: sequence over 48 bits");
    let low = sequence % 2 ** 28;
    let middle = Math.floor(sequence / 2 ** 28);
    for (let i = 0; i < 4; i++) {
      into[at++] = (low & 0x7f) | 0x80;
      low >>>= 7;
    }
    // Bits 28..55 of the ID: 20 bits of the sequence, then 8 of the prefix.
    middle += (this.prefix & 0xff) * 2 ** 20;
    let high = this.prefix >>> 8;
    if (middle === 0 && high === 0) return trimVarint(into, at);
    for (let i = 0; i < 4; i++) {
      into[at++] = (middle & 0x7f) | 0x80;
      middle >>>= 7;
    }
    if (high === 0) return trimVarint(into, at);
    // Bits 56..63.
    into[at++] = (high & 0x7f) | 0x80;
    high >>>= 7;
    into[at++] = high;
    return high === 0 ? trimVarint(into, at) : at;
  }
}

/** Drops the empty groups at a varint's end, and ends it there. */
function trimVarint(into: Uint8Array, end: number): number {
  while ((into[end - 1]! & 0x7f) === 0 && (into[end - 2]! & 0x80) !== 0) end--;
  into[end - 1]! &= 0x7f;
  return end;
}
