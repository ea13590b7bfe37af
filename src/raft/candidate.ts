/**
 * The candidate and the pre-candidate (paper §5.2; thesis §9.6): they count votes, and yield to whoever leads
 * the term.
 */
import { handleAppend, handleHeartbeat, handleSnapshot } from "./append.js";
import { campaign, CampaignType } from "./election.js";
import { startLeading } from "./leader.js";
import { MessageType, type Message } from "./message.js";
import { VoteResult } from "./quorum.js";
import type { Raft, StepResult } from "./raft.js";
import { none, Role } from "./types.js";

export function stepCandidate(raft: Raft, m: Message): StepResult {
  switch (m.type) {
    case MessageType.Prop:
      return "noLeader";
    case MessageType.App:
      raft.becomeFollower(m.term, m.from);
      return handleAppend(raft, m);
    case MessageType.Heartbeat:
      raft.becomeFollower(m.term, m.from);
      return handleHeartbeat(raft, m);
    case MessageType.Snap:
      raft.becomeFollower(m.term, m.from);
      return handleSnapshot(raft, m);
    case MessageType.PreVoteResp:
      if (raft.role === Role.PreCandidate) countVote(raft, m);
      return "ok";
    case MessageType.VoteResp:
      if (raft.role === Role.Candidate) countVote(raft, m);
      return "ok";
    default:
      return "ok";
  }
}

/** Counts an answer to the present campaign, and acts when it decides. */
function countVote(raft: Raft, m: Message): void {
  raft.tracker.recordVote(m.from, !m.reject);
  raft.logger.info("received vote", { from: m.from.toString(16), granted: !m.reject, term: raft.term });
  switch (raft.tracker.electionResult()) {
    case VoteResult.Won:
      if (raft.role === Role.PreCandidate) campaign(raft, CampaignType.Election);
      else startLeading(raft);
      return;
    case VoteResult.Lost:
      // A granted pre-vote carries the term asked for; the own one has not changed.
      raft.becomeFollower(raft.term, none);
      return;
    case VoteResult.Pending:
      return;
  }
}
