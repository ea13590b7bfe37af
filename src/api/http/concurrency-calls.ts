/**
 * Serves locks and elections: main hands such calls over, of the edge's clients and the gateway's alike, and each runs
 * here until it is answered or its caller is gone. A call that waits is a promise and a watch, no thread.
 * Invariants: each call is told to main as ended exactly once; its answer goes out before that. How many there may be is
 * main's business. An observer that does not read is sent one message, and the next when that has been taken.
 */
import {
  campaign,
  leader,
  lock,
  observe,
  proclaim,
  resign,
  unlock,
  type ConcurrencyClient,
} from "../concurrency/index.js";
import { EtcdError, GrpcCode } from "../../errors/index.js";
import { MetadataTag, ReplyBatchWriter, ReplyKind } from "../../native/index.js";
import {
  decodeCampaignRequest,
  decodeLeaderRequest,
  decodeLockRequest,
  decodeProclaimRequest,
  decodeResignRequest,
  decodeUnlockRequest,
  encodeCampaignResponse,
  encodeLeaderResponse,
  encodeLockResponse,
  encodeProclaimResponse,
  encodeResignResponse,
  encodeUnlockResponse,
} from "../../proto/index.js";
import type { CallClient } from "./call-client.js";
import type { ConcurrencyCall } from "./http-messages.js";
import { MemberClient } from "./member-client.js";

const observePath = "/v3electionpb.Election/Observe";

/** Requests have been validated by main. */
const unaryMethods: Readonly<Record<string, (client: ConcurrencyClient, message: Uint8Array) => Promise<Uint8Array>>> =
  {
    "/v3lockpb.Lock/Lock": async (client, message) =>
      encodeLockResponse(await lock(client, decodeLockRequest(message))),
    "/v3lockpb.Lock/Unlock": async (client, message) =>
      encodeUnlockResponse(await unlock(client, decodeUnlockRequest(message))),
    "/v3electionpb.Election/Campaign": async (client, message) =>
      encodeCampaignResponse(await campaign(client, decodeCampaignRequest(message))),
    "/v3electionpb.Election/Proclaim": async (client, message) =>
      encodeProclaimResponse(await proclaim(client, decodeProclaimRequest(message))),
    "/v3electionpb.Election/Leader": async (client, message) =>
      encodeLeaderResponse(await leader(client, decodeLeaderRequest(message))),
    "/v3electionpb.Election/Resign": async (client, message) =>
      encodeResignResponse(await resign(client, decodeResignRequest(message))),
  };

export interface ConcurrencyCallsOptions {
  readonly client: CallClient;
  /** Paths of the RPCs that main serves, by their method index. */
  readonly served: readonly string[];
  /** The longest message of a call of its own. */
  readonly messageBytesMax: number;
  /** Sends reply records, `bytes[0, length)`. */
  readonly reply: (bytes: Uint8Array, length: number) => void;
  /** Tells main that a call has ended. */
  readonly ended: (callId: number) => void;
}

interface Running {
  readonly controller: AbortController;
  /** Little waits to be sent to its client. */
  writable: () => void;
}

export class ConcurrencyCalls {
  readonly #options: ConcurrencyCallsOptions;
  readonly #methods: ReadonlyMap<string, number>;
  readonly #running = new Map<number, Running>();
  readonly #writer = new ReplyBatchWriter();

  constructor(options: ConcurrencyCallsOptions) {
    this.#options = options;
    this.#methods = new Map(options.served.map((path, index) => [path, index]));
  }

  start(call: ConcurrencyCall): void {
    const { id } = call;
    const running: Running = { controller: new AbortController(), writable: () => {} };
    this.#running.set(id, running);
    void this.#serve(call, running).finally(() => {
      this.#running.delete(id);
      this.#options.ended(id);
    });
  }

  /** The call's client wants no answer any more. */
  cancel(callId: number): void {
    const running = this.#running.get(callId);
    running?.controller.abort();
    running?.writable();
  }

  writable(callId: number): void {
    this.#running.get(callId)?.writable();
  }

  /** What is no EtcdError is a fault of ours, and ends the thread. */
  async #serve(call: ConcurrencyCall, running: Running): Promise<void> {
    const path = this.#options.served[call.method]!;
    const client = this.#clientOf(call, running.controller.signal);
    try {
      if (path === observePath) await this.#observe(call, running, client);
      else this.#answer(call.id, await unaryMethods[path]!(client, call.message));
    } catch (error) {
      if (!(error instanceof EtcdError)) throw error;
      this.#end(call.id, error);
    }
  }

  async #observe({ id, message }: ConcurrencyCall, running: Running, client: ConcurrencyClient): Promise<void> {
    for await (const response of observe(client, decodeLeaderRequest(message))) {
      if (client.isGone) break;
      const taken = new Promise<void>((resolve) => (running.writable = resolve));
      this.#writer.message(id, ReplyKind.Message, encodeLeaderResponse(response), true);
      this.#flush();
      await taken;
    }
    this.#end(id, undefined);
  }

  #clientOf({ flags, token, connectionId }: ConcurrencyCall, signal: AbortSignal): MemberClient {
    const { client, messageBytesMax } = this.#options;
    const metadata = token === undefined ? [] : [{ tag: MetadataTag.Token, value: token }];
    return new MemberClient(client, {
      methods: this.#methods,
      caller: { flags, metadata, connectionId },
      signal,
      messageBytesMax,
    });
  }

  #answer(callId: number, message: Uint8Array): void {
    this.#writer.message(callId, ReplyKind.MessageAndEnd, message);
    this.#flush();
  }

  #end(callId: number, error: EtcdError | undefined): void {
    this.#writer.status(callId, error?.code ?? GrpcCode.OK, error?.message ?? "");
    this.#flush();
  }

  #flush(): void {
    this.#options.reply(this.#writer.bytes, this.#writer.length);
    this.#writer.clear();
  }
}
