/**
 * The rules that a change of membership must pass: `validateConfChange` when it is applied, on every member alike;
 * the `ready…` checks (strict reconfiguration) at the member that is asked, before it proposes.
 * Pure.
 */
import {
  ErrMemberExists,
  ErrMemberNotEnoughStarted,
  ErrMemberNotFound,
  ErrMemberNotLearner,
  ErrPeerUrlExists,
  ErrTooManyLearners,
  type EtcdErrorClass,
} from "../errors/index.js";
import { ConfChangeType } from "./conf-state.js";
import type { ConfChangeContext } from "./member-json.js";
import type { Member } from "./member.js";

/** A ConfChange entry, its context parsed; null: it has none (removal). */
export interface ConfChange {
  /** The request's ID; 0n in bootstrap entries. */
  readonly id: bigint;
  readonly type: ConfChangeType;
  readonly nodeId: bigint;
  readonly context: ConfChangeContext | null;
}

/** What the rules look at. */
export interface Membership {
  readonly members: ReadonlyMap<bigint, Member>;
  readonly removed: ReadonlySet<bigint>;
}

function urlTaken(members: Iterable<Member>, urls: readonly string[]): boolean {
  const taken = new Set<string>();
  for (const member of members) for (const url of member.peerURLs) taken.add(url);
  return urls.some((url) => taken.has(url));
}

function refuseAdd(membership: Membership, change: ConfChange, learnersMax: number): EtcdErrorClass | null {
  const { members } = membership;
  const known = members.get(change.nodeId);
  if (change.context?.isPromote) {
    if (known === undefined) return ErrMemberNotFound;
    return known.isLearner ? null : ErrMemberNotLearner;
  }
  if (known !== undefined) return ErrMemberExists;
  if (urlTaken(members.values(), change.context?.member.peerURLs ?? [])) return ErrPeerUrlExists;
  if (change.type !== ConfChangeType.AddLearnerNode || !change.context?.member.isLearner) return null;
  const learners = [...members.values()].filter((member) => member.isLearner).length;
  return learners + 1 > learnersMax ? ErrTooManyLearners : null;
}

/** Without a voter nothing could ever be decided again: real etcd members end by a panic where these refuse. */
function refuseRemove({ members }: Membership, id: bigint): EtcdErrorClass | null {
  if (!members.has(id)) return ErrMemberNotFound;
  const isLast = [...members.values()].every((member) => member.isLearner || member.id === id);
  return isLast && members.get(id)?.isLearner === false ? ErrMemberNotEnoughStarted : null;
}

function refuseUpdate(membership: Membership, change: ConfChange): EtcdErrorClass | null {
  if (!membership.members.has(change.nodeId)) return ErrMemberNotFound;
  const others = [...membership.members.values()].filter((member) => member.id !== change.nodeId);
  return urlTaken(others, change.context?.member.peerURLs ?? []) ? ErrPeerUrlExists : null;
}

/** Why the change must be refused when it is applied; null: it is valid. */
export function validateConfChange(
  membership: Membership,
  change: ConfChange,
  learnersMax: number,
): EtcdErrorClass | null {
  if (membership.removed.has(change.nodeId)) return ErrMemberNotFound;
  switch (change.type) {
    case ConfChangeType.AddNode:
    case ConfChangeType.AddLearnerNode:
      return refuseAdd(membership, change, learnersMax);
    case ConfChangeType.RemoveNode:
      return refuseRemove(membership, change.nodeId);
    case ConfChangeType.UpdateNode:
      return refuseUpdate(membership, change);
  }
}

/** A member that has published its name has started. */
function isStarted(member: Member): boolean {
  return member.name !== "";
}

function quorumOf(voters: number): number {
  return Math.floor(voters / 2) + 1;
}

/** Whether enough started voters remain when one more voter is added. A sole member may always grow. */
export function readyToAddVoter(members: Iterable<Member>): boolean {
  const voters = [...members].filter((member) => !member.isLearner);
  const started = voters.filter(isStarted).length;
  if (started === 1 && voters.length === 1) return true;
  return started >= quorumOf(voters.length + 1);
}

/** Whether enough started voters remain when voter `id` is removed. */
export function readyToRemoveVoter(members: Iterable<Member>, id: bigint): boolean {
  const voters = [...members].filter((member) => !member.isLearner && member.id !== id);
  return voters.filter(isStarted).length >= quorumOf(voters.length);
}

/** Whether enough started voters remain when a learner, counted as started, becomes a voter. */
export function readyToPromote(members: Iterable<Member>): boolean {
  const voters = [...members].filter((member) => !member.isLearner);
  return voters.filter(isStarted).length + 1 >= quorumOf(voters.length + 1);
}
