/**
 * What main and the apply worker say to each other rarely: the worker's init data,
 * and messages over its MessagePort (structured clone; bigints travel as they are).
 * What is frequent goes through the mailboxes (`messages.ts`).
 */
import type { ConfState, DowngradeInfo, Member } from "../membership/index.js";
import type { KeyValueHash } from "../storage/mvcc/index.js";

/** `workerData` of `apply.worker.ts`. */
export interface ApplyInit {
  /** The folder of the LMDB environment. */
  backendPath: string;
  memberId: bigint;
  clusterId: bigint;
  /** Paths of the edge's method table, by method index: "/etcdserverpb.KV/Range", ... */
  methods: readonly string[];
  /** Handle of the mailbox main → apply (ENTRIES, READS). */
  toApply: number;
  /** Handle of the mailbox apply → main (PROGRESS). */
  toMain: number;
  /** quota-backend-bytes as given: 0 = default, negative = off. */
  quotaBackendBytes: number;
  backendBatchLimit: number;
  backendBatchIntervalMs: number;
  /** Where snapshots of other members are. */
  snapshotDir: string;
  /** The log's newest mark: if it lies above the consistent index, its snapshot is still to be installed. */
  mark?: InstallMark;
  /** bootstrap-defrag-threshold-megabytes, in bytes; 0 or nothing: never at start. */
  bootstrapDefragBytes?: number;
  maxLearners: number;
  /** The shortest TTL of a lease, in seconds; without it etcd's at default settings. */
  leaseTtlMin?: number;
  /** feature gate LeaseCheckpointPersist */
  leaseCheckpointPersist?: boolean;
  /** warning-apply-duration: log applies that take longer. */
  warningApplyDurationMs: number;
  /** compaction-batch-limit, compaction-sleep-interval; 0 or nothing: etcd's defaults. */
  compactionBatchLimit?: number;
  compactionSleepMs?: number;
  /** Memory of the `AlarmBoard` that the member's health is read from. */
  alarmBoard?: SharedArrayBuffer | undefined;
  /** max-request-bytes: about the size of a RangeStream's messages. */
  maxRequestBytes?: number;
  /** watch-progress-notify-interval; 10 minutes when it is not given. */
  watchProgressNotifyIntervalMs?: number;
  /** What, added to main's clock, gives milliseconds since 1970; without it both threads have one clock. */
  mainTimeOrigin?: number;
  /** Level of the worker's own log lines, which travel to main as "log". */
  logLevel: string;
}

/** A snapshot mark of the log: the state at the entry `index`, of `term`. */
export interface InstallMark {
  readonly index: number;
  readonly term: number;
}

/** An alarm as stored: AlarmType 1 NOSPACE, 2 CORRUPT. */
export interface ActiveAlarm {
  readonly memberId: bigint;
  readonly alarm: number;
}

/** Why a ConfChange entry was refused: one of the errors/ classes by its text and code. */
export interface Refusal {
  readonly code: number;
  readonly message: string;
}

/** Worker → main. */
export type FromApply =
  /** The defragmentation that a call has asked for begins. */
  | { readonly type: "defragmenting" }
  /** It has ended, or failed with such a text: main answers the call, once everybody there knows. */
  | { readonly type: "defragmented"; readonly callId: number; readonly failure: string | null }
  | {
      /** The backend is open; main may start Raft from here. Sent once. */
      readonly type: "ready";
      /** Entries up to this index are in the backend. 0 in a new one. */
      readonly consistentIndex: number;
      /** Term of the entry at consistentIndex. */
      readonly term: number;
      readonly revision: number;
      readonly compactRevision: number;
      /** null in a new backend. */
      readonly confState: ConfState | null;
      readonly members: readonly Member[];
      readonly removedMembers: readonly bigint[];
      /** "3.7.0"; null before one is set. */
      readonly clusterVersion: string | null;
      readonly downgrade: DowngradeInfo;
      readonly alarms: readonly ActiveAlarm[];
      /** All leases, as a LEASES message of any length (`lease-events.ts`). */
      readonly leases: Uint8Array;
    }
  | {
      /**
       * A ConfChange entry has been applied. Raft must now apply it: with `nodeId` 0 when refused.
       * Sent after the entries before it have been applied, in log order.
       */
      readonly type: "confChange";
      readonly index: number;
      readonly accepted: boolean;
      /** The entry's own ID (request ID); 0n in bootstrap entries. */
      readonly id: bigint;
      /** raftpb.ConfChangeType: 0 AddNode, 1 RemoveNode, 2 UpdateNode, 3 AddLearnerNode. */
      readonly changeType: number;
      /** 0n when refused. */
      readonly nodeId: bigint;
      readonly refusal: Refusal | null;
      /** After the change, as stored in the backend. */
      readonly confState: ConfState;
      readonly members: readonly Member[];
      /** This very member was removed: it must stop. */
      readonly removedSelf: boolean;
    }
  | { readonly type: "clusterVersion"; readonly index: number; readonly version: string }
  | { readonly type: "downgrade"; readonly index: number; readonly downgrade: DowngradeInfo }
  /** A barrier that main has sent among the reads. */
  | { readonly type: "barrier"; readonly token: number }
  | { readonly type: "members"; readonly index: number; readonly members: readonly Member[] }
  | { readonly type: "alarms"; readonly index: number; readonly alarms: readonly ActiveAlarm[] }
  /** The state is that of a snapshot, at the entry `index`; leases are told of as if they had changed one by one. */
  | {
      readonly type: "installed";
      readonly index: number;
      readonly members: readonly Member[];
      readonly removedMembers: readonly bigint[];
      readonly clusterVersion: string | null;
      readonly downgrade: DowngradeInfo;
      readonly alarms: readonly ActiveAlarm[];
    }
  /**
   * An applied request has found the quota exceeded: main should propose Alarm ACTIVATE NOSPACE for itself, and then
   * answer the call (0: nobody waits).
   */
  | { readonly type: "noSpace"; readonly callId: number }
  | {
      readonly type: "log";
      readonly level: "debug" | "info" | "warn" | "error";
      readonly logger: string;
      readonly message: string;
      readonly fields: Readonly<Record<string, unknown>>;
    }
  | { readonly type: "metrics"; readonly id: number; readonly text: string }
  /** The answer to "hashNow", with one, or to "keptHashes". */
  | {
      readonly type: "hashes";
      readonly id: number;
      readonly currentRevision: number;
      readonly hashes: readonly KeyValueHash[];
    }
  /** The answer to "flush": what had been applied when it came is in the file. */
  | { readonly type: "flushed"; readonly id: number }
  /**
   * The member cannot go on: log it and exit 1. `kill`: the disk has failed, so end by SIGKILL, for LMDB's exit
   * handler would flush once more and confirm what is lost.
   */
  | { readonly type: "fatal"; readonly message: string; readonly stack: string; readonly kill: boolean }
  /** Everything applied is flushed and the backend is closed; the thread ends by itself. */
  | { readonly type: "stopped"; readonly flushedIndex: number };

/** Main → worker. */
export type ToApply =
  | { readonly type: "stop" }
  /** Ask for this thread's metrics in text form; answered by "metrics" with the same ID. */
  | { readonly type: "metrics"; readonly id: number }
  /** Ask for HashKV up to the present revision, or for the hashes that compactions have left; "hashes" answers. */
  | { readonly type: "hashNow" | "keptHashes"; readonly id: number }
  /** Commit what has been applied; answered by "flushed" with the same ID. */
  | { readonly type: "flush"; readonly id: number };
