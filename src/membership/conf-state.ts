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
