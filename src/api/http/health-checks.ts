/**
 * /livez and /readyz with their checks, each also by itself at a path below: plain text, in full with `?verbose` and
 * whenever one fails (reference/http.md). The checks come in a fixed order, where etcd's come in any.
 */
import type { Logger } from "../../base/index.js";
import { ErrContextCanceled, toStatus } from "../../errors/index.js";
import { CallFlag } from "../../native/index.js";
import { AlarmType, encodeRangeRequest } from "../../proto/index.js";
import type { CallClient } from "./call-client.js";
import {
  type Handler,
  type HttpRequest,
  type HttpResponse,
  methodNotAllowed,
  plainError,
  textType,
} from "./exchange.js";
import { quoteText } from "./go-text.js";
import { checkResults, checkRuns } from "./metrics.js";
import type { ServerState } from "./server-state.js";

const anyKey = Uint8Array.of(0);

export interface HealthChecksOptions {
  readonly client: CallClient;
  readonly logger: Logger;
  readonly state: () => ServerState;
  /** Method index of KV.Range. */
  readonly rangeMethod: number;
}

/** Why the check fails; undefined when it does not. */
type Check = (request: HttpRequest) => Promise<string | undefined> | string | undefined;

/** The handlers by their paths. */
export function healthCheckHandlers(options: HealthChecksOptions): ReadonlyMap<string, Handler> {
  const { state } = options;
  const reads = {
    serializable_read: readCheck(options, true),
    linearizable_read: readCheck(options, false),
  };
  const ready = {
    data_corruption: () => (state().alarms.includes(AlarmType.CORRUPT) ? "alarm activated: CORRUPT" : undefined),
    ...reads,
    non_learner: () => (state().isLearner ? "not supported for learner" : undefined),
  };
  return new Map([
    ...new CheckGroup("livez", { serializable_read: reads.serializable_read }, options.logger).handlers(),
    ...new CheckGroup("readyz", ready, options.logger).handlers(),
  ]);
}

/** A range of one key, in the member's own name. */
function readCheck({ client, rangeMethod }: HealthChecksOptions, serializable: boolean): Check {
  const message = encodeRangeRequest({ key: anyKey, keysOnly: true, limit: 1, serializable });
  return async (request) => {
    try {
      const { id, reply } = client.start({ method: rangeMethod, flags: CallFlag.Root, metadata: [], message });
      request.onGone(() => client.cancel(id, new ErrContextCanceled()));
      await reply;
      return undefined;
    } catch (error) {
      return toStatus(error).message;
    }
  };
}

/** The checks of one kind of health. */
class CheckGroup {
  readonly #type: string;
  readonly #checks: Readonly<Record<string, Check>>;
  readonly #logger: Logger;

  constructor(type: string, checks: Readonly<Record<string, Check>>, logger: Logger) {
    this.#type = type;
    this.#checks = checks;
    this.#logger = logger;
  }

  handlers(): [string, Handler][] {
    const names = Object.keys(this.#checks);
    const all: Handler = (request) => this.#answer(request, `/${this.#type}`, this.#wanted(request));
    const single = names.map((name): [string, Handler] => {
      const path = `/${this.#type}/${name}`;
      return [path, (request) => this.#answer(request, path, [name])];
    });
    return [[`/${this.#type}`, all], ...single];
  }

  /** The checks that a request does not exclude. */
  #wanted(request: HttpRequest): string[] {
    const excluded = new Set(new URLSearchParams(request.query).getAll("exclude").filter((name) => name !== ""));
    const wanted = Object.keys(this.#checks).filter((name) => !excluded.delete(name));
    if (excluded.size > 0 && request.method === "GET") {
      this.#logger.warn("some health checks cannot be excluded", {
        "missing-health-checks": [...excluded].map(quoteText).join(","),
      });
    }
    return wanted;
  }

  async #answer(request: HttpRequest, path: string, names: readonly string[]): Promise<HttpResponse> {
    if (request.method !== "GET") {
      this.#logger.warn("Health request error", { path, "status-code": 405 });
      return methodNotAllowed();
    }
    const { reason, isHealthy } = await this.#run(request, names);
    if (!isHealthy) {
      this.#logger.error("Health check error", { path, reason, "status-code": 503 });
      return plainError(503, reason);
    }
    this.#logger.debug("Health check OK", { path, reason, "status-code": 200 });
    const isVerbose = new URLSearchParams(request.query).has("verbose");
    const headers = [textType, ["X-Content-Type-Options", "nosniff"]] as const;
    return { status: 200, headers, body: `${isVerbose ? reason : ""}ok\n` };
  }

  /** Runs the checks one after another. */
  async #run(request: HttpRequest, names: readonly string[]): Promise<{ reason: string; isHealthy: boolean }> {
    let reason = "";
    let isHealthy = true;
    for (const name of names) {
      const failure = await this.#checks[name]!(request);
      const labels = { type: this.#type, name };
      checkResults.with(labels).set(failure === undefined ? 1 : 0);
      checkRuns.with({ ...labels, status: failure === undefined ? "success" : "error" }).inc();
      if (failure === undefined) reason += `[+]${name} ok\n`;
      else {
        reason += `[-]${name} failed: ${failure}\n`;
        isHealthy = false;
      }
    }
    return { reason, isHealthy };
  }
}
