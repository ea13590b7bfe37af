/**
 * What a handler sees of an HTTP request, and what it answers: apart from any HTTP server, so that handlers are tested
 * without one.
 */

/** A request with its whole body. */
export interface HttpRequest {
  /** In upper case. */
  readonly method: string;
  /** As sent, still percent-encoded, without the query. */
  readonly path: string;
  /** As sent, without the question mark. */
  readonly query: string;
  /** The value of a header by its lower-case name; "" when absent. */
  header(name: string): string;
  readonly body: Uint8Array;
  /** `callback` runs when the client has gone away; no answer is wanted any more. */
  onGone(callback: () => void): void;
}

/** An answer. Content-Length and Date are the server's business. */
export interface HttpResponse {
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Uint8Array | string;
}

/** Answers a request; undefined when the client has gone away and nobody waits. */
export type Handler = (request: HttpRequest) => HttpResponse | undefined | Promise<HttpResponse | undefined>;

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
