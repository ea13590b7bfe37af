/**
 * What a message from a peer must be before anything is done with it. Its bytes come from another process, so
 * every fault is a result and none an assertion; after this the rest of raft/ may rely on what is checked here.
 */
import { EntryType, type EntryBatch } from "../base/index.js";
import { isEmptyConfChange } from "./conf-change-codec.js";
import { ConfChangeError, restoreConfState } from "./conf-change.js";
import { entryCount } from "./entry-size.js";
import {
  isLocalType,
  isResponseType,
  localAppendThread,
  localApplyThread,
  MessageType,
  type Message,
} from "./message.js";
import type { Raft, StepResult } from "./raft.js";
import { none, positionMax, type Snapshot } from "./types.js";

const knownTypes: ReadonlySet<number> = new Set(Object.values(MessageType));

/** Whether Raft can take `m` from the network: "ok", or why not. */
export function validateMessage(raft: Raft, m: Message): StepResult {
  if (isLocalType(m.type) || m.from === localAppendThread || m.from === localApplyThread) return "localMessage";
  if (!knownTypes.has(m.type) || m.to !== raft.id || m.from === none) return "invalidMessage";
  if (m.from === raft.id && !mayComeBack(m.type)) return "invalidMessage";
  if (isResponseType(m.type) && raft.tracker.progressOf(m.from) === undefined) return "unknownPeer";
  if (!isPosition(m.term) || !isPosition(m.index) || !isPosition(m.logTerm)) return "invalidMessage";
  if (!isPosition(m.commit) || !isPosition(m.rejectHint)) return "invalidMessage";
  return isWellFormed(m) ? "ok" : "invalidMessage";
}

/** Requests that are passed on under the asker's ID, so that they can reach the asker again. */
function mayComeBack(type: MessageType): boolean {
  return type === MessageType.Prop || type === MessageType.ReadIndex || type === MessageType.TransferLeader;
}

function isPosition(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < positionMax;
}

function isWellFormed(m: Message): boolean {
  switch (m.type) {
    case MessageType.Prop:
      return m.term === 0 && m.entries.length > 0 && m.entries.every(isProposable);
    case MessageType.ReadIndex:
      return m.term === 0 && entryCount(m.entries) === 1;
    case MessageType.ReadIndexResp:
      return m.term > 0 && entryCount(m.entries) === 1;
    case MessageType.App:
      return m.term > 0 && followsOn(m);
    case MessageType.Snap:
      return m.term > 0 && m.snapshot !== null && isRestorable(m.snapshot, m.term);
    case MessageType.PreVoteResp:
      // A member that has never voted rejects with its term, 0.
      return m.term > 0 || m.reject;
    case MessageType.ForgetLeader:
      return true;
    default:
      return m.term > 0;
  }
}

/** Configuration changes are read when they are proposed, so they must be readable. */
function isProposable(batch: EntryBatch): boolean {
  for (let i = 0; i < batch.count; i++) {
    const type = batch.types[i]!;
    if (type === EntryType.Normal) continue;
    if (type !== EntryType.ConfChange && type !== EntryType.ConfChangeV2) return false;
    if (isEmptyConfChange(type, batch.dataOf(batch.firstIndex + i)) === null) return false;
  }
  return true;
}

/** Whether the entries follow (index, logTerm) without gap, and no term goes back or is above the leader's. */
function followsOn(m: Message): boolean {
  let index = m.index;
  let term = m.logTerm;
  for (const batch of m.entries) {
    if (batch.firstIndex !== index + 1 || !isPosition(batch.lastIndex)) return false;
    if (!isPosition(batch.term) || batch.term === 0 || batch.term < term) return false;
    index = batch.lastIndex;
    term = batch.term;
  }
  return term <= m.term;
}

function isRestorable(snapshot: Snapshot, term: number): boolean {
  if (!isPosition(snapshot.index) || snapshot.index === 0 || !isPosition(snapshot.term)) return false;
  if (snapshot.term > term) return false;
  try {
    restoreConfState(snapshot.confState);
    return true;
  } catch (error) {
    if (error instanceof ConfChangeError) return false;
    throw error;
  }
}
