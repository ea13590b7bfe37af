/** Raft's status as go.etcd.io/raft writes it in JSON, for /debug/vars. */
import { memberIdText } from "../membership/index.js";
import { progressStateNames, roleNames, type Status } from "../raft/index.js";

/** To be written as JSON; `progress` is empty but on a leader. */
export function raftStatusOf({ id, hardState, softState, applied, progress, leadTransferee }: Status): object {
  const members = progress.map(
    ({ id: member, match, next, state }) =>
      [memberIdText(member), { match, next, state: progressStateNames[state] }] as const,
  );
  return {
    id: memberIdText(id),
    term: hardState.term,
    vote: memberIdText(hardState.vote),
    commit: hardState.commit,
    lead: memberIdText(softState.lead),
    raftState: roleNames[softState.role],
    applied,
    progress: Object.fromEntries(members),
    leadtransferee: memberIdText(leadTransferee),
  };
}
