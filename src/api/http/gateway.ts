/**
 * The JSON gateway: POST /v3/… with a request message as JSON becomes a call, its reply becomes JSON again
 * (reference/rpc.md §11). Driven by the proto descriptors: an RPC is served here as soon as main serves it.
 */
import {
  ErrContextCanceled,
  ErrContextDeadlineExceeded,
  EtcdError,
  GrpcCode,
  messageTooLargeError,
  toStatus,
  unknownMethodError,
} from "../../errors/index.js";
import { CallFlag, MetadataTag } from "../../native/index.js";
import { methods, type MethodDescriptor } from "../../proto/index.js";
import type { Call, CallClient } from "./call-client.js";
import { type HttpRequest, type HttpResponse, jsonType } from "./exchange.js";
import { gatewayRoutes } from "./gateway-routes.js";
import { decodeJson, ProtoJsonError } from "./json-decode.js";
import { encodeJson } from "./json-encode.js";
import { JsonSyntaxError } from "./json-scan.js";
import { parseGrpcTimeout } from "./grpc-timeout.js";

/** HTTP's status for each gRPC code, by its number. */
const httpStatuses = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401] as const;
const metadataPrefix = "grpc-metadata-";

interface Route {
  readonly method: MethodDescriptor;
  /** Undefined: main does not serve it yet. */
  readonly index: number | undefined;
}

export class Gateway {
  readonly #routes = new Map<string, Route>();
  readonly #client: CallClient;
  readonly #messageBytesMax: number;
  readonly #services: ReadonlySet<string>;

  /** `served`: paths of the RPCs that main serves, by their method index. */
  constructor(client: CallClient, options: { served: readonly string[]; messageBytesMax: number }) {
    this.#client = client;
    this.#messageBytesMax = options.messageBytesMax;
    this.#services = new Set(methods.map(({ service }) => service));
    for (const [path, rpc] of Object.entries(gatewayRoutes)) {
      const index = options.served.indexOf(rpc);
      const method = methods.find((one) => one.path === rpc)!;
      this.#routes.set(path, { method, index: index < 0 || method.serverStreams ? undefined : index });
    }
  }

  /** Answers a request below /v3/; `path` is percent-decoded. */
  async handle(request: HttpRequest, path: string): Promise<HttpResponse | undefined> {
    const route = this.#routes.get(path);
    if (!route) return errorResponse(new EtcdError(GrpcCode.NotFound, "Not Found"));
    if (request.method !== "POST") return errorResponse(new EtcdError(GrpcCode.Unimplemented, "Method Not Allowed"));
    try {
      return await this.#call(request, route);
    } catch (error) {
      if (error instanceof EtcdError) return errorResponse(error);
      if (error instanceof JsonSyntaxError || error instanceof ProtoJsonError) {
        return errorResponse(new EtcdError(GrpcCode.InvalidArgument, error.message));
      }
      return errorResponse(new EtcdError(GrpcCode.Internal, toStatus(error).message));
    }
  }

  async #call(request: HttpRequest, { method, index }: Route): Promise<HttpResponse | undefined> {
    const timeoutMs = timeoutOf(request);
    const message = decodeJson(method.request, request.body);
    if (message.length > this.#messageBytesMax) throw messageTooLargeError(message.length, this.#messageBytesMax);
    if (index === undefined) throw unknownMethodError(method.path, this.#services);
    if (timeoutMs !== undefined && timeoutMs < 0) throw new ErrContextDeadlineExceeded();
    const { id, reply } = this.#client.start(callOf(request, index, message));
    let isGone = false;
    request.onGone(() => {
      isGone = true;
      this.#client.cancel(id, new ErrContextCanceled());
    });
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => this.#client.cancel(id, new ErrContextDeadlineExceeded()), Math.min(timeoutMs, 2 ** 31 - 1));
    try {
      const body = encodeJson(method.response, await reply);
      return { status: 200, headers: [jsonType, ["Grpc-Metadata-Content-Type", "application/grpc"]], body };
    } catch (error) {
      if (isGone) return undefined;
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** A status as the gateway writes it. */
export function errorResponse({ code, message }: EtcdError): HttpResponse {
  const text = message === "" ? "" : `, "message":${JSON.stringify(message)}`;
  const headers: [string, string][] = [[...jsonType]];
  if (code === GrpcCode.Unauthenticated) headers.push(["WWW-Authenticate", message]);
  return { status: httpStatuses[code], headers, body: `{"code":${code}${text}}` };
}

/** Milliseconds until the client gives up; undefined, also for a zero: never. */
function timeoutOf(request: HttpRequest): number | undefined {
  const text = request.header("grpc-timeout");
  if (text === "") return undefined;
  const timeoutMs = parseGrpcTimeout(text);
  if (timeoutMs === undefined) throw new EtcdError(GrpcCode.InvalidArgument, `invalid grpc-timeout: ${text}`);
  return timeoutMs === 0 ? undefined : timeoutMs;
}

/** What of the headers travels with a call: `authorization`, and metadata under its prefix. */
function callOf(request: HttpRequest, method: number, message: Uint8Array): Call {
  const metadata: { tag: number; value: Uint8Array }[] = [];
  const token = request.header(`${metadataPrefix}token`) || request.header("authorization");
  if (token !== "")
    metadata.push({ tag: MetadataTag.Token, value: Buffer.from(token.replace(/^Bearer /, ""), "latin1") });
  const version = request.header(`${metadataPrefix}client-api-version`);
  if (version !== "") metadata.push({ tag: MetadataTag.ClientApiVersion, value: Buffer.from(version, "latin1") });
  const needsLeader = request.header(`${metadataPrefix}hasleader`) === "true";
  return { method, flags: CallFlag.Gateway | (needsLeader ? CallFlag.RequireLeader : 0), metadata, message };
}
