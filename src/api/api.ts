/**
 * Opens the client listeners, and serves a member on them.
 * Thread: main.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { AlarmBoard, type Logger } from "../base/index.js";
import { hasFeature, type Config, type EtcdUrl } from "../config/index.js";
import { addProcessMetrics, ProcessMetrics, registry } from "../metrics/index.js";
import { serverVersionText } from "../membership/index.js";
import { Mailbox, setGatewayMailbox, startEdge, type Edge } from "../native/index.js";
import type { EtcdServer } from "../server/index.js";
import { debugVars } from "./debug-vars.js";
import { clientDescriptorsMax } from "./descriptors.js";
import { GrpcMetrics } from "./grpc/metrics.js";
import { Dispatcher } from "./grpc/dispatcher.js";
import { blockingPaths, methodKind, servedMethods } from "./grpc/methods.js";
import { type GatewayCounts, HttpThread, unknownState, type HttpWorkerData, type ServerState } from "./http/index.js";
import { RequestLog } from "./request-stats.js";

/** gRPC's own share of a message beyond --max-request-bytes (etcd's grpcOverheadBytes). */
const grpcOverheadBytes = 512 << 10;
/** Replies on their way to the HTTP thread. */
const gatewayMailboxBytes = 64 << 20;
/** Whatever --max-request-bytes says: a buffer holds the longest message, and is indexed by 32 bits. */
const messageBytesCap = 2 ** 31;
/** Linux takes socket paths of at most 107 bytes. */
const socketPathBytesMax = 107;
/** How long a stop waits for calls to end. */
const closeGraceMs = 400;

/** The schema of what is stored, as etcd names it. */
const storageVersion = serverVersionText.replace(/\d+$/, "0");

/** The member's client side. */
export interface Api {
  /** Paths of the served RPCs, by method index. */
  readonly methodPaths: readonly string[];
  /** Starts the HTTP thread, whose socket is in the data folder; it answers health checks and waits with the rest. */
  startHttp(fatal: (message: string, fields: Readonly<Record<string, unknown>>) => void): void;
  /** Takes calls from now on. */
  serve(server: EtcdServer): Promise<void>;
  /** The server takes calls again. */
  wake(): void;
  /** Memory of the `AlarmBoard` that /health reads: for apply to write. */
  readonly alarmBoard: SharedArrayBuffer;
  /** Leader, alarms or cluster version have changed. */
  stateChanged(): void;
  /** Sends clients away and closes all listeners. */
  close(): Promise<void>;
}

/** Opens the client listeners. Throws EdgeListenError. `commandLine` is what the process was started with. */
export function startApi(config: Config, logger: Logger, commandLine: readonly string[]): Api {
  return new ClientApi(config, logger, commandLine);
}

class ClientApi implements Api {
  readonly methodPaths = servedMethods.map(({ path }) => path);
  readonly #config: Config;
  readonly #logger: Logger;
  readonly #commandLine: readonly string[];
  readonly #requestLog: RequestLog;
  readonly #edge: Edge;
  readonly #socketPath: string;
  readonly #ownSocketDir: string | null;
  readonly #gateway = new Mailbox(gatewayMailboxBytes);
  readonly alarmBoard = new AlarmBoard().memory;
  #processMetrics: ProcessMetrics | null = null;
  #dispatcher: Dispatcher | null = null;
  #server: EtcdServer | null = null;
  #grpcMetrics: GrpcMetrics | null = null;
  #http: HttpThread | null = null;
  #httpStart: Promise<HttpThread> | null = null;

