/**
 * Pieces of KV responses, written straight into the reply batch. `at` in, the new `at` out;
 * a function that may need more room than its caller asked `begin` for calls `ensure` itself.
 */
import type { ReplyBatchWriter } from "../native/index.js";
import { sizeVarint, writeVarint, writeVarint64 } from "../proto/index.js";
import type { KeyValueReader } from "../storage/mvcc/index.js";

/** Tag, length, cluster ID, member ID, revision, term. */
export const headerBytesMax = 2 + 11 + 11 + 10 + 10;

/** Copies `source[start, end)` to `target[at…)`. A loop beats `set(subarray)` for short pieces. */
export function copyBytes(source: Uint8Array, start: number, end: number, target: Uint8Array, at: number): number {
  if (end - start > 128) {
    target.set(source.subarray(start, end), at);
    return at + end - start;
  }
  for (let i = start; i < end; i++) target[at++] = source[i]!;
  return at;
}

/** Writes field 1 `header` of responses: everything but the revision is the same for long. */
export class HeaderWriter {
  readonly #identity: Uint8Array;
  #term = new Uint8Array(0);
  #raftTerm = -1;

  constructor(clusterId: bigint, memberId: bigint) {
    const identity = new Uint8Array(22);
    identity[0] = 0x08;
    let at = writeVarint64(clusterId, identity, 1);
    identity[at++] = 0x10;
    at = writeVarint64(memberId, identity, at);
    this.#identity = identity.subarray(0, at);
  }

  /** Main's current term, as of the batch in hand. */
  set raftTerm(term: number) {
    if (term === this.#raftTerm) return;
    this.#raftTerm = term;
    const bytes = new Uint8Array(10);
    bytes[0] = 0x20;
    this.#term = term === 0 ? bytes.subarray(0, 0) : bytes.subarray(0, writeVarint(term, bytes, 1));
  }

  /** Bytes that `write` will write. Revision 0 is left out, as protobuf wants it. */
  size(revision: number): number {
    return 2 + this.#identity.length + (revision === 0 ? 0 : 1 + sizeVarint(revision)) + this.#term.length;
  }

  /** The header with its tag. */
  write(revision: number, bytes: Uint8Array, at: number): number {
    bytes[at++] = 0x0a;
    bytes[at] = this.size(revision) - 2;
    at = copyBytes(this.#identity, 0, this.#identity.length, bytes, at + 1);
    if (revision !== 0) {
      bytes[at++] = 0x18;
      at = writeVarint(revision, bytes, at);
    }
    return copyBytes(this.#term, 0, this.#term.length, bytes, at);
  }
}

/** The header of a response within a transaction: the revision alone. */
export function writeNestedHeader(revision: number, bytes: Uint8Array, at: number): number {
  bytes[at] = 0x0a;
  bytes[at + 1] = 1 + sizeVarint(revision);
  bytes[at + 2] = 0x18;
  return writeVarint(revision, bytes, at + 3);
}

/** Bytes that `writeNestedHeader` writes at most. */
export const nestedHeaderBytesMax = 13;

/** A length-delimited field: tag, length, `source[start, end)`. Ensures its own room. */
export function writeDelimited(
  writer: ReplyBatchWriter,
  at: number,
  tag: number,
  source: Uint8Array,
  start: number,
  end: number,
): number {
  writer.ensure(at + 11 + end - start);
  const { bytes } = writer;
  bytes[at++] = tag;
  at = writeVarint(end - start, bytes, at);
  return copyBytes(source, start, end, bytes, at);
}

/** The same of a marshalled mvccpb.KeyValue, its value left out. `kv` is moved to it. */
export function writeWithoutValue(
  writer: ReplyBatchWriter,
  at: number,
  tag: number,
  source: Uint8Array,
  start: number,
  end: number,
  kv: KeyValueReader,
): number {
  kv.read(source, start, end);
  const length = kv.valueEnd - kv.valueStart;
  if (length === 0) return writeDelimited(writer, at, tag, source, start, end);
  const valueField = kv.valueStart - 1 - sizeVarint(length);
  const kept = valueField - start + end - kv.valueEnd;
  writer.ensure(at + 11 + kept);
  const { bytes } = writer;
  bytes[at] = tag;
  const fields = writeVarint(kept, bytes, at + 1);
  bytes.set(source.subarray(start, valueField), fields);
  bytes.set(source.subarray(kv.valueEnd, end), fields + valueField - start);
  return fields + kept;
}

/** Begins a length-delimited field whose length is not known yet; returns where its bytes go. */
export function openDelimited(writer: ReplyBatchWriter, at: number, tag: number): number {
  writer.ensure(at + 2);
  writer.bytes[at] = tag;
  return at + 2;
}

/** Ends the field opened at `start`, its bytes ending at `end`; they move when the length needs more than one byte. */
export function closeDelimited(writer: ReplyBatchWriter, start: number, end: number): number {
  const length = end - start;
  const extra = sizeVarint(length) - 1;
  if (extra > 0) {
    writer.ensure(end + extra);
    writer.bytes.copyWithin(start + extra, start, end);
  }
  writeVarint(length, writer.bytes, start - 1);
  return end + extra;
}
