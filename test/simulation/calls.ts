/** Calls and replies in the binary batches of the edge, as the simulation's clients write and read them. */
import { copyOf } from "../../src/base/index.js";
import { ErrNoLeader, ErrNotCapable, GrpcCode } from "../../src/errors/index.js";
import { callHeaderBytes, CallKind, type ReplyKind } from "../../src/native/index.js";

/** One reply. */
export interface Reply {
  readonly callId: number;
  readonly kind: ReplyKind;
  /** gRPC status; of a stream's message, 1 asks to hear when it is taken. */
  readonly code: number;
  readonly text: string;
  readonly message: Uint8Array;
}

/** The answer to who needs a leader, where none is known. */
export function isNoLeader(reply: Reply | null): boolean {
  return reply?.code === GrpcCode.Unavailable && reply.text === ErrNoLeader.message;
}

/** The answer to whoever comes before the member has heard of the cluster's version. */
export function isNotCapable(reply: Reply | null): boolean {
  return reply?.code === GrpcCode.FailedPrecondition && reply.text === ErrNotCapable.message;
}

/** Reads all records of a reply batch (src/native/reply-batch.ts). */
export function parseReplies(bytes: Uint8Array, length: number): Reply[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const replies: Reply[] = [];
  for (let at = 0; at < length; at += view.getUint32(at, true)) {
    const messageEnd = at + 16 + view.getUint32(at + 12, true);
    const textEnd = messageEnd + view.getUint16(at + 10, true);
    replies.push({
      callId: view.getUint32(at + 4, true),
      // The batch's writer has put one of them there.
      kind: view.getUint8(at + 8) as ReplyKind,
      code: view.getUint8(at + 9),
      text: Buffer.from(bytes.subarray(messageEnd, textEnd)).toString(),
      message: copyOf(bytes, at + 16, messageEnd),
    });
  }
  return replies;
}

/** One call-batch record (src/native/call-batch.ts). */
export function callRecord(
  callId: number,
  method: number,
  message: Uint8Array,
  kind: CallKind = CallKind.Call,
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
