/**
 * Where a request goes, in etcd's order: old gateway paths are rewritten, foreign Host headers refused, CORS headers
 * added, OPTIONS answered, unclean paths redirected; then the handlers (reference/http.md, rpc.md §11).
 */
import type { Logger } from "../../base/index.js";
import {
  type BodyUse,
  type Handler,
  type HttpHandlers,
  type HttpRequest,
  type HttpResponse,
  jsonType,
  methodNotAllowed,
  plainError,
  statusTexts,
} from "./exchange.js";
import type { Gateway } from "./gateway.js";
import { quoteText } from "./go-text.js";
import { malformed, Mux, redirect } from "./mux.js";
import type { ServerState } from "./server-state.js";
import { cleanPath, decodePath } from "./url-path.js";
import { asksForWebSocket, webSocketRefusal } from "./web-socket.js";

export interface RouterOptions {
  readonly gateway: Gateway | undefined;
  /** /health and /metrics, and what stands beside them. */
  readonly handlers: ReadonlyMap<string, Handler>;
  readonly state: () => ServerState;
  readonly logger: Logger;
  /** Origins that browsers may call from; "*" is any. */
  readonly corsOrigins: readonly string[];
  /** Host names that plain HTTP is answered for; "*" or none is any. */
  readonly hostWhitelist: readonly string[];
  readonly serverVersion: string;
  /** Resolves once the member serves clients: until then their requests wait, as etcd's do. */
  readonly served: Promise<void>;
}

const gatewayPrefix = "/v3/";
const oldGatewayPrefix = "/v3beta/";

export class Router implements HttpHandlers {
  readonly #options: RouterOptions;
  readonly #mux: Mux;

  constructor(options: RouterOptions) {
    this.#options = options;
    const version: Handler = (request) => this.#version(request);
    this.#mux = new Mux(new Map([...options.handlers, ["/version", version]]));
  }

  /** The answer to a request; undefined when nobody waits for it any more. */
  async handle(request: HttpRequest): Promise<HttpResponse | undefined> {
    await this.#options.served;
    const decoded = decodePath(request.path);
    if (decoded === undefined) return malformed();
    const isOld = decoded.startsWith(oldGatewayPrefix);
    const path = isOld ? newPath(request.path) : request.path;
    const host = hostName(request.header("host"));
    if (!this.#isHostAllowed(host)) return this.#misdirected(host);
    const cors = this.#corsHeaders(request.header("origin"));
    if (request.method === "OPTIONS") return { status: 200, headers: cors, body: "" };
    const response = await this.#route(request, path, newPath(decoded));
    return response && { ...response, headers: [...cors, ...response.headers] };
  }

  /** What is wanted of such a request's body: requests of a stream are answered one by one. */
  bodyOf({ method, path }: Pick<HttpRequest, "method" | "path">): BodyUse {
    const { gateway } = this.#options;
    const decoded = decodePath(path);
    if (gateway === undefined || method !== "POST" || decoded === undefined) return "none";
    return gateway.bodyOf(newPath(decoded));
  }

  /** Whether a WebSocket may be opened with this request, which has the key of one. */
  takesWebSocket(request: HttpRequest): boolean {
    const { gateway } = this.#options;
    if (gateway === undefined || decodePath(request.path) === undefined) return false;
    const path = newPath(request.path);
    if (!path.startsWith(gatewayPrefix) || cleanPath(path) !== path) return false;
    if (!this.#isHostAllowed(hostName(request.header("host")))) return false;
    return asksForWebSocket(request) && webSocketRefusal(request) === undefined;
  }

  async #route(request: HttpRequest, path: string, decoded: string): Promise<HttpResponse | undefined> {
    const { gateway } = this.#options;
    const clean = cleanPath(path);
    if (gateway && clean === "/v3") return redirect(request, gatewayPrefix);
    if (clean !== path) return redirect(request, clean);
    if (gateway && path.startsWith(gatewayPrefix)) {
      if (asksForWebSocket(request)) return refusedWebSocket(request);
      return gateway.handle(request, decoded);
    }
    return this.#mux.serve(request, decoded);
  }

  #version(request: HttpRequest): HttpResponse {
    if (request.method !== "GET") return methodNotAllowed();
    const { clusterVersion = "not_decided", storageVersion = "unknown" } = this.#options.state();
    const versions = { etcdserver: this.#options.serverVersion, etcdcluster: clusterVersion, storage: storageVersion };
    return { status: 200, headers: [jsonType], body: JSON.stringify(versions) };
  }

  #isHostAllowed(host: string): boolean {
    const { hostWhitelist } = this.#options;
    return hostWhitelist.length === 0 || hostWhitelist.includes("*") || hostWhitelist.includes(host);
  }

  #misdirected(host: string): HttpResponse {
    this.#options.logger.warn("rejecting HTTP request to prevent DNS rebinding attacks", { host });
    return plainError(
      421,
      `\netcd received your request, but the Host header was unrecognized.\n\n` +
        `To fix this, choose one of the following options:\n` +
        `- Enable TLS, then any HTTPS request will be allowed.\n` +
        `- Add the hostname you want to use to the whitelist in settings.\n` +
        `  - e.g. etcd --host-whitelist ${quoteText(host)}\n\n` +
        `This requirement has been added to help prevent "DNS Rebinding" attacks (CVE-2018-5702).\n`,
    );
  }

  #corsHeaders(origin: string): [string, string][] {
    const { corsOrigins } = this.#options;
    const allowed = corsOrigins.length === 0 || corsOrigins.includes("*") ? "*" : origin;
    if (allowed !== "*" && !corsOrigins.includes(origin)) return [];
    return [
      ["Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE"],
      ["Access-Control-Allow-Origin", allowed],
      ["Access-Control-Allow-Headers", "accept, content-type, authorization"],
    ];
  }
}

/** A Host header without its port. */
function hostName(host: string): string {
  const match = /^(?:\[([^\]]*)\]|([^:]*)):[0-9]*$/.exec(host);
  return match ? (match[1] ?? match[2]!) : host;
}

/** The path by today's name of the gateway. */
function newPath(path: string): string {
  return path.startsWith(oldGatewayPrefix) ? path.replace(oldGatewayPrefix, gatewayPrefix) : path;
}

/** As gorilla/websocket refuses a handshake. */
function refusedWebSocket(request: HttpRequest): HttpResponse {
  const status = webSocketRefusal(request) ?? 400;
  return plainError(status, statusTexts[status]!, ["Sec-Websocket-Version", "13"]);
}
