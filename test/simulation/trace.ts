/** What happened in a run, for its drawing. */
import type { Message } from "../../src/raft/index.js";
import type { SimulatedMember } from "./member.js";

export type NoteKind = "start" | "crash" | "exit" | "stop" | "refuse" | "heal" | "pause" | "leader" | "fault" | "call";

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

export class Trace {
  readonly notes: Note[] = [];
  readonly messages: TracedMessage[] = [];
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  note(member: SimulatedMember | null, kind: NoteKind, text = ""): void {
    this.notes.push({ atMs: this.#now(), member: member?.name ?? null, kind, text });
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
      arrivedMs: this.#now(),
      arrived,
    });
  }
}
