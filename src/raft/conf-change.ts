/**
 * How a configuration follows from another: simple changes of one voter, joint consensus in two steps
 * (thesis §4.1, §4.3), and learners (thesis §4.2.1). Pure functions from a ConfState to the next.
 */
import { assert } from "../base/index.js";
import { compareIds, none, type ConfState } from "./types.js";

/** raftpb.ConfChangeType. */
export const ConfChangeType = { AddNode: 0, RemoveNode: 1, UpdateNode: 2, AddLearnerNode: 3 } as const;
export type ConfChangeType = (typeof ConfChangeType)[keyof typeof ConfChangeType];

/** raftpb.ConfChangeTransition: Auto is joint only when several members change. */
export const ConfChangeTransition = { Auto: 0, JointImplicit: 1, JointExplicit: 2 } as const;
export type ConfChangeTransition = (typeof ConfChangeTransition)[keyof typeof ConfChangeTransition];

export interface ConfChangeSingle {
  readonly type: ConfChangeType;
  /** 0 makes the change do nothing: a host that refuses a committed change applies it so. */
  readonly nodeId: bigint;
}

/** raftpb.ConfChangeV2; a version 1 change is one with a single element. */
export interface ConfChangeV2 {
  readonly transition: ConfChangeTransition;
  readonly changes: readonly ConfChangeSingle[];
}

/** A configuration change, or a configuration from elsewhere, that cannot be. */
export class ConfChangeError extends Error {
  override readonly name = "ConfChangeError";
}

/** A configuration, and whose progress starts anew with it. */
export interface ChangedConf {
  readonly confState: ConfState;
  readonly fresh: ReadonlySet<bigint>;
}

export const emptyConfState: ConfState = Object.freeze({
  voters: [],
  learners: [],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
});

export function isJoint(confState: ConfState): boolean {
  return confState.votersOutgoing.length > 0;
}

/** Why `confState` breaks an invariant of ConfState, or null. */
export function confStateFault(confState: ConfState): string | null {
  const { voters, learners, votersOutgoing, learnersNext } = confState;
  for (const ids of [voters, learners, votersOutgoing, learnersNext]) {
    if (!ids.every((id, i) => id !== none && (i === 0 || ids[i - 1]! < id))) return "IDs are not in order";
  }
  if (learners.some((id) => voters.includes(id) || votersOutgoing.includes(id))) return "a learner is a voter";
  if (learnersNext.some((id) => !votersOutgoing.includes(id) || voters.includes(id))) {
    return "a staged learner is not an outgoing voter";
  }
  if (voters.length === 0 && (learners.length > 0 || votersOutgoing.length > 0)) return "no voters";
  if (!isJoint(confState) && (learnersNext.length > 0 || confState.autoLeave))
    return "joint state without outgoing voters";
  return null;
}

/** A configuration from elsewhere, in order. Throws ConfChangeError when it is none. */
export function restoreConfState(confState: ConfState): ConfState {
  const sorted: ConfState = {
    voters: confState.voters.toSorted(compareIds),
    learners: confState.learners.toSorted(compareIds),
    votersOutgoing: confState.votersOutgoing.toSorted(compareIds),
    learnersNext: confState.learnersNext.toSorted(compareIds),
    autoLeave: confState.autoLeave,
  };
  const fault = confStateFault(sorted);
  if (fault !== null) throw new ConfChangeError(`bad configuration: ${fault}`);
  return sorted;
}

/** The configuration after `change`. Throws ConfChangeError when the change does not fit. */
export function changeConf(confState: ConfState, change: ConfChangeV2): ChangedConf {
  if (leavesJoint(change)) return leaveJoint(confState);
  if (change.transition !== ConfChangeTransition.Auto || change.changes.length > 1) {
    const autoLeave = change.transition !== ConfChangeTransition.JointExplicit;
    return enterJoint(confState, change.changes, autoLeave);
  }
  return simple(confState, change.changes);
}

/** Whether `change` is the one that ends a joint configuration. */
export function leavesJoint(change: ConfChangeV2): boolean {
  return change.transition === ConfChangeTransition.Auto && change.changes.length === 0;
}

