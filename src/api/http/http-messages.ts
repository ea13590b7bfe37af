/**
 * What main and the HTTP worker tell each other by MessagePort: rare things. Calls and replies go by the addon.
 */
import type { LogFields } from "../../base/index.js";
import type { ServerState } from "./server-state.js";

/** What a worker is started with. */
export interface HttpWorkerData {
  /** Where the edge splices HTTP/1.1 connections to; absent when clients reach this thread by its own ports alone. */
  readonly socketPath: string | undefined;
  /** Ports of --listen-client-http-urls and --listen-metrics-urls. */
  readonly listeners: readonly { readonly host: string; readonly port: number }[];
  /** The ports may be shared with other processes. */
  readonly reusePort: boolean;
  readonly mailboxHandle: number;
  /** Paths of the RPCs that main serves, by their method index. */
  readonly served: readonly string[];
  readonly enableGateway: boolean;
  readonly corsOrigins: readonly string[];
  readonly hostWhitelist: readonly string[];
  readonly serverVersion: string;
  /** The edge's limit of a message. */
  readonly messageBytesMax: number;
  /** etcd's server-side limit of a request: 5 s + 2 × election timeout. */
  readonly requestTimeoutMs: number;
  readonly state: ServerState;
}

export type ToHttpWorker =
  | { readonly kind: "state"; readonly state: ServerState }
  | { readonly kind: "metrics"; readonly id: number; readonly texts: readonly string[] }
  | { readonly kind: "close" };

export type FromHttpWorker =
  | { readonly kind: "listening"; readonly ports: readonly number[] }
  | { readonly kind: "metrics"; readonly id: number }
  /** The thread cannot go on; it ends after this. */
  | { readonly kind: "failed"; readonly message: string; readonly stack: string | undefined }
  | {
      readonly kind: "log";
      readonly level: "debug" | "info" | "warn" | "error";
      readonly message: string;
      readonly fields: LogFields | undefined;
    };
