/**
 * The calls and streams of one run of a member, from their arrival to their one answer: what the edge, the dispatcher
 * and the replies are in a real one.
 */
import { LeaseService } from "../../src/api/grpc/index.js";
import type { EntryBatch } from "../../src/base/index.js";
import type { EtcdError } from "../../src/errors/index.js";
import { CallKind, ReplyKind } from "../../src/native/index.js";
import { anonymous, type MemberCore } from "../../src/server/index.js";
import { callRecord, type Reply } from "./calls.js";
import { LeaderNeeds } from "./leader-needs.js";
import type { SimulatedMember } from "./member.js";
import type { Thread } from "./timeline.js";

/** A call on its way to or in a member. */
export interface ServerCall {
  /** A write: the message of InternalRaftRequest's `field`. A read: a method's request. */
  readonly kind: "write" | "read" | "localRead" | "grant" | "timeToLive";
  readonly field: number;
  readonly method: number;
  readonly message: Uint8Array;
  /** The client sends `hasleader`. */
  readonly needsLeader?: boolean;
  /** Its entry has this index; known once it is committed. */
  index: number;
  /** Hears of the one answer; null: the member is gone. */
  readonly answered: (reply: Reply | null) => void;
}

/** A stream on its way to or in a member. */
export interface ServerStream {
  readonly kind: "watch" | "keepAlive";
  /** The client sends `hasleader`. */
  readonly needsLeader?: boolean;
  /** A message leaves the member; `asks`: the member wants to hear when the client has taken it. */
  readonly message: (bytes: Uint8Array, asks: boolean) => void;
  /** Hears of the one end; null: the member is gone. */
  readonly ended: (reply: Reply | null) => void;
}

/** What has come of a stream: its opening, a message, that it takes more, or its end. */
interface StreamRecord {
  readonly callId: number;
  readonly kind: CallKind;
  readonly message: Uint8Array;
}

/** Methods that reads may have. */
export const methods = [
  "/etcdserverpb.KV/Range",
  "/etcdserverpb.KV/Txn",
  "/etcdserverpb.Maintenance/HashKV",
  "/etcdserverpb.Watch/Watch",
] as const;
const watchMethod = methods.indexOf("/etcdserverpb.Watch/Watch");
const nothing = new Uint8Array(0);

export class MemberCalls {
  readonly #member: SimulatedMember;
  readonly #main: Thread;
  #core: MemberCore | null = null;
  readonly #calls = new Map<number, ServerCall>();
  #nextCall = 1;
  #inbox: ServerCall[] = [];
  readonly #streams = new Map<number, ServerStream>();
  #streamInbox: StreamRecord[] = [];
  /** Streams that their clients have left. */
  readonly #left = new Set<number>();
  #leaseService: LeaseService | null = null;
  #leaderNeeds: LeaderNeeds | null = null;
  #woken = false;
  /** Nothing is taken any more. */
  #stopping = false;
  #errors: { readonly callId: number; readonly error: EtcdError }[] = [];
  /** Where the core's errors go. */
  readonly replies = {
    error: (callId: number, error: EtcdError): void => void this.#errors.push({ callId, error }),
    flush: (): void => this.#flushErrors(),
  };

  constructor(member: SimulatedMember, main: Thread) {
    this.#member = member;
    this.#main = main;
  }

  get open(): number {
    return this.#calls.size + this.#inbox.length;
  }

  /** From now on calls are taken. */
  begin(core: MemberCore): void {
    this.#core = core;
    this.#leaseService = new LeaseService({ core, replies: this.replies });
    this.#leaderNeeds = new LeaderNeeds(this.#member, core, (callId, error) => this.#endStream(core, callId, error));
  }

  tick(): void {
    this.#leaderNeeds?.tick();
  }

