/**
 * How a leader's log reaches the followers: appends, commit indexes, heartbeats and snapshots
 * (paper §5.3, §7; flow control by Progress).
 */
import { assert } from "../base/index.js";
import { entryCount, payloadSize } from "./entry-size.js";
import { MessageType, noEntries } from "./message.js";
import { ProgressState, type Progress } from "./progress.js";
import type { Raft } from "./raft.js";

/**
 * Sends the next append to a member unless it is paused. An empty one, which only carries the commit index, goes
 * out if `sendIfEmpty`. Falls back to a snapshot when the entries are compacted. Returns whether anything was sent.
 */
export function maybeSendAppend(raft: Raft, to: Progress, sendIfEmpty: boolean): boolean {
  if (to.paused) return false;
  const { log } = raft;
  const index = to.next - 1;
  if (!log.hasTerm(index)) return maybeSendSnapshot(raft, to);
  // A full window gets an empty append now and then: were all appends in it lost, nothing else would show it.
  const throttled = to.state === ProgressState.Replicate && to.inflights.full;
  const upToDate = to.next > log.lastIndex;
  const entries = throttled || upToDate ? noEntries : log.entriesFrom(to.next, raft.config.maxSizePerMessage);
  if (entries.length === 0 && !sendIfEmpty) return false;
  const commit = log.committed;
  raft.send({ type: MessageType.App, to: to.id, index, logTerm: log.termOrZero(index), entries, commit });
  to.sentEntries(entryCount(entries), payloadSize(entries));
  to.sentCommit = commit;
  return true;
}

function maybeSendSnapshot(raft: Raft, to: Progress): boolean {
  const member = to.id.toString(16);
  if (!to.recentActive) {
    raft.logger.debug("no snapshot for a member that is not active", { member });
    return false;
  }
  const snapshot = raft.config.snapshot();
  if (snapshot === null) {
    raft.logger.debug("no snapshot is available now", { member });
    return false;
  }
  assert(snapshot.index > 0 && snapshot.index <= raft.log.committed, "snapshot of what is not committed");
  assert(snapshot.index >= raft.log.prevIndex, "snapshot from which the log cannot go on");
  raft.logger.debug("sends snapshot", { member, index: snapshot.index, term: snapshot.term, match: to.match });
  to.becomeSnapshot(snapshot.index);
  raft.send({ type: MessageType.Snap, to: to.id, snapshot });
  return true;
}

/** Sends to every other member what it lacks, at least the commit index. */
export function broadcastAppend(raft: Raft): void {
  for (const member of raft.tracker.members) {
    if (member.id !== raft.id) maybeSendAppend(raft, member, true);
  }
}

/** Sends a heartbeat to every other member, with the newest position of the reads that wait (thesis §6.4). */
export function broadcastHeartbeat(raft: Raft): void {
  const context = raft.readOnly.heartbeatContext();
  for (const member of raft.tracker.members) {
    if (member.id === raft.id) continue;
    // Only what the follower is known to hold: its log may differ beyond (paper §5.3).
    const commit = Math.min(member.match, raft.log.committed);
    raft.send({ type: MessageType.Heartbeat, to: member.id, commit, context });
    member.sentCommit = commit;
  }
}
