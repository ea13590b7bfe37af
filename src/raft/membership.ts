/**
 * Puts configurations in force (paper §6, thesis §4). A change acts when it is applied, not when it is appended.
 */
import { changeConf, type ChangedConf, type ConfChangeV2 } from "./conf-change.js";
import type { Raft } from "./raft.js";
import { broadcastAppend, maybeSendAppend } from "./replication.js";
import { none, Role, type ConfState } from "./types.js";

/** Applies a committed change. Throws ConfChangeError, with nothing changed, when it does not fit. */
export function applyConfChange(raft: Raft, change: ConfChangeV2): ConfState {
  switchToConf(raft, changeConf(raft.tracker.confState, change));
  return raft.tracker.confState;
}

/** Makes a configuration the active one, and acts on what that changes for a leader. */
export function switchToConf(raft: Raft, changed: ChangedConf): void {
  const { tracker, log } = raft;
  tracker.switchTo(changed, log.lastIndex);
  raft.logger.info("switched to configuration", describe(changed.confState));
  if (raft.role !== Role.Leader) return;
  const own = tracker.progressOf(raft.id);
  if (own === undefined || own.isLearner) {
    // A leader goes on until its own removal is known to be committed (paper §6, thesis §4.2.2).
    if (raft.config.stepDownOnRemoval === true) raft.becomeFollower(raft.term, none);
    return;
  }
  if (tracker.confState.voters.length === 0) return;
  if (raft.maybeCommit()) {
    // A smaller quorum may have committed more.
    broadcastAppend(raft);
  } else {
    for (const member of tracker.members) {
      if (member.id !== raft.id) maybeSendAppend(raft, member, false);
    }
  }
  if (raft.leadTransferee !== none && !tracker.isVoter(raft.leadTransferee)) raft.leadTransferee = none;
}

function describe(confState: ConfState): Record<string, unknown> {
  const hex = (ids: readonly bigint[]): string => ids.map((id) => id.toString(16)).join(" ");
  return {
    voters: hex(confState.voters),
    "voters-outgoing": hex(confState.votersOutgoing),
    learners: hex(confState.learners),
    "learners-next": hex(confState.learnersNext),
    "auto-leave": confState.autoLeave,
  };
}
