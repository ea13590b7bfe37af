/**
 * raftpb.ConfState as stored in `meta`, and what one simple ConfChange makes of it.
 * etcd's server proposes only simple changes; joint ones keep their fields here so that none is lost.
 */

/** Voters and learners; every list ascending. */
export interface ConfState {
  readonly voters: readonly bigint[];
  readonly learners: readonly bigint[];
  readonly votersOutgoing: readonly bigint[];
  readonly learnersNext: readonly bigint[];
  readonly autoLeave: boolean;
}

export const emptyConfState: ConfState = {
  voters: [],
  learners: [],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
};

/** raftpb.ConfChangeType. */
export const ConfChangeType = { AddNode: 0, RemoveNode: 1, UpdateNode: 2, AddLearnerNode: 3 } as const;
export type ConfChangeType = (typeof ConfChangeType)[keyof typeof ConfChangeType];

function without(ids: readonly bigint[], id: bigint): bigint[] {
  return ids.filter((other) => other !== id);
}

function including(ids: readonly bigint[], id: bigint): bigint[] {
  return [...without(ids, id), id].sort((a, b) => (a < b ? -1 : 1));
}

/** The ConfState after one simple change; `nodeId` 0n changes nothing, as in Raft. */
export function applyConfChange(state: ConfState, type: ConfChangeType, nodeId: bigint): ConfState {
  if (nodeId === 0n || type === ConfChangeType.UpdateNode) return state;
  const voters = without(state.voters, nodeId);
  const learners = without(state.learners, nodeId);
  switch (type) {
    case ConfChangeType.AddNode:
      return { ...state, voters: including(voters, nodeId), learners };
    case ConfChangeType.AddLearnerNode:
      return { ...state, voters, learners: including(learners, nodeId) };
    case ConfChangeType.RemoveNode:
      return { ...state, voters, learners };
  }
}
