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
import { emptyBytes, methods, type MethodDescriptor } from "../../proto/index.js";
import { answerFacts } from "../request-facts.js";
import type { RequestLog } from "../request-stats.js";
import type { Call, CallClient } from "./call-client.js";
import { type BodyUse, type HttpRequest, type HttpResponse, jsonType } from "./exchange.js";
import { gatewayRoutes } from "./gateway-routes.js";
import { errorResponse, metadataTypeHeader } from "./gateway-status.js";
import { GatewayStream } from "./gateway-stream.js";
import { decodeJson, ProtoJsonError } from "./json-decode.js";
import { encodeJson } from "./json-encode.js";
import { JsonSyntaxError } from "./json-scan.js";
import { JsonStream } from "./json-stream.js";
import { parseGrpcTimeout } from "./grpc-timeout.js";

/** JSON may take so many times the room of the message that it stands for. */
export const jsonGrowthMax = 4;
/** As much of a request as the edge keeps for the log. */
const requestBytesShownMax = 16 << 10;
const timerMsMax = 2 ** 31 - 1;
const metadataPrefix = "grpc-metadata-";

interface Route {
  readonly method: MethodDescriptor;
  /** Undefined: main does not serve it yet. */
  readonly index: number | undefined;
}

export interface GatewayOptions {
  /** Paths of the RPCs that main serves, by their method index. */
  readonly served: readonly string[];
  readonly messageBytesMax: number;
  readonly requestLog: RequestLog;
}

export class Gateway {
  readonly #routes = new Map<string, Route>();
  readonly #client: CallClient;
  readonly #messageBytesMax: number;
  readonly #services: ReadonlySet<string>;
  readonly #options: GatewayOptions;

  constructor(client: CallClient, options: GatewayOptions) {
    this.#client = client;
    this.#options = options;
    this.#messageBytesMax = options.messageBytesMax;
    this.#services = new Set(methods.map(({ service }) => service));
    for (const [path, rpc] of Object.entries(gatewayRoutes)) {
      const index = options.served.indexOf(rpc);
      const method = methods.find((one) => one.path === rpc)!;
      this.#routes.set(path, { method, index: index < 0 ? undefined : index });
    }
  }

  /** What is wanted of the bodies of requests for this percent-decoded path. */
  bodyOf(path: string): BodyUse {
    const route = this.#routes.get(path);
    if (route === undefined) return "none";
    return route.index !== undefined && route.method.clientStreams ? "pieces" : "whole";
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

  #call(request: HttpRequest, { method, index }: Route): Promise<HttpResponse | undefined> {
    const timeoutMs = timeoutOf(request);
    if (method.clientStreams && index !== undefined) return this.#requestStream(request, method, index, timeoutMs);
    const { body, droppedBytes } = request;
    // etcd tells the message's length; of a body that was dropped only its own is known.
    if (droppedBytes !== undefined) throw messageTooLargeError(droppedBytes, this.#messageBytesMax);
    const message = decodeJson(method.request, body);
    this.#checkLength(message);
    if (index === undefined) throw unknownMethodError(method.path, this.#services);
    if (timeoutMs !== undefined && timeoutMs < 0) throw new ErrContextDeadlineExceeded();
    const call = callOf(request, index, message);
    if (!method.serverStreams) return this.#unary(request, method, call, timeoutMs);
    return this.#answered(new GatewayStream(this.#client, method, call, request), timeoutMs);
  }

  async #unary(
    request: HttpRequest,
    method: MethodDescriptor,
    call: Call,
    timeoutMs: number | undefined,
  ): Promise<HttpResponse | undefined> {
    const { id, reply } = this.#client.start(call);
    let isGone = false;
    request.onGone(() => {
      isGone = true;
      this.#client.cancel(id, new ErrContextCanceled());
    });
    const timer = this.#deadline(id, timeoutMs);
    const sinceMs = performance.now();
    let message: Uint8Array = emptyBytes;
    let tookMs: number | undefined;
    try {
      message = await reply;
      tookMs = performance.now() - sinceMs;
      const body = encodeJson(method.response, message);
      return { status: 200, headers: [jsonType, metadataTypeHeader], body };
    } catch (error) {
      if (isGone) return undefined;
      throw error;
    } finally {
      clearTimeout(timer);
      this.#log(method.path, tookMs ?? performance.now() - sinceMs, call.message, message);
    }
  }

  #log(path: string, milliseconds: number, request: Uint8Array, response: Uint8Array): void {
    const { requestLog } = this.#options;
    if (milliseconds < requestLog.fromMs) return;
    requestLog.add({
      milliseconds,
      remote: "gateway",
      path,
      requestBytes: request.length,
      responseBytes: response.length,
      answer: answerFacts(response),
      request: request.subarray(0, requestBytesShownMax),
    });
  }

  /**
   * A call with a stream of requests: each JSON object of the body is one, sent as it comes. A body that is malformed
   * from some point on ends there, without an error, as in etcd.
   */
  #requestStream(
    request: HttpRequest,
    method: MethodDescriptor,
    index: number,
    timeoutMs: number | undefined,
  ): Promise<HttpResponse | undefined> {
    if (timeoutMs !== undefined && timeoutMs < 0) throw new ErrContextDeadlineExceeded();
    const stream = new GatewayStream(
      this.#client,
      method,
      { ...callOf(request, index, new Uint8Array(0)), clientStreams: true },
      request,
    );
    const objects = new JsonStream(jsonGrowthMax * this.#messageBytesMax, (json) => {
      const message = decodeJson(method.request, json);
      this.#checkLength(message);
      stream.call.send(message);
    });
    let isOver = false;
    request.onBody((piece, isLast) => {
      if (isOver) return;
      const error = this.#feed(objects, piece, isLast);
      isOver = isLast || objects.state !== "open";
      if (error !== undefined) stream.call.cancel(error);
      else if (isOver) stream.call.halfClose();
    });
    return this.#answered(stream, timeoutMs);
  }

  /** Takes a piece of a body; the error that ends the call, if there is one. */
  #feed(objects: JsonStream, piece: Uint8Array, isLast: boolean): EtcdError | undefined {
    try {
      objects.push(piece);
      if (isLast) objects.end();
    } catch (error) {
      if (error instanceof EtcdError) return error;
    }
    const max = this.#messageBytesMax;
    return objects.state === "tooLarge" ? messageTooLargeError(jsonGrowthMax * max, max) : undefined;
  }

  /** The stream's answer, with the client's deadline on the whole of it. */
  #answered(stream: GatewayStream, timeoutMs: number | undefined): Promise<HttpResponse | undefined> {
    stream.timer = this.#deadline(stream.call.id, timeoutMs);
    return stream.answer;
  }

  #deadline(callId: number, timeoutMs: number | undefined): NodeJS.Timeout | undefined {
    if (timeoutMs === undefined) return undefined;
    const giveUp = (): void => this.#client.cancel(callId, new ErrContextDeadlineExceeded());
    return setTimeout(giveUp, Math.min(timeoutMs, timerMsMax));
  }

  #checkLength(message: Uint8Array): void {
    if (message.length > this.#messageBytesMax) throw messageTooLargeError(message.length, this.#messageBytesMax);
  }
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
