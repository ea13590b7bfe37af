/** What main and the snapshot thread say to each other (structured clone over its port). */

/** `workerData` of `snapshot.worker.ts`. */
export interface SnapshotInit {
  /** The folder of the LMDB environment, which the apply thread has open. */
  readonly directory: string;
}

/** Main → thread. Jobs are numbered by main: the edge uses the number of a call anew as soon as it has ended. */
export type ToSnapshots =
  | { readonly type: "start"; readonly job: number; readonly callId: number }
  /** The client has taken nearly all that was sent. */
  | { readonly type: "writable"; readonly job: number }
  /** The client is gone. */
  | { readonly type: "cancel"; readonly job: number }
  | { readonly type: "stop" };

/** Thread → main. */
export type FromSnapshots =
  | { readonly type: "ended"; readonly job: number }
  | {
      readonly type: "log";
      readonly level: "info" | "warn";
      readonly message: string;
      readonly fields: Readonly<Record<string, unknown>>;
    };
