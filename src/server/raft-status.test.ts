import assert from "node:assert/strict";
import { test } from "node:test";
import { Role, type Status } from "../raft/index.js";
import { raftStatusOf } from "./raft-status.js";

const status: Status = {
  id: 0x8e9e05c52164694dn,
  hardState: { term: 2, vote: 0x8e9e05c52164694dn, commit: 4 },
  softState: { lead: 0n, role: Role.Follower },
  applied: 3,
  leadTransferee: 0n,
  confState: { voters: [], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false },
  progress: [],
};

test("Raft's status as etcd writes it; a follower knows no progress", () => {
  const id = "8e9e05c52164694d";
  const expected = { id, term: 2, vote: id, commit: 4, lead: "0", raftState: "StateFollower", applied: 3 };
  assert.deepEqual(raftStatusOf(status), { ...expected, progress: {}, leadtransferee: "0" });
});
