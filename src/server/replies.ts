/**
 * Main's replies to calls, gathered and sent as one batch at the end of each wake-up.
 * Thread: main. (Apply has its own.)
 */
import type { EtcdError } from "../errors/index.js";
import { ReplyBatchWriter, ReplyKind, replyBatch } from "../native/index.js";

export class Replies {
  readonly #writer = new ReplyBatchWriter();

  /** Ends the call with an error. */
  error(callId: number, error: EtcdError): void {
    this.#writer.status(callId, error.code, error.message);
  }

  /** Ends the call with a bare gRPC status. */
  status(callId: number, code: number, text: string): void {
    this.#writer.status(callId, code, text);
  }

  /** Answers a unary call. */
  answer(callId: number, message: Uint8Array): void {
    this.#writer.message(callId, ReplyKind.MessageAndEnd, message);
  }

  /** Sends one message of a stream; with `askWritable` a Writable record comes once the client has taken it. */
  message(callId: number, message: Uint8Array, askWritable = false): void {
    this.#writer.message(callId, ReplyKind.Message, message, askWritable);
  }

  /** Sends what has gathered. */
  flush(): void {
    if (this.#writer.length === 0) return;
    replyBatch(this.#writer.bytes, this.#writer.length);
    this.#writer.clear();
  }
}