  constructor(config: Config, logger: Logger, commandLine: readonly string[]) {
    this.#config = config;
    this.#logger = logger;
    this.#commandLine = commandLine;
    this.#requestLog = new RequestLog({
      logger,
      logsDebug: config.logLevel === "debug",
      slowAfterMs: config.warningUnaryRequestDuration,
    });
    const preferred = resolve(config.dataDir, "member", "http.sock");
    this.#ownSocketDir =
      Buffer.byteLength(preferred) + "-m".length > socketPathBytesMax ? mkdtempSync(join(tmpdir(), "etcd-")) : null;
    this.#socketPath = this.#ownSocketDir === null ? preferred : join(this.#ownSocketDir, "http.sock");
    logger.info("configuring client listeners", {
      "listen-client-urls": config.listenClientUrls.map(({ text }) => text),
    });
    this.#edge = startEdge(
      {
        listeners: config.listenClientUrls.map(addressOf),
        methods: servedMethods.map((method) => ({
          path: method.path,
          kind: methodKind(method),
          blocking: blockingPaths.has(method.path),
        })),
        receiveBytesMax: this.#messageBytesMax,
        maxConcurrentStreams: config.maxConcurrentStreams,
        descriptorsMax: clientDescriptorsMax(),
        ...(this.#sharesPort ? { httpSocketPath: this.#socketPath } : {}),
        httpListeners: [
          ...config.listenClientHttpUrls.map((url) => ({ address: addressOf(url), socketPath: this.#socketPath })),
          ...config.listenMetricsUrls.map((url) => ({ address: addressOf(url), socketPath: this.#metricsSocketPath })),
        ],
        reusePort: config.socketReusePort,
        slowAfterMs: this.#requestLog.fromMs,
        keepalive: {
          minTimeMs: config.grpcKeepaliveMinTime,
          intervalMs: config.grpcKeepaliveInterval,
          timeoutMs: config.grpcKeepaliveTimeout,
        },
      },
      () => this.#dispatcher?.wake(),
    );
  }

  startHttp(fatal: (message: string, fields: Readonly<Record<string, unknown>>) => void): void {
    setGatewayMailbox(this.#gateway.handle);
    rmSync(this.#socketPath, { force: true });
    rmSync(this.#metricsSocketPath, { force: true });
    this.#httpStart = HttpThread.start({
      data: this.#httpData(),
      metricsTexts: (counts) => this.#metricsTexts(counts),
      debugVars: () => debugVars(this.#commandLine, this.#server?.core.raftStatus() ?? null),
      onCallEnded: (callId) => this.#dispatcher?.callEnded(callId),
      logger: this.#logger,
      onFailure: (error) => fatal("the HTTP thread failed", { error: error.message, stack: error.stack }),
    });
    this.#processMetrics = new ProcessMetrics();
    // `serve` awaits it too, and there a failure ends the start.
    this.#httpStart.catch(() => {});
  }

  async serve(server: EtcdServer): Promise<void> {
    this.#server = server;
    // Calls wait in the edge until the thread is there that serves some of them.
    const http = await this.#httpStart;
    this.#http = http;
    this.#dispatcher = new Dispatcher(server, this.#edge, {
      requestLog: this.#requestLog,
      handOver: (message, transfer) => http?.handOver(message, transfer),
      stopsOnDefragment: hasFeature(this.#config, "StopGRPCServiceOnDefrag"),
      logger: this.#logger,
    });
    this.#grpcMetrics = new GrpcMetrics(this.#edge, { hasTimes: this.#config.metrics === "extensive" });
    addProcessMetrics(registry);
    this.#http?.setState(stateOf(server));
    this.#dispatcher.wake();
    for (const url of this.#config.listenClientUrls) {
      this.#logger.info("serving client traffic insecurely; this is strongly discouraged!", {
        traffic: this.#sharesPort ? "grpc+http" : "grpc",
        address: `${url.hostname}:${url.port}`,
      });
    }
    for (const { text } of this.#config.listenMetricsUrls) this.#logger.info("serving metrics", { address: text });
  }

  wake(): void {
    this.#dispatcher?.wake();
  }

  stateChanged(): void {
    if (this.#server !== null) this.#http?.setState(stateOf(this.#server));
  }

  async close(): Promise<void> {
    // Idle HTTP connections would hold the edge for its whole grace.
    const http = await this.#httpStart?.catch(() => null);
    await Promise.all([this.#edge.close(closeGraceMs), http?.close()]);
    this.#gateway.close();
    for (const path of [this.#ownSocketDir ?? this.#socketPath, this.#metricsSocketPath])
      rmSync(path, { recursive: true, force: true });
  }

  /** HTTP is served on the client URLs themselves. */
  get #sharesPort(): boolean {
    return this.#config.listenClientHttpUrls.length === 0;
  }

  get #metricsSocketPath(): string {
    return `${this.#socketPath}-m`;
  }

  get #messageBytesMax(): number {
    return Math.min(this.#config.maxRequestBytes + grpcOverheadBytes, messageBytesCap);
  }

  #httpData(): HttpWorkerData {
    const config = this.#config;
    return {
      socketPath: this.#socketPath,
      metricsSocketPath: config.listenMetricsUrls.length > 0 ? this.#metricsSocketPath : undefined,
      mailboxHandle: this.#gateway.handle,
      served: this.methodPaths,
      enableGateway: config.enableGrpcGateway,
      corsOrigins: config.cors,
      hostWhitelist: config.hostWhitelist,
      serverVersion: serverVersionText,
      logsDebug: config.logLevel === "debug",
      slowAfterMs: config.warningUnaryRequestDuration,
      messageBytesMax: this.#messageBytesMax,
      requestTimeoutMs: 5000 + 2 * config.electionTimeout,
      state: unknownState,
      alarmBoard: this.alarmBoard,
    };
  }

  async #metricsTexts(counts: GatewayCounts): Promise<readonly string[]> {
    if (this.#grpcMetrics !== null) this.#grpcMetrics.gateway = counts;
    const apply = (await this.#server?.applyMetrics()) ?? "";
    return [registry.text(), apply, (await this.#processMetrics?.text()) ?? ""];
  }
}

/** What the HTTP thread shows of the member. */
function stateOf(server: EtcdServer): ServerState {
  const clusterVersion = server.core.clusterVersion ?? undefined;
  return {
    ...unknownState,
    hasLeader: server.core.leader !== 0n,
    isLearner: server.core.cluster.view.local?.isLearner === true,
    alarms: server.core.alarms.map(({ alarm }) => alarm),
    clusterVersion,
    storageVersion: clusterVersion === undefined ? undefined : storageVersion,
  };
}

/** Names resolve here as in etcd: only "localhost" is one. */
function addressOf({ hostname, port }: EtcdUrl): { host: string; port: number } {
  return { host: hostname === "localhost" ? "127.0.0.1" : hostname, port };
}
