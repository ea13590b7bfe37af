/**
 * Raft's messages and work in the notation of the transcripts.
 */
import { EntryType, type EntryBatch } from "../../src/base/index.js";
import {
  entryCount,
  localAppendThread,
  localApplyThread,
  MessageType,
  none,
  ProgressState,
  progressStateNames,
  roleNames,
  type ConfState,
  type HardState,
  type Message,
  type Progress,
  type Ready,
  type Snapshot,
  type SoftState,
} from "../../src/raft/index.js";
import { decodeConfChange, formatChanges } from "./conf-change-text.js";

const typeNames = new Map<number, string>(Object.entries(MessageType).map(([name, type]) => [type, `Msg${name}`]));
const entryTypeNames = ["EntryNormal", "EntryConfChange", "EntryConfChangeV2"] as const;

export function messageTypeOf(name: string): MessageType {
  for (const [type, known] of typeNames) if (known === name) return type as MessageType;
  throw new Error(`unknown message type ${name}`);
}

/** One line an entry. */
export function describeEntries(batches: readonly EntryBatch[]): string[] {
  const lines: string[] = [];
  for (const batch of batches) {
    for (let i = 0; i < batch.count; i++) {
      const index = batch.firstIndex + i;
      const type = batch.typeOf(index);
      const data = batch.dataOf(index);
      const text =
        type === EntryType.Normal
          ? JSON.stringify(new TextDecoder().decode(data))
          : formatChanges(decodeConfChange(type, data).changes);
      lines.push(`${batch.term}/${index} ${entryTypeNames[type]}${text === "" ? "" : ` ${text}`}`);
    }
  }
  return lines;
}

/** The lines of one message, responses and all. */
export function describeMessage(m: Message, indent = ""): string[] {
  const head = [`${indent}${target(m.from)}->${target(m.to)} ${typeNames.get(m.type)!}`];
  head.push(`Term:${m.term}`, `Log:${m.logTerm}/${m.index}`);
  if (m.reject) head.push(`Rejected (Hint: ${m.rejectHint})`);
  if (m.commit !== 0) head.push(`Commit:${m.commit}`);
  if (m.vote !== none) head.push(`Vote:${m.vote}`);
  const entries = describeEntries(m.entries);
  if (entryCount(m.entries) === 1) head.push(`Entries:[${entries[0]!}]`);
  else if (entries.length > 1) head.push("Entries:[");
  const lines = [head.join(" ")];
  if (entries.length > 1) lines.push(...entries.map((entry) => `${indent}  ${entry}`), `${indent}]`);
  if (m.snapshot !== null && m.snapshot.index !== 0) {
    lines.push(`${indent}  Snapshot: ${describeSnapshot(m.snapshot)}`);
  }
  if (m.responses.length === 0) return lines;
  lines[lines.length - 1] += " Responses:[";
  for (const response of m.responses) lines.push(...describeMessage(response, `${indent}  `));
  lines.push(`${indent}]`);
  return lines;
}

function target(id: bigint): string {
  if (id === none) return "None";
  if (id === localAppendThread) return "AppendThread";
  return id === localApplyThread ? "ApplyThread" : id.toString(16);
}

/** All of a Ready, its storage messages last. */
export function describeReady(ready: Ready): string[] {
  const lines: string[] = [];
  if (ready.softState !== null) lines.push(describeSoftState(ready.softState));
  if (ready.hardState !== null) lines.push(describeHardState(ready.hardState));
  if (ready.entries.length > 0) lines.push("Entries:", ...describeEntries(ready.entries));
  if (ready.snapshot !== null) lines.push(`Snapshot ${describeSnapshot(ready.snapshot)}`);
  if (ready.committed.length > 0) lines.push("CommittedEntries:", ...describeEntries(ready.committed));
  const messages = messagesOf(ready);
  if (messages.length > 0) lines.push("Messages:", ...messages.flatMap((m) => describeMessage(m)));
  if (lines.length === 0) return ["<empty Ready>"];
  return [`Ready MustSync=${ready.mustSync}:`, ...lines];
}

/** Every message of a Ready in etcd's order: others' first, then the storage's. */
export function messagesOf(ready: Ready): Message[] {
  return [...ready.messages, ready.append, ready.apply].filter((m) => m !== null);
}

function describeSoftState(state: SoftState): string {
  return `Lead:${state.lead} State:${roleNames[state.role]}`;
}

function describeHardState(state: HardState): string {
  const vote = state.vote === none ? "" : ` Vote:${state.vote}`;
  return `HardState Term:${state.term}${vote} Commit:${state.commit}`;
}

function describeSnapshot(snapshot: Snapshot): string {
  return `Index:${snapshot.index} Term:${snapshot.term} ConfState:${describeConfState(snapshot.confState)}`;
}

function describeConfState(state: ConfState): string {
  const list = (ids: readonly bigint[]): string => `[${ids.join(" ")}]`;
  return [
    `Voters:${list(state.voters)}`,
    `VotersOutgoing:${list(state.votersOutgoing)}`,
    `Learners:${list(state.learners)}`,
    `LearnersNext:${list(state.learnersNext)}`,
    `AutoLeave:${state.autoLeave}`,
  ].join(" ");
}

/** A configuration as the confchange transcripts write it. */
export function describeConfiguration(state: ConfState): string {
  const set = (ids: readonly bigint[]): string => `(${ids.map((id) => id.toString(16)).join(" ")})`;
  let text = `voters=${set(state.voters)}`;
  if (state.votersOutgoing.length > 0) text += `&&${set(state.votersOutgoing)}`;
  if (state.learners.length > 0) text += ` learners=${set(state.learners)}`;
  if (state.learnersNext.length > 0) text += ` learners_next=${set(state.learnersNext)}`;
  return state.autoLeave ? `${text} autoleave` : text;
}

/** One line a member. */
export function describeProgress(members: readonly Progress[]): string[] {
  return members.map((member) => {
    const words = [progressStateNames[member.state], `match=${member.match}`, `next=${member.next}`];
    if (member.isLearner) words.push("learner");
    if (member.paused) words.push("paused");
    if (member.state === ProgressState.Snapshot) words.push(`pendingSnap=${member.pendingSnapshot}`);
    if (!member.recentActive) words.push("inactive");
    const inflight = member.inflights.count;
    if (inflight > 0) words.push(`inflight=${inflight}${member.inflights.full ? "[full]" : ""}`);
    return `${member.id}: ${words.join(" ")}`;
  });
}
