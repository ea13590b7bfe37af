/**
 * grpc.health.v1: one service, "". As in etcd it serves as soon as calls are taken, whether there is a leader or not:
 * who wants to know that asks GET /health. With the gate StopGRPCServiceOnDefrag it does not serve while the database
 * is defragmented, so that balancing clients go elsewhere; calls are answered all the same.
 * Thread: main.
 */
import type { Logger } from "../../base/index.js";
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
import type { Defragmentations, Replies } from "../../server/index.js";

/** ServingStatus; `none` is told to nobody. */
const status = { none: 0, serving: 1, notServing: 2, serviceUnknown: 3 } as const;

const statusChanged = "grpc service status changed";
/** Streams that hear of a change before others have their turn on the thread. */
const toldAtATime = 1000;

export interface HealthOptions {
  /** The gate StopGRPCServiceOnDefrag. */
  readonly stopsOnDefragment: boolean;
  readonly logger: Logger;
}

/** A stream that is told of changes. */
interface Watch {
  /** What it was told last. */
  told: number;
  /** The client has not taken that yet: it hears of what holds when it has. */
  isBehind: boolean;
}

/** The member, as far as this needs it. */
export interface HealthOwner {
  readonly replies: Replies;
  readonly defragmentations: Defragmentations;
}

export class HealthService {
  readonly #replies: Replies;
  readonly #options: HealthOptions;
  readonly #watches = new Map<number, Watch>();
  /** Those that are still to be told of the last change; null: nobody. */
  #telling: Iterator<[number, Watch]> | null = null;
  #status: number = status.serving;

  constructor({ replies, defragmentations }: HealthOwner, options: HealthOptions) {
    this.#replies = replies;
    defragmentations.onChanged = (isActive) => this.#defragmenting(isActive);
    this.#options = options;
    this.#logServing();
  }

  /** The client has taken what it was told. */
  writable(callId: number): void {
    const watch = this.#watches.get(callId);
    if (watch === undefined) return;
    watch.isBehind = false;
    this.#tell(callId, watch);
  }

  /** The call is gone, whatever it was. */
  cancel(callId: number): void {
    this.#watches.delete(callId);
  }

  check(callId: number, bytes: Uint8Array, start: number, end: number): void {
    const text = validate(HealthCheckRequestDescriptor, bytes, start, end);
    if (text !== undefined) return this.#replies.error(callId, unmarshalRequestError(text));
    const { service } = decodeHealthCheckRequest(bytes, start, end);
    if (service !== "") return this.#replies.error(callId, new EtcdError(GrpcCode.NotFound, "unknown service"));
    this.#replies.answer(callId, encodeHealthCheckResponse({ status: this.#status }));
  }

  list(callId: number, bytes: Uint8Array, start: number, end: number): void {
    const text = validate(HealthListRequestDescriptor, bytes, start, end);
    if (text !== undefined) return this.#replies.error(callId, unmarshalRequestError(text));
    this.#replies.answer(
      callId,
      encodeHealthListResponse({ statuses: [{ key: "", value: { status: this.#status } }] }),
    );
  }

  watch(callId: number, bytes: Uint8Array, start: number, end: number): void {
    const text = validate(HealthCheckRequestDescriptor, bytes, start, end);
    if (text !== undefined) return this.#replies.error(callId, unmarshalMessageError(text));
    const { service } = decodeHealthCheckRequest(bytes, start, end);
    // Nothing changes for a service that is not there: its stream stays open without a further message.
    if (service !== "")
      return this.#replies.message(callId, encodeHealthCheckResponse({ status: status.serviceUnknown }));
    const watch = { told: status.none, isBehind: false };
    this.#watches.set(callId, watch);
    this.#tell(callId, watch);
  }

  #defragmenting(isActive: boolean): void {
    const { stopsOnDefragment, logger } = this.#options;
    if (!isActive) this.#logServing();
    if (!stopsOnDefragment) return;
    if (isActive) logger.warn(statusChanged, { service: "", status: "NOT_SERVING", reason: "defrag is active" });
    this.#status = isActive ? status.notServing : status.serving;
    const isIdle = this.#telling === null;
    this.#telling = this.#watches.entries();
    if (isIdle) this.#tellSome();
  }

  #tellSome(): void {
    for (let n = 0; n < toldAtATime && this.#telling !== null; n++) {
      const next = this.#telling.next();
      if (next.done === true) this.#telling = null;
      else this.#tell(...next.value);
    }
    this.#replies.flush();
    if (this.#telling !== null) setImmediate(() => this.#tellSome());
  }

  #tell(callId: number, watch: Watch): void {
    if (watch.isBehind || watch.told === this.#status) return;
    watch.told = this.#status;
    watch.isBehind = true;
    this.#replies.message(callId, encodeHealthCheckResponse({ status: this.#status }), true);
  }

  #logServing(): void {
    this.#options.logger.info(statusChanged, { service: "", status: "SERVING" });
  }
}
