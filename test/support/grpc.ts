/**
 * A gRPC client on node:http2 that sends exactly the bytes and headers it is told to, right or
 * wrong, and hands back all that came: the tests are about the wire, so nothing is interpreted
 * but the length-prefixed frames.
 */
import http2 from "node:http2";
import { gunzipSync } from "node:zlib";

/** What a server answered. */
export interface GrpcReply {
  /** HTTP status; 0 when no headers came. */
  readonly httpStatus: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly trailers: Readonly<Record<string, string>>;
  /** grpc-status from the trailers or, for an answer of headers only, from the headers; -1 if absent. */
  readonly status: number;
  /** grpc-message, percent-decoded; "" if absent. */
  readonly message: string;
  /** Messages without their 5-byte prefix. */
  readonly messages: readonly Buffer[];
  /** HTTP/2 error code of a reset stream; 0 if it ended well. */
  readonly reset: number;
}

/** A raw call. */
export interface RawCall {
  readonly path: string;
  /** Whole HTTP/2 body: use `frame` for a message. */
  readonly body: Uint8Array;
  /** Added to, or replacing, the usual headers; null removes one. */
  readonly headers?: Readonly<Record<string, string | null>>;
  /** Give up after so long: the harness's own guard, not sent as a deadline. */
  readonly guardMs?: number;
  /** For streams: cancel once so many messages came. */
  readonly messagesMax?: number;
}

const guardMsDefault = 30_000;

/** One length-prefixed gRPC message. */
export const frame = (message: Uint8Array, flag = 0): Buffer => {
  const head = Buffer.alloc(5);
  head[0] = flag;
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
};

/** All whole messages in a body, decompressed. A server may answer gzip to a client that sent it. */
export const unframe = (body: Buffer): Buffer[] => {
  const messages: Buffer[] = [];
  for (let at = 0; at + 5 <= body.length;) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    if (end > body.length) break;
    const message = body.subarray(at + 5, end);
    messages.push(body[at] === 1 ? gunzipSync(message) : message);
    at = end;
  }
  return messages;
};

const decodeGrpcMessage = (text: string): string =>
  Buffer.from(
    text.replace(/%([0-9a-fA-F]{2})/g, (_match, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    "latin1",
  ).toString("utf8");

const plainHeaders = (headers: http2.IncomingHttpHeaders): Record<string, string> => {
  const plain: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) plain[name] = Array.isArray(value) ? value.join(", ") : String(value);
  }
  return plain;
};

const requestHeaders = (call: RawCall): http2.OutgoingHttpHeaders => {
  const headers: http2.OutgoingHttpHeaders = {
    ":method": "POST",
    ":path": call.path,
    "content-type": "application/grpc",
    te: "trailers",
  };
  for (const [name, value] of Object.entries(call.headers ?? {})) {
    if (value === null) delete headers[name];
    else headers[name] = value;
  }
  return headers;
};

/** Gathers one stream's answer. */
class Gathering {
  #headers: Record<string, string> = {};
  #trailers: Record<string, string> = {};
  readonly #chunks: Buffer[] = [];

  get hasHeaders(): boolean {
    return this.#headers[":status"] !== undefined;
  }

  /** The grpc-status is there. */
  get isAnswered(): boolean {
    return this.#trailers["grpc-status"] !== undefined || this.#headers["grpc-status"] !== undefined;
  }

  onHeaders(headers: http2.IncomingHttpHeaders): void {
    this.#headers = plainHeaders(headers);
  }

  onTrailers(headers: http2.IncomingHttpHeaders): void {
    this.#trailers = plainHeaders(headers);
  }

  onData(chunk: Buffer): void {
    this.#chunks.push(chunk);
  }

