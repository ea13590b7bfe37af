/** What the dispatcher is given. */
import type { ConcurrencyMessage } from "../http/index.js";
import type { Logger } from "../../base/index.js";
import type { RequestLog } from "../request-stats.js";

/** Where batches of calls come from: the edge. */
export interface CallSource {
  /** Copies whole records into `into` and returns their bytes; 0: nothing is left; −n: the first has n, more than `into`. */
  drain(into: Uint8Array): number;
}

export interface DispatcherOptions {
  readonly requestLog: RequestLog;
  /** The gate StopGRPCServiceOnDefrag. */
  readonly stopsOnDefragment: boolean;
  readonly logger: Logger;
  /** Takes what the HTTP thread is to serve to it. */
  readonly handOver: (message: ConcurrencyMessage, transfer?: ArrayBuffer) => void;
}
