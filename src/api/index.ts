/**
 * What clients reach: the gRPC edge with the dispatch of its calls, and HTTP beside it.
 * Thread: main; the edge and the HTTP worker have threads of their own.
 * Invariants: listeners are open before the member starts, so that a wrong address costs nothing;
 * no call is taken before the member serves.
 */
export { startApi, type Api } from "./api.js";
export { DescriptorLimitError } from "./descriptors.js";
