/**
 * An HTTP/1.1 client on a bare socket that sends exactly the request line and headers it is told
 * to, so that malformed URLs reach the server. Connections are kept and used again.
 */
import { connect, type Socket } from "node:net";

/** A raw request. Host and Content-Length are added unless given. */
export interface HttpRequest {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

/** The answer; header names in lower case. */
export interface HttpReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

const guardMs = 30_000;
const empty = Buffer.alloc(0);

const serialize = (request: HttpRequest): Buffer => {
  const body = request.body ?? empty;
  const headers: Record<string, string> = { Host: "127.0.0.1" };
  Object.assign(headers, request.headers);
  const needsLength = body.length > 0 || request.method === "POST";
  if (needsLength && headers["Transfer-Encoding"] === undefined) headers["Content-Length"] ??= String(body.length);
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.concat([Buffer.from(`${request.method} ${request.path} HTTP/1.1\r\n${lines.join("")}\r\n`), body]);
};

interface Head {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly length: number;
}

const parseHead = (bytes: Buffer): Head | null => {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return null;
  const [statusLine = "", ...lines] = bytes.subarray(0, end).toString("latin1").split("\r\n");
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`;
  }
  return { status: Number(statusLine.split(" ")[1]), headers, length: end + 4 };
};

/** Body of a chunked message, or null while it is not all there. */
const parseChunked = (bytes: Buffer): Buffer | null => {
  const parts: Buffer[] = [];
  for (let at = 0; ;) {
    const lineEnd = bytes.indexOf("\r\n", at);
    if (lineEnd < 0) return null;
    const size = Number.parseInt(bytes.subarray(at, lineEnd).toString("latin1"), 16);
    const start = lineEnd + 2;
    if (bytes.length < start + size + 2) return null;
    if (size === 0) return Buffer.concat(parts);
    parts.push(bytes.subarray(start, start + size));
    at = start + size + 2;
  }
};

const hasNoBody = (request: HttpRequest, status: number): boolean =>
  request.method === "HEAD" || status === 204 || status === 304 || status < 200;

/** The whole reply if `bytes` holds it; `ended`: the peer has closed. */
const parseReply = (request: HttpRequest, bytes: Buffer, ended: boolean): HttpReply | null => {
  const head = parseHead(bytes);
  if (head === null) return null;
  const { status, headers } = head;
  const rest = bytes.subarray(head.length);
  if (hasNoBody(request, status)) return { status, headers, body: empty };
  if (headers["transfer-encoding"] === "chunked") {
    const body = parseChunked(rest);
    return body === null ? null : { status, headers, body };
  }
  const length = headers["content-length"];
  if (length === undefined) return ended ? { status, headers, body: rest } : null;
  return rest.length >= Number(length) ? { status, headers, body: rest.subarray(0, Number(length)) } : null;
};

/** One request after another over one connection; made again when the server closes it. */
export class HttpClient {
  readonly #port: number;
  #socket: Socket | null = null;

  constructor(port: number) {
    this.#port = port;
  }

  /** Sends one request; calls must not overlap. A kept connection that was closed meanwhile is made again. */
  async send(request: HttpRequest): Promise<HttpReply> {
    const reused = this.#socket !== null;
    try {
      return await this.#attempt(request);
    } catch (error) {
      if (!reused || !(error instanceof ClosedBeforeAnswer)) throw error;
      return this.#attempt(request);
    }
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = null;
  }

  #attempt(request: HttpRequest): Promise<HttpReply> {
    const socket = (this.#socket ??= connect({ port: this.#port, host: "127.0.0.1", noDelay: true }));
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      const settle = (keep: boolean): void => {
        clearTimeout(guard);
        socket.removeAllListeners();
        socket.on("error", () => {});
        if (keep) return;
        socket.destroy();
        if (this.#socket === socket) this.#socket = null;
      };
      const check = (ended: boolean): boolean => {
        const reply = parseReply(request, Buffer.concat(chunks), ended);
        if (reply === null) return false;
        settle(!ended && reply.headers["connection"] !== "close");
        resolve(reply);
        return true;
      };
      const fail = (error: Error): void => {
        settle(false);
        reject(error);
      };
      const guard = setTimeout(() => fail(new Error(`${request.path}: no answer within ${guardMs} ms`)), guardMs);
      socket.on("data", (chunk) => {
        chunks.push(chunk);
        check(false);
      });
      const onClosed = (): void => {
        if (check(true)) return;
        fail(chunks.length === 0 ? new ClosedBeforeAnswer() : new Error("connection closed in the midst of an answer"));
      };
      socket.once("error", onClosed);
      socket.once("close", onClosed);
      socket.write(serialize(request));
    });
  }
}

class ClosedBeforeAnswer extends Error {
  constructor() {
    super("connection closed before an answer");
  }
}
