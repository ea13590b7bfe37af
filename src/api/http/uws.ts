/**
 * uWebSockets.js, which its authors do not publish to npm: whichever of the republished binaries loads here.
 * They have one API; this is the part of it that we use.
 */
import { createRequire } from "node:module";

export interface UwsRequest {
  getMethod(): string;
  getUrl(): string;
  getQuery(): string | undefined;
  getHeader(name: string): string;
}

export interface UwsResponse {
  writeStatus(status: string): UwsResponse;
  writeHeader(name: string, value: string): UwsResponse;
  end(body?: string | Uint8Array, closeConnection?: boolean): UwsResponse;
  endWithoutBody(reportedLength: number, closeConnection?: boolean): UwsResponse;
  /** Sends what the client takes of the rest of a body of `totalBytes`; whether it took all, and whether that was it. */
  tryEnd(rest: Uint8Array, totalBytes: number): [ok: boolean, isDone: boolean];
  /** Sends a chunk; false when it has to wait for the client. */
  write(chunk: string | Uint8Array): boolean;
  /** Bytes of the body that are on their way by `tryEnd`; not to be asked once all are. */
  getWriteOffset(): number;
  /** Closes the connection; the handler of `onAborted` runs. */
  close(): UwsResponse;
  /** `handler` returns whether it wrote what it wanted to. */
  onWritable(handler: (offset: number) => boolean): UwsResponse;
  onAborted(handler: () => void): UwsResponse;
  /** The chunk is gone when the handler returns. */
  onData(handler: (chunk: ArrayBuffer, isLast: boolean) => void): UwsResponse;
  cork(write: () => void): UwsResponse;
  /** Reads no more of the client, and waits for it without an end. */
  pause(): void;
  /** Reads on; the connection is closed when the client neither sends nor takes anything for ten seconds. */
  resume(): void;
  upgrade<Data>(data: Data, key: string, protocol: string, extensions: string, context: UwsSocketContext): void;
}

/** Goes from an upgrade to the socket, and is looked at by nobody. */
export type UwsSocketContext = object;

export interface UwsWebSocket<Data> {
  getUserData(): Data;
  /** 0: kept until the client takes it; 1: sent; 2: dropped, for the limits. */
  send(message: string | Uint8Array, isBinary?: boolean): number;
  getBufferedAmount(): number;
  /** Closes without a closing handshake; runs `close`. */
  close(): void;
}

export interface UwsWebSocketBehavior<Data> {
  readonly maxPayloadLength: number;
  /** Seconds; 0: for ever. */
  readonly idleTimeout: number;
  /** Bytes kept for a slow client; 0: no limit. */
  readonly maxBackpressure: number;
  readonly sendPingsAutomatically: boolean;
  upgrade?(response: UwsResponse, request: UwsRequest, context: UwsSocketContext): void;
  open(socket: UwsWebSocket<Data>): void;
  message(socket: UwsWebSocket<Data>, message: ArrayBuffer, isBinary: boolean): void;
  drain(socket: UwsWebSocket<Data>): void;
  close(socket: UwsWebSocket<Data>, code: number, message: ArrayBuffer): void;
}

/** A listening socket, or false when listening failed. */
export type UwsListenSocket = object | false;

export interface UwsApp {
  any(pattern: string, handler: (response: UwsResponse, request: UwsRequest) => void): UwsApp;
  ws<Data>(pattern: string, behavior: UwsWebSocketBehavior<Data>): UwsApp;
  listen_unix(callback: (socket: UwsListenSocket) => void, path: string): UwsApp;
  close(): UwsApp;
}

export interface Uws {
  App(): UwsApp;
  us_listen_socket_close?(socket: object): void;
  closeSocket?(socket: object): void;
}

/** Newest first: the second needs an older glibc and Node 20 at most. */
const packages = ["@btc-vision/uwebsockets.js", "@rjweb/uws"] as const;

/** No binary of uWebSockets.js loads on this machine. */
export class UwsMissingError extends Error {
  override readonly name = "UwsMissingError";
}

/** Loads uWebSockets.js; throws UwsMissingError, which says why none loads. */
export function loadUws(): Uws {
  const require = createRequire(import.meta.url);
  const reasons: string[] = [];
  for (const name of packages) {
    try {
      return require(name) as Uws;
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      reasons.push(
        `${name}: ${text.split("\n").find((line) => /GLIBC|Cannot find|not found|Error/.test(line)) ?? text}`,
      );
    }
  }
  throw new UwsMissingError(
    `uWebSockets.js does not load on Node ${process.version}, ${process.platform} ${process.arch}. ` +
      `It needs glibc (not musl) and one of: Node 20 with glibc 2.27 or newer (@rjweb/uws), ` +
      `Node 20, 22, 24 or 25 with glibc 2.38 or newer (@btc-vision/uwebsockets.js). ` +
      `Were optional dependencies left out at install (npm install --include=optional)? ${reasons.join("; ")}`,
  );
}
