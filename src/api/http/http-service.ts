/**
 * All that the HTTP worker runs: server, router, gateway, health and metrics, and its wires to main. Tests drive it
 * without a thread, with a fake main behind `submit` and `send`.
 */
import { AlarmBoard, assert, type Logger } from "../../base/index.js";
import { readBytesMax } from "../concurrency/index.js";
import { CallClient, type Submit } from "./call-client.js";
import { ConcurrencyCalls } from "./concurrency-calls.js";
import { methodNotAllowed, type Handler, type HttpRequest, type HttpResponse } from "./exchange.js";
import { Gateway, jsonGrowthMax } from "./gateway.js";
import { GatewayCounter } from "./gateway-counts.js";
import { healthCheckHandlers } from "./health-checks.js";
import { RequestLog } from "../request-stats.js";
import { HealthHandler } from "./health.js";
import type { FromHttpWorker, HttpWorkerData, ToHttpWorker } from "./http-messages.js";
import { HttpServer } from "./http-server.js";
import { MetricsHandler } from "./metrics-handler.js";
import { Mux } from "./mux.js";
import { Router } from "./router.js";
import type { ServerState } from "./server-state.js";
import { UnsentBytes, unsentBytesDefaults } from "./unsent-bytes.js";
import { loadUws } from "./uws.js";

/** Calls that may wait for their replies; more are refused. */
const callsMax = 10_000;
/** /metrics and /debug/vars give up on the other threads after this. */
const textsTimeoutMs = 10_000;

/** How the service reaches main. */
export interface HttpServiceWires {
  readonly submit: Submit;
  readonly send: (message: FromHttpWorker) => void;
  /** Sends reply records, `bytes[0, length)`, to whoever made the calls. */
  readonly reply: (bytes: Uint8Array, length: number) => void;
}

export class HttpService {
  readonly client: CallClient;
  readonly #concurrency: ConcurrencyCalls;
  readonly #data: HttpWorkerData;
  readonly #send: (message: FromHttpWorker) => void;
  readonly #server: HttpServer;
  /** Listens on --listen-metrics-urls; null: there are none. */
  readonly #metricsServer: HttpServer | null;
  readonly #counter: GatewayCounter;
  /** What main has been asked for. */
  readonly #asked = new Map<number, (texts: readonly string[]) => void>();
  #askId = 0;
  readonly #board: AlarmBoard;
  #state: ServerState;
  /** Main has told the member's state: it serves clients. */
  #serves = (): void => {};
  readonly #served = new Promise<void>((resolve) => (this.#serves = resolve));

  constructor(data: HttpWorkerData, { submit, send, reply }: HttpServiceWires) {
    this.#data = data;
    this.#send = send;
    this.#state = data.state;
    this.#board = new AlarmBoard(data.alarmBoard);
    this.#counter = new GatewayCounter(data.served.length);
    this.client = new CallClient(submit, { callsMax, counter: this.#counter });
    const logger = portLogger(send, data.logsDebug);
    const { messageBytesMax, served } = data;
    this.#concurrency = new ConcurrencyCalls({
      client: this.client,
      served,
      messageBytesMax: readBytesMax(messageBytesMax),
      reply,
      ended: (id) => send({ kind: "callEnded", id }),
    });
    const shared = {
      uws: loadUws(),
      logger,
      messageBytesMax,
      bodyBytesMax: jsonGrowthMax * messageBytesMax,
      unsent: new UnsentBytes(unsentBytesDefaults),
    };
    const handlers = this.#probes(logger);
    this.#server = new HttpServer({ ...shared, handlers: this.#router(handlers, logger) });
    const hasMetrics = data.metricsSocketPath !== undefined;
    this.#metricsServer = hasMetrics ? new HttpServer({ ...shared, handlers: new Mux(handlers) }) : null;
  }

  /** Opens the sockets and tells main. */
  async start(): Promise<void> {
    const { socketPath, metricsSocketPath } = this.#data;
    await this.#server.listen(socketPath);
    if (metricsSocketPath !== undefined) await this.#metricsServer?.listen(metricsSocketPath);
    this.#send({ kind: "listening" });
  }

