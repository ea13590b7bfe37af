/**
 * How a member sets Raft up: etcd's settings, and the state that its disk holds.
 */
import { ConfChangeTransition, none, RawNode, type ConfChangeType, type ConfChangeV2 } from "../raft/index.js";
import type { ApplyEvent } from "./apply-client.js";
import type { MemberState, MemberSurroundings, RaftLimits } from "./member-surroundings.js";

/** etcd's limits, save one: a round trip to apply takes milliseconds, and etcd's own would throttle what is under way. */
const raftLimits: RaftLimits = { maxSizePerMessage: 1 << 20, maxInflightMessages: 512, maxApplyingSize: 64 << 20 };

export function makeRawNode(
  { config, identity, logger, prng, limits = raftLimits }: MemberSurroundings,
  { log, ready }: MemberState,
): RawNode {
  return new RawNode({
    id: identity.memberId,
    electionTicks: Math.floor(config.electionTimeout / config.heartbeatInterval),
    heartbeatTicks: 1,
    preVote: config.preVote,
    checkQuorum: true,
    ...limits,
    maxUncommittedSize: Number.POSITIVE_INFINITY,
    asyncStorageWrites: true,
    prng,
    logger: logger.named("raft"),
    snapshot: () => null,
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

/** A change that apply has refused reaches Raft without a node, so that it does nothing. */
export function confChangeOf({
  accepted,
  nodeId,
  changeType,
}: Extract<ApplyEvent, { type: "confChange" }>): ConfChangeV2 {
  const type = changeType as ConfChangeType;
  return { transition: ConfChangeTransition.Auto, changes: [{ type, nodeId: accepted ? nodeId : none }] };
}
