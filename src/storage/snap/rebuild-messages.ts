/** What the apply thread and the rebuild thread say to each other (structured clone over its port). */

import type { SnapshotPosition } from "./snapshot-file.js";

/** `workerData` of `rebuild.worker.ts`. */
export interface RebuildInit {
  /** The folder of the LMDB environment in use, which the apply thread has open. */
  readonly directory: string;
  readonly quotaBytes: number;
  /** Bytes in use in it. */
  readonly bytesInUse: number;
}

/** Apply → thread; each but "cancel" is answered. See `Rebuild`. */
export type ToRebuild =
  | { readonly type: "copy" | "finish" | "replace" | "end" | "cancel" }
  | { readonly type: "build"; readonly file: string }
  /** Reads all of a snapshot's file, and fails when it cannot be installed. */
  | { readonly type: "check"; readonly file: string; readonly position: SnapshotPosition };

/** Thread → apply: the answer to the message before. */
export type FromRebuild =
  | { readonly type: "done" }
  | { readonly type: "failed"; readonly message: string; readonly isFatal: boolean };
