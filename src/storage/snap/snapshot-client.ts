/**
 * Main's side of the snapshot thread, which starts with the first snapshot that a client asks for.
 *
 * A thread of its own and not a pool's job: a snapshot waits for its client again and again and must hear of each
 * turn, which a pool's task (one request, one result) does not; and a pool ends a task by ending its thread, which in
 * the midst of an LMDB transaction must never happen.
 * Thread: main.
 */
import { Worker } from "node:worker_threads";
import { threadFile, type Logger } from "../../base/index.js";
import type { FromSnapshots, SnapshotInit, ToSnapshots } from "./messages.js";

/** Snapshots under way at a time; each holds a read transaction and at most two windows. */
const jobsMax = 4;

export interface SnapshotClientOptions {
  readonly directory: string;
  /** Commits what has been applied. */
  readonly flush: () => Promise<void>;
  readonly logger: Logger;
  /** The thread has died: the process must end. */
  readonly fatal: (message: string, fields: Readonly<Record<string, unknown>>) => void;
}

export class SnapshotClient {
  readonly #options: SnapshotClientOptions;
  /** Jobs under way; false: gone before the thread heard of it. */
  readonly #jobs = new Set<number>();
  readonly #jobOfCall = new Map<number, number>();
  #nextJob = 1;
  #worker: Worker | null = null;
  #stopping = false;

  constructor(options: SnapshotClientOptions) {
    this.#options = options;
  }

  /** Sends a snapshot as the answer of a call. False: too many are under way. */
  start(callId: number): boolean {
    if (this.#jobs.size >= jobsMax || this.#stopping) return false;
    const job = this.#nextJob++;
    this.#jobs.add(job);
    this.#jobOfCall.set(callId, job);
    this.#options.flush().then(
      () => this.#send(job, callId),
      // The backend has failed, which ends the process.
      () => this.#ended(job),
    );
    return true;
  }

  /** The client has taken nearly all that was sent to a call; other calls are ignored. */
  writable(callId: number): void {
    const job = this.#jobOfCall.get(callId);
    if (job !== undefined) this.#post({ type: "writable", job });
  }

  /** A call is gone; other calls are ignored. */
  cancel(callId: number): void {
    const job = this.#jobOfCall.get(callId);
    if (job === undefined) return;
    this.#jobOfCall.delete(callId);
    this.#post({ type: "cancel", job });
  }

  /** Ends what is under way and the thread. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const worker = this.#worker;
    if (worker === null) return;
    const exited = new Promise((resolve) => worker.once("exit", resolve));
    this.#post({ type: "stop" });
    await exited;
  }

  #send(job: number, callId: number): void {
    // The call may have gone meanwhile, and its number been given to another.
    if (this.#stopping || this.#jobOfCall.get(callId) !== job) return this.#ended(job);
    this.#worker ??= this.#startWorker();
    this.#post({ type: "start", job, callId });
  }

  #post(message: ToSnapshots): void {
    this.#worker?.postMessage(message);
  }

  #ended(job: number): void {
    this.#jobs.delete(job);
    for (const [callId, other] of this.#jobOfCall) if (other === job) this.#jobOfCall.delete(callId);
  }

  #startWorker(): Worker {
    const { directory, logger, fatal } = this.#options;
    const workerData: SnapshotInit = { directory };
    const worker = new Worker(threadFile("storage/snap/snapshot.worker.js"), { workerData, name: "snapshot" });
    worker.on("message", (message: FromSnapshots) => {
      if (message.type === "ended") this.#ended(message.job);
      else logger[message.level](message.message, message.fields);
    });
    worker.on("error", (error: Error) =>
      fatal("the snapshot thread failed", { error: error.message, stack: error.stack }),
    );
    worker.on("exit", (code) => {
      if (!this.#stopping) fatal("the snapshot thread ended", { code });
    });
    return worker;
  }
}
