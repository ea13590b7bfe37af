/** What `Watches` is given. */
import type { Prng } from "../../base/index.js";
import type { Registry } from "../../metrics/index.js";
import type { Backend } from "../../storage/backend/index.js";
import type { MvccStore } from "../../storage/mvcc/index.js";
import type { Clock } from "../clock.js";
import type { HeaderWriter } from "../response.js";
import type { PreviousReads } from "./event-batch.js";
import type { LongLimits } from "./long-response.js";

export interface WatchesOptions {
  readonly store: MvccStore;
  readonly backend: Backend;
  /** This object's alone: its term is set by `raftTerm`. */
  readonly header: HeaderWriter;
  readonly send: (bytes: Uint8Array, length: number) => void;
  /** A turn is wanted. */
  readonly wake: () => void;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly registry: Registry;
  readonly counts: PreviousReads;
  /** --max-request-bytes and gRPC's overhead. */
  readonly fragmentBytesMax: number;
  readonly progressIntervalMs: number;
  readonly after: (ms: number, run: () => void) => void;
  /** When responses are made in slices, and how much of them at a time; for tests. */
  readonly longLimits?: LongLimits | undefined;
}
