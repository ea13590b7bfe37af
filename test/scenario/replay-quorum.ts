/**
 * Runs the commands of a quorum transcript: what a configuration has committed, and whether a vote is decided.
 */
import assert from "node:assert/strict";
import { jointIndex, jointVote, majorityIndex, majorityVote, VoteResult } from "../../src/raft/index.js";
import { valuesOf, type Directive } from "./transcript.js";

const resultNames = new Map<VoteResult, string>([
  [VoteResult.Pending, "VotePending"],
  [VoteResult.Lost, "VoteLost"],
  [VoteResult.Won, "VoteWon"],
]);

/** The result, as in the last line of the expected output. Also checks what must not change it. */
export function replayQuorum(directive: Directive): string {
  const incoming = valuesOf(directive, "cfg");
  const joint = directive.args.some((arg) => arg.key === "cfgj");
  const outgoing = valuesOf(directive, "cfgj").filter((id) => id !== "zero");
  const key = directive.command === "committed" ? "idx" : "votes";
  const given = valuesOf(directive, key);
  // Values are in the order of the voters' first appearance; "_" is a voter without an answer.
  const values = new Map([...new Set([...incoming, ...outgoing])].map((id, i) => [id, given[i] ?? "_"]));
  if (directive.command === "committed") return committed(values, { incoming, outgoing, joint });
  return vote(values, { incoming, outgoing, joint });
}

interface Voters {
  readonly incoming: readonly string[];
  readonly outgoing: readonly string[];
  readonly joint: boolean;
}

function committed(values: ReadonlyMap<string, string>, { incoming, outgoing, joint }: Voters): string {
  const indexes = (ids: readonly string[]): number[] => {
    return ids.map((id) => (values.get(id) === "_" ? 0 : Number(values.get(id))));
  };
  if (!joint) {
    const index = majorityIndex(indexes(incoming));
    assert.equal(index, slowMajorityIndex(indexes(incoming)), "the obvious way gives another result");
    assert.equal(index, jointIndex(indexes(incoming), []), "joint with nobody");
    assert.equal(index, jointIndex(indexes(incoming), indexes(incoming)), "joint with itself");
    return index === Number.POSITIVE_INFINITY ? "∞" : String(index);
  }
  const index = jointIndex(indexes(incoming), indexes(outgoing));
  assert.equal(index, jointIndex(indexes(outgoing), indexes(incoming)), "the halves are equal in rank");
  return index === Number.POSITIVE_INFINITY ? "∞" : String(index);
}

/** The highest of the indexes that more than half have reached. */
function slowMajorityIndex(indexes: readonly number[]): number {
  if (indexes.length === 0) return Number.POSITIVE_INFINITY;
  const reached = (index: number): number => indexes.filter((other) => other >= index).length;
  return Math.max(0, ...indexes.filter((index) => reached(index) * 2 > indexes.length));
}

function vote(values: ReadonlyMap<string, string>, { incoming, outgoing, joint }: Voters): string {
  const ballots = (ids: readonly string[]): (boolean | undefined)[] => {
    return ids.map((id) => (values.get(id) === "_" ? undefined : values.get(id) === "y"));
  };
  if (!joint) return resultNames.get(majorityVote(ballots(incoming)))!;
  const result = jointVote(ballots(incoming), ballots(outgoing));
  assert.equal(result, jointVote(ballots(outgoing), ballots(incoming)), "the halves are equal in rank");
  return resultNames.get(result)!;
}
