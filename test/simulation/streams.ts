/**
 * What a client does over a connection to one member: calls with one answer, and streams. A connection keeps what it
 * carries in order, and its other end may go at any time.
 */
import { CallKind } from "../../src/native/index.js";
import type { Reply } from "./calls.js";
import type { SimulatedMember } from "./member.js";
import type { ServerCall, ServerStream } from "./member-calls.js";
import type { MemberProcess } from "./process.js";
import type { World } from "./world.js";

/** Mean one-way delay between a client and a member. */
const wayMs = 0.3;
const nothing = new Uint8Array(0);

/** What a unary call comes to: a reply, or nothing within its time; `refused`: it has certainly not been done. */
export type Answered = { readonly reply: Reply } | { readonly reply: null; readonly refused: boolean };

export interface UnaryCall extends Pick<ServerCall, "kind" | "field" | "message"> {
  readonly timeoutMs: number;
  /** The reply leaves the member. */
  readonly left?: (reply: Reply, index: number) => void;
}

/** Sends a call to a member; `done` hears of its outcome once. */
export function callUnary(world: World, member: SimulatedMember, call: UnaryCall, done: (a: Answered) => void): void {
  const { timeline, netChance } = world;
  let isOver = false;
  const end = (answered: Answered): void => {
    if (isOver) return;
    isOver = true;
    done(answered);
  };
  const sent: ServerCall = {
    kind: call.kind,
    field: call.field,
    message: call.message,
    method: 0,
    index: 0,
    answered: (reply) => {
      if (reply !== null) call.left?.(reply, sent.index);
      timeline.after(netChance.around(wayMs), () => end(reply === null ? { reply, refused: false } : { reply }));
    },
  };
  timeline.after(netChance.around(wayMs), () => {
    const { process } = member;
    if (process === null) end({ reply: null, refused: true });
    else process.calls.call(sent);
  });
  timeline.after(call.timeoutMs, () => end({ reply: null, refused: false }));
}

export interface StreamHandlers {
  readonly message: (bytes: Uint8Array) => void;
  /** The one end, unless the client closes it; null: the connection is gone. */
  readonly ended: (reply: Reply | null) => void;
}

export interface StreamOptions {
  readonly kind: ServerStream["kind"];
  /** It sends `hasleader`. */
  readonly needsLeader?: boolean;
  /** How long the client takes over each message, at present. */
  readonly readMs?: () => number;
}

/** One stream to one member. */
export class StreamCall {
  readonly #world: World;
  readonly #handlers: StreamHandlers;
  readonly #kind: ServerStream["kind"];
  readonly #needsLeader: boolean;
  readonly #readMs: () => number;
  /** What has arrived and is not read yet, in order. */
  readonly #unread: (() => void)[] = [];
  #process: MemberProcess | null = null;
  #callId = 0;
  #closed = false;
  /** When the last record of each direction arrives. */
  #toMemberAt = 0;
  #toClientAt = 0;

  constructor(
    world: World,
    member: SimulatedMember,
    { kind, needsLeader = false, readMs = () => 0 }: StreamOptions,
    handlers: StreamHandlers,
  ) {
    this.#world = world;
    this.#kind = kind;
    this.#needsLeader = needsLeader;
    this.#handlers = handlers;
    this.#readMs = readMs;
    this.#toMember(() => this.#open(member));
  }

  send(message: Uint8Array): void {
    this.#toMember(() => this.#process?.calls.streamRecord(this.#callId, CallKind.Message, message));
  }

  /** The client wants no more of it. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#toMember(() => this.#process?.calls.streamRecord(this.#callId, CallKind.Cancel, nothing));
  }

  #open(member: SimulatedMember): void {
    const { process } = member;
    if (process === null) {
      this.#toClient(() => this.#end(null));
      return;
    }
    this.#process = process;
    this.#callId = process.calls.openStream({
      kind: this.#kind,
      needsLeader: this.#needsLeader,
      message: (bytes, asks) => this.#toClient(() => this.#received(bytes, asks)),
      ended: (reply) => this.#toClient(() => this.#end(reply)),
    });
  }

  #received(bytes: Uint8Array, asks: boolean): void {
    if (this.#closed) return;
    if (asks) this.#toMember(() => this.#process?.calls.streamRecord(this.#callId, CallKind.Writable, nothing));
    this.#handlers.message(bytes);
  }

  #end(reply: Reply | null): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#handlers.ended(reply);
  }

  #toMember(run: () => void): void {
    const { timeline, netChance } = this.#world;
    this.#toMemberAt = Math.max(this.#toMemberAt, timeline.now + netChance.around(wayMs));
    timeline.at(this.#toMemberAt, run);
  }

  #toClient(run: () => void): void {
    const { timeline, netChance } = this.#world;
    this.#toClientAt = Math.max(this.#toClientAt, timeline.now + netChance.around(wayMs));
    timeline.at(this.#toClientAt, () => {
      this.#unread.push(run);
      if (this.#unread.length === 1) this.#read();
    });
  }

  #read(): void {
    const take = (): void => {
      this.#unread[0]!();
      this.#unread.shift();
      if (this.#unread.length > 0) this.#read();
    };
    const readMs = this.#readMs();
    if (readMs === 0) take();
    else this.#world.timeline.after(readMs, take);
  }
}
