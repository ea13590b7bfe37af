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
  type BodySink,
  type HttpHandlers,
  type HttpRequest,
  type HttpResponse,
  plainError,
  statusTexts,
  type StreamBody,
} from "./exchange.js";
import { errorResponse } from "./gateway-status.js";
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

export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #app: UwsApp;
  readonly #sockets: object[] = [];

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#app = options.uws.App();
    const { handlers, bodyBytesMax } = options;
    const behavior = webSocketBehavior({ handle: (request) => this.#handle(request), bodyBytesMax });
    this.#app.ws("/*", {
      ...behavior,
      upgrade: (response, request, context) => {
        const exchange = new UwsExchange(response, request);
        if (!handlers.takesWebSocket(exchange)) return this.#accept(response, exchange);
        const protocol = exchange.header("sec-websocket-protocol").startsWith("Bearer") ? "Bearer" : "";
        const data: SocketData = { head: exchange, bodyUse: handlers.bodyOf({ method: "POST", path: exchange.path }) };
        response.upgrade(data, exchange.header("sec-websocket-key"), protocol, "", context);
      },
    });
    this.#app.any("/*", (response, request) => this.#accept(response, new UwsExchange(response, request)));
  }

  /** Listens on a Unix socket. */
  async listen(path: string): Promise<void> {
    const socket = await new Promise<UwsListenSocket>((done) => this.#app.listen_unix(done, path));
    if (!socket) throw new Error(`cannot listen for HTTP on ${path}`);
    this.#sockets.push(socket);
  }

  /** Stops listening and closes all connections. */
  close(): void {
    const { uws } = this.#options;
    const closeSocket = uws.us_listen_socket_close ?? uws.closeSocket;
    for (const socket of this.#sockets.splice(0)) closeSocket?.(socket);
    this.#app.close();
  }

  #accept(response: UwsResponse, exchange: UwsExchange): void {
    if (this.#options.handlers.bodyOf(exchange) === "pieces") {
      response.onData((piece, isLast) => exchange.feed(new Uint8Array(piece), isLast));
      void this.#answer(exchange);
      return;
    }
    const chunks: Uint8Array[] = [];
    const { bodyBytesMax, messageBytesMax } = this.#options;
    let length = 0;
    response.onData((chunk, isLast) => {
      length += chunk.byteLength;
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
  readonly #onGone: (() => void)[] = [];
  #isGone = false;
  #takePiece: ((piece: Uint8Array, isLast: boolean) => void) | undefined;

  constructor(response: UwsResponse, request: UwsRequest) {
    this.#response = response;
    this.method = request.getMethod().toUpperCase();
    this.path = request.getUrl();
    this.query = request.getQuery() ?? "";
    this.#headers = new Map(headerNames.map((name) => [name, request.getHeader(name)]));
    response.onAborted(() => {
      this.isOver = true;
      this.#isGone = true;
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

  answer({ status, headers, body }: HttpResponse, closesConnection = false): void {
    if (this.isOver) return;
    this.isOver = true;
    this.#response.cork(() => {
      this.#response.writeStatus(`${status} ${statusTexts[status] ?? "Unknown"}`);
      for (const [name, value] of headers) this.#response.writeHeader(name, value);
      if (typeof body === "function") this.#stream(body);
      else if (this.method === "HEAD") this.#response.endWithoutBody(Buffer.byteLength(body), closesConnection);
      else this.#response.end(body, closesConnection);
    });
  }

  #stream(body: StreamBody): void {
    const response = this.#response;
    let isOver = false;
    let drained: () => void = () => {};
    response.onWritable(() => {
      drained();
      return true;
    });
    this.onGone(() => (isOver = true));
    const sink: BodySink = {
      write: (piece) => isOver || corked(response, () => response.write(piece)),
      onDrain: (callback) => (drained = callback),
      end: () => {
        if (!isOver) response.cork(() => response.end());
        isOver = true;
      },
    };
    body(sink);
  }
}

/** What `write` returns, with all of it in one system call. */
function corked(response: UwsResponse, write: () => boolean): boolean {
  let hasRoom = true;
  response.cork(() => (hasRoom = write()));
  return hasRoom;
}
