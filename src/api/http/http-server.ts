/**
 * HTTP/1.1 by uWebSockets.js: takes requests with their whole body, or in pieces where the handler wants that, and
 * gives them to a handler; WebSockets go to `web-socket.ts`.
 * Invariants: a body longer than `bodyBytesMax` is not kept; a response object is touched only while its client is
 * there; an aborted request is answered by nobody.
 * Thread: the HTTP worker's.
 */
import type { Logger } from "../../base/index.js";
import { messageTooLargeError } from "../../errors/index.js";
import {
  type HttpHandlers,
  type HttpRequest,
  type HttpResponse,
  plainError,
  statusTexts,
  type StreamBody,
} from "./exchange.js";
import { errorResponse } from "./gateway-status.js";
import { PacedStream, sendPaced } from "./paced-body.js";
import type { Uws, UwsApp, UwsListenSocket, UwsRequest, UwsResponse } from "./uws.js";
import { type SocketData, webSocketBehavior } from "./web-socket.js";

export interface HttpServerOptions {
  readonly uws: Uws;
  readonly handlers: HttpHandlers;
  readonly logger: Logger;
  /** Longest body; JSON needs more room than the message that it stands for. */
  readonly bodyBytesMax: number;
  /** Longest message, for the answer to a longer body. */
  readonly messageBytesMax: number;
}

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
/** uWebSockets.js closes connections on which nothing has moved for ten seconds; Go's server waits. */
const waitsMs = 4000;

export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #app: UwsApp;
  readonly #sockets: object[] = [];
  /** Those whose client still sends, or takes the answer as it likes: whether it has all of it, nobody tells. */
  readonly #slow = new Set<UwsExchange>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#app = options.uws.App();
    const { handlers, bodyBytesMax } = options;
    const behavior = webSocketBehavior({ handle: (request) => this.#handle(request), bodyBytesMax });
    this.#app.ws("/*", {
      ...behavior,
      upgrade: (response, request, context) => {
        const exchange = new UwsExchange(response, request, this.#slow);
        if (!handlers.takesWebSocket(exchange)) return this.#accept(response, exchange);
        const protocol = exchange.header("sec-websocket-protocol").startsWith("Bearer") ? "Bearer" : "";
        const data: SocketData = { head: exchange, bodyUse: handlers.bodyOf({ method: "POST", path: exchange.path }) };
        response.upgrade(data, exchange.header("sec-websocket-key"), protocol, "", context);
      },
    });
    this.#app.any("/*", (response, request) => this.#accept(response, new UwsExchange(response, request, this.#slow)));
  }

  /** Listens on a Unix socket. */
  async listen(path: string): Promise<void> {
    const socket = await new Promise<UwsListenSocket>((done) => this.#app.listen_unix(done, path));
    if (!socket) throw new Error(`cannot listen for HTTP on ${path}`);
    this.#sockets.push(socket);
    this.#timer ??= setInterval(() => {
      for (const exchange of this.#slow) exchange.waitOn();
    }, waitsMs).unref();
  }

  /** Stops listening and closes all connections. */
  close(): void {
    clearInterval(this.#timer);
    const { uws } = this.#options;
    const closeSocket = uws.us_listen_socket_close ?? uws.closeSocket;
    for (const socket of this.#sockets.splice(0)) closeSocket?.(socket);
    this.#app.close();
  }

  #accept(response: UwsResponse, exchange: UwsExchange): void {
    exchange.receives();
    if (this.#options.handlers.bodyOf(exchange) === "pieces") {
      response.onData((piece, isLast) => {
        if (isLast) exchange.received();
        exchange.feed(new Uint8Array(piece), isLast);
      });
      void this.#answer(exchange);
      return;
    }
    const chunks: Uint8Array[] = [];
    const { bodyBytesMax, messageBytesMax } = this.#options;
    let length = 0;
    response.onData((chunk, isLast) => {
      length += chunk.byteLength;
      if (isLast) exchange.received();
      if (length > bodyBytesMax) {
        // Read to its end and dropped: a client that still sends would not see an answer, only a broken connection.
        chunks.length = 0;
        if (isLast) exchange.answer(errorResponse(messageTooLargeError(length, messageBytesMax)));
        return;
      }
      if (!isLast) {
        chunks.push(new Uint8Array(chunk.slice(0)));
        return;
      }
      if (chunks.length === 0) exchange.body = new Uint8Array(chunk.slice(0));
      else exchange.body = Buffer.concat([...chunks, new Uint8Array(chunk)]);
      void this.#answer(exchange);
    });
  }

  async #answer(exchange: UwsExchange): Promise<void> {
    const response = await this.#handle(exchange);
    if (response) exchange.answer(response, response.status === 500);
  }

  /** What the handler answers; a handler that fails is our own fault. */
  async #handle(request: HttpRequest): Promise<HttpResponse | undefined> {
    try {
      return await this.#options.handlers.handle(request);
    } catch (error) {
      this.#options.logger.error("HTTP handler failed", { path: request.path, error });
      return plainError(500, "Internal Server Error");
    }
  }
}

/** One request and the way to answer it. */
class UwsExchange implements HttpRequest {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  body: Uint8Array = noBody;
  /** Answered, or the client has gone. */
  isOver = false;
  readonly #headers: ReadonlyMap<string, string>;
  readonly #response: UwsResponse;
  readonly #slow: Set<UwsExchange>;
  readonly #onGone: (() => void)[] = [];
  #isGone = false;
  /** Its answer is sent as the client takes it. */
  #isSending = false;
  #takePiece: ((piece: Uint8Array, isLast: boolean) => void) | undefined;

  constructor(response: UwsResponse, request: UwsRequest, slow: Set<UwsExchange>) {
    this.#response = response;
    this.#slow = slow;
    this.method = request.getMethod().toUpperCase();
    this.path = request.getUrl();
    this.query = request.getQuery() ?? "";
    this.#headers = new Map(headerNames.map((name) => [name, request.getHeader(name)]));
    response.onAborted(() => {
      this.isOver = true;
      this.#isGone = true;
      slow.delete(this);
      for (const callback of this.#onGone.splice(0)) callback();
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
      this.#writeHead(status, headers);
      this.#sends();
      sendPaced(response, bytes, () => this.#slow.delete(this));
      return;
    }
    this.#slow.delete(this);
    response.cork(() => {
      this.#writeHead(status, headers);
      if (isHead) response.endWithoutBody(bytes.length, closesConnection);
      else response.end(bytes, closesConnection);
    });
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

  #stream(body: StreamBody, headBytes: number): void {
    const stream = new PacedStream(this.#response, { headBytes, ended: () => this.#slow.delete(this) });
    this.#sends();
    this.onGone(() => stream.abandon());
    body(stream);
  }
}
