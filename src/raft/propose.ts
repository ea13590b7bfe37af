/**
 * How a leader takes proposals (paper §5.3), and what it checks before a configuration change enters the log
 * (thesis §4.1: one at a time).
 */
import { copyOf, EntryBatch, EntryType } from "../base/index.js";
import { isEmptyConfChange } from "./conf-change-codec.js";
import { isJoint } from "./conf-change.js";
import { payloadSize } from "./entry-size.js";
import type { Message } from "./message.js";
import type { Raft, StepResult } from "./raft.js";
import { broadcastAppend } from "./replication.js";
import { none } from "./types.js";

export function handleProposal(raft: Raft, m: Message): StepResult {
  if (raft.tracker.progressOf(raft.id) === undefined) return "notMember";
  if (raft.leadTransferee !== none) return "leaderTransfer";
  return propose(raft, m.entries);
}

function propose(raft: Raft, proposed: readonly EntryBatch[]): StepResult {
  const before = raft.pendingConfIndex;
  const entries = checkConfChanges(raft, proposed);
  const size = payloadSize(entries);
  // Whatever its size, a proposal is taken when nothing is uncommitted; an empty one always, since leaving a joint
  // configuration must not fail.
  const crosses = raft.uncommittedSize + size > raft.config.maxUncommittedSize;
  if (raft.uncommittedSize > 0 && size > 0 && crosses) {
    raft.pendingConfIndex = before;
    return "uncommittedLimit";
  }
  raft.uncommittedSize += size;
  raft.appendOwn(entries);
  broadcastAppend(raft);
  return "ok";
}

/** The batches, with refused configuration changes replaced by empty entries. */
function checkConfChanges(raft: Raft, proposed: readonly EntryBatch[]): readonly EntryBatch[] {
  let checked: EntryBatch[] | null = null;
  let next = raft.log.lastIndex + 1;
  for (let i = 0; i < proposed.length; i++) {
    const batch = proposed[i]!;
    const refused = hasConfChange(batch) ? refusedChanges(raft, batch, next) : [];
    if (refused.length > 0) {
      checked ??= [...proposed];
      checked[i] = withoutEntries(batch, refused);
    }
    next += batch.count;
  }
  return checked ?? proposed;
}

function hasConfChange(batch: EntryBatch): boolean {
  for (let i = 0; i < batch.count; i++) {
    if (batch.types[i] !== EntryType.Normal) return true;
  }
  return false;
}

/** The positions in `batch` of the changes that may not enter the log now. Notes the last that may. */
function refusedChanges(raft: Raft, batch: EntryBatch, firstIndex: number): number[] {
  const refused: number[] = [];
  for (let i = 0; i < batch.count; i++) {
    const type = batch.types[i]! as EntryType;
    if (type === EntryType.Normal) continue;
    const data = batch.dataOf(batch.firstIndex + i);
    const fault = confChangeFault(raft, isEmptyConfChange(type, data) === true);
    if (fault === null || raft.config.disableConfChangeValidation === true) {
      raft.pendingConfIndex = firstIndex + i;
    } else {
      raft.logger.info("ignoring configuration change", { fault, pending: raft.pendingConfIndex });
      refused.push(i);
    }
  }
  return refused;
}

function confChangeFault(raft: Raft, leavesJoint: boolean): string | null {
  const joint = isJoint(raft.tracker.confState);
  if (raft.pendingConfIndex > raft.log.applied) return "possible unapplied conf change";
  if (joint && !leavesJoint) return "must transition out of joint config first";
  if (!joint && leavesJoint) return "not in joint state; refusing empty conf change";
  return null;
}

/** `batch` with the entries at the given positions made empty and normal. */
function withoutEntries(batch: EntryBatch, positions: readonly number[]): EntryBatch {
  const types = copyOf(batch.types);
  const ends = new Uint32Array(batch.count);
  const kept: Uint8Array[] = [];
  let end = 0;
  for (let i = 0; i < batch.count; i++) {
    if (positions.includes(i)) {
      types[i] = EntryType.Normal;
    } else {
      const data = batch.dataOf(batch.firstIndex + i);
      kept.push(data);
      end += data.length;
    }
    ends[i] = end;
  }
  const bytes = new Uint8Array(end);
  let at = 0;
  for (const data of kept) {
    bytes.set(data, at);
    at += data.length;
  }
  return new EntryBatch({ term: batch.term, firstIndex: batch.firstIndex, types, ends, bytes });
}
