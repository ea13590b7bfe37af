/** The requests that locks and elections are made of, as Go's concurrency package builds them. */
import {
  CompareResult,
  CompareTarget,
  SortOrder,
  SortTarget,
  type CompareInit,
  type PutRequestInit,
  type RangeRequestInit,
  type RangeResponse,
  type RequestOpInit,
  type TxnRequestInit,
  type TxnResponse,
} from "../../proto/index.js";

/** Tags and lengths of a read or watch, and the slashes of its prefix: no more than this. */
const framingBytes = 128;
/** Longer ones are not made, unless a client's own message may be as long. */
const readBytesCap = 1 << 30;

/**
 * The longest read or watch, in bytes, that a client's message of `messageBytesMax` makes: an election's name is in
 * there twice, as the key and as the end of the range. What goes through the log is bounded by --max-request-bytes.
 */
export function readBytesMax(messageBytesMax: number): number {
  return Math.max(messageBytesMax, Math.min(2 * messageBytesMax + framingBytes, readBytesCap));
}

/** A contender's key, and the lease that it goes with. */
export interface Contender {
  readonly prefix: Uint8Array;
  readonly key: Uint8Array;
  readonly lease: bigint;
}

/** The contender that `lease` makes of a lock's or election's name; a negative lease has a minus sign, as in Go. */
export function contenderOf(name: Uint8Array, lease: bigint): Contender {
  const prefix = prefixOf(name);
  return { prefix, key: Buffer.concat([prefix, Buffer.from(lease.toString(16))]), lease };
}

export function prefixOf(name: Uint8Array): Uint8Array {
  return Buffer.concat([name, Buffer.from("/")]);
}

/** Where the keys of a prefix end: it ends in "/", and "0" is the next byte. */
export function prefixEnd(prefix: Uint8Array): Uint8Array {
  return Buffer.concat([prefix.subarray(0, -1), Buffer.from("0")]);
}

/** Who holds the lock or leads: the oldest key of the prefix. */
export function oldest(prefix: Uint8Array): RangeRequestInit {
  return {
    key: prefix,
    rangeEnd: prefixEnd(prefix),
    limit: 1,
    sortOrder: SortOrder.ASCEND,
    sortTarget: SortTarget.CREATE,
  };
}

/** The youngest key of the prefix that is at most so old as `maxCreateRevision`. */
export function youngestUntil(prefix: Uint8Array, maxCreateRevision: number): RangeRequestInit {
  return { ...oldest(prefix), sortOrder: SortOrder.DESCEND, maxCreateRevision };
}

/** Makes the contender's key unless it is there; in both cases tells who holds the lock. */
export function acquire({ prefix, key, lease }: Contender): TxnRequestInit {
  const owner: RequestOpInit = { request: { case: "requestRange", value: oldest(prefix) } };
  return {
    compare: [createdAt(key, 0)],
    success: [put({ key, lease }), owner],
    failure: [{ request: { case: "requestRange", value: { key } } }, owner],
  };
}

/** Makes the candidate's key with its value unless it is there. */
export function stand({ key, lease }: Contender, value: Uint8Array): TxnRequestInit {
  return {
    compare: [createdAt(key, 0)],
    success: [put({ key, lease, value })],
    failure: [{ request: { case: "requestRange", value: { key } } }],
  };
}

/** Puts `value` if the key is still the one created at `revision`. */
export function putIfCreatedAt(revision: number, request: PutRequestInit & { key: Uint8Array }): TxnRequestInit {
  return { compare: [createdAt(request.key, revision)], success: [put(request)] };
}

/** Deletes the key if it is still the one created at `revision`. */
export function deleteIfCreatedAt(revision: number, key: Uint8Array): TxnRequestInit {
  return {
    compare: [createdAt(key, revision)],
    success: [{ request: { case: "requestDeleteRange", value: { key } } }],
  };
}

/** The answer to a transaction's operation `index`, which was a range. */
export function rangeAnswer({ responses }: TxnResponse, index: number): RangeResponse {
  const answer = responses[index]?.response;
  if (answer?.case !== "responseRange") throw new Error(`transaction: operation ${index} is answered by no range`);
  return answer.value;
}

/** When the contender's key was created, from the answer to `acquire` or `stand`. */
export function createRevisionOf(answer: TxnResponse): number {
  if (answer.succeeded) return answer.header?.revision ?? 0;
  return rangeAnswer(answer, 0).kvs[0]?.createRevision ?? 0;
}

function createdAt(key: Uint8Array, revision: number): CompareInit {
  return {
    key,
    result: CompareResult.EQUAL,
    target: CompareTarget.CREATE,
    targetUnion: { case: "createRevision", value: revision },
  };
}

function put(value: PutRequestInit): RequestOpInit {
  return { request: { case: "requestPut", value } };
}
