/**
 * What main and the HTTP worker tell each other by MessagePort: rare things, and calls of locks and elections. All
 * other calls, and all replies, go by the addon.
 */
import type { LogFields } from "../../base/index.js";
import type { GatewayCounts } from "./gateway-counts.js";
import type { ServerState } from "./server-state.js";

/** What a worker is started with. */
export interface HttpWorkerData {
  /** The Unix socket that the edge gives clients' HTTP/1.1 connections to. */
  readonly socketPath: string;
  /** That for connections of --listen-metrics-urls: metrics and health checks alone. Undefined: there are none. */
  readonly metricsSocketPath: string | undefined;
  readonly mailboxHandle: number;
  /** Paths of the RPCs that main serves, by their method index. */
  readonly served: readonly string[];
  readonly enableGateway: boolean;
  readonly corsOrigins: readonly string[];
  readonly hostWhitelist: readonly string[];
  readonly serverVersion: string;
  /** Whether lines of level debug are wanted. */
  readonly logsDebug: boolean;
  /** Unary calls of the gateway that take longer are logged; milliseconds. */
  readonly slowAfterMs: number;
  /** The edge's limit of a message. */
  readonly messageBytesMax: number;
  /** etcd's server-side limit of a request: 5 s + 2 × election timeout. */
  readonly requestTimeoutMs: number;
  readonly state: ServerState;
  /** Memory of the `AlarmBoard` that apply writes. */
  readonly alarmBoard: SharedArrayBuffer;
}

/** A call of Lock or Election that the HTTP thread is to serve; its message has been validated. */
export interface ConcurrencyCall {
  readonly id: number;
  /** Method index. */
  readonly method: number;
  /** CallFlag.Gateway, or nothing. */
  readonly flags: number;
  readonly connectionId: number;
  readonly token: Uint8Array | undefined;
  readonly message: Uint8Array;
}

/** What main tells of such calls. */
export type ConcurrencyMessage =
  | { readonly kind: "call"; readonly call: ConcurrencyCall }
  | { readonly kind: "cancelCall"; readonly id: number }
  | { readonly kind: "writableCall"; readonly id: number };

export type ToHttpWorker =
  | ConcurrencyMessage
  | { readonly kind: "state"; readonly state: ServerState }
  /** Answers "metrics" and "vars". */
  | { readonly kind: "texts"; readonly id: number; readonly texts: readonly string[] }
  | { readonly kind: "close" };

export type FromHttpWorker =
  | { readonly kind: "listening" }
  /** A call that was handed over has been answered, or its client is gone. */
  | { readonly kind: "callEnded"; readonly id: number }
  /** Asks for the other threads' metrics, and tells of this one's calls. */
  | { readonly kind: "metrics"; readonly id: number; readonly counts: GatewayCounts }
  /** Asks for what /debug/vars tells. */
  | { readonly kind: "vars"; readonly id: number }
  /** The thread cannot go on; it ends after this. */
  | { readonly kind: "failed"; readonly message: string; readonly stack: string | undefined }
  | {
      readonly kind: "log";
      readonly level: "debug" | "info" | "warn" | "error";
      readonly message: string;
      readonly fields: LogFields | undefined;
    };
