/**
 * Sends one operation to one server and reduces the answer to what every server must answer alike.
 */
import {
  base64,
  decodeMessage,
  encodeMessage,
  frame,
  GrpcClient,
  GrpcStream,
  HttpClient,
  rpcTypes,
  type GrpcReply,
  type HttpReply,
  type Json,
  type JsonObject,
} from "../support/index.js";
import type {
  GatewayOperation,
  GrpcOperation,
  Outcome,
  RequestOperation,
  RpcName,
  WatchOperation,
} from "./operation.js";
import { LiveWatches } from "./live-watches.js";
import { reduced } from "./reduced.js";

/** Headers that are the transport's own business; a server chooses freely whether it compresses. */
const ignoredHeaders = new Set([
  "date",
  "content-length",
  ":status",
  "transfer-encoding",
  "connection",
  "keep-alive",
  "grpc-encoding",
  "grpc-accept-encoding",
]);

const splitRpc = (rpc: RpcName): [string, string] => {
  const slash = rpc.indexOf("/");
  return [rpc.slice(0, slash), rpc.slice(slash + 1)];
};

const requestBytes = ({ rpc, request, padValue }: GrpcOperation): Buffer => {
  const full = padValue === undefined ? request : { ...request, value: base64(Buffer.alloc(padValue, "x")) };
  return encodeMessage(rpcTypes(...splitRpc(rpc)).request, full);
};

const keptHeaders = (headers: Readonly<Record<string, string>>): JsonObject =>
  Object.fromEntries(
    Object.entries(headers)
      .filter(
        ([name]) => !ignoredHeaders.has(name) && !name.startsWith("grpc-status") && !name.startsWith("grpc-message"),
      )
      .toSorted(),
  );

/**
 * protobuf-go picks between a space and a no-break space by a hash of the program; how far a decoder
 * came with damaged gzip data is its own affair.
 */
const comparableMessage = (message: string): string =>
  message
    .replaceAll("\u00a0", " ")
    .replace(/^(grpc: failed to (?:read decompressed data|decompress the message)): .*/, "$1");

const grpcOutcome = (reply: GrpcReply, rpc: RpcName | undefined): Outcome => {
  const decoded =
    rpc === undefined
      ? []
      : reply.messages.map((message) => decodeMessage(rpcTypes(...splitRpc(rpc)).response, message));
  return {
    status: reply.status,
    message: comparableMessage(reply.message),
    httpStatus: reply.httpStatus,
    headers: { ...keptHeaders(reply.headers), ...keptHeaders(reply.trailers), reset: reply.reset },
    body: rpc === undefined ? reply.messages.map((m) => m.toString("hex")) : decoded.map(({ plain }) => reduced(plain)),
    canonical: decoded.every(({ canonical }) => canonical),
  };
};

const parseJson = (text: string): Json => {
  try {
    return reduced(JSON.parse(text) as JsonObject);
  } catch {
    return text;
  }
};

const httpOutcome = (reply: HttpReply): Outcome => {
  const text = reply.body.toString("utf8").replaceAll("\u00a0", " ");
  const isJson = text.startsWith("{");
  return {
    status: reply.status,
    message: "",
    httpStatus: reply.status,
    headers: keptHeaders(reply.headers),
    body: isJson ? parseJson(text) : text,
    canonical: true,
  };
};

const gatewayBody = ({ json, padValue }: GatewayOperation): string =>
  padValue === undefined ? json : json.replace('"PAD"', JSON.stringify(base64(Buffer.alloc(padValue, "x"))));

const watchMsMax = 15_000;
/** A progress request is dropped, not kept, while a watch is read up: so often it is made again. */
const askEveryMs = 60;

/** All that a watch is told until it has all there is, or is canceled; then what it was told of progress is left out. */
const watchOutcome = async (port: number, { request }: WatchOperation): Promise<Outcome> => {
  const stream = new GrpcStream(port, "/etcdserverpb.Watch/Watch");
  const send = (message: JsonObject): void => stream.send(encodeMessage("etcdserverpb.WatchRequest", message));
  const responses: JsonObject[] = [];
  let canonical = true;
  let isOver = false;
  try {
    send({ create_request: request });
    for (const end = performance.now() + watchMsMax; !isOver;) {
      if (stream.end !== null || performance.now() > end) throw new Error("the watch came to no end");
      await stream.changed(askEveryMs);
      for (const bytes of stream.take()) {
        const decoded = decodeMessage("etcdserverpb.WatchResponse", bytes);
        const isProgress = decoded.plain["watch_id"] === "-1" && decoded.plain["created"] === undefined;
        isOver ||= isProgress || decoded.plain["canceled"] === true;
        canonical &&= decoded.canonical;
        if (!isProgress) responses.push(reduced(decoded.plain));
      }
      if (!isOver) send({ progress_request: {} });
    }
    return { status: 0, message: "", httpStatus: 200, headers: {}, body: responses, canonical };
  } finally {
    stream.close();
  }
};

/** The connections to one server. */
export class Target {
  readonly #grpc: GrpcClient;
  readonly #http: HttpClient;
  readonly #live: LiveWatches;
  readonly #port: number;

  constructor(port: number) {
    this.#port = port;
    this.#grpc = new GrpcClient(port);
    this.#http = new HttpClient(port);
    this.#live = new LiveWatches(port, this.#grpc);
  }

  async run(operation: RequestOperation): Promise<Outcome> {
    switch (operation.kind) {
      case "grpc":
        return this.#runGrpc(operation);
      case "gateway": {
        const body = Buffer.from(gatewayBody(operation));
        return httpOutcome(await this.#http.send({ method: "POST", path: operation.path, body }));
      }
      case "watch":
        return watchOutcome(this.#port, operation);
      case "live":
        return operation.creates.length > 0 ? this.#live.open(operation.creates) : this.#live.look();
      case "raw": {
        const { path, headers, rpc } = operation;
        const body = Buffer.from(operation.body, "base64");
        return grpcOutcome(await this.#grpc.raw({ path, body, headers }), rpc);
      }
      case "http": {
        const { method, path, headers } = operation;
        const body = Buffer.from(operation.body, "latin1");
        return httpOutcome(await this.#http.send({ method, path, headers, body }));
      }
    }
  }

  close(): void {
    this.#live.close();
    this.#grpc.close();
    this.#http.close();
  }

  async #runGrpc(operation: GrpcOperation): Promise<Outcome> {
    const reply = await this.#grpc.raw({
      path: `/${operation.rpc}`,
      body: frame(requestBytes(operation)),
      ...(operation.headers === undefined ? {} : { headers: operation.headers }),
      // A health watch never ends by itself.
      ...(operation.rpc === "grpc.health.v1.Health/Watch" ? { messagesMax: 1 } : {}),
    });
    return grpcOutcome(reply, operation.rpc);
  }
}
