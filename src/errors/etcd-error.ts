/**
 * The class of all errors that a client can see. What is thrown reaches the client as gRPC code and text, unchanged:
 * clients match on the text.
 */
import { GrpcCode } from "./grpc-code.js";

/** An error with the gRPC code and message that a client gets. */
export class EtcdError extends Error {
  override readonly name: string = "EtcdError";
  readonly code: GrpcCode;

  constructor(code: GrpcCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** What an error of any kind is to a client: what is not an EtcdError goes out as Unknown with its own text, as in etcd. */
export function toStatus(error: unknown): { code: GrpcCode; message: string } {
  if (error instanceof EtcdError) return { code: error.code, message: error.message };
  return { code: GrpcCode.Unknown, message: error instanceof Error ? error.message : String(error) };
}

/** A class of errors that are all alike: made without arguments. */
export interface EtcdErrorClass {
  new (): EtcdError;
  readonly code: GrpcCode;
  readonly message: string;
}

/**
 * Makes the class of one client-visible error. The stack is not taken: these errors are answers, not accidents,
 * and a flood of refused requests must not pay for stacks.
 */
export function defineError(name: string, code: GrpcCode, message: string): EtcdErrorClass {
  return class extends EtcdError {
    static readonly code = code;
    static readonly message = message;
    override readonly name = name;

    constructor() {
      const limit = Error.stackTraceLimit;
      Error.stackTraceLimit = 0;
      super(code, message);
      Error.stackTraceLimit = limit;
    }
  };
}
