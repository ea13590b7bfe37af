/** How long one response may be: gRPC's limit as etcd sets it, so that a record's length fits its 32 bits. */
import { GrpcCode } from "../errors/index.js";
import type { ReplyBatchWriter } from "../native/index.js";

export const responseBytesMax = 2 ** 31 - 1;

/** Takes back the response begun last, which has become too long, and answers with gRPC's error. */
export function refuseTooLarge(replies: ReplyBatchWriter, callId: number): void {
  replies.abandon();
  const text = `grpc: trying to send message larger than max (${responseBytesMax + 1} vs. ${responseBytesMax})`;
  replies.status(callId, GrpcCode.ResourceExhausted, text);
}
