/**
 * Every message goes through here: terms first (paper §5.1), then votes and storage, then the role.
 * Time goes through here, too, as ticks.
 */
import { EntryBatch, EntryType } from "../base/index.js";
import { stepCandidate } from "./candidate.js";
import { CampaignType, handleVote, hup, protectsLeader } from "./election.js";
import { encodedSize, payloadSize } from "./entry-size.js";
import { stepFollower } from "./follower.js";
import { checkQuorum, stepLeader } from "./leader.js";
import { message, MessageType, type Message } from "./message.js";
import type { Raft, StepResult } from "./raft.js";
import { broadcastHeartbeat } from "./replication.js";
import { none, Role } from "./types.js";

/** Takes one message. It is valid, or this member's own. Term 0 belongs to none and is taken in any. */
export function step(raft: Raft, m: Message): StepResult {
  if (m.term > raft.term) {
    if (protectsLeader(raft, m)) {
      raft.logger.info("ignored vote: lease is not expired", { candidate: m.from.toString(16), term: raft.term });
      return "ok";
    }
    takeHigherTerm(raft, m);
  } else if (m.term < raft.term && m.term !== 0) {
    answerLowerTerm(raft, m);
    return "ok";
  }
  switch (m.type) {
    case MessageType.Vote:
    case MessageType.PreVote:
      handleVote(raft, m);
      return "ok";
    case MessageType.StorageAppendResp:
      if (m.index !== 0) raft.log.stableTo(m.index, m.logTerm);
      installed(raft, m);
      return "ok";
    case MessageType.StorageApplyResp:
      applied(raft, m);
      return "ok";
    default:
      return stepRole(raft, m);
  }
}

function stepRole(raft: Raft, m: Message): StepResult {
  switch (raft.role) {
    case Role.Follower:
      return stepFollower(raft, m);
    case Role.Leader:
      return stepLeader(raft, m);
    case Role.Candidate:
    case Role.PreCandidate:
      return stepCandidate(raft, m);
  }
}

/** Whoever hears of a newer term follows in it (paper §5.1). Pre-votes only ask about one (thesis §9.6). */
function takeHigherTerm(raft: Raft, m: Message): void {
  if (m.type === MessageType.PreVote) return;
  // A granted pre-vote carries the term that was asked for; a rejection carries a term that exists.
  if (m.type === MessageType.PreVoteResp && !m.reject) return;
  const fromLeader = m.type === MessageType.App || m.type === MessageType.Heartbeat || m.type === MessageType.Snap;
  raft.logger.info("received a message with higher term", { type: m.type, term: raft.term, "new-term": m.term });
  raft.becomeFollower(m.term, fromLeader ? m.from : none);
}

/** Old messages are ignored (paper §5.1), unless silence would leave the sender stuck. */
function answerLowerTerm(raft: Raft, m: Message): void {
  switch (m.type) {
    case MessageType.Heartbeat:
    case MessageType.App:
      // This member was cut off and campaigned up to a higher term. Its votes are ignored while the others have a
      // leader, and it ignores that leader; only hearing of the term makes the leader step down and frees it.
      if (raft.config.checkQuorum || raft.config.preVote)
        raft.sendAfterAppend({ type: MessageType.AppResp, to: m.from });
      return;
    case MessageType.PreVote:
      // A candidate of an old term with a longer log may be the only one who can win: tell it the term.
      raft.sendAfterAppend({ type: MessageType.PreVoteResp, to: m.from, reject: true });
      return;
    case MessageType.StorageAppendResp:
      // Entries written under an older term may be overwritten by a write under way: they count as durable only
      // with the answer to a write of this term. A snapshot is committed state and counts whatever the term.
      installed(raft, m);
      return;
    default:
      return;
  }
}

/** A snapshot has been installed and is durable. */
function installed(raft: Raft, m: Message): void {
  if (m.snapshot === null) return;
  raft.log.stableSnapshotTo(m.snapshot.index);
  appliedTo(raft, m.snapshot.index, 0);
}

/** The entries of `m` have been applied. */
function applied(raft: Raft, m: Message): void {
  const last = m.entries.at(-1);
  if (last === undefined) return;
  appliedTo(raft, last.lastIndex, encodedSize(m.entries));
  raft.uncommittedSize = Math.max(0, raft.uncommittedSize - payloadSize(m.entries));
}

function appliedTo(raft: Raft, index: number, size: number): void {
  const { log } = raft;
  log.appliedTo(Math.max(index, log.applied), size);
  const { autoLeave } = raft.tracker.confState;
  if (!autoLeave || raft.role !== Role.Leader || log.applied < raft.pendingConfIndex) return;
  // Nothing that this leader has proposed is in the way, so the joint configuration can end (thesis §4.3).
  // If the proposal is dropped in a leadership transfer, the next applied entry or the next leader repeats it.
  const leave = EntryBatch.single({ term: 0, index: 0, type: EntryType.ConfChangeV2, data: new Uint8Array(0) });
  const result = step(raft, message({ type: MessageType.Prop, to: none, from: raft.id, entries: [leave] }));
  raft.logger.info("leaves the joint configuration", { result });
}

/** Time passes by one tick. */
export function tick(raft: Raft): void {
  if (raft.role === Role.Leader) tickLeader(raft);
  else tickElection(raft);
}

function tickElection(raft: Raft): void {
  raft.electionElapsed += 1;
  if (!raft.promotable || !raft.pastElectionTimeout) return;
  raft.electionElapsed = 0;
  startCampaign(raft);
}

function tickLeader(raft: Raft): void {
  raft.heartbeatElapsed += 1;
  raft.electionElapsed += 1;
  if (raft.electionElapsed >= raft.config.electionTicks) {
    raft.electionElapsed = 0;
    if (raft.config.checkQuorum) checkQuorum(raft);
    // A transfer that has not succeeded by now is given up (thesis §3.10).
    raft.leadTransferee = none;
  }
  if (raft.role !== Role.Leader) return;
  if (raft.heartbeatElapsed < raft.config.heartbeatTicks) return;
  raft.heartbeatElapsed = 0;
  broadcastHeartbeat(raft);
}

/** Stands for election, by pre-vote where that is configured. */
export function startCampaign(raft: Raft): void {
  hup(raft, raft.config.preVote ? CampaignType.PreElection : CampaignType.Election);
}
