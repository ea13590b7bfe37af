/**
 * Raft's messages: between members, and between Raft and its storage.
 * A message is immutable once made, and all messages have the same fields in the same order, so that
 * the code that reads them stays fast. Entries travel as batches that are shared with the log, never copied.
 */
import type { EntryBatch } from "../base/index.js";
import type { Snapshot } from "./types.js";

/** raftpb.MessageType. Hup, Beat and CheckQuorum are methods here and never messages. */
export const MessageType = {
  Hup: 0,
  Beat: 1,
  Prop: 2,
  App: 3,
  AppResp: 4,
  Vote: 5,
  VoteResp: 6,
  Snap: 7,
  Heartbeat: 8,
  HeartbeatResp: 9,
  Unreachable: 10,
  SnapStatus: 11,
  CheckQuorum: 12,
  TransferLeader: 13,
  TimeoutNow: 14,
  ReadIndex: 15,
  ReadIndexResp: 16,
  PreVote: 17,
  PreVoteResp: 18,
  StorageAppend: 19,
  StorageAppendResp: 20,
  StorageApply: 21,
  StorageApplyResp: 22,
  ForgetLeader: 23,
} as const;
export type MessageType = (typeof MessageType)[keyof typeof MessageType];

/** The addressee of StorageAppend: whoever writes the log. */
export const localAppendThread = 0xffff_ffff_ffff_ffffn;
/** The addressee of StorageApply: whoever applies committed entries. */
export const localApplyThread = 0xffff_ffff_ffff_fffen;

/** raftpb.Message. What a field means depends on the type; unset is 0, empty, false or null. */
export interface Message {
  readonly type: MessageType;
  readonly to: bigint;
  readonly from: bigint;
  readonly term: number;
  /** App: the term at `index`. Vote: the last entry's term. Rejection: the term at `rejectHint`. */
  readonly logTerm: number;
  /** App: the entry before `entries`. Vote: the last entry. AppResp: the last matching entry. */
  readonly index: number;
  /** Consecutive batches. In Prop, ReadIndex and ReadIndexResp they have no place yet: term 0, index 0. */
  readonly entries: readonly EntryBatch[];
  readonly commit: number;
  readonly snapshot: Snapshot | null;
  readonly reject: boolean;
  readonly rejectHint: number;
  readonly context: Uint8Array | null;
  /** StorageAppend only. */
  readonly vote: bigint;
  /** StorageAppend and StorageApply: what to deliver, in order, once the work is durable or done. */
  readonly responses: readonly Message[];
}

export const noEntries: readonly EntryBatch[] = Object.freeze([]);
export const noMessages: readonly Message[] = Object.freeze([]);

/** The fields of a message that are set; the rest is empty. */
export type MessageFields = Partial<Message> & { readonly type: MessageType; readonly to: bigint };

/** A message with the given fields set. */
export function message(fields: MessageFields & { readonly from: bigint }): Message {
  return messageFrom(fields.from, 0, fields);
}

/** A message from `from` of term `term`, unless the fields say otherwise. */
export function messageFrom(from: bigint, term: number, fields: MessageFields): Message {
  return {
    type: fields.type,
    to: fields.to,
    from: fields.from ?? from,
    term: fields.term ?? term,
    logTerm: fields.logTerm ?? 0,
    index: fields.index ?? 0,
    entries: fields.entries ?? noEntries,
    commit: fields.commit ?? 0,
    snapshot: fields.snapshot ?? null,
    reject: fields.reject ?? false,
    rejectHint: fields.rejectHint ?? 0,
    context: fields.context ?? null,
    vote: fields.vote ?? 0n,
    responses: fields.responses ?? noMessages,
  };
}

/** Types that must never come from the network. */
export function isLocalType(type: MessageType): boolean {
  switch (type) {
    case MessageType.Hup:
    case MessageType.Beat:
    case MessageType.Unreachable:
    case MessageType.SnapStatus:
    case MessageType.CheckQuorum:
    case MessageType.StorageAppend:
    case MessageType.StorageAppendResp:
    case MessageType.StorageApply:
    case MessageType.StorageApplyResp:
      return true;
    default:
      return false;
  }
}

/** Answers of a peer, which make no sense from one that is not in the configuration. */
export function isResponseType(type: MessageType): boolean {
  switch (type) {
    case MessageType.AppResp:
    case MessageType.VoteResp:
    case MessageType.HeartbeatResp:
    case MessageType.ReadIndexResp:
    case MessageType.PreVoteResp:
      return true;
    default:
      return false;
  }
}
