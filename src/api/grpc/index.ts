/**
 * The RPCs that are served: which there are, how a call is checked, and who answers it.
 * Thread: main. Invariants: those of `dispatcher.ts` and `validate-kv.ts`.
 */
export { refusalOf } from "./admission.js";
export { Dispatcher } from "./dispatcher.js";
export { LeaderStreams, type LeaderStreamsOptions } from "./leader-streams.js";
export { LeaseService, type LeaseServiceOwner } from "./lease-service.js";
export { methodKind, servedMethods } from "./methods.js";
export { GrpcMetrics } from "./metrics.js";
export { KvValidator } from "./validate-kv.js";
