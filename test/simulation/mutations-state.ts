/** Deliberate breaks of what stands upon Raft: leases, watches, compaction, membership, snapshots, and the disks. */
import { edit, type Mutation } from "./mutation.js";
import { watchMutations } from "./mutations-watches.js";

/**
 * Not here, as a leader that asks in time has answered its last renewal before the next one is elected: that a renewal
 * at a new leader takes what the former one may have promised. lease-clock.test.ts has it: "a renewal at a new leader
 * does not shorten what the former leader may promise meanwhile".
 */
const leases: readonly Mutation[] = [
  {
    name: "leases end where nobody leads",
    rule: "only the leader ends leases",
    // The clock of who leads no longer has no ends to name, so that has to go, too.
    edits: [
      edit("lease/lease-clock", "demote() {", "demote() {\n        if (this.#leads)\n            return;"),
      edit(
        "server/lease-keeper",
        "if (isLate || !this.#actions.isLeader())\n            return;\n        if (!this.#isSettled)",
        "if (isLate)\n            return;\n        if (this.#actions.isLeader() && !this.#isSettled)",
      ),
      edit("server/lease-keeper", "if (!this.#actions.isLeader() || !this.#isSettled)\n            return;", ""),
    ],
  },
  {
    name: "no time on top at a promotion",
    rule: "a new leader gives each lease its time and an election timeout",
    edits: [edit("server/lease-keeper", "this.#clock.promote(this.#actions.electionMs);", "this.#clock.promote(0);")],
  },
  {
    name: "renewals do not count",
    rule: "a renewed lease has its whole time again",
    edits: [edit("lease/lease-clock", "this.#refresh(slot, now, Math.max(0, givenAt - now));", "")],
  },
  {
    name: "a leader renews on an old confirmation",
    rule: "a leader that may have been replaced asks a quorum before it renews (thesis §6.4.1)",
    // The quorum check ends its leadership by then, nearly always early enough.
    edits: [
      edit("server/lease-keeper", "const confirmedFor = 0.5;", "const confirmedFor = 4;"),
      edit("raft/step", "checkQuorum(raft);", ";"),
    ],
  },
  {
    name: "a renewal leaves a checkpoint as it is",
    rule: "a lease that is renewed has its whole time at the next leader, too",
    edits: [
      edit(
        "lease/lease-clock",
        "if (this.#remainingTtl[slot] > 0 || this.#checkpoints.isUnderWay(slot))",
        "if (false)",
      ),
    ],
  },
  {
    name: "a renewal passes over a checkpoint that is under way",
    rule: "what is written of a lease before its renewal counts no more after it",
    edits: [edit("lease/lease-clock", " || this.#checkpoints.isUnderWay(slot)", "")],
  },
  {
    name: "a new leader passes over checkpoints",
    rule: "a lease has what the last checkpoint has left of it",
    edits: [
      edit(
        "lease/lease-clock",
        "(this.#remainingTtl[slot] > 0 ? this.#remainingTtl[slot] : this.#ttl[slot])",
        "this.#ttl[slot]",
      ),
    ],
  },
  {
    name: "a checkpoint rounds down",
    rule: "a checkpoint leaves a lease no less than it has",
    edits: [
      edit(
        "lease/lease-clock",
        "Math.ceil((this.#expiry[slot] - now) / 1000)",
        "Math.floor((this.#expiry[slot] - now) / 1000)",
      ),
    ],
  },
  {
    name: "a new leader renews before it knows of former checkpoints",
    rule: "a leader has applied what former ones have written before it promises",
    edits: [
      edit(
        "server/lease-keeper",
        "if (!this.#isSettled) {\n            this.#settle();",
        "if (false) {\n            this.#settle();",
      ),
    ],
  },
  {
    name: "a lease that is not known is taken for gone",
    rule: "a leader may not know yet what followers have applied",
    edits: [
      edit(
        "server/lease-keeper",
        "if (renewal === Renewal.Unknown && !this.#doubted.isGone(leaseIdOf(low, high)))\n            return false;",
        "",
      ),
    ],
  },
  {
    name: "revokes are not checked",
    rule: "a lease that is gone cannot be revoked",
    edits: [
      edit(
        "apply/lease-writer",
        "if (!this.#leases.has(this.#low, this.#high))\n            return ErrLeaseNotFound;",
        "",
      ),
    ],
  },
  {
    name: "a revoked lease's last key stays",
    rule: "a lease's keys end with it",
    edits: [
      edit("apply/lease-writer", "Math.min(this.#deleted + keysMax, this.#keys.length);", "this.#keys.length - 1;"),
      edit("apply/lease-writer", "if (end < this.#keys.length)\n            return false;", ""),
    ],
  },
  {
    name: "a key that was put without its lease stays attached",
    rule: "a put moves its key to its own lease, or to none",
    edits: [
      edit(
        "lease/lease-table",
        "this.#keys.attach(bytes, start, end, slot);",
        "if (slot !== -1) this.#keys.attach(bytes, start, end, slot);",
      ),
    ],
  },
];

