/** How long one response may be: gRPC's limit as etcd sets it, so that a record's length fits its 32 bits. */
import { GrpcCode } from "../errors/index.js";
import type { ReplyBatchWriter } from "../native/index.js";

export const responseBytesMax = 2 ** 31 - 1;

/** What gRPC says of a message of `size` bytes. */
export function tooLargeError(size: number): { readonly code: GrpcCode; readonly message: string } {
  const message = `grpc: trying to send message larger than max (${size} vs. ${responseBytesMax})`;
  return { code: GrpcCode.ResourceExhausted, message };
}

/** Takes back the response begun last, which has become too long, and answers with gRPC's error. */
export function refuseTooLarge(replies: ReplyBatchWriter, callId: number): void {
  replies.abandon();
  const { code, message } = tooLargeError(responseBytesMax + 1);
  replies.status(callId, code, message);
}
