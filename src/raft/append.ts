/**
 * The receiver's half of replication: appends, heartbeats and snapshots from the term's leader
 * (paper figure 2: AppendEntries, receiver implementation; §7: InstallSnapshot).
 */
import { assert } from "../base/index.js";
import { restoreConfState } from "./conf-change.js";
import { switchToConf } from "./membership.js";
import { MessageType, type Message } from "./message.js";
import type { Raft, StepResult } from "./raft.js";
import { none, Role, type Snapshot } from "./types.js";

/** Appends what is new, if the entry before is here; else says where the logs may agree. */
export function handleAppend(raft: Raft, m: Message): StepResult {
  const { log } = raft;
  if (m.index < log.committed) {
    raft.sendAfterAppend({ type: MessageType.AppResp, to: m.from, index: log.committed });
    return "ok";
  }
  if (!log.matches(m.index, m.logTerm)) {
    rejectAppend(raft, m);
    return "ok";
  }
  const conflict = log.findConflict(m.entries);
  if (conflict !== 0) {
    // The entries follow on from m.index, so none that is committed is replaced whatever the leader sends (§5.4).
    assert(conflict > log.committed, "conflict with a committed entry");
    if (conflict <= log.lastIndex) raft.logger.info("replaces conflicting entries", { index: conflict });
    log.append(m.entries, conflict);
  }
  const lastNew = m.entries.length === 0 ? m.index : m.entries.at(-1)!.lastIndex;
  log.commitTo(Math.min(m.commit, lastNew));
  raft.sendAfterAppend({ type: MessageType.AppResp, to: m.from, index: lastNew });
  return "ok";
}

/**
 * The leader's log has terms up to `logTerm` before its probe, so entries of higher terms here cannot be in it:
 * the hint is the last entry here that may be (paper §5.3 on reducing rejected appends).
 */
function rejectAppend(raft: Raft, m: Message): void {
  const { log } = raft;
  const rejectHint = log.findConflictByTerm(Math.min(m.index, log.lastIndex), m.logTerm);
  raft.logger.debug("rejected append", { index: m.index, logTerm: m.logTerm, hint: rejectHint });
  raft.sendAfterAppend({
    type: MessageType.AppResp,
    to: m.from,
    index: m.index,
    reject: true,
    rejectHint,
    logTerm: log.termOrZero(rejectHint),
  });
}

/** Takes the commit index over and answers; the context goes back unchanged (thesis §6.4). */
export function handleHeartbeat(raft: Raft, m: Message): StepResult {
  // The leader only sends what this member has acknowledged. Whoever lost that must not vote or answer again.
  if (m.commit > raft.log.lastIndex) return "commitBeyondLog";
  raft.log.commitTo(m.commit);
  raft.send({ type: MessageType.HeartbeatResp, to: m.from, context: m.context });
  return "ok";
}

export function handleSnapshot(raft: Raft, m: Message): StepResult {
  const snapshot = m.snapshot!;
  const restored = restore(raft, snapshot);
  const index = restored ? raft.log.lastIndex : raft.log.committed;
  raft.logger.info(restored ? "restored snapshot" : "ignored snapshot", { index: snapshot.index, term: snapshot.term });
  raft.sendAfterAppend({ type: MessageType.AppResp, to: m.from, index });
  return "ok";
}

/** Replaces the log and the configuration by the snapshot's, unless this member is as far. */
function restore(raft: Raft, snapshot: Snapshot): boolean {
  const { log } = raft;
  if (snapshot.index <= log.committed) return false;
  if (raft.role !== Role.Follower) {
    raft.becomeFollower(raft.term + 1, none);
    return false;
  }
  const { voters, learners, votersOutgoing } = snapshot.confState;
  // Much assumes that this member is in its own configuration.
  if (![voters, learners, votersOutgoing].some((ids) => ids.includes(raft.id))) {
    raft.logger.warn("snapshot of a configuration without this member", { index: snapshot.index });
    return false;
  }
  if (log.matches(snapshot.index, snapshot.term)) {
    // The log already holds all that the snapshot does (paper §7).
    log.commitTo(snapshot.index);
    return false;
  }
  const confState = restoreConfState(snapshot.confState);
  log.restore(snapshot);
  // Everyone starts anew: what was known of them belongs to another log.
  const fresh = new Set([...voters, ...learners, ...votersOutgoing]);
  switchToConf(raft, { confState, fresh });
  raft.confIndex = snapshot.index;
  return true;
}
