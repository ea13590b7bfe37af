/**
 * What a run consists of: its size, its faults and its clients' operations, each with its time. All of it is plain
 * data, so that a failing run can be shrunk piece by piece and kept; what is left to chance (delays, losses, which
 * sectors survive) follows from `seed`.
 */
import type { RaftLimits } from "../../src/server/index.js";
import type { FaultPoint } from "./log-door.js";
import type { Weather } from "./network.js";

/** A member by its number; `leader`: whoever leads when the fault begins. */
export const leader = -1;

export type Fault =
  /** The process ends; with `point`, when it comes there for the `count`th time from now. */
  | {
      readonly kind: "crash";
      readonly atMs: number;
      readonly member: number;
      readonly downMs: number;
      readonly point: FaultPoint | null;
      readonly count: number;
    }
  /** All members crash at once. */
  | { readonly kind: "blackout"; readonly atMs: number; readonly downMs: number }
  /** Ends in order and starts again. */
  | { readonly kind: "stop"; readonly atMs: number; readonly member: number; readonly downMs: number }
  /** A thread stands still. */
  | {
      readonly kind: "pause";
      readonly atMs: number;
      readonly member: number;
      readonly forMs: number;
      readonly threads: "main" | "apply" | "both";
    }
  /** Links cut, each in one direction: [from, to]. */
  | {
      readonly kind: "cut";
      readonly atMs: number;
      readonly forMs: number;
      readonly links: readonly (readonly [number, number])[];
    }
  | { readonly kind: "weather"; readonly atMs: number; readonly forMs: number; readonly weather: Weather }
  /** Writes and syncs take so long. */
  | {
      readonly kind: "slowDisk";
      readonly atMs: number;
      readonly member: number;
      readonly forMs: number;
      readonly syncMs: number;
      readonly flushMs: number;
    }
  /** Nothing is written or synced. */
  | { readonly kind: "hungDisk"; readonly atMs: number; readonly member: number; readonly forMs: number }
  /** The next sync of the log fails. */
  | { readonly kind: "failedSync"; readonly atMs: number; readonly member: number }
  | {
      readonly kind: "slowApply";
      readonly atMs: number;
      readonly member: number;
      readonly forMs: number;
      readonly turnMs: number;
    }
  /** A bit of the log turns over while the member is down; it must refuse to start. */
  | { readonly kind: "bitFlip"; readonly atMs: number; readonly member: number; readonly downMs: number }
  /** The same in the database, at some place in it: the member must refuse as soon as it reads there. */
  | {
      readonly kind: "dbFlip";
      readonly atMs: number;
      readonly member: number;
      readonly downMs: number;
      readonly place: number;
    }
  /** A write lands on another's place; the member must refuse to start once it has ended. */
  | { readonly kind: "misdirect"; readonly atMs: number; readonly member: number; readonly downMs: number }
  /** The monotonic clock jumps forward, the wall clock anywhere. */
  | {
      readonly kind: "clockJump";
      readonly atMs: number;
      readonly member: number;
      readonly forwardMs: number;
      readonly wallMs: number;
    }
  | { readonly kind: "clockRate"; readonly atMs: number; readonly member: number; readonly rate: number }
  /** The operator asks `member` for a change of the membership; `target`: of whom, by number. */
  | { readonly kind: "addMember"; readonly atMs: number; readonly member: number; readonly learner: boolean }
  | {
      readonly kind: "removeMember" | "updateMember" | "promoteMember" | "moveLeader";
      readonly atMs: number;
      readonly member: number;
      readonly target: number;
    }
  /** A removed member is started again. */
  | { readonly kind: "rejoin"; readonly atMs: number };

export const operationKinds = [
  "put",
  "get",
  "localGet",
  "delete",
  "swapValue",
  "swapRevision",
  "create",
  "putTwo",
  "getTwo",
  "getOld",
] as const;
export type OperationKind = (typeof operationKinds)[number];

/** Something that a client does, after what it does before. */
export interface Operation {
  readonly atMs: number;
  readonly client: number;
  readonly member: number;
  readonly kind: OperationKind;
  readonly keys: readonly string[];
  /** Differs from all others of the run. */
  readonly value: string;
  readonly timeoutMs: number;
  /** So long is the value; as long as it is when this is not given. */
  readonly bytes?: number;
  /** getOld: so many revisions before the newest that the clients know of; 0 when it is not given. */
  readonly back?: number;
  /** The call is to be refused at once where no leader is known (`hasleader`). */
  readonly needsLeader?: boolean;
}

/** A client's lease. */
export interface LeaseLife {
  readonly atMs: number;
  readonly member: number;
  /** Seconds. */
  readonly ttl: number;
  /** The client chooses the ID. */
  readonly chooses: boolean;
  readonly keys: readonly string[];
  readonly value: string;
  readonly keepAliveMs: number;
  /** 0: it is not kept alive. */
  readonly keepAliveForMs: number;
  /** null: it ends by itself. */
  readonly revokeAfterMs: number | null;
  /** So long after the grant its first key is put once more, without the lease; absent: none is. */
  readonly detachAfterMs?: number;
}

/** A client's watch. */
export interface WatchLife {
  readonly atMs: number;
  readonly member: number;
  readonly key: string;
  /** As in WatchCreateRequest: "" is the key alone, "\0" all from it on. */
  readonly rangeEnd: string;
  /** So far from the newest revision that the clients know of; null: from now. */
  readonly start: number | null;
  readonly prevKv: boolean;
  readonly noPut: boolean;
  readonly noDelete: boolean;
  readonly progressNotify: boolean;
  /** 0: the member chooses. */
  readonly watchId: number;
  /** How long the client takes over each message. */
  readonly slowMs: number;
  readonly cancelAfterMs: number | null;
  readonly progressEveryMs: number | null;
  /** The stream is to end where no leader is known (`hasleader`). */
  readonly needsLeader?: boolean;
}

/** A client compacts to `back` revisions before the newest that the clients know of. */
export interface CompactionCall {
  readonly atMs: number;
  readonly member: number;
  readonly back: number;
  readonly physical: boolean;
}

export interface Scenario {
  readonly seed: number;
  readonly members: number;
  readonly heartbeatMs: number;
  readonly electionMs: number;
  readonly preVote: boolean;
  /** --strict-reconfig-check; true when it is not given. */
  readonly strict?: boolean;
  readonly snapshotCount: number;
  readonly catchupEntries: number;
  readonly limits: RaftLimits;
  /** Faults happen until then; afterwards everything heals. */
  readonly durationMs: number;
  readonly weather: Weather;
  readonly faults: readonly Fault[];
  readonly operations: readonly Operation[];
  readonly leases?: readonly LeaseLife[];
  readonly watches?: readonly WatchLife[];
  readonly compactions?: readonly CompactionCall[];
  /** --auto-compaction-mode and --auto-compaction-retention. */
  readonly autoCompaction?: readonly ["periodic" | "revision", string];
  /** --watch-progress-notify-interval, in ms. */
  readonly watchProgressMs?: number;
  /** Leaders write checkpoints of leases, so long after one another; absent: none. */
  readonly leaseCheckpointMs?: number;
}
