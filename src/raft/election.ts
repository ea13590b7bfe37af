/**
 * Elections: when a member stands, how it asks, and how it answers (paper §5.2, §5.4.1; thesis §3.10, §9.6).
 */
import { MessageType, type Message } from "./message.js";
import type { Raft } from "./raft.js";
import { none, Role } from "./types.js";

/** PreElection asks without a term; Transfer skips that and overrides leases, because the leader wants it. */
export const CampaignType = { PreElection: 0, Election: 1, Transfer: 2 } as const;
export type CampaignType = (typeof CampaignType)[keyof typeof CampaignType];

/** Marks votes that a leadership transfer asks for; the text is etcd's. */
const transferContext = new TextEncoder().encode("CampaignTransfer");

/** Whether a vote was asked for in a leadership transfer. */
function isTransfer(context: Uint8Array | null): boolean {
  if (context === null || context.length !== transferContext.length) return false;
  return context.every((byte, i) => byte === transferContext[i]);
}

/** Stands for election if this member may. */
export function hup(raft: Raft, type: CampaignType): void {
  const fields = { member: raft.id.toString(16), term: raft.term };
  if (raft.role === Role.Leader) return;
  if (!raft.promotable) {
    raft.logger.warn("cannot campaign: unpromotable", fields);
    return;
  }
  // A change that is committed counts for whoever leads next, so it must be in force first (thesis §4.1).
  if (raft.log.hasUnappliedConfChange()) {
    raft.logger.warn("cannot campaign: configuration changes are pending", fields);
    return;
  }
  raft.logger.info("starts an election", fields);
  campaign(raft, type);
}

/** Becomes (pre-)candidate and asks every voter. The vote for itself waits for the disk like any other. */
export function campaign(raft: Raft, type: CampaignType): void {
  const pre = type === CampaignType.PreElection;
  if (pre) raft.becomePreCandidate();
  else raft.becomeCandidate();
  const term = pre ? raft.term + 1 : raft.term;
  const context = type === CampaignType.Transfer ? transferContext : null;
  const index = raft.log.lastIndex;
  const logTerm = raft.log.lastTerm;
  for (const to of raft.tracker.voterIds()) {
    if (to === raft.id) {
      raft.sendAfterAppend({ type: pre ? MessageType.PreVoteResp : MessageType.VoteResp, to, term });
    } else {
      raft.send({ type: pre ? MessageType.PreVote : MessageType.Vote, to, term, index, logTerm, context });
    }
  }
}

/**
 * Whether a vote of a higher term is ignored, because a leader was heard from within the election timeout:
 * members that were removed or cut off then do not disturb the others (paper §6, thesis §4.2.3).
 */
export function protectsLeader(raft: Raft, m: Message): boolean {
  if (m.type !== MessageType.Vote && m.type !== MessageType.PreVote) return false;
  if (!raft.config.checkQuorum || isTransfer(m.context)) return false;
  return raft.lead !== none && raft.electionElapsed < raft.config.electionTicks;
}

/** Answers Vote and PreVote. Learners vote, too: who asks may know that they have been promoted. */
export function handleVote(raft: Raft, m: Message): void {
  const pre = m.type === MessageType.PreVote;
  const type = pre ? MessageType.PreVoteResp : MessageType.VoteResp;
  const mayVote = raft.vote === m.from || (raft.vote === none && raft.lead === none) || (pre && m.term > raft.term);
  if (!mayVote || !raft.log.isUpToDate(m.index, m.logTerm)) {
    raft.logger.info("rejected vote", { candidate: m.from.toString(16), term: raft.term });
    raft.sendAfterAppend({ type, to: m.from, reject: true });
    return;
  }
  raft.logger.info("cast vote", { candidate: m.from.toString(16), term: m.term });
  // The term asked for, not the own one: a pre-candidate would take the own one for old.
  raft.sendAfterAppend({ type, to: m.from, term: m.term });
  if (pre) return;
  raft.electionElapsed = 0;
  raft.castVote(m.from);
}
