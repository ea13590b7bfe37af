/**
 * What a RawNode is made from: limits and switches, and the state that the disk holds.
 */
import type { EntryBatch, Logger, Prng } from "../base/index.js";
import { localApplyThread, localAppendThread } from "./message.js";
import { none, type ConfState, type HardState, type Snapshot } from "./types.js";

/** What a member finds on its disk. A new member has none of it. */
export interface InitialState {
  readonly hardState: HardState | null;
  /** The configuration after `applied`. */
  readonly confState: ConfState;
  /** The entry before the first of `entries`: where the log was compacted. 0 for a whole log. */
  readonly prevIndex: number;
  readonly prevTerm: number;
  /** Consecutive, from `prevIndex + 1` on. All of them are durable. */
  readonly entries: readonly EntryBatch[];
  /** What the state machine holds. Such entries are committed even where `hardState` does not say so yet. */
  readonly applied: number;
}

export interface RawNodeConfig {
  readonly id: bigint;
  /** A follower that hears nothing for this many ticks, and up to as many more by chance, campaigns (§5.2). */
  readonly electionTicks: number;
  /** A leader sends heartbeats once in this many ticks. */
  readonly heartbeatTicks: number;
  readonly preVote: boolean;
  readonly checkQuorum: boolean;
  /** Encoded bytes of entries in one append; a larger single entry goes alone. */
  readonly maxSizePerMessage: number;
  /** Appends to one follower that are not acknowledged. */
  readonly maxInflightMessages: number;
  /** As `maxInflightMessages`, in bytes of data. Infinity when not given. */
  readonly maxInflightBytes?: number;
  /** Bytes of data in the uncommitted part of a leader's log; proposals beyond are dropped. */
  readonly maxUncommittedSize: number;
  /** Encoded bytes of entries that are being applied. `maxSizePerMessage` when not given, as in etcd. */
  readonly maxApplyingSize?: number;
  /** The production mode: work for storage comes as messages, whose responses are stepped back when it is done. */
  readonly asyncStorageWrites: boolean;
  /** Followers drop proposals instead of passing them on. */
  readonly disableProposalForwarding?: boolean;
  /** A leader takes configuration changes although one is not applied yet. Only for hosts that check them. */
  readonly disableConfChangeValidation?: boolean;
  /**
   * "safe", when not given: a read waits until a quorum has said that it still follows (thesis §6.4). "leaseBased": a
   * leader counts on its quorum for an election timeout, which holds only where all clocks run alike (§6.4.1); needs
   * `checkQuorum`. etcd's server reads safely, and so does this one.
   */
  readonly readOnlyOption?: "safe" | "leaseBased";
  /** A leader that is removed or made a learner gives leadership up at once. etcd leaves it off. */
  readonly stepDownOnRemoval?: boolean;
  readonly prng: Prng;
  readonly initialState: InitialState;
  /** A snapshot for a follower that needs compacted entries; null when there is none now. */
  readonly snapshot: () => Snapshot | null;
  readonly logger?: Logger;
}

/** A configuration that cannot work. */
export class RaftConfigError extends Error {
  override readonly name = "RaftConfigError";
}

/** State read from disk that cannot be: entries or durable promises are missing. */
export class RaftStateError extends Error {
  override readonly name = "RaftStateError";
}

/** Throws RaftConfigError unless `config` can work. */
export function checkConfig(config: RawNodeConfig): void {
  const require = (holds: boolean, fault: string): void => {
    if (!holds) throw new RaftConfigError(fault);
  };
  require(config.id !== none, "cannot use none as id");
  require(config.id !== localAppendThread && config.id !== localApplyThread, "cannot use local target as id");
  require(config.heartbeatTicks > 0, "heartbeat tick must be greater than 0");
  require(config.electionTicks > config.heartbeatTicks, "election tick must be greater than heartbeat tick");
  require(config.maxInflightMessages > 0, "max inflight messages must be greater than 0");
  require(config.maxSizePerMessage >= 0, "max size per message must not be negative");
  require(config.maxUncommittedSize > 0, "max uncommitted size must be greater than 0");
  require((config.maxInflightBytes ?? Number.POSITIVE_INFINITY) >=
    config.maxSizePerMessage, "max inflight bytes must be >= max message size");
  require(config.checkQuorum ||
    config.readOnlyOption !== "leaseBased", "CheckQuorum must be enabled when ReadOnlyOption is ReadOnlyLeaseBased");
  require((config.maxApplyingSize ?? 1) > 0, "max applying size must be greater than 0");
}