  /** A message of main's. */
  receive(message: ToHttpWorker): void {
    switch (message.kind) {
      case "state":
        this.#state = message.state;
        this.#serves();
        break;
      case "texts":
        this.#asked.get(message.id)?.(message.texts);
        this.#asked.delete(message.id);
        break;
      case "call":
        this.#concurrency.start(message.call);
        break;
      case "cancelCall":
        this.#concurrency.cancel(message.id);
        break;
      case "writableCall":
        this.#concurrency.writable(message.id);
        break;
      case "close":
        this.stop();
    }
  }

  /** Ends the waiting calls, all connections and the listeners. */
  stop(): void {
    this.client.close();
    this.#server.close();
    this.#metricsServer?.close();
  }

  /** Metrics and health checks by their paths. */
  #probes(logger: Logger): ReadonlyMap<string, Handler> {
    const { client } = this;
    const { served, requestTimeoutMs } = this.#data;
    const rangeMethod = served.indexOf("/etcdserverpb.KV/Range");
    assert(rangeMethod >= 0, "http: KV.Range is not served");
    const checked = { client, logger, state: () => this.#healthState(), rangeMethod };
    const health = new HealthHandler({ ...checked, requestTimeoutMs });
    const metrics = new MetricsHandler(() =>
      this.#askMain((id) => ({ kind: "metrics", id, counts: this.#counter.counts })),
    );
    return new Map<string, Handler>([
      ["/health", (request) => health.handle(request)],
      ["/metrics", (request) => metrics.handle(request)],
      ...healthCheckHandlers(checked),
    ]);
  }

  /** With the alarms of this very moment, not of when main last told. */
  #healthState(): ServerState {
    const others = this.#state.alarms.filter((alarm) => !AlarmBoard.holds(alarm));
    return { ...this.#state, alarms: [...this.#board.read(), ...others] };
  }

  #router(handlers: ReadonlyMap<string, Handler>, logger: Logger): Router {
    const { served, messageBytesMax, enableGateway, slowAfterMs, logsDebug } = this.#data;
    const { corsOrigins, hostWhitelist, serverVersion } = this.#data;
    const requestLog = new RequestLog({ logger, logsDebug, slowAfterMs });
    return new Router({
      gateway: enableGateway ? new Gateway(this.client, { served, messageBytesMax, requestLog }) : undefined,
      handlers: new Map([...handlers, ["/debug/vars", (request) => this.#debugVars(request)]]),
      state: () => this.#state,
      logger,
      corsOrigins,
      hostWhitelist,
      serverVersion,
      served: this.#served,
    });
  }

  #askMain(question: (id: number) => FromHttpWorker): Promise<readonly string[]> {
    const id = ++this.#askId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#asked.delete(id);
        reject(new Error("the server's other threads did not answer in time"));
      }, textsTimeoutMs);
      this.#asked.set(id, (texts) => {
        clearTimeout(timer);
        resolve(texts);
      });
      this.#send(question(id));
    });
  }

  /** etcd serves it to clients, and not where metrics alone are. */
  async #debugVars({ method }: HttpRequest): Promise<HttpResponse> {
    if (method !== "GET") return methodNotAllowed();
    const texts = await this.#askMain((id) => ({ kind: "vars", id }));
    return { status: 200, headers: [["Content-Type", "application/json; charset=utf-8"]], body: texts.join("") };
  }
}

/** Sends log lines to main, which writes them. */
function portLogger(send: (message: FromHttpWorker) => void, logsDebug: boolean): Logger {
  const at =
    (level: "debug" | "info" | "warn" | "error"): Logger["info"] =>
    (message, fields) =>
      send({ kind: "log", level, message, fields });
  const logger: Logger = {
    debug: logsDebug ? at("debug") : () => {},
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    named: () => logger,
  };
  return logger;
}
