/**
 * HTTP/1.1 for clients: JSON gateway, health checks, /version and /metrics, by uWebSockets.js; and what locks and
 * elections wait for, of whatever client.
 * Thread: a worker of its own (http.worker.ts), so that parsing a large body holds no heartbeat; `HttpThread` is its
 * handle on main. Calls travel through the addon in the same batches as the edge's, with call IDs of bit 31.
 * Invariants: the worker holds no state of the member but what main tells it; a dead worker ends the process.
 */
export type { GatewayCounts } from "./gateway-counts.js";
export type { ConcurrencyCall, ConcurrencyMessage, HttpWorkerData } from "./http-messages.js";
export { HttpThread, type HttpThreadOptions } from "./http-thread.js";
export { decodeJson } from "./json-decode.js";
export { encodeJson } from "./json-encode.js";
export { type ServerState, unknownState } from "./server-state.js";
export { loadUws, UwsMissingError } from "./uws.js";