  messageCount(): number {
    return unframe(Buffer.concat(this.#chunks)).length;
  }

  finish(reset: number): GrpcReply {
    const status = this.#trailers["grpc-status"] ?? this.#headers["grpc-status"];
    const message = this.#trailers["grpc-message"] ?? this.#headers["grpc-message"] ?? "";
    return {
      httpStatus: Number(this.#headers[":status"] ?? 0),
      headers: this.#headers,
      trailers: this.#trailers,
      status: status === undefined ? -1 : Number(status),
      message: decodeGrpcMessage(message),
      messages: unframe(Buffer.concat(this.#chunks)),
      reset,
    };
  }
}

const pieceBytes = 32 * 1024;

/**
 * A long body goes out piece by piece and stops when the server has answered: Node loses the answer
 * when it comes while a large write is under way. The last DATA frame is sent even if it is empty,
 * as grpc-go never answers a call that ends with its headers.
 */
const sendBody = (stream: http2.ClientHttp2Stream, body: Uint8Array, from: number): void => {
  if (stream.closed || stream.destroyed || stream.readableEnded) return;
  const to = Math.min(body.length, from + pieceBytes);
  if (to === body.length) stream.end(body.subarray(from));
  else stream.write(body.subarray(from, to), () => sendBody(stream, body, to));
};

/** One HTTP/2 connection, made again by the next call when it broke. */
export class GrpcClient {
  readonly #url: string;
  #session: http2.ClientHttp2Session | null = null;

  constructor(port: number) {
    this.#url = `http://127.0.0.1:${port}`;
  }

  /** A unary call with one well-framed message. */
  unary(path: string, message: Uint8Array, headers?: Readonly<Record<string, string>>): Promise<GrpcReply> {
    return this.raw({ path, body: frame(message), ...(headers === undefined ? {} : { headers }) });
  }

  /** Sends `call` as it is. Rejects only when the connection fails or nothing ends within the guard time. */
  raw(call: RawCall): Promise<GrpcReply> {
    return new Promise((resolve, reject) => {
      const session = this.#connected();
      const gathering = new Gathering();
      const stream = session.request(requestHeaders(call));
      const onSessionError = (error: Error): void => fail(error);
      const guard = setTimeout(() => {
        stream.close(http2.constants.NGHTTP2_CANCEL);
        fail(new Error(`${call.path}: no answer within ${call.guardMs ?? guardMsDefault} ms`));
      }, call.guardMs ?? guardMsDefault);
      const settle = (): void => {
        clearTimeout(guard);
        session.off("error", onSessionError);
      };
      const fail = (error: Error): void => {
        settle();
        reject(error);
      };
      session.once("error", onSessionError);
      // A server may answer before it has read the request, and never read the rest; Node then tells of
      // the end before it tells of the headers, and never of the close.
      const settleIfAnswered = (): void => {
        if (!stream.readableEnded || !gathering.isAnswered) return;
        settle();
        if (!stream.writableFinished) stream.close(http2.constants.NGHTTP2_CANCEL);
        resolve(gathering.finish(0));
      };
      stream.on("response", (headers: http2.IncomingHttpHeaders) => {
        gathering.onHeaders(headers);
        settleIfAnswered();
      });
      stream.on("trailers", (headers: http2.IncomingHttpHeaders) => {
        gathering.onTrailers(headers);
        settleIfAnswered();
      });
      stream.once("end", settleIfAnswered);
      stream.on("data", (chunk: Buffer) => {
        gathering.onData(chunk);
        if (call.messagesMax !== undefined && gathering.messageCount() >= call.messagesMax) {
          stream.close(http2.constants.NGHTTP2_CANCEL);
        }
      });
      // A reset arrives as an error and then as "close": the code is read there.
      stream.on("error", () => {});
      stream.once("close", () => {
        settle();
        if (session.destroyed && !gathering.hasHeaders) reject(new Error("connection closed before an answer"));
        else resolve(gathering.finish(stream.rstCode ?? 0));
      });
      sendBody(stream, call.body, 0);
    });
  }

  close(): void {
    this.#session?.destroy();
    this.#session = null;
  }

  #connected(): http2.ClientHttp2Session {
    if (this.#session !== null && !this.#session.closed && !this.#session.destroyed) return this.#session;
    const session = http2.connect(this.#url, { settings: { initialWindowSize: 1 << 24 } });
    session.once("connect", () => session.setLocalWindowSize(1 << 24));
    session.on("error", () => {});
    // One listener a call that is under way.
    session.setMaxListeners(0);
    this.#session = session;
    return session;
  }
}
