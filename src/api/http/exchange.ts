/**
 * What a handler sees of an HTTP request, and what it answers: apart from any HTTP server, so that handlers are tested
 * without one.
 */

/** A request with its whole body, or one whose body comes in pieces. */
export interface HttpRequest {
  /** In upper case. */
  readonly method: string;
  /** As sent, still percent-encoded, without the query. */
  readonly path: string;
  /** As sent, without the question mark. */
  readonly query: string;
  /** The value of a header by its lower-case name; "" when absent. */
  header(name: string): string;
  /** Empty when the body comes in pieces. */
  readonly body: Uint8Array;
  /** Length of a body that is too long to be kept, and was dropped; undefined: it was not. */
  readonly droppedBytes?: number | undefined;
  /** Where the body's pieces go, for those who asked for them; each is gone when `take` has returned. */
  onBody(take: (piece: Uint8Array, isLast: boolean) => void): void;
  /** `callback` runs when the client has gone away; no answer is wanted any more. */
  onGone(callback: () => void): void;
}

/** What a handler wants of a request's body: nothing, the whole of it at once, or its pieces as they come. */
export type BodyUse = "none" | "whole" | "pieces";

/** Where an endless body is written to. */
export interface BodySink {
  /** Writes a piece, which is kept for a slow client. False: that client has much to take; `onDrain` tells when not. */
  write(piece: Uint8Array): boolean;
  /** `callback` runs each time the client has taken what was kept for it. */
  onDrain(callback: () => void): void;
  end(): void;
}

/** Writes a body piece by piece; called once the status is on its way, unless the client has gone by then. */
export type StreamBody = (sink: BodySink) => void;

/** An answer. Content-Length and Date are the server's business. */
export interface HttpResponse {
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Uint8Array | string | StreamBody;
}

/** Answers a request; undefined when the client has gone away and nobody waits. */
export type Handler = (request: HttpRequest) => HttpResponse | undefined | Promise<HttpResponse | undefined>;

/** What the server's requests are given to. */
export interface HttpHandlers {
  handle(request: HttpRequest): ReturnType<Handler>;
  bodyOf(request: Pick<HttpRequest, "method" | "path">): BodyUse;
  /** Whether a WebSocket may be opened with this request. */
  takesWebSocket(request: HttpRequest): boolean;
}

export const textType = ["Content-Type", "text/plain; charset=utf-8"] as const;
export const jsonType = ["Content-Type", "application/json"] as const;

/** An error as Go's http.Error writes it. */
export function plainError(status: number, text: string, ...headers: readonly [string, string][]): HttpResponse {
  return { status, headers: [...headers, textType, ["X-Content-Type-Options", "nosniff"]], body: `${text}\n` };
}

export function notFound(): HttpResponse {
  return plainError(404, "404 page not found");
}

/** For paths that know GET alone. */
export function methodNotAllowed(): HttpResponse {
  return plainError(405, "Method Not Allowed", ["Allow", "GET"]);
}

/** Reasons as they stand in status lines. */
export const statusTexts: Readonly<Record<number, string>> = {
  200: "OK",
  307: "Temporary Redirect",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  413: "Request Entity Too Large",
  421: "Misdirected Request",
  429: "Too Many Requests",
  499: "status code 499",
  500: "Internal Server Error",
  501: "Not Implemented",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};
