/** IDs, JSON forms and the pure rules, against values seen from etcd 3.7.1. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ErrMemberNotEnoughStarted } from "../errors/index.js";
import {
  applyConfChange,
  clusterIdOf,
  ConfChangeType,
  emptyConfState,
  formatConfState,
  formatMember,
  formatPromoteContext,
  memberIdOf,
  memberIdText,
  MembershipFormatError,
  parseConfChangeContext,
  parseConfState,
  parseMember,
  readyToAddVoter,
  readyToPromote,
  readyToRemoveVoter,
  validateConfChange,
  type Member,
} from "./index.js";

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

test("IDs are etcd's", () => {
  // etcd's defaults: --initial-cluster default=http://localhost:2380, token etcd-cluster.
  const id = memberIdOf(["http://localhost:2380"], "etcd-cluster");
  assert.equal(memberIdText(id), "8e9e05c52164694d");
  assert.equal(memberIdText(clusterIdOf([id])), "cdf818194e3a8c32");
  assert.equal(memberIdOf(["http://b", "http://a"], "t"), memberIdOf(["http://a", "http://b"], "t"));
  assert.notEqual(memberIdOf(["http://a"], "", 1), memberIdOf(["http://a"], "", 2));
  assert.equal(clusterIdOf([9n, 2n]), clusterIdOf([2n, 9n]));
});

test("a member's row keeps IDs beyond 2^53 and Go's spelling", () => {
  const member: Member = {
    id: 0xffff_ffff_ffff_fffen,
    name: 'a"<b>&\u2028',
    peerURLs: ["http://127.0.0.1:1"],
    clientURLs: [],
    isLearner: true,
  };
  const row = formatMember(member);
  assert.equal(
    text(row),
    '{"id":18446744073709551614,"peerURLs":["http://127.0.0.1:1"],"isLearner":true,"name":"a\\"\\u003cb\\u003e\\u0026\\u2028"}',
  );
  assert.deepEqual(parseMember(row), member);
  assert.equal(
    text(formatMember({ ...member, peerURLs: [], name: "", isLearner: false })),
    '{"id":18446744073709551614,"peerURLs":null}',
  );
});

test("contexts of changes are read and written", () => {
  const promote = formatPromoteContext(0x8e9e05c52164694dn);
  assert.equal(text(promote), '{"id":10276657743932975437,"peerURLs":null,"isPromote":true}');
  const read = parseConfChangeContext(promote);
  assert.equal(read.isPromote, true);
  assert.equal(read.member.id, 0x8e9e05c52164694dn);
  const numbersInText = parseMember(Buffer.from('{"id":5,"name":"12345678901234567890 \\" 7"}'));
  assert.equal(numbersInText.name, '12345678901234567890 " 7');
  assert.throws(() => parseMember(Buffer.from("{")), MembershipFormatError);
  assert.throws(() => parseMember(Buffer.from('{"id":-1}')), MembershipFormatError);
  assert.throws(() => parseMember(Buffer.from('{"id":1,"peerURLs":"x"}')), MembershipFormatError);
});

test("ConfState is stored as etcd stores it", () => {
  const bytes = '{"voters":[3211106759432434375,6964764011992019403],"auto_leave":false}';
  const state = parseConfState(Buffer.from(bytes));
  assert.deepEqual(state.voters, [3211106759432434375n, 6964764011992019403n]);
  assert.equal(text(formatConfState(state)), bytes);
  const joint = { ...state, learners: [1n], votersOutgoing: [2n], learnersNext: [3n], autoLeave: true };
  assert.deepEqual(parseConfState(formatConfState(joint)), joint);
});

test("simple changes of a ConfState", () => {
  let state = applyConfChange(emptyConfState, ConfChangeType.AddNode, 5n);
  state = applyConfChange(state, ConfChangeType.AddLearnerNode, 3n);
  assert.deepEqual([state.voters, state.learners], [[5n], [3n]]);
  state = applyConfChange(state, ConfChangeType.AddNode, 3n);
  assert.deepEqual([state.voters, state.learners], [[3n, 5n], []]);
  assert.equal(applyConfChange(state, ConfChangeType.UpdateNode, 3n), state);
  assert.equal(applyConfChange(state, ConfChangeType.RemoveNode, 0n), state);
  state = applyConfChange(state, ConfChangeType.RemoveNode, 5n);
  assert.deepEqual(state.voters, [3n]);
});

test("strict reconfiguration counts started voters against the new quorum", () => {
  const member = (id: bigint, name: string, isLearner = false): Member => {
    return { id, name, peerURLs: [], clientURLs: [], isLearner };
  };
  const one = [member(1n, "a")];
  assert.equal(readyToAddVoter(one), true);
  assert.equal(readyToAddVoter([...one, member(2n, "")]), false);
  assert.equal(readyToAddVoter([...one, member(2n, "b")]), true);
  assert.equal(readyToRemoveVoter(one, 1n), false);
  assert.equal(readyToRemoveVoter([...one, member(2n, "")], 2n), true);
  assert.equal(readyToRemoveVoter([...one, member(2n, "")], 1n), false);
  assert.equal(readyToPromote([...one, member(2n, "l", true)]), true);
  assert.equal(readyToPromote([...one, member(3n, ""), member(4n, ""), member(2n, "l", true)]), false);
});

test("the last voter stays, whoever asks for its removal: nothing could be decided after it", () => {
  const member = (id: bigint, isLearner: boolean): [bigint, Member] => [
    id,
    { id, name: "m", peerURLs: [], clientURLs: [], isLearner },
  ];
  const membership = { members: new Map([member(1n, false), member(2n, true)]), removed: new Set<bigint>() };
  const removal = (nodeId: bigint) => ({ id: 1n, type: ConfChangeType.RemoveNode, nodeId, context: null });
  assert.equal(validateConfChange(membership, removal(1n), 1), ErrMemberNotEnoughStarted);
  assert.equal(validateConfChange(membership, removal(2n), 1), null);
  membership.members.set(...member(3n, false));
  assert.equal(validateConfChange(membership, removal(1n), 1), null);
});
