/**
 * Gathers the proposals of one wake-up into one EntryBatch. A client's request bytes are placed as they
 * came into `InternalRaftRequest`, beside the header with the request ID, in the order Go writes fields.
 *
 * Thread: main. The buffer is reused; `take` copies the batch out of it once.
 */
import { assert, ByteSlab, EntryBatch, EntryType } from "../base/index.js";
import { sizeVarint } from "../proto/index.js";
import { requestIdVarintBytesMax, type RequestIdGenerator } from "./request-id.js";

/** Field of InternalRaftRequest that holds the RequestHeader. */
const headerField = 100;
/** Tags of RequestHeader's fields. */
const idTag = 0x08;
const usernameTag = 0x12;
const authRevisionTag = 0x18;
/** The most that a request of nobody in particular grows by: tags, lengths, the header's ID field. */
const overheadBytesMax = 3 + 5 + 2 + 5 + 1 + requestIdVarintBytesMax;
/** What a user adds to that beside the name. */
const identityBytesMax = 1 + 5 + 1 + 10;
const bytesMin = 1 << 14;
const bytesKept = 1 << 20;
const countMin = 64;

/** Batches of few entries share their types, which are all the same. */
const fewNormal = Array.from({ length: countMin }, (_, count) => new Uint8Array(count).fill(EntryType.Normal));

function normalTypes(count: number): Uint8Array {
  return fewNormal[count] ?? new Uint8Array(count).fill(EntryType.Normal);
}

/** Who sends a request, as its entry says; nobody until auth is enabled. */
export interface Identity {
  /** Name in UTF-8. */
  readonly user: Uint8Array;
  readonly authRevision: number;
}
export const anonymous: Identity = { user: new Uint8Array(0), authRevision: 0 };

/** What `take` hands over. */
export interface TakenProposals {
  /** Term 0 and index 0: it has no place in the log yet. */
  readonly batch: EntryBatch;
  /** Sequence of the first entry's request ID; the others follow one by one. */
  readonly firstSequence: number;
  /** Who waits for each entry; 0: nobody. */
  readonly callIds: Uint32Array;
}

export class ProposalBuilder {
  readonly #ids: RequestIdGenerator;
  readonly #requestBytesMax: number;
  /** The log keeps thousands of batches; at a moderate load each is one short request. */
  readonly #kept = new ByteSlab();
  #bytes = new Uint8Array(bytesMin);
  #ends = new Uint32Array(countMin);
  #callIds = new Uint32Array(countMin);
  #length = 0;
  #count = 0;
  #firstSequence = 0;

  /** `requestBytesMax`: --max-request-bytes, the limit of a marshalled request. */
  constructor(ids: RequestIdGenerator, requestBytesMax: number) {
    this.#ids = ids;
    this.#requestBytesMax = requestBytesMax;
  }

  get count(): number {
    return this.#count;
  }

  get byteLength(): number {
    return this.#length;
  }

  /**
   * Adds a request of `identity`: `bytes[start, end)` is the message of InternalRaftRequest's `field`.
   * Returns false, and adds nothing, when the marshalled request is over the limit.
   */
  add(field: number, bytes: Uint8Array, start: number, end: number, callId: number, identity: Identity): boolean {
    const from = this.#length;
    this.#reserve(end - start + overheadBytesMax + identity.user.length + identityBytesMax);
    const sequence = this.#ids.next();
    if (this.#count === 0) this.#firstSequence = sequence;
    assert(sequence === this.#firstSequence + this.#count, "request IDs are not consecutive");
    if (field > headerField) this.#writeHeader(sequence, identity);
    this.#writeTag(field);
    this.#writeVarint(end - start);
    this.#copy(bytes, start, end);
    if (field < headerField) this.#writeHeader(sequence, identity);
    if (this.#length - from > this.#requestBytesMax) return this.#undo(from);
    this.#ends[this.#count] = this.#length;
    this.#callIds[this.#count] = callId;
    this.#count++;
    return true;
  }

  /** The batch so far, or null when it is empty. The builder starts over. */
  take(): TakenProposals | null {
    if (this.#count === 0) return null;
    const taken = {
      batch: new EntryBatch({
        term: 0,
        firstIndex: 0,
        types: normalTypes(this.#count),
        ends: this.#ends.slice(0, this.#count),
        bytes: this.#kept.copy(this.#bytes, this.#length),
      }),
      firstSequence: this.#firstSequence,
      callIds: this.#callIds.slice(0, this.#count),
    };
    this.#length = 0;
    this.#count = 0;
    if (this.#bytes.length > bytesKept * 4) this.#bytes = new Uint8Array(bytesKept);
    return taken;
  }

  /** A batch's IDs are consecutive, so a refused request must not use one up. */
  #undo(from: number): false {
    this.#length = from;
    this.#ids.giveBack();
    return false;
  }

  #reserve(count: number): void {
    if (this.#length + count > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#length + count, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = grown;
    }
    if (this.#count < this.#ends.length) return;
    const ends = new Uint32Array(this.#count * 2);
    ends.set(this.#ends);
    this.#ends = ends;
    const callIds = new Uint32Array(this.#count * 2);
    callIds.set(this.#callIds);
    this.#callIds = callIds;
  }

  #copy(bytes: Uint8Array, start: number, end: number): void {
    // A loop beats `set(subarray)` for short requests: no view is made.
    const into = this.#bytes;
    let at = this.#length;
    if (end - start <= 64) for (let i = start; i < end; i++) into[at++] = bytes[i]!;
    else into.set(bytes.subarray(start, end), at);
    this.#length += end - start;
  }

  #writeHeader(sequence: number, { user, authRevision }: Identity): void {
    this.#writeTag(headerField);
    const lengthAt = this.#length++;
    this.#bytes[this.#length++] = idTag;
    this.#length = this.#ids.writeVarint(sequence, this.#bytes, this.#length);
    if (user.length > 0) this.#writeUser(user, authRevision);
    const length = this.#length - lengthAt - 1;
    if (length >= 0x80) this.#moveUp(lengthAt + 1, length);
    else this.#bytes[lengthAt] = length;
  }

  #writeUser(user: Uint8Array, authRevision: number): void {
    this.#bytes[this.#length++] = usernameTag;
    this.#writeVarint(user.length);
    this.#copy(user, 0, user.length);
    if (authRevision === 0) return;
    this.#bytes[this.#length++] = authRevisionTag;
    this.#writeVarint(authRevision);
  }

  /** A long user name: the header's length takes more than the one byte left for it. */
  #moveUp(at: number, length: number): void {
    const end = this.#length;
    const shift = sizeVarint(length) - 1;
    this.#bytes.copyWithin(at + shift, at, end);
    this.#length = at - 1;
    this.#writeVarint(length);
    this.#length = end + shift;
  }

  /** Tag of a length-delimited field. */
  #writeTag(field: number): void {
    this.#writeVarint(field * 8 + 2);
  }

  #writeVarint(value: number): void {
    while (value >= 0x80) {
      this.#bytes[this.#length++] = (value % 0x80) | 0x80;
      value = Math.floor(value / 0x80);
    }
    this.#bytes[this.#length++] = value;
  }
}
