/**
 * What a majority, or two majorities at once, have agreed on (paper §5.3, thesis §4.3).
 * Pure functions over one value a voter; who the voters are is the tracker's business.
 */

/** Whether a vote has been decided. */
export const VoteResult = { Pending: 1, Lost: 2, Won: 3 } as const;
export type VoteResult = (typeof VoteResult)[keyof typeof VoteResult];

/** A voter's answer; undefined while there is none. */
export type Ballot = boolean | undefined;

/**
 * The highest index that a majority has acknowledged, given one index a voter (0 when it has not answered).
 * Sorts `indexes` in place. No voters at all agree on everything, so that the empty half of a joint
 * configuration does not hold the other back.
 */
export function majorityIndex(indexes: number[]): number {
  const count = indexes.length;
  if (count === 0) return Number.POSITIVE_INFINITY;
  if (count === 1) return indexes[0]!;
  // Insertion sort: there are seldom more than seven voters, and this allocates nothing.
  for (let i = 1; i < count; i++) {
    const value = indexes[i]!;
    let at = i;
    for (; at > 0 && indexes[at - 1]! > value; at--) indexes[at] = indexes[at - 1]!;
    indexes[at] = value;
  }
  return indexes[count - (Math.floor(count / 2) + 1)]!;
}

/** The highest index acknowledged by a majority of both halves. Sorts both in place. */
export function jointIndex(incoming: number[], outgoing: number[]): number {
  return Math.min(majorityIndex(incoming), majorityIndex(outgoing));
}

/** Whether a majority has said yes, can no longer say yes, or neither. No voters at all have said yes. */
export function majorityVote(ballots: readonly Ballot[]): VoteResult {
  if (ballots.length === 0) return VoteResult.Won;
  const needed = Math.floor(ballots.length / 2) + 1;
  let granted = 0;
  let missing = 0;
  for (const ballot of ballots) {
    if (ballot === undefined) missing += 1;
    else if (ballot) granted += 1;
  }
  if (granted >= needed) return VoteResult.Won;
  return granted + missing >= needed ? VoteResult.Pending : VoteResult.Lost;
}

/** Both halves must win; one lost half decides. */
export function jointVote(incoming: readonly Ballot[], outgoing: readonly Ballot[]): VoteResult {
  const first = majorityVote(incoming);
  const second = majorityVote(outgoing);
  if (first === second) return first;
  if (first === VoteResult.Lost || second === VoteResult.Lost) return VoteResult.Lost;
  return VoteResult.Pending;
}
