/**
 * One HTTP request of uWebSockets.js, and the way to answer it: at once, or in parts as the client takes them.
 * Invariant: the response object is touched only while its client is there and its answer not all given away.
 * Thread: the HTTP worker's.
 */
import { ErrTooManyRequests } from "../../errors/index.js";
import { type HttpRequest, type HttpResponse, statusTexts, type StreamBody } from "./exchange.js";
import { errorResponse } from "./gateway-status.js";
import { PacedStream, sendPaced } from "./paced-body.js";
import type { SlowAnswer, UnsentBytes } from "./unsent-bytes.js";
import type { UwsRequest, UwsResponse } from "./uws.js";

/** Headers that handlers look at; a request's headers are gone once its callback has returned. */
const headerNames = [
  "host",
  "origin",
  "cookie",
  "connection",
  "upgrade",
  "authorization",
  "accept-encoding",
  "grpc-timeout",
  "grpc-metadata-token",
  "grpc-metadata-hasleader",
  "grpc-metadata-client-api-version",
  "sec-websocket-key",
  "sec-websocket-protocol",
  "sec-websocket-version",
] as const;

const noBody = new Uint8Array(0);
/** A longer body is sent in parts as the client takes it. */
const wholeBytesMax = 8 << 10;
/** What uWebSockets.js writes of a head by itself, at most. */
const otherHeadBytes = 128;

/** What exchanges share. */
export interface ExchangeShared {
  /** Those whose client still sends, or takes the answer as it likes: whether it has all of it, nobody tells. */
  readonly slow: Set<UwsExchange>;
  readonly unsent: UnsentBytes;
}

/** One request and the way to answer it. */
export class UwsExchange implements HttpRequest, SlowAnswer {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  body: Uint8Array = noBody;
  droppedBytes: number | undefined;
  /** Answered, or the client has gone. */
  isOver = false;
  readonly #headers: ReadonlyMap<string, string>;
  readonly #response: UwsResponse;
  readonly #slow: Set<UwsExchange>;
  readonly #unsent: UnsentBytes;
  /** Of its answer, what is counted in `#unsent`. */
  #unsentBytes = 0;
  #takenBytes = 0;
  readonly #onGone: (() => void)[] = [];
  #isGone = false;
  /** Its answer is sent as the client takes it. */
  #isSending = false;
  #takePiece: ((piece: Uint8Array, isLast: boolean) => void) | undefined;

  constructor(response: UwsResponse, request: UwsRequest, { slow, unsent }: ExchangeShared) {
    this.#response = response;
    this.#slow = slow;
    this.#unsent = unsent;
    this.method = request.getMethod().toUpperCase();
    this.path = request.getUrl();
    this.query = request.getQuery() ?? "";
    this.#headers = new Map(headerNames.map((name) => [name, request.getHeader(name)]));
    response.onAborted(() => {
      this.isOver = true;
      this.#isGone = true;
      for (const callback of this.#onGone.splice(0)) callback();
      this.#over();
    });
  }

  header(name: string): string {
    return this.#headers.get(name) ?? "";
  }

  onGone(callback: () => void): void {
    if (this.#isGone) callback();
    else this.#onGone.push(callback);
  }

  onBody(take: (piece: Uint8Array, isLast: boolean) => void): void {
    this.#takePiece = take;
  }

  /** A piece of a body that comes in pieces; nobody takes those of a request that is refused. */
  feed(piece: Uint8Array, isLast: boolean): void {
    this.#takePiece?.(piece, isLast);
  }

  /** Its body is waited for. */
  receives(): void {
    this.#slow.add(this);
  }

  /** The whole body is there. */
  received(): void {
    if (!this.#isSending) this.#slow.delete(this);
  }

  /** Grants the client more time. */
  waitOn(): void {
    this.#response.pause();
    this.#response.resume();
  }

  answer({ status, headers, body }: HttpResponse, closesConnection = false): void {
    if (this.isOver) return;
    this.isOver = true;
    if (typeof body === "function") return this.#stream(body, this.#writeHead(status, headers));
    const bytes = typeof body === "string" ? Buffer.from(body) : body;
    const response = this.#response;
    const isHead = this.method === "HEAD";
    if (!isHead && bytes.length > wholeBytesMax) {
      if (this.#unsent.hasRoom(bytes.length)) {
        this.#writeHead(status, headers);
        return this.#sendLong(bytes);
      }
      this.isOver = false;
      return this.answer(errorResponse(new ErrTooManyRequests()));
    }
    this.#over();
    response.cork(() => {
      this.#writeHead(status, headers);
      if (isHead) response.endWithoutBody(bytes.length, closesConnection);
      else response.end(bytes, closesConnection);
    });
  }

  takenBytes(): number {
    const taken = this.#takenBytes;
    this.#takenBytes = 0;
    // Who is owed nothing is no slow reader.
    return this.#unsentBytes === 0 ? Number.POSITIVE_INFINITY : taken;
  }

  cutOff(): void {
    this.#response.close();
  }

  #count(bytes: number): void {
    this.#unsentBytes += bytes;
    this.#unsent.change(bytes);
    if (bytes < 0) this.#takenBytes -= bytes;
  }

  /** There is nothing more to do with the response. */
  #over(): void {
    this.#slow.delete(this);
    this.#count(-this.#unsentBytes);
  }

  #sends(): void {
    this.#isSending = true;
    this.#slow.add(this);
  }

  /** Bytes of it, about. */
  #writeHead(status: number, headers: HttpResponse["headers"]): number {
    const response = this.#response;
    const line = `${status} ${statusTexts[status] ?? "Unknown"}`;
    response.cork(() => {
      response.writeStatus(line);
      for (const [name, value] of headers) response.writeHeader(name, value);
    });
    return headers.reduce((sum, [name, value]) => sum + name.length + value.length + 4, line.length + otherHeadBytes);
  }

  #sendLong(body: Uint8Array): void {
    this.#sends();
    this.#count(body.length);
    sendPaced(this.#response, body, (bytes) => {
      this.#count(-bytes);
      if (this.#unsentBytes === 0) this.#over();
    });
  }

  #stream(body: StreamBody, headBytes: number): void {
    const stream = new PacedStream(this.#response, {
      headBytes,
      ended: () => this.#over(),
      changed: (bytes) => this.#count(bytes),
    });
    this.#sends();
    this.onGone(() => stream.abandon());
    body(stream);
  }
}
