/**
 * One snapshot as Maintenance.Snapshot sends it: the store at one commit as a bbolt file in messages of 32 KiB, then
 * one message with the SHA-256 of all its bytes. Made in steps, a window of messages each; whoever drives it sends a
 * window when the last one has been taken, so memory is bounded by two windows however slow the client is.
 */
import { createHash } from "node:crypto";
import { PageOutput, sizeBuckets, writeBuckets, type BoltLayout, type BucketSource } from "../../bolt/index.js";
import { ReplyKind, type ReplyBatchWriter } from "../../native/index.js";
import { writeVarint } from "../../proto/index.js";
import { Bucket, metaKey, type PinnedRead } from "../backend/index.js";
import { bucketSources } from "./snapshot-file-writer.js";

/** As etcd's: clients show progress by them. */
const blobBytes = 32 << 10;
/** Bytes sent before the client must have taken the last ones. */
export const windowBytes = 16 * blobBytes;

/** Of the SHA-256 behind the file. */
export const digestBytes = 32;

const remainingBytesTag = 0x10;
const blobTag = 0x1a;
const versionTag = 0x22;
const fieldBytesMax = 32;

export class SnapshotWriter {
  readonly #sources: readonly BucketSource[];
  readonly #callId: number;
  readonly #version: Uint8Array;
  readonly #output = new PageOutput();
  readonly #hash = createHash("sha256");
  #remaining = 0;

  constructor(read: PinnedRead, callId: number) {
    this.#callId = callId;
    this.#sources = bucketSources(read);
    this.#version = read.get(Bucket.Meta, metaKey.storageVersion) ?? new Uint8Array(0);
  }

  /** The schema of what is stored: "3.7.0". */
  get version(): string {
    return new TextDecoder().decode(this.#version);
  }

  /** The sizing pass; it must end before `write`. */
  *size(): Generator<undefined, BoltLayout> {
    const layout = yield* sizeBuckets(this.#sources);
    this.#remaining = layout.fileBytes;
    return layout;
  }

  /**
   * Writes messages into `replies`. A step that yields true has completed a window, which is to be sent and taken
   * before the next step; the others yield false. What is in `replies` at the end is the last window.
   */
  *write(layout: BoltLayout, replies: ReplyBatchWriter): Generator<boolean, void> {
    for (const _ of writeBuckets(this.#sources, layout, this.#output, windowBytes)) {
      if (this.#output.length < windowBytes) yield false;
      else yield* this.#windows(replies);
    }
    yield* this.#windows(replies);
    this.#blobs(this.#output.length, replies, false);
    this.#message(this.#hash.digest(), replies, false);
    replies.status(this.#callId, 0, "");
  }

  /** A large value makes several at once. */
  *#windows(replies: ReplyBatchWriter): Generator<boolean, void> {
    let from = 0;
    for (; this.#output.length - from >= windowBytes; from += windowBytes) {
      this.#blobs(windowBytes, replies, true, from);
      yield true;
    }
    this.#output.drop(from);
  }

  /** Messages of `length` bytes of what has been written; the last may ask to be told when it has been taken. */
  #blobs(length: number, replies: ReplyBatchWriter, ask: boolean, from = 0): void {
    const end = from + length;
    for (let at = from; at < end; at += blobBytes) {
      const blob = this.#output.bytes.subarray(at, Math.min(end, at + blobBytes));
      this.#hash.update(blob);
      this.#remaining -= blob.length;
      this.#message(blob, replies, ask && at + blobBytes >= end);
    }
  }

  #message(blob: Uint8Array, replies: ReplyBatchWriter, ask: boolean): void {
    const version = this.#version;
    let at = replies.begin(this.#callId, ReplyKind.Message, blob.length + version.length + fieldBytesMax);
    const { bytes } = replies;
    if (this.#remaining > 0) {
      bytes[at++] = remainingBytesTag;
      at = writeVarint(this.#remaining, bytes, at);
    }
    at = writeBytes(blobTag, blob, bytes, at);
    if (version.length > 0) at = writeBytes(versionTag, version, bytes, at);
    replies.finish(at, ask);
  }
}

function writeBytes(tag: number, value: Uint8Array, into: Uint8Array, at: number): number {
  into[at++] = tag;
  at = writeVarint(value.length, into, at);
  into.set(value, at);
  return at + value.length;
}
