/**
 * HTTP/1.1 by uWebSockets.js: takes requests with their whole body, or in pieces where the handler wants that, and
 * gives them to a handler; WebSockets go to `web-socket.ts`.
 * Invariants: a body longer than `bodyBytesMax` is not kept; a response object is touched only while its client is
 * there; an aborted request is answered by nobody.
 * Thread: the HTTP worker's.
 */
import type { Logger } from "../../base/index.js";
import { type HttpHandlers, type HttpRequest, type HttpResponse, plainError } from "./exchange.js";
import type { UnsentBytes } from "./unsent-bytes.js";
import { UwsExchange } from "./uws-exchange.js";
import type { Uws, UwsApp, UwsListenSocket, UwsRequest, UwsResponse } from "./uws.js";
import { type SocketData, webSocketBehavior } from "./web-socket.js";

export interface HttpServerOptions {
  readonly uws: Uws;
  readonly handlers: HttpHandlers;
  readonly logger: Logger;
  /** Longest body; JSON needs more room than the message that it stands for. */
  readonly bodyBytesMax: number;
  /** What all servers of the member keep for slow clients. */
  readonly unsent: UnsentBytes;
}

/** uWebSockets.js closes connections on which nothing has moved for ten seconds; Go's server waits. */
const waitsMs = 4000;

export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #app: UwsApp;
  readonly #sockets: object[] = [];
  /** Those whose client still sends, or takes the answer as it likes: whether it has all of it, nobody tells. */
  readonly #slow = new Set<UwsExchange>();
  readonly #unsent: UnsentBytes;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#unsent = options.unsent;
    this.#app = options.uws.App();
    const { handlers, bodyBytesMax } = options;
    const behavior = webSocketBehavior({ handle: (request) => this.#handle(request), bodyBytesMax });
    this.#app.ws("/*", {
      ...behavior,
      upgrade: (response, request, context) => {
        const exchange = this.#exchange(response, request);
        if (!handlers.takesWebSocket(exchange)) return this.#accept(response, exchange);
        const protocol = exchange.header("sec-websocket-protocol").startsWith("Bearer") ? "Bearer" : "";
        const data: SocketData = { head: exchange, bodyUse: handlers.bodyOf({ method: "POST", path: exchange.path }) };
        response.upgrade(data, exchange.header("sec-websocket-key"), protocol, "", context);
      },
    });
    this.#app.any("/*", (response, request) => this.#accept(response, this.#exchange(response, request)));
  }

  /** Listens on a Unix socket. */
  async listen(path: string): Promise<void> {
    const socket = await new Promise<UwsListenSocket>((done) => this.#app.listen_unix(done, path));
    if (!socket) throw new Error(`cannot listen for HTTP on ${path}`);
    this.#sockets.push(socket);
    this.#timer ??= setInterval(() => {
      for (const exchange of this.#slow) exchange.waitOn();
      this.#unsent.check(this.#slow, performance.now());
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

  #exchange(response: UwsResponse, request: UwsRequest): UwsExchange {
    return new UwsExchange(response, request, { slow: this.#slow, unsent: this.#unsent });
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
    const { bodyBytesMax } = this.#options;
    let length = 0;
    response.onData((chunk, isLast) => {
      length += chunk.byteLength;
      if (isLast) exchange.received();
      if (length > bodyBytesMax) {
        // Read to its end and dropped: a client that still sends would not see an answer, only a broken connection.
        chunks.length = 0;
        if (!isLast) return;
        exchange.droppedBytes = length;
        void this.#answer(exchange);
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
