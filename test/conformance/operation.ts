/**
 * One step of a conformance run, as plain JSON: a failing run is stored, shrunk and replayed from it.
 * The generator makes operations, the runner sends them, the comparison reads the request again.
 */
import type { Json, JsonObject } from "../support/index.js";

/** The RPCs that a conformance run may send. */
export type RpcName =
  | "etcdserverpb.KV/Range"
  | "etcdserverpb.KV/Put"
  | "etcdserverpb.KV/DeleteRange"
  | "etcdserverpb.KV/Txn"
  | "etcdserverpb.KV/RangeStream"
  | "etcdserverpb.KV/Compact"
  | "etcdserverpb.Lease/LeaseGrant"
  | "etcdserverpb.Lease/LeaseRevoke"
  | "etcdserverpb.Lease/LeaseKeepAlive"
  | "etcdserverpb.Lease/LeaseLeases"
  | "etcdserverpb.Lease/LeaseTimeToLive"
  | "etcdserverpb.Watch/Watch"
  | "etcdserverpb.Maintenance/Status"
  | "etcdserverpb.Maintenance/HashKV"
  | "etcdserverpb.Maintenance/Alarm"
  | "etcdserverpb.Cluster/MemberList"
  | "grpc.health.v1.Health/Check"
  | "grpc.health.v1.Health/List"
  | "grpc.health.v1.Health/Watch";

/** A well-formed call over gRPC. */
export interface GrpcOperation {
  readonly kind: "grpc";
  readonly rpc: RpcName;
  readonly request: JsonObject;
  readonly headers?: Readonly<Record<string, string>>;
  /** Put: the value is so many bytes "x", which are not worth storing. */
  readonly padValue?: number;
}

/** A call through the JSON gateway; `json` is the body, `request` what it means. */
export interface GatewayOperation {
  readonly kind: "gateway";
  readonly rpc: RpcName;
  readonly request: JsonObject;
  readonly json: string;
  readonly path: string;
  readonly padValue?: number;
}

/** Anything over HTTP/2, well-formed or not. */
export interface RawOperation {
  readonly kind: "raw";
  readonly path: string;
  /** Base64 of the whole body, frame prefixes included. */
  readonly body: string;
  readonly headers: Readonly<Record<string, string | null>>;
  /** Decode the reply as this RPC's response. */
  readonly rpc?: RpcName;
  /** What went wrong on purpose, for reports. */
  readonly note: string;
}

/** Anything over HTTP/1.1. */
export interface HttpOperation {
  readonly kind: "http";
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Latin-1 text, so that any bytes can be written. */
  readonly body: string;
  readonly note: string;
}

/** A watch on a stream of its own; its answer is all that it is told until it has all there is, or is canceled. */
export interface WatchOperation {
  readonly kind: "watch";
  readonly rpc: "etcdserverpb.Watch/Watch";
  /** A WatchCreateRequest. */
  readonly request: JsonObject;
}

/**
 * Watches on one stream that stays: its answer, by watch, is what the open ones have been told since the last such
 * operation. A restart ends them.
 */
export interface LiveWatchesOperation {
  readonly kind: "live";
  readonly rpc: "etcdserverpb.Watch/Watch";
  /** WatchCreateRequests: these take the place of the open ones; none: those go on. */
  readonly creates: readonly JsonObject[];
}

/** Both members are killed with -9 and started again on their data. */
export interface RestartOperation {
  readonly kind: "restart";
}

/** What is sent to a member. */
export type RequestOperation =
  | GrpcOperation
  | GatewayOperation
  | RawOperation
  | HttpOperation
  | WatchOperation
  | LiveWatchesOperation;

/** One step. */
export type Operation = RequestOperation | RestartOperation;

/** What one server answered, after what no test may compare was taken out. */
export interface Outcome {
  /** gRPC status or HTTP status. */
  readonly status: number;
  /** gRPC message, or "" over HTTP. */
  readonly message: string;
  readonly httpStatus: number;
  readonly headers: JsonObject;
  /** The decoded reply, or text that is not one. */
  readonly body: Json;
  /** gRPC: replies hold no unknown fields and are in Go's order. */
  readonly canonical: boolean;
}

/** An operation without the parts that only matter to the wire, for reports. */
export const describe = (operation: Operation): string => {
  const text = JSON.stringify(operation);
  return text.length > 1500 ? `${text.slice(0, 1500)}… (${text.length} characters)` : text;
};