  /** The member is gone: nobody gets an answer any more. */
  kill(): void {
    for (const call of [...this.#inbox, ...this.#calls.values()]) call.answered(null);
    this.#calls.clear();
    this.#inbox = [];
    for (const stream of this.#streams.values()) stream.ended(null);
    this.#streams.clear();
  }

  /** The member stops: what it has not taken is refused. */
  stop(): void {
    this.#stopping = true;
    for (const call of this.#inbox.splice(0)) call.answered(null);
  }

  /** Entries go to apply, and with them those who wait for them. */
  handed(batch: EntryBatch, callIds: Uint32Array): void {
    for (let i = 0; i < callIds.length; i++) {
      const call = this.#calls.get(callIds[i]!);
      if (call === undefined) continue;
      call.index = batch.firstIndex + i;
      if (call.kind !== "write") continue;
      const data = batch.dataOf(call.index);
      if (!Buffer.from(data.buffer, data.byteOffset, data.length).includes(Buffer.from(call.message)))
        this.#wrongEntry(call);
    }
  }

  /** Requests go into entries as they came. */
  #wrongEntry({ index, field }: ServerCall): never {
    const detail = `${this.#member.name} takes entry ${index} for what a call of field ${field} has asked for`;
    return this.#member.world.fail("an answer belongs to the entry that was proposed", detail);
  }

  /** A client's call arrives. */
  call(call: ServerCall): void {
    if (this.#stopping) {
      call.answered(null);
      return;
    }
    this.#inbox.push(call);
    this.wake();
  }

  /** A client opens a stream; returns its ID here. */
  openStream(stream: ServerStream): number {
    const callId = this.#nextCall++;
    this.#streams.set(callId, stream);
    this.streamRecord(callId, CallKind.Call, nothing);
    return callId;
  }

  /** A record of a stream arrives. */
  streamRecord(callId: number, kind: CallKind, message: Uint8Array): void {
    if (!this.#streams.has(callId)) return;
    this.#streamInbox.push({ callId, kind, message });
    this.wake();
  }

  /** Takes what has come, soon. */
  wake(): void {
    if (this.#woken) return;
    this.#woken = true;
    this.#main.run(this.#member.world.threadChance.around(0.05), () => {
      this.#woken = false;
      this.#takeCalls();
    });
  }

  /** One wake-up: all calls that have come, then one flush, as the dispatcher does. */
  #takeCalls(): void {
    const core = this.#core;
    if (core === null || this.#stopping || core.blocked) return;
    if (this.#inbox.length === 0 && this.#streamInbox.length === 0) return;
    const calls = this.#inbox;
    this.#inbox = [];
    const local: Uint8Array[] = [];
    for (const record of this.#streamInbox.splice(0)) this.#takeRecord(record, local);
    for (const call of calls) {
      const callId = this.#nextCall++;
      this.#calls.set(callId, call);
      const refusal = this.#leaderNeeds!.refusal(call.needsLeader === true);
      if (refusal === null) this.#take(core, call, callId, local);
      else this.#fail(callId, refusal);
    }
    if (local.length > 0)
      core.readSerializable(
        new Uint8Array(Buffer.concat(local)),
        local.reduce((sum, { length }) => sum + length, 0),
      );
    core.flush();
  }

  #take(core: MemberCore, call: ServerCall, callId: number, local: Uint8Array[]): void {
    const { kind, field, message, method } = call;
    if (kind === "timeToLive") {
      this.#leaseService!.timeToLive(message, 0, message.length, callId);
      return;
    }
    if (kind === "write" || kind === "grant") {
      const error =
        kind === "grant"
          ? this.#leaseService!.grant(message, 0, message.length, callId, anonymous)
          : core.propose(field, message, 0, message.length, callId, anonymous);
      if (error !== null) this.#fail(callId, error);
      return;
    }
    const record = callRecord(callId, method, message);
    if (kind === "read") core.readLinearizable(record, 0, record.length);
    else local.push(record);
  }

  #takeRecord({ callId, kind, message }: StreamRecord, local: Uint8Array[]): void {
    const stream = this.#streams.get(callId);
    if (stream === undefined) return;
    if (kind === CallKind.Call) {
      const refusal = this.#leaderNeeds!.refusal(stream.needsLeader === true);
      if (refusal !== null) return this.#fail(callId, refusal);
      if (stream.needsLeader === true) this.#leaderNeeds!.opened(callId);
    } else if (kind === CallKind.Cancel) this.#leave(callId);
    if (stream.kind === "watch") {
      local.push(callRecord(callId, watchMethod, message, kind));
      return;
    }
    if (kind === CallKind.Call) this.#leaseService!.open(callId);
    else if (kind === CallKind.Message) this.#leaseService!.message(callId, message, 0, message.length);
    else if (kind === CallKind.Cancel) this.#leaseService!.cancel(callId);
  }

  #flushErrors(): void {
    for (const { callId, error } of this.#errors.splice(0)) this.#fail(callId, error);
  }

  #fail(callId: number, { code, message: text }: EtcdError): void {
    this.#answer({ callId, kind: ReplyKind.End, code, text, message: nothing });
  }

  /** Whatever still comes of the stream is nobody's. */
  #leave(callId: number): void {
    this.#streams.delete(callId);
    this.#left.add(callId);
    this.#leaderNeeds!.ended(callId);
  }

  /** The member ends a stream; who serves it hears of that as of the client's going, as with the dispatcher. */
  #endStream(core: MemberCore, callId: number, error: EtcdError): void {
    this.#leaseService!.cancel(callId);
    const record = callRecord(callId, watchMethod, nothing, CallKind.Cancel);
    core.readSerializable(record, record.length);
    this.#fail(callId, error);
    this.#leave(callId);
  }

  /** Answers of apply. */
  replied(replies: readonly Reply[]): void {
    for (const reply of replies) this.#answer(reply);
  }

  /** True: it is a stream's. What a client has left behind may get answers that nobody hears. */
  #answerStream(reply: Reply): boolean {
    if (reply.kind === ReplyKind.Message) {
      this.#streams.get(reply.callId)?.message(reply.message, reply.code === 1);
      return true;
    }
    const stream = this.#streams.get(reply.callId);
    if (stream === undefined) return this.#left.has(reply.callId);
    this.#streams.delete(reply.callId);
    this.#leaderNeeds?.ended(reply.callId);
    stream.ended(reply);
    return true;
  }

  /** Exactly one answer a call. */
  #answer(reply: Reply): void {
    const call = this.#calls.get(reply.callId);
    if (call === undefined && this.#answerStream(reply)) return;
    if (call === undefined)
      this.#member.world.fail("one answer a call", `${this.#member.name} answers call ${reply.callId} again`);
    this.#calls.delete(reply.callId);
    call.answered(reply);
  }
}
