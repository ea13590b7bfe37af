/** Fixed paths and their handlers, as Go's mux serves them: unclean paths are redirected, others are not found. */
import {
  type BodyUse,
  type Handler,
  type HttpHandlers,
  type HttpRequest,
  type HttpResponse,
  notFound,
  textType,
} from "./exchange.js";
import { cleanPath, decodePath } from "./url-path.js";

export class Mux implements HttpHandlers {
  readonly #handlers: ReadonlyMap<string, Handler>;

  constructor(handlers: ReadonlyMap<string, Handler>) {
    this.#handlers = handlers;
  }

  /** The answer to a request; undefined when nobody waits for it any more. */
  async handle(request: HttpRequest): Promise<HttpResponse | undefined> {
    const decoded = decodePath(request.path);
    if (decoded === undefined) return malformed();
    const clean = cleanPath(request.path);
    if (clean !== request.path) return redirect(request, clean);
    return this.serve(request, decoded);
  }

  bodyOf(): BodyUse {
    return "none";
  }

  takesWebSocket(): boolean {
    return false;
  }

  /** Answers a request whose percent-decoded path is clean. */
  async serve(request: HttpRequest, path: string): Promise<HttpResponse | undefined> {
    const handler = this.#handlers.get(path);
    return handler ? handler(request) : notFound();
  }
}

/** To a path that cannot be percent-decoded. */
export function malformed(): HttpResponse {
  return { status: 400, headers: [textType], body: "400 Bad Request" };
}

/** To a clean path, as Go's mux does it. */
export function redirect(request: HttpRequest, path: string): HttpResponse {
  const target = request.query === "" ? path : `${path}?${request.query}`;
  const headers: [string, string][] = [["Location", target]];
  if (request.method !== "GET" && request.method !== "HEAD") return { status: 307, headers, body: "" };
  headers.unshift(["Content-Type", "text/html; charset=utf-8"]);
  const escaped = target.replaceAll("&", "&amp;").replaceAll('"', "&#34;").replaceAll("<", "&lt;");
  return { status: 307, headers, body: `<a href="${escaped}">Temporary Redirect</a>.\n\n` };
}
