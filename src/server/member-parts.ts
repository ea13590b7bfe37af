/**
 * The parts of a member's core that are made of its surroundings and of what the core lets them do.
 */
import { autoCompactionRule, hasFeature } from "../config/index.js";
import type { EtcdError } from "../errors/index.js";
import { AlarmAction, AlarmType, encodeAlarmRequest } from "../proto/index.js";
import type { RawNode } from "../raft/index.js";
import type { ApplyReady } from "./apply-client.js";
import { AutoCompaction } from "./auto-compaction.js";
import { ClusterSide } from "./cluster-side.js";
import { CorruptionChecks } from "./corruption-checks.js";
import { LeaseKeeper } from "./lease-keeper.js";
import type { MemberSurroundings } from "./member-surroundings.js";
import { Publisher } from "./publisher.js";
import type { ConfirmationDone } from "./read-index.js";
import type { RequestIdGenerator } from "./request-id.js";

/** Between two checkpoints of a lease. */
const checkpointMs = 5 * 60 * 1000;

/** What a part may do in the core. */
export interface CoreDoings {
  readonly ids: RequestIdGenerator;
  /** etcd's limit of a request. */
  readonly timeoutMs: number;
  readonly node: () => RawNode;
  readonly isLeader: () => boolean;
  readonly commitIndex: () => number;
  /** Gathers a proposal of the member's own. */
  readonly gather: (field: number, message: Uint8Array) => void;
  /** As a client's request, which may be refused. */
  readonly request: (field: number, message: Uint8Array) => EtcdError | null;
  /** Everything gathered goes on its way. */
  readonly flush: () => void;
  /** Adds a call-batch record to the reads that wait for a ReadIndex. */
  readonly readLinearizable: (record: Uint8Array, length: number) => void;
  /** Until a quorum has answered a ReadIndex that is asked for after this. */
  readonly confirmLeadership: (done: ConfirmationDone) => void;
  /** Hands call-batch records to apply, which takes them once it has applied `index`. */
  readonly handOver: (index: number, records: Uint8Array, length: number) => void;
}

export function makeCluster(surroundings: MemberSurroundings, doings: CoreDoings, ready: ApplyReady): ClusterSide {
  const { config, identity, logger, peers, nowMs, wallMs, removed } = surroundings;
  const { ids, timeoutMs, node, flush, handOver, readLinearizable } = doings;
  const propose = (field: number, message: Uint8Array): void => proposeOwn(doings, field, message);
  const reads = { readLinearizable, handOver };
  const own = { ids, timeoutMs, node, flush, propose, reads };
  return new ClusterSide({ config, identity, logger, peers, nowMs, wallMs, removed, ...own }, ready);
}

export function makeLeases(
  { config, apply, nowMs, peers, replies, leaseCheckpointMs }: MemberSurroundings,
  { node, isLeader, commitIndex, gather, flush, readLinearizable, confirmLeadership, handOver }: CoreDoings,
  { leaderCalls, barriers }: ClusterSide,
  restored: Uint8Array,
): LeaseKeeper {
  const leases = new LeaseKeeper({
    nowMs,
    heartbeatMs: config.heartbeatInterval,
    electionMs: config.electionTimeout,
    checkpointIntervalMs: hasFeature(config, "LeaseCheckpoint") ? (leaseCheckpointMs ?? checkpointMs) : Infinity,
    leaderCalls,
    peers,
    knowAll: (done) => barriers.linearizable(done),
    confirmLeadership,
    readLinearizable,
    isLeader,
    commitIndex,
    lastIndex: () => node().lastIndex,
    pollApply: () => apply.poll?.(),
    propose: gather,
    flush,
    fail: (callId, error) => replies.error(callId, error),
    handOver,
  });
  leases.restore(restored);
  return leases;
}

export function makePublisher(
  { config, identity, logger }: MemberSurroundings,
  doings: CoreDoings,
  clusterVersion: string | null,
): Publisher {
  const propose = (field: number, message: Uint8Array): void => proposeOwn(doings, field, message);
  return new Publisher({ config, ...identity, logger, timeoutMs: doings.timeoutMs, propose }, clusterVersion);
}

/** null: the options ask for none. */
export function makeAutoCompaction(
  { config, logger }: MemberSurroundings,
  { timeoutMs, request, flush }: CoreDoings,
): AutoCompaction | null {
  const rule = autoCompactionRule(config);
  if (rule === null) return null;
  const compactionField = 7;
  const propose = (message: Uint8Array): EtcdError | null => {
    const refusal = request(compactionField, message);
    flush();
    return refusal;
  };
  return new AutoCompaction({ rule, timeoutMs, logger, propose });
}

/** null: there is nothing to compare. */
export function makeCorruptionChecks(
  { config, hashes, identity, logger, peers }: MemberSurroundings,
  doings: CoreDoings,
  { barriers, view }: ClusterSide,
): CorruptionChecks | null {
  if (hashes === undefined) return null;
  const alarmField = 10;
  const { timeoutMs, isLeader } = doings;
  return new CorruptionChecks({
    localId: identity.memberId,
    view,
    peers,
    barriers,
    hashes,
    periodicMs: config.corruptCheckTime,
    compactionsMs: hasFeature(config, "CompactHashCheck") ? config.compactHashCheckTime : 0,
    timeoutMs,
    isLeader,
    raise: (memberID) => {
      const alarm = { action: AlarmAction.ACTIVATE, memberID, alarm: AlarmType.CORRUPT };
      proposeOwn(doings, alarmField, encodeAlarmRequest(alarm));
    },
    logger,
  });
}

function proposeOwn({ gather, flush }: CoreDoings, field: number, message: Uint8Array): void {
  gather(field, message);
  flush();
}
