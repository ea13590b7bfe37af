/** GET /health: alarms, then the leader, then a read of one key under the request timeout (reference/http.md). */
import type { Logger } from "../../base/index.js";
import { ErrContextDeadlineExceeded, toStatus } from "../../errors/index.js";
import { CallFlag } from "../../native/index.js";
import { AlarmType, AlarmTypeDescriptor, encodeRangeRequest } from "../../proto/index.js";
import type { CallClient } from "./call-client.js";
import { type HttpRequest, type HttpResponse, methodNotAllowed, plainError, textType } from "./exchange.js";
import { goJsonString } from "./go-text.js";
import { healthFailures, healthSuccess } from "./metrics.js";
import type { ServerState } from "./server-state.js";

const anyKey = Uint8Array.of(0);

export interface HealthOptions {
  readonly client: CallClient;
  readonly logger: Logger;
  readonly state: () => ServerState;
  /** Method index of KV.Range. */
  readonly rangeMethod: number;
  readonly requestTimeoutMs: number;
}

export class HealthHandler {
  readonly #options: HealthOptions;

  constructor(options: HealthOptions) {
    this.#options = options;
  }

  async handle(request: HttpRequest): Promise<HttpResponse> {
    const { logger } = this.#options;
    if (request.method !== "GET") {
      logger.warn("/health error", { "status-code": 405 });
      return methodNotAllowed();
    }
    const query = new URLSearchParams(request.query);
    const excluded = new Set(query.getAll("exclude").filter((name) => name !== ""));
    const reason = await this.#reason(excluded, query.get("serializable") === "true");
    const isHealthy = reason === undefined;
    const body = `{"health":"${isHealthy}","reason":${goJsonString(reason ?? "")}}`;
    if (!isHealthy) {
      healthFailures.inc();
      logger.warn("/health error", { output: body, "status-code": 503 });
      return plainError(503, body);
    }
    healthSuccess.inc();
    logger.debug("/health OK", { "status-code": 200 });
    return { status: 200, headers: [textType], body };
  }

  /** Why the member is not healthy; undefined when it is. */
  async #reason(excluded: ReadonlySet<string>, isSerializable: boolean): Promise<string | undefined> {
    const { logger, state } = this.#options;
    for (const alarm of state().alarms) {
      const name = AlarmTypeDescriptor.byNumber.get(alarm) ?? String(alarm);
      if (excluded.has(name)) continue;
      logger.warn("serving /health false due to an alarm", { alarm: name });
      return alarm === AlarmType.NOSPACE || alarm === AlarmType.CORRUPT ? `ALARM ${name}` : "ALARM UNKNOWN";
    }
    if (!isSerializable && !state().hasLeader) {
      logger.warn("serving /health false; no leader");
      return "RAFT NO LEADER";
    }
    return this.#readReason(isSerializable);
  }

  async #readReason(isSerializable: boolean): Promise<string | undefined> {
    const { client, logger, rangeMethod, requestTimeoutMs } = this.#options;
    const message = encodeRangeRequest({ key: anyKey, keysOnly: true, limit: 1, serializable: isSerializable });
    try {
      const { id, reply } = client.start({ method: rangeMethod, flags: CallFlag.Root, metadata: [], message });
      const timer = setTimeout(() => client.cancel(id, new ErrContextDeadlineExceeded()), requestTimeoutMs);
      await reply.finally(() => clearTimeout(timer));
      return undefined;
    } catch (error) {
      const { message: text } = toStatus(error);
      logger.warn("serving /health false; Range fails", { error: text });
      return `RANGE ERROR:${text}`;
    }
  }
}
