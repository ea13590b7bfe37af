/**
 * How a member sets Raft up: etcd's settings, and the state that its disk holds.
 */
import { assert } from "../base/index.js";
import {
  ConfChangeTransition,
  none,
  RawNode,
  type ConfChangeType,
  type ConfChangeV2,
  type ConfState,
  type Snapshot,
} from "../raft/index.js";
import type { ApplyEvent } from "./apply-client.js";
import { LogTruncation } from "./log-truncation.js";
import type { MemberState, MemberSurroundings, RaftLimits } from "./member-surroundings.js";
import { RaftLoop, type RaftLoopOptions } from "./raft-loop.js";
import { SnapshotSender } from "./snapshot-sender.js";

/** etcd's limits, save one: a round trip to apply takes milliseconds, and etcd's own would throttle what is under way. */
const raftLimits: RaftLimits = { maxSizePerMessage: 1 << 20, maxInflightMessages: 512, maxApplyingSize: 64 << 20 };

/** The log in memory, in bytes, at which it is cut early. */
const logBytesMax = 256 << 20;
/**
 * Bytes of entries that a leader has not applied; proposals beyond are dropped. etcd has no such limit: what other
 * members pass on to a leader whose apply stands still would fill its memory.
 */
const maxUncommittedSize = 256 << 20;

/** The Ready loop with all that it needs. */
export function makeRaftLoop(
  surroundings: MemberSurroundings,
  state: MemberState,
  parts: Pick<RaftLoopOptions, "waiters" | "ids" | "hooks">,
): RaftLoop {
  const { config, identity, logger, apply, sendSnapshot, nowMs, limits } = surroundings;
  const { log, ready } = state;
  const truncation = new LogTruncation(
    { snapshotCount: config.snapshotCount, catchupEntries: config.snapshotCatchupEntries, logBytesMax },
    log.mark,
  );
  const node: RawNode = makeRawNode(surroundings, state, () =>
    truncation.snapshotAt(Math.min(apply.progress.flushedIndex, node.appliedIndex), node),
  );
  const report = (id: bigint, delivered: boolean): void => {
    node.reportSnapshot(id, delivered);
    loop.pump();
  };
  const snapshots = new SnapshotSender({ sendSnapshot, report, graceMs: limits?.snapshotGraceMs, nowMs, logger });
  const hardState = log.hardState ?? { term: 0, vote: none, commit: 0 };
  const loop: RaftLoop = new RaftLoop(
    { ...surroundings, ...parts, id: identity.memberId, node, truncation, snapshots, logger: logger.named("raft") },
    { ...hardState, commit: Math.max(hardState.commit, ready.consistentIndex) },
  );
  truncation.appended(log.batches.reduce((sum, { bytes }) => sum + bytes.length, 0));
  return loop;
}

function makeRawNode(
  { config, identity, logger, prng, limits = raftLimits }: MemberSurroundings,
  { log, ready }: MemberState,
  snapshot: () => Snapshot | null,
): RawNode {
  return new RawNode({
    id: identity.memberId,
    electionTicks: Math.floor(config.electionTimeout / config.heartbeatInterval),
    heartbeatTicks: 1,
    preVote: config.preVote,
    checkQuorum: true,
    ...limits,
    maxUncommittedSize,
    asyncStorageWrites: true,
    prng,
    logger: logger.named("raft"),
    snapshot,
    initialState: {
      hardState: log.hardState,
      confState: ready.confState ?? log.mark.confState,
      prevIndex: log.mark.index,
      prevTerm: log.mark.term,
      entries: log.batches,
      applied: ready.consistentIndex,
    },
  });
}

/** Puts in force what apply has decided about a change. Raft's configuration and the stored one are the same then. */
export function applyConfChange(node: RawNode, event: Extract<ApplyEvent, { type: "confChange" }>): ConfState {
  // Raft may have taken a snapshot meanwhile, whose configuration is newer.
  const isOld = event.index <= node.confIndex;
  const confState = node.applyConfChange(confChangeOf(event), event.index);
  assert(isOld || sameConfState(confState, event.confState), "Raft's configuration is not the stored one");
  return confState;
}

function sameConfState(a: ConfState, b: ConfState): boolean {
  const text = ({ voters, learners, votersOutgoing, learnersNext }: ConfState): string =>
    [voters, learners, votersOutgoing, learnersNext].map((ids) => ids.join()).join(";");
  return text(a) === text(b);
}

/** A change that apply has refused reaches Raft without a node, so that it does nothing. */
function confChangeOf({ accepted, nodeId, changeType }: Extract<ApplyEvent, { type: "confChange" }>): ConfChangeV2 {
  const type = changeType as ConfChangeType;
  return { transition: ConfChangeTransition.Auto, changes: [{ type, nodeId: accepted ? nodeId : none }] };
}
