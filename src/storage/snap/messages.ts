/** What main and the snapshot thread say to each other (structured clone over its port). */

/** `workerData` of `snapshot.worker.ts`. */
export interface SnapshotInit {
  /** The folder of the LMDB environment, which the apply thread has open. */
  readonly directory: string;
}

/** What a file holds. */
export interface SnapshotState {
  readonly fileBytes: number;
  /** Of the last entry. */
  readonly index: number;
  readonly term: number;
  /** The configuration as etcd's JSON. */
  readonly confState: Uint8Array;
  /** Rows of `members`. */
  readonly members: readonly Uint8Array[];
  /** Keys of `members_removed`: IDs in hex. */
  readonly removedMembers: readonly Uint8Array[];
  /** null before there is one. */
  readonly clusterVersion: Uint8Array | null;
}

/** Main → thread. Jobs are numbered by main: the edge uses the number of a call anew as soon as it has ended. */
export type ToSnapshots =
  | { readonly type: "start"; readonly job: number; readonly callId: number }
  /** A file for another member, which main passes on. */
  | { readonly type: "file"; readonly job: number }
  /** The client has taken nearly all that was sent; or the other member the last piece. */
  | { readonly type: "writable"; readonly job: number }
  /** The client is gone. */
  | { readonly type: "cancel"; readonly job: number }
  | { readonly type: "stop" };

/** Thread → main. */
export type FromSnapshots =
  /** Null: nothing went wrong, or nobody is left to be told. */
  | { readonly type: "ended"; readonly job: number; readonly error: string | null }
  /** The file's length, and the state that it holds. */
  | { readonly type: "opened"; readonly job: number; readonly state: SnapshotState }
  /** The file's next bytes; the first come after "opened", further ones after "writable". */
  | { readonly type: "piece"; readonly job: number; readonly bytes: Uint8Array<ArrayBuffer> }
  | {
      readonly type: "log";
      readonly level: "info" | "warn";
      readonly message: string;
      readonly fields: Readonly<Record<string, unknown>>;
    };
