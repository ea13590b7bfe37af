/**
 * What a member's core is handed: the parts it runs on, and what it finds on its disk.
 */
import type { ApplyProgress, ReadsHeader } from "../apply/index.js";
import type { AlarmBoard, Logger, Prng } from "../base/index.js";
import type { Config } from "../config/index.js";
import type { EtcdError } from "../errors/index.js";
import type { Message } from "../raft/index.js";
import type { ApplyReady } from "./apply-client.js";
import type { MemberHashes } from "./corruption-checks.js";
import type { MemberIdentity, ReplayedLog } from "./bootstrap.js";
import type { Peers } from "./peers.js";
import type { Applier, LogWriter, Transport } from "./raft-loop.js";

/** Apply, as a member uses it. */
export interface MemberApply extends Applier {
  readonly progress: Readonly<ApplyProgress>;
  /** Hands call-batch records over, to be answered when the header says. */
  reads(header: ReadsHeader, records: Uint8Array, length: number): void;
  /** Takes what apply has told of leases up to now. */
  poll?(): void;
}

/** Where errors of calls go; apply answers the rest. */
export interface ErrorSink {
  error(callId: number, error: EtcdError): void;
  flush(): void;
}

/** How much Raft puts into one message, leaves unacknowledged with one follower, and hands to apply at a time. */
export interface RaftLimits {
  /** The log keeps what a follower needs next so long after it has got a snapshot. */
  readonly snapshotGraceMs?: number;
  readonly maxSizePerMessage: number;
  readonly maxInflightMessages: number;
  readonly maxApplyingSize: number;
}

/** The member cannot go on; the process ends with 1. */
export type FatalHandler = (message: string, fields: Readonly<Record<string, unknown>>) => void;

/** What a member runs on. */
export interface MemberSurroundings {
  readonly config: Config;
  readonly identity: MemberIdentity;
  readonly wal: LogWriter;
  readonly apply: MemberApply;
  readonly transport: Transport;
  readonly peers: Peers;
  /** For checks that members hold equal data; without it there are none. */
  readonly hashes?: MemberHashes;
  /** See `SnapshotSenderOptions`. */
  readonly sendSnapshot: (message: Message) => Promise<void>;
  readonly replies: ErrorSink;
  readonly logger: Logger;
  /** Alarms as apply has them, ahead of its word on the port. */
  readonly alarmBoard?: Pick<AlarmBoard, "read"> | undefined;
  readonly prng: Prng;
  /** etcd's when not given; a simulation's are small, so that they are reached. */
  readonly limits?: RaftLimits;
  /** Between two checkpoints of a lease; etcd's five minutes when not given. */
  readonly leaseCheckpointMs?: number | undefined;
  /** Milliseconds that never go back. */
  readonly nowMs: () => number;
  /** Wall clock at the start, in ms since 1970: the middle part of request IDs. */
  readonly startMs: number;
  /** Wall clock now, in ms since 1970. */
  readonly wallMs: () => number;
  readonly fatal: FatalHandler;
  /** More calls may be taken again, after `blocked` was true. */
  readonly unblocked: () => void;
  /** Leader, alarms or cluster version have changed. */
  readonly stateChanged: () => void;
  /** This member was removed from the cluster, and must stop. May be said more than once. */
  readonly removed: () => void;
}

/** What a member finds on its disk. */
export interface MemberState {
  readonly log: ReplayedLog;
  readonly ready: ApplyReady;
}

/** What a member counts, for metrics. */
export interface MemberCounters {
  readonly leaderChanges: number;
  readonly proposalsFailed: number;
  readonly proposalsPending: number;
  /** Late or stale answers to a ReadIndex. */
  readonly slowReads: number;
  readonly failedReads: number;
}