/** Changes at most one voter; any two majorities before and after then overlap (thesis §4.1). */
export function simple(confState: ConfState, changes: readonly ConfChangeSingle[]): ChangedConf {
  if (isJoint(confState)) throw new ConfChangeError("can't apply simple config change in joint config");
  const editor = new Editor(confState);
  editor.apply(changes);
  const changed = editor.finish(false);
  const before = confState.voters;
  const after = changed.confState.voters;
  const added = after.filter((id) => !before.includes(id)).length;
  const removed = before.filter((id) => !after.includes(id)).length;
  if (added + removed > 1) throw new ConfChangeError("more than one voter changed without entering joint config");
  return changed;
}

/** Keeps the voters as outgoing ones and changes the incoming: C(old,new) of thesis §4.3. */
export function enterJoint(
  confState: ConfState,
  changes: readonly ConfChangeSingle[],
  autoLeave: boolean,
): ChangedConf {
  if (isJoint(confState)) throw new ConfChangeError("config is already joint");
  if (confState.voters.length === 0) throw new ConfChangeError("can't make a zero-voter config joint");
  const editor = new Editor({ ...confState, votersOutgoing: confState.voters });
  editor.apply(changes);
  return editor.finish(autoLeave);
}

/** Drops the outgoing voters; staged learners become learners: C(new) of thesis §4.3. */
export function leaveJoint(confState: ConfState): ChangedConf {
  if (!isJoint(confState)) throw new ConfChangeError("can't leave a non-joint config");
  const editor = new Editor({
    ...confState,
    learners: [...confState.learners, ...confState.learnersNext],
    learnersNext: [],
    votersOutgoing: [],
  });
  return editor.finish(false);
}

/** Edits the incoming half of a configuration; the outgoing half stays. */
class Editor {
  readonly #voters: Set<bigint>;
  readonly #learners: Set<bigint>;
  readonly #learnersNext: Set<bigint>;
  readonly #outgoing: readonly bigint[];
  readonly #fresh = new Set<bigint>();

  constructor(confState: ConfState) {
    this.#voters = new Set(confState.voters);
    this.#learners = new Set(confState.learners);
    this.#learnersNext = new Set(confState.learnersNext);
    this.#outgoing = confState.votersOutgoing;
  }

  apply(changes: readonly ConfChangeSingle[]): void {
    for (const { type, nodeId } of changes) {
      if (nodeId === none) continue;
      switch (type) {
        case ConfChangeType.AddNode:
          this.#addVoter(nodeId);
          break;
        case ConfChangeType.AddLearnerNode:
          this.#addLearner(nodeId);
          break;
        case ConfChangeType.RemoveNode:
          this.#remove(nodeId);
          break;
        case ConfChangeType.UpdateNode:
          break;
        default:
          throw new ConfChangeError(`unexpected conf type ${String(type)}`);
      }
    }
    if (this.#voters.size === 0) throw new ConfChangeError("removed all voters");
  }

  finish(autoLeave: boolean): ChangedConf {
    const confState: ConfState = {
      voters: [...this.#voters].sort(compareIds),
      learners: [...this.#learners].sort(compareIds),
      votersOutgoing: this.#outgoing,
      learnersNext: [...this.#learnersNext].sort(compareIds),
      autoLeave,
    };
    const fault = confStateFault(confState);
    assert(fault === null, `configuration change: ${fault ?? ""}`);
    return { confState, fresh: this.#fresh };
  }

  #isMember(id: bigint): boolean {
    return this.#voters.has(id) || this.#learners.has(id) || this.#outgoing.includes(id);
  }

  #addVoter(id: bigint): void {
    if (!this.#isMember(id)) this.#fresh.add(id);
    this.#learners.delete(id);
    this.#learnersNext.delete(id);
    this.#voters.add(id);
  }

  #addLearner(id: bigint): void {
    if (this.#learners.has(id)) return;
    if (!this.#isMember(id)) this.#fresh.add(id);
    this.#voters.delete(id);
    // Whoever still votes in the outgoing half becomes a learner when that half goes.
    if (this.#outgoing.includes(id)) this.#learnersNext.add(id);
    else this.#learners.add(id);
  }

  #remove(id: bigint): void {
    this.#voters.delete(id);
    this.#learners.delete(id);
    this.#learnersNext.delete(id);
  }
}
