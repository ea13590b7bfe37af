/**
 * HTTP/1.1 by uWebSockets.js: takes requests with their whole body and gives them to a handler.
 * Invariants: a body longer than `bodyBytesMax` is not kept; a response object is touched only while its client is
 * there; an aborted request is answered by nobody.
 * Thread: the HTTP worker's.
 */
import type { Logger } from "../../base/index.js";
import { messageTooLargeError } from "../../errors/index.js";
import { type Handler, type HttpRequest, type HttpResponse, plainError, statusTexts } from "./exchange.js";
import { errorResponse } from "./gateway.js";
import type { Uws, UwsApp, UwsListenSocket, UwsRequest, UwsResponse } from "./uws.js";

export interface HttpServerOptions {
  readonly uws: Uws;
  readonly handler: Handler;
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
  "authorization",
  "accept-encoding",
  "grpc-timeout",
  "grpc-metadata-token",
  "grpc-metadata-hasleader",
  "grpc-metadata-client-api-version",
] as const;

const noBody = new Uint8Array(0);

export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #app: UwsApp;
  readonly #sockets: object[] = [];

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#app = options.uws.App();
    this.#app.any("/*", (response, request) => this.#accept(response, request));
  }

  /** Listens on a TCP port (0: any) and resolves to it. */
  async listen(host: string, port: number): Promise<number> {
    const { uws } = this.#options;
    const exclusive = uws.LIBUS_LISTEN_EXCLUSIVE_PORT ?? 1;
    const socket = await this.#listening(`${host}:${port}`, (done) => this.#app.listen(host, port, exclusive, done));
    return (uws.us_socket_local_port ?? uws.getSocketPort)?.(socket) ?? port;
  }

  /** Listens on a unix socket. */
  async listenUnix(path: string): Promise<void> {
    await this.#listening(path, (done) => this.#app.listen_unix(done, path));
  }

  /** Stops listening and closes all connections. */
  close(): void {
    const { uws } = this.#options;
    const closeSocket = uws.us_listen_socket_close ?? uws.closeSocket;
    for (const socket of this.#sockets.splice(0)) closeSocket?.(socket);
    this.#app.close();
  }

  #listening(name: string, listen: (done: (socket: UwsListenSocket) => void) => void): Promise<object> {
    return new Promise((resolve, reject) => {
      listen((socket) => {
        if (!socket) return reject(new Error(`cannot listen for HTTP on ${name}`));
        this.#sockets.push(socket);
        resolve(socket);
      });
    });
  }

  #accept(response: UwsResponse, request: UwsRequest): void {
    const exchange = new UwsExchange(response, request);
    const chunks: Uint8Array[] = [];
    const { bodyBytesMax, messageBytesMax } = this.#options;
    let length = 0;
    response.onData((chunk, isLast) => {
      length += chunk.byteLength;
      if (length > bodyBytesMax) {
        // Read to its end and dropped: a client that still sends would not see an answer, only a broken connection.
        chunks.length = 0;
        if (isLast) exchange.answer(errorResponse(messageTooLargeError(length, messageBytesMax)), false);
        return;
      }
      if (!isLast) {
        chunks.push(new Uint8Array(chunk.slice(0)));
        return;
      }
      if (chunks.length === 0) exchange.body = new Uint8Array(chunk.slice(0));
      else exchange.body = Buffer.concat([...chunks, new Uint8Array(chunk)]);
      void this.#handle(exchange);
    });
  }

  async #handle(exchange: UwsExchange): Promise<void> {
    try {
      const response = await this.#options.handler(exchange);
      if (response) exchange.answer(response, false);
    } catch (error) {
      this.#options.logger.error("HTTP handler failed", { path: exchange.path, error });
      exchange.answer(plainError(500, "Internal Server Error"), true);
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
  #onGone: (() => void) | undefined;

  constructor(response: UwsResponse, request: UwsRequest) {
    this.#response = response;
    this.method = request.getMethod().toUpperCase();
    this.path = request.getUrl();
    this.query = request.getQuery() ?? "";
    this.#headers = new Map(headerNames.map((name) => [name, request.getHeader(name)]));
    response.onAborted(() => {
      this.isOver = true;
      this.#onGone?.();
    });
  }

  header(name: string): string {
    return this.#headers.get(name) ?? "";
  }

  onGone(callback: () => void): void {
    this.#onGone = callback;
    if (this.isOver) callback();
  }

  answer({ status, headers, body }: HttpResponse, closesConnection: boolean): void {
    if (this.isOver) return;
    this.isOver = true;
    this.#response.cork(() => {
      this.#response.writeStatus(`${status} ${statusTexts[status] ?? "Unknown"}`);
      for (const [name, value] of headers) this.#response.writeHeader(name, value);
      if (this.method === "HEAD") this.#response.endWithoutBody(Buffer.byteLength(body), closesConnection);
      else this.#response.end(body, closesConnection);
    });
  }
}
