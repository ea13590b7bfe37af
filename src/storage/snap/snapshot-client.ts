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
import type { FromSnapshots, SnapshotInit, SnapshotState, ToSnapshots } from "./messages.js";
import { OutgoingSnapshot } from "./outgoing-snapshot.js";
import { snapshotSeconds } from "./metrics.js";

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

/** A file that was asked for; `outgoing`: once it is open. */
interface OpenFile {
  readonly resolve: (file: OutgoingSnapshot) => void;
  readonly reject: (error: Error) => void;
  outgoing: OutgoingSnapshot | null;
}

export class SnapshotClient {
  readonly #options: SnapshotClientOptions;
  /** Jobs under way; false: gone before the thread heard of it. */
  readonly #jobs = new Set<number>();
  readonly #jobOfCall = new Map<number, number>();
  /** Files for other members, by job. */
  readonly #files = new Map<number, OpenFile>();
  /** When each job that has begun did so. */
  readonly #startedMs = new Map<number, number>();
  #nextJob = 1;
  #worker: Worker | null = null;
  #stopping = false;

  constructor(options: SnapshotClientOptions) {
    this.#options = options;
  }

  /** Opens the store as it is now as a file for another member; whoever asks bounds their number. */
  openFile(): Promise<OutgoingSnapshot> {
    const job = this.#nextJob++;
    return new Promise((resolve, reject) => {
      this.#files.set(job, { resolve, reject, outgoing: null });
      this.#options.flush().then(() => {
        if (this.#stopping) return this.#fileEnded(job, "the member is stopping");
        this.#worker ??= this.#startWorker();
        this.#post({ type: "file", job });
      }, reject);
    });
  }

  #fileOpened(job: number, state: SnapshotState): void {
    const file = this.#files.get(job)!;
    file.outgoing = new OutgoingSnapshot(state, (type) => this.#post({ type, job }));
    file.resolve(file.outgoing);
  }

  #fileEnded(job: number, error: string | null): void {
    const file = this.#files.get(job);
    this.#files.delete(job);
    file?.outgoing?.end(error);
    if (file?.outgoing === null) file.reject(new Error(error ?? "the snapshot thread has ended it"));
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
    this.#startedMs.set(job, performance.now());
    this.#post({ type: "start", job, callId });
  }

  #post(message: ToSnapshots): void {
    this.#worker?.postMessage(message);
  }

  #ended(job: number): void {
    const startedMs = this.#startedMs.get(job);
    if (startedMs !== undefined) snapshotSeconds.observe((performance.now() - startedMs) / 1000);
    this.#startedMs.delete(job);
    this.#jobs.delete(job);
    for (const [callId, other] of this.#jobOfCall) if (other === job) this.#jobOfCall.delete(callId);
  }

  #onMessage(message: FromSnapshots): void {
    switch (message.type) {
      case "ended":
        this.#ended(message.job);
        this.#fileEnded(message.job, message.error);
        break;
      case "opened":
        this.#fileOpened(message.job, message.state);
        break;
      case "piece":
        this.#files.get(message.job)?.outgoing?.take(message.bytes);
        break;
      case "log":
        this.#options.logger[message.level](message.message, message.fields);
        break;
    }
  }

  #startWorker(): Worker {
    const { directory, fatal } = this.#options;
    const workerData: SnapshotInit = { directory };
    const worker = new Worker(threadFile("storage/snap/snapshot.worker.js"), { workerData, name: "snapshot" });
    worker.on("message", (message: FromSnapshots) => this.#onMessage(message));
    worker.on("error", (error: Error) =>
      fatal("the snapshot thread failed", { error: error.message, stack: error.stack }),
    );
    worker.on("exit", (code) => {
      if (!this.#stopping) fatal("the snapshot thread ended", { code });
    });
    return worker;
  }
}
