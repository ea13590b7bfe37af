/**
 * A caller's client of the member, for locks and elections: its calls go as the caller's own to main, but are not
 * counted among clients' calls, as etcd's server calls itself without gRPC.
 */
import { assert } from "../../base/index.js";
import type { ConcurrencyClient } from "../concurrency/index.js";
import { ErrContextCanceled, ErrRequestTooLarge, EtcdError, GrpcCode } from "../../errors/index.js";
import {
  decodeDeleteRangeResponse,
  decodeLeaseGrantResponse,
  decodeRangeResponse,
  decodeTxnResponse,
  decodeWatchResponse,
  encodeDeleteRangeRequest,
  encodeLeaseGrantRequest,
  encodeRangeRequest,
  encodeTxnRequest,
  encodeWatchRequest,
  type DeleteRangeRequestInit,
  type DeleteRangeResponse,
  type LeaseGrantRequestInit,
  type LeaseGrantResponse,
  type RangeRequestInit,
  type RangeResponse,
  type TxnRequestInit,
  type TxnResponse,
  type WatchCreateRequestInit,
  type WatchResponse,
} from "../../proto/index.js";
import type { Call, CallClient } from "./call-client.js";
import { WatchInbox } from "./watch-inbox.js";

const paths = {
  range: "/etcdserverpb.KV/Range",
  deleteRange: "/etcdserverpb.KV/DeleteRange",
  txn: "/etcdserverpb.KV/Txn",
  leaseGrant: "/etcdserverpb.Lease/LeaseGrant",
  watch: "/etcdserverpb.Watch/Watch",
} as const;

/** In whose name calls are made. */
export type Caller = Pick<Call, "flags" | "metadata" | "connectionId">;

export interface MemberClientOptions {
  /** Method indices by path. */
  readonly methods: ReadonlyMap<string, number>;
  readonly caller: Caller;
  /** Aborted when the caller wants no answer any more. */
  readonly signal: AbortSignal;
  /** The longest message that main takes. */
  readonly messageBytesMax: number;
}

const nothing: Uint8Array = new Uint8Array(0);

export class MemberClient implements ConcurrencyClient {
  readonly #calls: CallClient;
  readonly #options: MemberClientOptions;

  constructor(calls: CallClient, options: MemberClientOptions) {
    this.#calls = calls;
    this.#options = options;
  }

  get isGone(): boolean {
    return this.#options.signal.aborted;
  }

  async range(request: RangeRequestInit): Promise<RangeResponse> {
    return decodeRangeResponse(await this.#unary("range", encodeRangeRequest(request)));
  }

  async deleteRange(request: DeleteRangeRequestInit): Promise<DeleteRangeResponse> {
    return decodeDeleteRangeResponse(await this.#unary("deleteRange", encodeDeleteRangeRequest(request)));
  }

  async txn(request: TxnRequestInit): Promise<TxnResponse> {
    return decodeTxnResponse(await this.#unary("txn", encodeTxnRequest(request)));
  }

  async grantLease(request: LeaseGrantRequestInit): Promise<LeaseGrantResponse> {
    return decodeLeaseGrantResponse(await this.#unary("leaseGrant", encodeLeaseGrantRequest(request)));
  }

  async *watch(request: WatchCreateRequestInit): AsyncGenerator<WatchResponse> {
    const { signal } = this.#options;
    if (signal.aborted) throw new ErrContextCanceled();
    const inbox = new WatchInbox();
    const message = this.#checked(encodeWatchRequest({ requestUnion: { case: "createRequest", value: request } }));
    const stream = this.#calls.open({ ...this.#call("watch", nothing), clientStreams: true }, inbox);
    const giveUp = (): void => stream.cancel(new ErrContextCanceled());
    signal.addEventListener("abort", giveUp);
    stream.send(message);
    try {
      for (;;) {
        const responses = await inbox.next();
        if (responses === undefined) return;
        for (const bytes of responses) yield decodeWatchResponse(bytes);
        if (inbox.takeAsked()) stream.writable();
      }
    } finally {
      signal.removeEventListener("abort", giveUp);
      giveUp();
    }
  }

  /** As Go's client hands errors on: with their texts, but without their codes. */
  async #unary(name: keyof typeof paths, message: Uint8Array): Promise<Uint8Array> {
    try {
      return await this.#calls.start(this.#call(name, this.#checked(message))).reply;
    } catch (error) {
      throw error instanceof EtcdError ? new EtcdError(GrpcCode.Unknown, error.message) : error;
    }
  }

  /** A name is in a transaction many times, so that this may be longer than what main takes. */
  #checked(message: Uint8Array): Uint8Array {
    if (message.length <= this.#options.messageBytesMax) return message;
    throw new EtcdError(GrpcCode.Unknown, ErrRequestTooLarge.message);
  }

  #call(name: keyof typeof paths, message: Uint8Array): Call {
    const method = this.#options.methods.get(paths[name]);
    assert(method !== undefined, "a method that locks and elections need is not served");
    return { ...this.#options.caller, method, message, isInternal: true };
  }
}
