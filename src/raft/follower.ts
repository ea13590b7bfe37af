/**
 * The follower (paper §5.2): it answers its leader, passes requests on to it, and stands when it hears nothing.
 */
import { handleAppend, handleHeartbeat, handleSnapshot } from "./append.js";
import { CampaignType, hup } from "./election.js";
import { MessageType, type Message } from "./message.js";
import type { Raft, StepResult } from "./raft.js";
import { none } from "./types.js";

export function stepFollower(raft: Raft, m: Message): StepResult {
  switch (m.type) {
    case MessageType.Prop:
      return forwardProposal(raft, m);
    case MessageType.App:
      hearLeader(raft, m);
      return handleAppend(raft, m);
    case MessageType.Heartbeat:
      hearLeader(raft, m);
      return handleHeartbeat(raft, m);
    case MessageType.Snap:
      hearLeader(raft, m);
      return handleSnapshot(raft, m);
    case MessageType.TransferLeader:
      return forwardTransfer(raft, m);
    case MessageType.TimeoutNow:
      // The leader asks for it, so there is no partition to be careful about: no pre-vote (thesis §3.10).
      hup(raft, CampaignType.Transfer);
      return "ok";
    case MessageType.ReadIndex:
      // Without a leader it is dropped; the asker repeats it.
      if (raft.lead !== none) raft.send({ ...m, to: raft.lead });
      return "ok";
    case MessageType.ReadIndexResp:
      raft.readStates.push({ index: m.index, context: m.entries[0]!.bytes });
      return "ok";
    case MessageType.ForgetLeader:
      // A vote for another within the lease would let two leaders answer reads (thesis §6.4.1).
      if (raft.config.readOnlyOption !== "leaseBased") raft.lead = none;
      return "ok";
    default:
      return "ok";
  }
}

function hearLeader(raft: Raft, m: Message): void {
  raft.electionElapsed = 0;
  raft.lead = m.from;
}

function forwardProposal(raft: Raft, m: Message): StepResult {
  if (raft.lead === none) return "noLeader";
  if (raft.config.disableProposalForwarding === true) return "forwardingDisabled";
  raft.send({ ...m, to: raft.lead });
  return "ok";
}

function forwardTransfer(raft: Raft, m: Message): StepResult {
  if (raft.lead === none) {
    raft.logger.info("no leader; dropping leader transfer", { term: raft.term });
    return "ok";
  }
  raft.send({ ...m, to: raft.lead, term: raft.term });
  return "ok";
}
