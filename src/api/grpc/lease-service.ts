/**
 * etcdserverpb.Lease on main: grants and revokes go into the log, the other calls by way of the leases' clock to
 * apply, which answers them.
 *
 * A keepalive stream is answered request by request in order. One for a lease whose end has been asked for waits until
 * that is done, one for a lease that is not known until that is certain, and with it all that the stream asks later. Where another member leads, it renews the lease.
 * Thread: main.
 */
import { type EtcdError, GrpcCode, ErrTooManyRequests, unmarshalMessageError } from "../../errors/index.js";
import {
  decodeLeaseGrantRequest,
  decodeLeaseKeepAliveRequest,
  decodeLeaseTimeToLiveRequest,
  LeaseKeepAliveRequestDescriptor,
  validate,
  writeVarint64,
} from "../../proto/index.js";
import type { ErrorSink, Identity, MemberCore } from "../../server/index.js";

/** Field of InternalRaftRequest. */
const grantField = 8;
/** LeaseGrantRequest.ID, a varint. */
const grantIdTag = 0x10;
/** Requests of one stream that wait for a lease's end; a client that sends more of them is sent away. */
const heldMax = 1024;

/** One request of a stream, or its end. */
type Held = { readonly low: number; readonly high: number } | { readonly end: EtcdError | null };

interface Stream {
  /** Requests behind one that waits; empty: nothing waits. */
  readonly held: Held[];
  ended: boolean;
  /** The first of `held` is with the leader; ends the wait for it. */
  giveUp: (() => void) | null;
}

function lowOf(id: bigint): number {
  return Number(id & 0xffff_ffffn);
}
function highOf(id: bigint): number {
  return Number((id >> 32n) & 0xffff_ffffn);
}

/** The member whose leases these are: EtcdServer, or a simulated one. */
export interface LeaseServiceOwner {
  readonly core: MemberCore;
  readonly replies: ErrorSink;
}

export class LeaseService {
  readonly #server: LeaseServiceOwner;
  readonly #streams = new Map<number, Stream>();
  readonly #waiting = new Set<number>();
  #scratch = new Uint8Array(256);

  constructor(server: LeaseServiceOwner) {
    this.#server = server;
    server.core.leases.onEnded = () => this.#again();
  }

  /** Proposes a grant, which parses; without an ID it gets one. Returns the error that ends the call at once. */
  grant(bytes: Uint8Array, start: number, end: number, callId: number, identity: Identity): EtcdError | null {
    const { core } = this.#server;
    if (decodeLeaseGrantRequest(bytes, start, end).ID !== 0n)
      return core.propose(grantField, bytes, start, end, callId, identity);
    // The last value of a field counts.
    const length = end - start;
    if (length + 11 > this.#scratch.length) this.#scratch = new Uint8Array(2 * length + 11);
    this.#scratch.set(bytes.subarray(start, end));
    this.#scratch[length] = grantIdTag;
    const granted = writeVarint64(core.newLeaseId(), this.#scratch, length + 1);
    return core.propose(grantField, this.#scratch, 0, granted, callId, identity);
  }

  timeToLive(bytes: Uint8Array, start: number, end: number, callId: number): void {
    const { ID, keys } = decodeLeaseTimeToLiveRequest(bytes, start, end);
    this.#server.core.leases.timeToLive(callId, lowOf(ID), highOf(ID), keys);
  }

  list(callId: number): void {
    this.#server.core.leases.list(callId);
  }

  /** A keepalive stream begins. */
  open(callId: number): void {
    this.#streams.set(callId, { held: [], ended: false, giveUp: null });
  }

  /** A message of a stream; nothing happens when it is none of these. */
  message(callId: number, bytes: Uint8Array, start: number, end: number): void {
    const stream = this.#streams.get(callId);
    if (stream === undefined || stream.ended) return;
    const text = validate(LeaseKeepAliveRequestDescriptor, bytes, start, end);
    if (text !== undefined) return this.#take(callId, stream, { end: unmarshalMessageError(text) });
    const { ID } = decodeLeaseKeepAliveRequest(bytes, start, end);
    this.#take(callId, stream, { low: lowOf(ID), high: highOf(ID) });
  }

  /** The client has sent all that it will. */
  halfClosed(callId: number): void {
    const stream = this.#streams.get(callId);
    if (stream !== undefined && !stream.ended) this.#take(callId, stream, { end: null });
  }

  /** The call is gone. */
  cancel(callId: number): void {
    this.#streams.get(callId)?.giveUp?.();
    this.#streams.delete(callId);
    this.#waiting.delete(callId);
  }

  #take(callId: number, stream: Stream, request: Held): void {
    if ("end" in request) stream.ended = true;
    if (stream.held.length === 0 && this.#answer(callId, stream, request)) return;
    stream.held.push(request);
    if (stream.held.length === 1) this.#askLeader(callId, stream);
    this.#waiting.add(callId);
    if (stream.held.length <= heldMax) return;
    this.#server.replies.error(callId, new ErrTooManyRequests());
    this.cancel(callId);
  }

  /** False: it must wait. */
  #answer(callId: number, stream: Stream, request: Held): boolean {
    const { leases } = this.#server.core;
    if ("end" in request) {
      const { code, message } = request.end ?? { code: GrpcCode.OK, message: "" };
      leases.endStream(callId, code, message);
      this.#streams.delete(callId);
      return true;
    }
    if (stream.giveUp !== null || !this.#server.core.isLeader) return false;
    return leases.keepAlive(callId, request.low, request.high);
  }

  /** Leases have ended, or another member leads: what waits for that may go on. */
  #again(): void {
    const waiting = [...this.#waiting];
    for (const callId of waiting) this.#goOn(callId, this.#streams.get(callId)!);
  }

  #goOn(callId: number, stream: Stream): void {
    let done = 0;
    while (done < stream.held.length && this.#answer(callId, stream, stream.held[done]!)) done++;
    stream.held.splice(0, done);
    if (stream.held.length === 0) this.#waiting.delete(callId);
    else this.#askLeader(callId, stream);
  }

  /** Passes the first request that waits on to the leader, unless this member leads. */
  #askLeader(callId: number, stream: Stream): void {
    const { core } = this.#server;
    const [request] = stream.held;
    if (stream.giveUp !== null || core.isLeader || request === undefined || "end" in request) return;
    const { low, high } = request;
    let isOver = false;
    const giveUp = core.leases.renewAtLeader(low, high, (answer) => {
      isOver = true;
      stream.giveUp = null;
      if (answer === "here") return this.#goOn(callId, stream);
      if ("error" in answer) {
        this.#server.replies.error(callId, answer.error);
        return this.cancel(callId);
      }
      core.leases.renewed(callId, low, high, answer.ttl);
      stream.held.shift();
      this.#goOn(callId, stream);
      core.leases.flush();
    });
    if (!isOver) stream.giveUp = giveUp;
  }
}
