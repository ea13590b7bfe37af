/**
 * grpc.health.v1: one service, "". As in etcd it serves as soon as calls are taken, whether there is a leader or not:
 * who wants to know that asks GET /health.
 * Thread: main.
 */
import { EtcdError, GrpcCode } from "../../errors/index.js";
import {
  decodeHealthCheckRequest,
  encodeHealthCheckResponse,
  encodeHealthListResponse,
  HealthCheckRequestDescriptor,
  HealthListRequestDescriptor,
  validate,
} from "../../proto/index.js";
import { unmarshalMessageError, unmarshalRequestError } from "../../errors/index.js";
import type { Replies } from "../../server/index.js";

const status = { serving: 1, serviceUnknown: 3 } as const;

export class HealthService {
  readonly #replies: Replies;

  constructor(replies: Replies) {
    this.#replies = replies;
  }

  check(callId: number, bytes: Uint8Array, start: number, end: number): void {
    const text = validate(HealthCheckRequestDescriptor, bytes, start, end);
    if (text !== undefined) return this.#replies.error(callId, unmarshalRequestError(text));
    const { service } = decodeHealthCheckRequest(bytes, start, end);
    if (service !== "") return this.#replies.error(callId, new EtcdError(GrpcCode.NotFound, "unknown service"));
    this.#replies.answer(callId, encodeHealthCheckResponse({ status: statusOf("") }));
  }

  list(callId: number, bytes: Uint8Array, start: number, end: number): void {
    const text = validate(HealthListRequestDescriptor, bytes, start, end);
    if (text !== undefined) return this.#replies.error(callId, unmarshalRequestError(text));
    this.#replies.answer(
      callId,
      encodeHealthListResponse({ statuses: [{ key: "", value: { status: statusOf("") } }] }),
    );
  }

  watch(callId: number, bytes: Uint8Array, start: number, end: number): void {
    const text = validate(HealthCheckRequestDescriptor, bytes, start, end);
    if (text !== undefined) return this.#replies.error(callId, unmarshalMessageError(text));
    // Nothing changes later, so the stream gets this one message and stays open.
    const { service } = decodeHealthCheckRequest(bytes, start, end);
    this.#replies.message(callId, encodeHealthCheckResponse({ status: statusOf(service) }));
  }
}

function statusOf(service: string): number {
  return service === "" ? status.serving : status.serviceUnknown;
}