const compaction: readonly Mutation[] = [
  {
    name: "a compaction removes what it must keep",
    rule: "the newest revision up to a compaction's stays",
    edits: [
      edit(
        "storage/mvcc/compaction",
        "if (!this.#scan.available.has(main, sub)) {",
        "if (main < this.scheduled.revision || !this.#scan.available.has(main, sub)) {",
      ),
    ],
  },
  {
    name: "a compaction goes one revision too far",
    rule: "what is newer than a compaction stays",
    edits: [
      edit(
        "storage/mvcc/compaction",
        "if (main > this.scheduled.revision) {",
        "if (main > this.scheduled.revision + 1) {",
      ),
    ],
  },
  {
    name: "the index forgets a revision that a compaction keeps",
    rule: "the newest revision up to a compaction's stays",
    edits: [
      edit(
        "storage/mvcc/key-index-generations",
        "keep = newer < 0 ? count : newer + 1;",
        "keep = newer < 0 ? count : newer;",
      ),
    ],
  },
  {
    name: "compacted revisions are read",
    rule: "what is compacted cannot be read",
    edits: [
      edit(
        "storage/mvcc/store",
        "return revision > 0 && revision < this.#compactRevision ? RevisionStatus.Compacted : RevisionStatus.Ok;",
        "return RevisionStatus.Ok;",
      ),
    ],
  },
  {
    name: "a compaction that was cut short is not resumed",
    rule: "what is compacted is removed on every member",
    edits: [edit("apply/apply-thread", "        compactor.resume();\n", "")],
  },
];

const membership: readonly Mutation[] = [
  {
    name: "a change is applied twice",
    rule: "a change is judged once",
    edits: [
      edit(
        "apply/cluster-applier",
        "const refusal = membership.apply(change);",
        "membership.apply(change); const refusal = membership.apply(change);",
      ),
    ],
  },
  {
    name: "a removed member is stored as a voter",
    rule: "who is removed does not count",
    edits: [edit("membership/conf-state", "return { ...state, voters, learners };", "return { ...state, learners };")],
  },
  {
    name: "Raft still counts a removed member",
    rule: "who is removed does not count",
    edits: [edit("raft/conf-change", "#remove(id) {\n        this.#voters.delete(id);", "#remove(id) {")],
  },
  {
    name: "learners count",
    rule: "learners do not vote (thesis §4.2.1)",
    edits: [
      edit(
        "raft/tracker",
        "this.#incoming = voters.map((id) => progress.get(id));",
        "this.#incoming = [...voters, ...learners].map((id) => progress.get(id));",
      ),
    ],
  },
  {
    name: "changes overlap",
    rule: "one change at a time (thesis §4.1)",
    edits: [edit("raft/propose", "if (raft.pendingConfIndex > raft.log.applied)", "if (false)")],
  },
  {
    name: "one half of a joint configuration decides",
    rule: "both halves must agree (thesis §4.3)",
    unseen:
      "etcd's API changes one member at a time, so no joint configuration comes about; raft's transcripts have them",
    edits: [
      edit(
        "raft/quorum",
        "return Math.min(majorityIndex(incoming), majorityIndex(outgoing));",
        "return majorityIndex(incoming);",
      ),
    ],
  },
];

const snapshots: readonly Mutation[] = [
  {
    name: "an older snapshot is accepted",
    rule: "a snapshot never takes committed entries back (§7)",
    edits: [
      edit("raft/append", "if (snapshot.index <= log.committed)\n        return false;", ""),
      edit("raft/log", 'assert(snapshot.index > this.#committed, "snapshot behind the commit index");', ""),
    ],
  },
  {
    name: "an older snapshot is installed at the start",
    rule: "what is installed already is not installed again",
    edits: [
      edit(
        "apply/snapshot-installer",
        "if (mark === undefined || mark.index <= backend.consistentIndex)",
        "if (mark === undefined || mark.index === 0)",
      ),
    ],
  },
  {
    name: "the configuration of before a snapshot is kept",
    rule: "a snapshot replaces all of the state (§7)",
    edits: [edit("raft/append", "switchToConf(raft, { confState, fresh });", "")],
  },
  {
    name: "the state is the snapshot's before the store is",
    rule: "a snapshot replaces all of the state at one moment",
    edits: [
      edit(
        "apply/snapshot-installer",
        "await backend.finishInstall(fresh, () => this.#adopt(state));",
        "this.#adopt(state);\n        await backend.finishInstall(fresh, () => { });",
      ),
    ],
  },
  {
    name: "the snapshot of another entry is installed",
    rule: "a mark's snapshot is the state at its entry",
    edits: [
      edit(
        "apply/snapshot-installer",
        "const file = snapshotPath(snapshotDir, mark.index);",
        "const file = snapshotPath(snapshotDir, mark.index - 1);",
      ),
    ],
  },
];

/** How the store's files are written is the twin's in memory here; the real ones have tests of their own. */
const database: readonly Mutation[] = [
  {
    name: "the applied index is stored an entry late",
    rule: "the applied index is stored with what it is of",
    edits: [
      edit(
        "storage/backend/memory-backend",
        'this.#putSmall("meta", metaKey.consistentIndex, encodeUint64(index));',
        'this.#putSmall("meta", metaKey.consistentIndex, encodeUint64(index - 1));',
      ),
    ],
  },
  {
    name: "the database's checksums are not looked at",
    rule: "damage is noticed",
    edits: [
      edit("storage/backend/memory-backend", "if (damaged)", "if (false)"),
      edit("storage/backend/memory-backend", "if (this.#damagedSmall.get(bucket).has(text))", "if (false)"),
    ],
  },
];

/** The disks are the simulation's own, so are their readers; those of the real ones have tests of their own. */
const disks: readonly Mutation[] = [
  {
    name: "a flipped record of the log is accepted",
    rule: "damage is noticed",
    edits: [edit("test/simulation/log-disk", "if (crc32c(0, bytes.subarray(headBytes)) !== crc)", "if (false)")],
  },
  {
    name: "a misdirected write is accepted",
    rule: "damage is noticed",
    edits: [
      edit("test/simulation/log-disk", "=== magic && follows && isHeadAnywhere(sector, place.sector)", "=== magic"),
    ],
  },
];

export const stateMutations: readonly Mutation[] = [
  ...leases,
  ...watchMutations,
  ...compaction,
  ...membership,
  ...snapshots,
  ...database,
  ...disks,
];
