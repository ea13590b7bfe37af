/**
 * Main's side of the HTTP worker: starts it, keeps it informed, answers its questions, writes its log lines.
 * A worker that dies ends the member: `onFailure` is called once.
 * Node aborts a process that exits while sockets of uWebSockets.js are open in a worker: `close` before `process.exit`,
 * or leave by an exit that runs no cleanup.
 * Thread: main.
 */
import { Worker } from "node:worker_threads";
import { threadFile, type Logger } from "../../base/index.js";
import type { GatewayCounts } from "./gateway-counts.js";
import type { ConcurrencyMessage, FromHttpWorker, HttpWorkerData, ToHttpWorker } from "./http-messages.js";
import type { ServerState } from "./server-state.js";

export interface HttpThreadOptions {
  readonly data: HttpWorkerData;
  /** The texts of all threads' metrics but the HTTP thread's, which has counted this many calls. */
  readonly metricsTexts: (counts: GatewayCounts) => Promise<readonly string[]>;
  /** What /debug/vars tells. */
  readonly debugVars: () => string;
  /** A call that was handed over has ended. */
  readonly onCallEnded: (callId: number) => void;
  readonly logger: Logger;
  readonly onFailure: (error: Error) => void;
}

/** JSON nests up to 10,000 deep, and decoding it recurses. */
const stackSizeMb = 16;

export class HttpThread {
  readonly #options: HttpThreadOptions;
  readonly #worker: Worker;
  readonly #closed: Promise<void>;
  #isClosing = false;
  #listening: (() => void) | undefined;
  #failed: ((error: Error) => void) | undefined;

  /** Starts the worker and resolves once it listens; rejects when it cannot. */
  static async start(options: HttpThreadOptions): Promise<HttpThread> {
    const thread = new HttpThread(options);
    await new Promise<void>((resolve, reject) => {
      thread.#listening = resolve;
      thread.#failed = reject;
    });
    thread.#failed = options.onFailure;
    return thread;
  }

  private constructor(options: HttpThreadOptions) {
    this.#options = options;
    this.#worker = new Worker(threadFile("api/http/http.worker.js"), {
      workerData: options.data,
      resourceLimits: { stackSizeMb },
    });
    this.#closed = new Promise((resolve) => this.#worker.once("exit", () => resolve()));
    this.#worker.on("message", (message: FromHttpWorker) => this.#receive(message));
    this.#worker.on("error", (error: Error) => this.#fail(error));
    this.#worker.on("exit", (code) => this.#fail(new Error(`the HTTP thread ended with code ${code}`)));
  }

  /** Tells the worker what has changed of the member. */
  setState(state: ServerState): void {
    this.#post({ kind: "state", state });
  }

  /** Hands a call over, or tells what has become of it; the worker gets `transfer` for its own. */
  handOver(message: ConcurrencyMessage, transfer?: ArrayBuffer): void {
    this.#worker.postMessage(message, transfer === undefined ? [] : [transfer]);
  }

  /** Stops listening, ends all connections and the thread. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#post({ kind: "close" });
    await this.#closed;
  }

  #receive(message: FromHttpWorker): void {
    switch (message.kind) {
      case "listening":
        this.#listening?.();
        break;
      case "metrics":
        void this.#answerMetrics(message.id, message.counts);
        break;
      case "vars":
        this.#post({ kind: "texts", id: message.id, texts: [this.#options.debugVars()] });
        break;
      case "callEnded":
        this.#options.onCallEnded(message.id);
        break;
      case "log":
        this.#options.logger[message.level](message.message, message.fields);
        break;
      case "failed": {
        const error = new Error(message.message);
        if (message.stack !== undefined) error.stack = message.stack;
        this.#fail(error);
        break;
      }
    }
  }

  async #answerMetrics(id: number, counts: GatewayCounts): Promise<void> {
    const texts = await this.#options.metricsTexts(counts).catch((error: unknown) => {
      this.#options.logger.error("metrics of a thread are not to be had", { error });
      return [];
    });
    this.#post({ kind: "texts", id, texts });
  }

  #post(message: ToHttpWorker): void {
    this.#worker.postMessage(message);
  }

  #fail(error: Error): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#failed?.(error);
  }
}
