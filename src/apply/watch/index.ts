/**
 * Watches: streams, watchers, what they are told as changes are made, and how those behind are read up from history.
 * Thread: apply. Invariants: `watches.ts`; bounds on slow readers: `watch-responses.ts`.
 */
export { Watches } from "./watches.js";
export type { WatchesOptions } from "./watches-options.js";
