/** What happened in a run, for its drawing. */
import type { Message } from "../../src/raft/index.js";
import type { SimulatedMember } from "./member.js";

export type NoteKind =
  | "start"
  | "crash"
  | "exit"
  | "stop"
  | "refuse"
  | "heal"
  | "leader"
  | "follower"
  | "removed"
  | "change"
  | "fault"
  | "end";

export interface Note {
  readonly atMs: number;
  /** null: of the whole cluster. */
  readonly member: string | null;
  readonly kind: NoteKind;
  readonly text: string;
}

export interface TracedMessage {
  readonly from: string;
  readonly to: string;
  readonly type: number;
  readonly term: number;
  readonly index: number;
  readonly entries: number;
  readonly reject: boolean;
  readonly sentMs: number;
  readonly arrivedMs: number;
  readonly arrived: boolean;
}

/** A client's operation. */
export interface TracedCall {
  readonly member: string;
  readonly text: string;
  readonly beginMs: number;
  readonly endMs: number;
  readonly outcome: "ok" | "refused" | "unknown";
}

export class Trace {
  readonly notes: Note[] = [];
  readonly messages: TracedMessage[] = [];
  readonly calls: TracedCall[] = [];
  now: () => number = () => 0;
  readonly #leads = new Map<string, number>();

  note(member: SimulatedMember | null, kind: NoteKind, text = ""): void {
    this.notes.push({ atMs: this.now(), member: member?.name ?? null, kind, text });
    if (member !== null && kind !== "fault") this.#leads.delete(member.name);
  }

  /** A member leads in `term`, or (0) in none. */
  leads(member: SimulatedMember, term: number): void {
    if ((this.#leads.get(member.name) ?? 0) === term) return;
    this.note(member, term === 0 ? "follower" : "leader", String(term));
    this.#leads.set(member.name, term);
  }

  call(call: Omit<TracedCall, "endMs">): void {
    this.calls.push({ ...call, endMs: this.now() });
  }

  message(from: SimulatedMember, to: SimulatedMember, m: Message, sentMs: number, arrived: boolean): void {
    this.messages.push({
      from: from.name,
      to: to.name,
      type: m.type,
      term: m.term,
      index: m.index,
      entries: m.entries.reduce((sum, { count }) => sum + count, 0),
      reject: m.reject,
      sentMs,
      arrivedMs: this.now(),
      arrived,
    });
  }
}
