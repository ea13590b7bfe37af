/**
 * The gateway over WebSocket, as etcd's proxy has it: a socket stands for one POST to the path it was opened with. What
 * the client sends is the request's body, message by message; each line of the answer is one text message. When the
 * answer is over the connection is closed without a closing handshake; when the client closes, the call is cancelled.
 * The token comes in the sub-protocols ("Bearer, <token>") or in the cookie "token".
 * A method with one request takes the first JSON object for it (etcd's proxy waits for an end that never comes).
 * Nobody is pinged, and nobody is cut off for being silent.
 */
import { copyOf } from "../../base/index.js";
import type { BodySink, BodyUse, HttpRequest, HttpResponse, StreamBody } from "./exchange.js";
import { JsonStream } from "./json-stream.js";
import type { UwsWebSocket, UwsWebSocketBehavior } from "./uws.js";

/** Header names that go on from the request that opened the socket; all others stay behind. */
const forwardedHeaders: ReadonlySet<string> = new Set(["origin", "referer"]);
const lineEnd = 0x0a;

/** What belongs to a socket. */
export interface SocketData {
  /** The request that opened it. */
  readonly head: HttpRequest;
  /** What the handler wants of the messages. */
  readonly bodyUse: BodyUse;
  exchange?: SocketExchange;
}

export interface WebSocketOptions {
  readonly handle: (request: HttpRequest) => Promise<HttpResponse | undefined>;
  /** Longest message, and longest request. */
  readonly bodyBytesMax: number;
}

/** How uWebSockets.js treats the gateway's sockets, all but their opening. */
export function webSocketBehavior({ handle, bodyBytesMax }: WebSocketOptions): UwsWebSocketBehavior<SocketData> {
  return {
    maxPayloadLength: bodyBytesMax,
    idleTimeout: 0,
    maxBackpressure: 0,
    sendPingsAutomatically: false,
    open: (socket) => {
      const data = socket.getUserData();
      data.exchange = new SocketExchange(socket, data, bodyBytesMax);
      data.exchange.run(handle);
    },
    message: (socket, message) => socket.getUserData().exchange?.feed(new Uint8Array(message)),
    drain: (socket) => socket.getUserData().exchange?.drained(),
    close: (socket) => socket.getUserData().exchange?.closed(),
  };
}

/** The request that a socket stands for, and the way to answer it. */
class SocketExchange implements HttpRequest {
  readonly method = "POST";
  readonly path: string;
  readonly query: string;
  body: Uint8Array = new Uint8Array(0);
  readonly #socket: UwsWebSocket<SocketData>;
  readonly #data: SocketData;
  readonly #bodyBytesMax: number;
  #takePiece: (piece: Uint8Array, isLast: boolean) => void = () => {};
  #isGone = false;
  #closesWhenDrained = false;
  readonly #onGone: (() => void)[] = [];
  #onDrain: () => void = () => {};

  constructor(socket: UwsWebSocket<SocketData>, data: SocketData, bodyBytesMax: number) {
    this.#socket = socket;
    this.#data = data;
    this.#bodyBytesMax = bodyBytesMax;
    this.path = data.head.path;
    this.query = data.head.query;
  }

  /** Has the request answered: at once, or when its one message is there. */
  run(handle: WebSocketOptions["handle"]): void {
    const answer = async (): Promise<void> => {
      const response = await handle(this);
      if (response !== undefined) this.#answer(response);
    };
    if (this.#data.bodyUse !== "whole") return void answer();
    let isAsked = false;
    const ask = (body: Uint8Array): void => {
      if (isAsked) return;
      isAsked = true;
      this.body = body;
      void answer();
    };
    const objects = new JsonStream(this.#bodyBytesMax, ask);
    this.onBody((piece) => {
      objects.push(piece);
      // What is no object is refused by whoever decodes it.
      if (objects.state !== "open") ask(copyOf(piece));
    });
  }

  header(name: string): string {
    const { head } = this.#data;
    if (name === "authorization") return tokenOf(head);
    return forwardedHeaders.has(name) ? head.header(name) : "";
  }

  onBody(take: (piece: Uint8Array, isLast: boolean) => void): void {
    this.#takePiece = take;
  }

  onGone(callback: () => void): void {
    if (this.#isGone) callback();
    else this.#onGone.push(callback);
  }

  /** A message of the client's. */
  feed(message: Uint8Array): void {
    this.#takePiece(message, false);
  }

  /** The client has taken all that was kept for it. */
  drained(): void {
    if (this.#socket.getBufferedAmount() > 0) return;
    if (this.#closesWhenDrained) this.#socket.close();
    else this.#onDrain();
  }

  closed(): void {
    this.#isGone = true;
    for (const callback of this.#onGone.splice(0)) callback();
  }

  #answer({ body }: HttpResponse): void {
    if (this.#isGone) return;
    const sink: BodySink = {
      write: (piece) => this.#send(piece),
      onDrain: (callback) => (this.#onDrain = callback),
      end: () => this.#close(),
    };
    (typeof body === "function" ? body : wholeBody(body))(sink);
  }

  #send(piece: Uint8Array): boolean {
    if (this.#isGone) return true;
    this.#socket.send(piece.at(-1) === lineEnd ? piece.subarray(0, -1) : piece, false);
    return this.#socket.getBufferedAmount() === 0;
  }

  /** Not within a callback of the socket's: what was sent there is on its way only afterwards, and would be lost. */
  #close(): void {
    setImmediate(() => {
      if (this.#isGone) return;
      if (this.#socket.getBufferedAmount() === 0) this.#socket.close();
      else this.#closesWhenDrained = true;
    });
  }
}

/** A body as one message a line. */
function wholeBody(body: Uint8Array | string): StreamBody {
  return (sink) => {
    const lines = Buffer.from(body).toString().split("\n");
    for (const line of lines) if (line !== "") sink.write(Buffer.from(line));
    sink.end();
  };
}

/** The Authorization that a socket's request has. */
function tokenOf(head: HttpRequest): string {
  const cookie = /(?:^|;\s*)token=("?)([^;]*)\1(?:;|$)/.exec(head.header("cookie"));
  if (cookie !== null) return `Bearer ${cookie[2]}`;
  const protocols = head.header("sec-websocket-protocol");
  const at = protocols.indexOf("Bearer,");
  return at < 0 ? "" : `Bearer ${protocols.slice(at + "Bearer,".length).replace(/^ +| +$/g, "")}`;
}

/** Whether a request asks for a WebSocket, as gorilla/websocket sees it. */
export function asksForWebSocket(request: HttpRequest): boolean {
  return hasToken(request.header("connection"), "upgrade") && hasToken(request.header("upgrade"), "websocket");
}

function hasToken(header: string, token: string): boolean {
  return header.split(",").some((part) => part.trim().toLowerCase() === token);
}

/** HTTP's status for a request that asks for a WebSocket in vain; undefined: it may have one. */
export function webSocketRefusal(request: HttpRequest): 400 | 405 | undefined {
  if (request.method !== "GET") return 405;
  if (!hasToken(request.header("sec-websocket-version"), "13")) return 400;
  return isKey(request.header("sec-websocket-key")) ? undefined : 400;
}

/** 16 bytes in base64. */
function isKey(key: string): boolean {
  return /^[A-Za-z0-9+/]{22}==$/.test(key);
}
