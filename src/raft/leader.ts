/**
 * The leader (paper §5.2, §5.3): it takes proposals and reads, replicates, counts acknowledgements, and steps down
 * when no quorum answers.
 */
import { EntryBatch, EntryType } from "../base/index.js";
import { MessageType, type Message } from "./message.js";
import { handleProposal } from "./propose.js";
import { ProgressState, type Progress } from "./progress.js";
import { VoteResult } from "./quorum.js";
import type { Raft, StepResult } from "./raft.js";
import { acknowledgeReads, handleReadIndex, readPosition, releaseEarlyReads } from "./read-index.js";
import { broadcastAppend, maybeSendAppend } from "./replication.js";
import { none } from "./types.js";

/** A candidate that has won: the term's first entry commits those of earlier terms with it (paper §5.4.2, §8). */
export function startLeading(raft: Raft): void {
  raft.becomeLeader();
  raft.appendOwn([EntryBatch.single({ term: 0, index: 0, type: EntryType.Normal, data: new Uint8Array(0) })]);
  broadcastAppend(raft);
}

export function stepLeader(raft: Raft, m: Message): StepResult {
  switch (m.type) {
    case MessageType.Prop:
      return handleProposal(raft, m);
    case MessageType.ReadIndex:
      handleReadIndex(raft, m);
      return "ok";
    case MessageType.AppResp:
    case MessageType.HeartbeatResp:
    case MessageType.SnapStatus:
    case MessageType.Unreachable:
    case MessageType.TransferLeader:
      return stepMember(raft, m);
    default:
      return "ok";
  }
}

/** The messages that are about one member's progress. */
function stepMember(raft: Raft, m: Message): StepResult {
  const member = raft.tracker.progressOf(m.from);
  if (member === undefined) return "ok";
  switch (m.type) {
    case MessageType.AppResp:
      return handleAppendResponse(raft, member, m);
    case MessageType.HeartbeatResp:
      return handleHeartbeatResponse(raft, member, m);
    case MessageType.SnapStatus:
      handleSnapshotStatus(member, m);
      return "ok";
    case MessageType.Unreachable:
      // An append on its way was most likely lost, so ask again where the logs meet.
      if (member.state === ProgressState.Replicate) member.becomeProbe();
      return "ok";
    default:
      handleTransfer(raft, member);
      return "ok";
  }
}

function handleAppendResponse(raft: Raft, member: Progress, m: Message): StepResult {
  // Nobody can hold more of this term's log than its leader.
  if (!m.reject && m.index > raft.log.lastIndex) return "invalidMessage";
  member.recentActive = true;
  if (m.reject) handleAppendRejection(raft, member, m);
  else handleAppendAcknowledgement(raft, member, m.index);
  return "ok";
}

/**
 * The follower lacks the entry before the append. Its hint is the last of its entries that may be in this log;
 * of those, the ones whose term here is higher than the hint's cannot match either (paper §5.3).
 */
function handleAppendRejection(raft: Raft, member: Progress, m: Message): void {
  let hint = m.rejectHint;
  if (m.logTerm > 0) hint = raft.log.findConflictByTerm(hint, m.logTerm);
  if (!member.maybeDecrementTo(m.index, hint)) return;
  raft.logger.debug("append rejected", { from: m.from.toString(16), index: m.index, next: member.next });
  if (member.state === ProgressState.Replicate) member.becomeProbe();
  maybeSendAppend(raft, member, true);
}

/** The follower's log, or this leader's own on disk, equals this log up to `index`. */
function handleAppendAcknowledgement(raft: Raft, member: Progress, index: number): void {
  const news = member.maybeUpdate(index);
  // A probe's answer may tell nothing new and still shows that the logs meet there.
  if (!news && !(member.match === index && member.state === ProgressState.Probe)) return;
  advanceState(raft, member, index);
  if (raft.maybeCommit()) {
    releaseEarlyReads(raft);
    broadcastAppend(raft);
  } else if (member.id !== raft.id && member.canBumpCommit(raft.log.committed)) {
    maybeSendAppend(raft, member, true);
  }
  if (member.id === raft.id) return;
  // What was freed may have room for several appends.
  while (maybeSendAppend(raft, member, false)) {
    // The next one.
  }
  if (member.id === raft.leadTransferee && member.match === raft.log.lastIndex) sendTimeoutNow(raft, member);
}

function advanceState(raft: Raft, member: Progress, index: number): void {
  switch (member.state) {
    case ProgressState.Probe:
      member.becomeReplicate();
      return;
    case ProgressState.Snapshot:
      // However the follower got there: from here on the log will do.
      if (member.match + 1 < raft.log.firstIndex) return;
      member.becomeProbe();
      member.becomeReplicate();
      return;
    case ProgressState.Replicate:
      member.inflights.freeTo(index);
      return;
  }
}

function handleHeartbeatResponse(raft: Raft, member: Progress, m: Message): StepResult {
  const position = readPosition(raft, m);
  if (position < 0) return "invalidMessage";
  member.recentActive = true;
  member.msgAppFlowPaused = false;
  // Probes lost on the way are repeated so, and windows whose appends were all lost are found out.
  if (member.match < raft.log.lastIndex || member.state === ProgressState.Probe) {
    maybeSendAppend(raft, member, true);
  }
  if (position > 0) acknowledgeReads(raft, m.from, position);
  return "ok";
}

function handleSnapshotStatus(member: Progress, m: Message): void {
  if (member.state !== ProgressState.Snapshot) return;
  // After a failure the log goes on from what is known to match.
  if (m.reject) member.pendingSnapshot = 0;
  member.becomeProbe();
  // Arrived: wait for the follower's answer. Failed: wait for a heartbeat before the next try.
  member.msgAppFlowPaused = true;
}

/** Hands leadership over: the target is brought up to date, then told to stand at once (thesis §3.10). */
function handleTransfer(raft: Raft, member: Progress): void {
  if (member.isLearner) return;
  if (raft.leadTransferee === member.id) return;
  raft.leadTransferee = none;
  if (member.id === raft.id) return;
  raft.logger.info("starts to transfer leadership", { to: member.id.toString(16), term: raft.term });
  // It must be done within one election timeout.
  raft.electionElapsed = 0;
  raft.leadTransferee = member.id;
  if (member.match === raft.log.lastIndex) sendTimeoutNow(raft, member);
  else maybeSendAppend(raft, member, true);
}

function sendTimeoutNow(raft: Raft, member: Progress): void {
  raft.logger.info("sends MsgTimeoutNow", { to: member.id.toString(16), term: raft.term });
  raft.send({ type: MessageType.TimeoutNow, to: member.id });
}

/** Steps down unless a quorum has been heard from since the last check (thesis §6.2). */
export function checkQuorum(raft: Raft): void {
  if (raft.tracker.quorumActive() !== VoteResult.Won) {
    raft.logger.warn("stepped down: quorum is not active", { term: raft.term });
    raft.becomeFollower(raft.term, none);
  }
  for (const member of raft.tracker.members) {
    if (member.id !== raft.id) member.recentActive = false;
  }
}
