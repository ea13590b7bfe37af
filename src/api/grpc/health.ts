/**
 * grpc.health.v1: one service, "", serving while a leader is known.
 * Thread: main.
 */
import { EtcdError, GrpcCode } from "../../errors/index.js";
import {
  decodeHealthCheckRequest,
  encodeHealthCheckResponse,
  encodeHealthListResponse,
  HealthCheckRequestDescriptor,
  validate,
} from "../../proto/index.js";
import { unmarshalMessageError, unmarshalRequestError } from "../../errors/index.js";
import type { Replies } from "../../server/index.js";

const status = { serving: 1, notServing: 2, serviceUnknown: 3 } as const;

export class HealthService {
  readonly #replies: Replies;
  readonly #isServing: () => boolean;
  /** Open Watch calls: the service asked for, and the status sent last. */
  readonly #watches = new Map<number, { readonly service: string; sent: number }>();

  constructor(replies: Replies, isServing: () => boolean) {
    this.#replies = replies;
    this.#isServing = isServing;
  }

  check(callId: number, bytes: Uint8Array, start: number, end: number): void {
    const text = validate(HealthCheckRequestDescriptor, bytes, start, end);
    if (text !== undefined) return this.#replies.error(callId, unmarshalRequestError(text));
    const { service } = decodeHealthCheckRequest(bytes, start, end);
    if (service !== "") return this.#replies.error(callId, new EtcdError(GrpcCode.NotFound, "unknown service"));
    this.#replies.answer(callId, encodeHealthCheckResponse({ status: this.#statusOf("") }));
  }

  list(callId: number): void {
    this.#replies.answer(
      callId,
      encodeHealthListResponse({ statuses: [{ key: "", value: { status: this.#statusOf("") } }] }),
    );
  }

  watch(callId: number, bytes: Uint8Array, start: number, end: number): void {
    const text = validate(HealthCheckRequestDescriptor, bytes, start, end);
    if (text !== undefined) return this.#replies.error(callId, unmarshalMessageError(text));
    const watch = { service: decodeHealthCheckRequest(bytes, start, end).service, sent: 0 };
    this.#watches.set(callId, watch);
    this.#send(callId, watch);
  }

  /** The client has gone. */
  cancel(callId: number): void {
    this.#watches.delete(callId);
  }

  /** The leader is known, or is no longer. */
  changed(): void {
    for (const [callId, watch] of this.#watches) this.#send(callId, watch);
  }

  #send(callId: number, watch: { readonly service: string; sent: number }): void {
    const now = this.#statusOf(watch.service);
    if (now === watch.sent) return;
    watch.sent = now;
    this.#replies.message(callId, encodeHealthCheckResponse({ status: now }));
  }

  #statusOf(service: string): number {
    if (service !== "") return status.serviceUnknown;
    return this.#isServing() ? status.serving : status.notServing;
  }
}
