import assert from "node:assert/strict";
import { test } from "node:test";
import { SeededPrng } from "../base/index.js";
import { jointIndex, jointVote, majorityIndex, majorityVote, VoteResult, type Ballot } from "./quorum.js";

test("a majority's index equals what counting one by one gives (§5.3)", () => {
  const prng = new SeededPrng(3);
  for (let round = 0; round < 2000; round++) {
    const indexes = Array.from({ length: prng.below(8) + 1 }, () => prng.below(12));
    const reached = (index: number): boolean => indexes.filter((i) => i >= index).length * 2 > indexes.length;
    const slow = Math.max(0, ...indexes.filter(reached));
    assert.equal(majorityIndex([...indexes]), slow, String(indexes));
  }
});

test("joint consensus needs both halves (thesis §4.3)", () => {
  assert.equal(jointIndex([5, 5, 5], [1, 2, 3]), 2);
  assert.equal(jointIndex([5, 5, 5], []), 5);
  assert.equal(jointVote([true, true, undefined], [true]), VoteResult.Won);
  assert.equal(jointVote([true, true, undefined], [undefined]), VoteResult.Pending);
  assert.equal(jointVote([true, true, true], [false]), VoteResult.Lost);
  assert.equal(jointVote([undefined, undefined], [false]), VoteResult.Lost);
});

test("a vote is decided once no missing ballot can turn it (§5.2)", () => {
  const cases: [Ballot[], VoteResult][] = [
    [[], VoteResult.Won],
    [[true], VoteResult.Won],
    [[undefined], VoteResult.Pending],
    [[true, false], VoteResult.Lost],
    [[true, true, undefined, undefined], VoteResult.Pending],
    [[true, true, true, undefined, false], VoteResult.Won],
    [[false, false, true, undefined, false], VoteResult.Lost],
  ];
  for (const [ballots, result] of cases) assert.equal(majorityVote(ballots), result, String(ballots));
});
