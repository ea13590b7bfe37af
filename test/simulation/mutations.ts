/**
 * Deliberate breaks of the rules that the server lives by, as replacements in the compiled files. The simulation must
 * find each of them: `npm run mutants`.
 */

import { edit, type Mutation } from "./mutation.js";
import { stateMutations } from "./mutations-state.js";

const raftMutations: readonly Mutation[] = [
  {
    name: "vote not persisted",
    rule: "term and vote are durable before they count (figure 2)",
    edits: [
      edit("server/raft-loop", "if (message.entries.length > 0 || voteChanged)", "if (message.entries.length > 0)"),
    ],
  },
  {
    name: "vote forgotten at a restart",
    rule: "one vote a term, whatever happens between (figure 2)",
    edits: [edit("raft/raft", "this.#vote = hardState?.vote ?? none;", "this.#vote = none;")],
  },
  {
    name: "vote sent before it is durable",
    rule: "answers wait for the log (figure 2)",
    edits: [
      edit(
        "raft/election",
        "raft.sendAfterAppend({ type, to: m.from, term: m.term });",
        "raft.send({ type, to: m.from, term: m.term });",
      ),
    ],
  },
  {
    name: "acknowledge before fsync",
    rule: "a follower acknowledges what is on its disk (§5.3)",
    edits: [
      edit(
        "raft/append",
        "raft.sendAfterAppend({ type: MessageType.AppResp, to: m.from, index: lastNew });",
        "raft.send({ type: MessageType.AppResp, to: m.from, index: lastNew });",
      ),
    ],
  },
  {
    name: "leader counts itself before fsync",
    rule: "a leader acknowledges itself what is on its disk (thesis §10.2.1)",
    edits: [
      edit(
        "raft/raft",
        "this.sendAfterAppend({ type: MessageType.AppResp, to: this.id, index: this.log.lastIndex });",
        "this.tracker.progressOf(this.id).maybeUpdate(this.log.lastIndex); this.sendAfterAppend({ type: MessageType.AppResp, to: this.id, index: this.log.lastIndex });",
      ),
    ],
  },
  {
    name: "all is durable at once",
    rule: "nothing counts as written before the log says so",
    edits: [
      edit(
        "server/raft-loop",
        "if (this.#durableToken === this.#token)",
        "this.#durableToken = this.#token;\n        if (true)",
      ),
    ],
  },
  {
    name: "commit of entries of old terms",
    rule: "a leader commits by counting only entries of its own term (§5.4.2)",
    edits: [edit("raft/raft", "if (!this.log.matches(index, this.#term))", "if (false)")],
  },
  {
    name: "votes for a shorter log",
    rule: "a candidate's log is at least as up to date (§5.4.1)",
    edits: [edit("raft/election", "if (!mayVote || !raft.log.isUpToDate(m.index, m.logTerm)) {", "if (!mayVote) {")],
  },
  {
    name: "votes twice a term",
    rule: "one vote a term (§5.2)",
    edits: [
      edit("raft/election", "if (!mayVote || ", "if ("),
      edit("raft/raft", 'assert(this.#vote === none || this.#vote === candidate, "one vote a term (§5.2)");', ""),
    ],
  },
  {
    name: "majority of half",
    rule: "more than half is a quorum",
    edits: [
      edit(
        "raft/quorum",
        "return indexes[count - (Math.floor(count / 2) + 1)];",
        "return indexes[count - Math.floor(count / 2)];",
      ),
    ],
  },
  {
    name: "elected by half",
    rule: "more than half elects (§5.2)",
    edits: [
      edit(
        "raft/quorum",
        "const needed = Math.floor(ballots.length / 2) + 1;",
        "const needed = Math.max(1, Math.floor(ballots.length / 2));",
      ),
    ],
  },
  {
    name: "append without looking at the entry before",
    rule: "logs match up to where an append begins (§5.3)",
    edits: [edit("raft/append", "if (!log.matches(m.index, m.logTerm)) {", "if (m.index > log.lastIndex) {")],
  },
  {
    name: "every append cuts the log",
    rule: "an append replaces only what conflicts with it (figure 2)",
    edits: [
      edit(
        "raft/append",
        "const conflict = log.findConflict(m.entries);",
        "const conflict = m.entries.length === 0 ? 0 : Math.max(m.index, log.committed) + 1;",
      ),
    ],
  },
  {
    name: "committed entries are cut",
    rule: "committed entries never change (§5.4)",
    edits: [
      edit(
        "raft/append",
        "const conflict = log.findConflict(m.entries);",
        "const conflict = m.entries.length === 0 ? 0 : m.index + 1;",
      ),
      edit("raft/append", "if (m.index < log.committed) {", "if (m.index + 3 < log.committed) {"),
      edit("raft/append", 'assert(conflict > log.committed, "conflict with a committed entry");', ""),
      edit("raft/log", 'assert(from > this.#committed, "committed entries never change (§5.4)");', ""),
    ],
  },
  {
    name: "heartbeats commit what a follower may not have",
    rule: "a heartbeat's commit index is within what the follower has acknowledged (§5.3)",
    edits: [
      edit(
        "raft/replication",
        "const commit = Math.min(member.match, raft.log.committed);",
        "const commit = raft.log.committed;",
      ),
    ],
  },
  {
    name: "ReadIndex without a quorum",
    rule: "a leader makes sure that it leads before it answers a read (thesis §6.4)",
    edits: [
      edit(
        "raft/read-index",
        'if (raft.tracker.isOnlyVoter(raft.id) || raft.config.readOnlyOption === "leaseBased") {',
        "if (true) {",
      ),
    ],
  },
  {
    name: "ReadIndex before a commit of the term",
    rule: "a new leader knows what is committed once an entry of its term is (thesis §6.4)",
    edits: [edit("raft/read-index", "if (!raft.committedInTerm) {", "if (false) {")],
  },
  {
    name: "read released at any index",
    rule: "a read is answered at its read index or later",
    edits: [edit("server/read-index", "this.#actions.release(index, ", "this.#actions.release(0, ")],
  },
  {
    name: "read does not wait for apply",
    rule: "a read is answered once its index is applied",
    edits: [edit("apply/reads", "if (header.minAppliedIndex > this.#appliedIndex) {", "if (false) {")],
  },
  {
    name: "reads of a former run are taken for this one's",
    rule: "a read's answer belongs to the run that asked",
    edits: [edit("server/read-index", "this.#context = firstContext;", "this.#context = 0;")],
  },
  {
    name: "apply before durable",
    rule: "only entries on a member's own disk are applied there",
    edits: [
      edit(
        "raft/log",
        "return allowUnstable ? this.#committed : Math.min(this.#committed, this.#stable);",
        "return this.#committed;",
      ),
    ],
  },
  {
    name: "entries are applied again after a restart",
    rule: "what the store holds is not applied again",
    edits: [
      edit("server/raft-node", "applied: ready.consistentIndex,", "applied: log.mark.index,"),
      edit("apply/applier", "this.#appliedIndex = options.backend.consistentIndex;", "this.#appliedIndex = 0;"),
      edit(
        "storage/backend/memory-backend",
        'assert(index > this.#consistentIndex, "backend: the consistent index does not grow");',
        "",
      ),
      edit("storage/backend/memory-backend", 'assert(term >= this.#term, "backend: the term goes back");', ""),
    ],
  },
  {
    name: "log released beyond what is flushed",
    rule: "the log keeps what the store may lose",
    edits: [
      edit(
        "server/raft-loop",
        "this.#truncate(Math.min(flushedIndex, this.#node.appliedIndex));",
        "this.#truncate(appliedIndex);",
      ),
    ],
  },
  {
    name: "configuration not stored",
    rule: "who votes is stored with the entry that says so (thesis §4.1)",
    edits: [
      edit(
        "apply/cluster-applier",
        "return refusal === null ? membership.confStateBytes() : undefined;",
        "return change.id === 0n ? membership.confStateBytes() : undefined;",
      ),
    ],
  },
  {
    name: "refused changes are in force",
    rule: "a change that was refused when applied changes nothing",
    edits: [
      edit("apply/cluster-applier", "nodeId: refusal === null ? change.nodeId : 0n,", "nodeId: change.nodeId,"),
      edit("server/raft-node", "nodeId: accepted ? nodeId : none", "nodeId"),
    ],
  },
  {
    name: "apply depends on the member",
    rule: "equal entries change equal bytes",
    edits: [
      edit(
        "apply/applier",
        "const fits = this.#quota.allows(putCost(fields));",
        "if (this.#callId === 0 && this.#appliedIndex % 7 === 3) return null;\n        const fits = this.#quota.allows(putCost(fields));",
      ),
    ],
  },
  {
    name: "answers go to the wrong request",
    rule: "an answer belongs to the entry that was proposed",
    edits: [
      edit(
        "server/waiters",
        "const at = sequence - group.firstSequence;",
        "const at = group.callIds.length - 1 - (sequence - group.firstSequence);",
      ),
    ],
  },
  {
    name: "another member's entry answers",
    rule: "an answer belongs to the entry that was proposed",
    edits: [edit("server/request-header", "if (Math.floor(high / highOfSequence) !== prefix)", "if (false)")],
  },
  {
    name: "an entry that comes twice is answered twice",
    rule: "a call has one answer",
    edits: [
      edit(
        "server/waiters",
        "group.callIds[at] = resolvedMark;\n        this.#close(group);\n        this.startMs",
        "if (group.open > 1)\n            this.#close(group);\n        this.startMs",
      ),
    ],
  },
  {
    name: "IDs go on where the log ends",
    rule: "two runs of a member never make the same request ID",
    edits: [
      edit(
        "server/request-id",
        "this.#sequence = (known + unknownMax + prng.uint32()) % sequenceEnd;",
        "this.#sequence = known;",
      ),
    ],
  },
  {
    name: "time-outs are never told",
    rule: "every request ends",
    edits: [edit("server/waiters", "if (group.deadlineMs > nowMs)", "if (true)")],
  },
  {
    name: "no heartbeats",
    rule: "a leader is heard from (§5.2)",
    edits: [edit("raft/step", "broadcastHeartbeat(raft);", "")],
  },
  {
    name: "an old leader goes on",
    rule: "whoever hears of a newer term follows (§5.1)",
    edits: [
      edit(
        "raft/step",
        "takeHigherTerm(raft, m);",
        'if (raft.role !== Role.Leader) takeHigherTerm(raft, m); else return "ok";',
      ),
    ],
  },
  {
    name: "snapshot acknowledged before its mark is durable",
    rule: "what is acknowledged is on the disk (§5.3, §7)",
    edits: [
      edit(
        "raft/append",
        "raft.sendAfterAppend({ type: MessageType.AppResp, to: m.from, index });",
        "raft.send({ type: MessageType.AppResp, to: m.from, index });",
      ),
    ],
  },
  {
    name: "snapshot installed before its mark is durable",
    rule: "the store is never ahead of the log",
    edits: [
      edit(
        "server/raft-loop",
        "this.#installs.push({ until: this.#token, index, term });",
        "this.#options.apply.install(index, term);",
      ),
    ],
  },
  {
    name: "an installation that was cut short is not repeated",
    rule: "the store holds what the log has let go",
    edits: [edit("apply/apply-thread", "await installAtStart(", "if (false) await installAtStart(")],
  },
  {
    name: "entries are applied while a snapshot is being installed",
    rule: "entries are applied in order, upon the snapshot (§7)",
    edits: [edit("apply/apply-loop", "this.#suspended || this.#installing ||", "this.#suspended ||")],
  },
  {
    name: "the key index of before the snapshot is kept",
    rule: "a snapshot replaces all of the state (§7)",
    edits: [edit("storage/mvcc/store", "this.#index.adopt(other.#index);", "")],
  },
];

export const mutations: readonly Mutation[] = [...raftMutations, ...stateMutations];
