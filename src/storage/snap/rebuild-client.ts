/**
 * The other side of the rebuild thread, which lives as long as one rebuild: rebuilds are rare, and a thread's heap goes
 * with it. Thread: apply; main has snapshot files checked.
 */
import { Worker } from "node:worker_threads";
import { threadFile } from "../../base/index.js";
import { RebuildError, type Rebuild, type StartRebuild } from "../backend/index.js";
import type { FromRebuild, RebuildInit, ToRebuild } from "./rebuild-messages.js";
import { SnapshotFileError, type SnapshotPosition } from "./snapshot-file.js";

/** Starts the thread. */
export const startRebuildThread: StartRebuild = (init) => new RebuildClient(init);

/** Checks a snapshot's file on a thread of its own; rejects with SnapshotFileError when it cannot be installed. */
export async function checkOnThread(file: string, position: SnapshotPosition): Promise<void> {
  const client = new RebuildClient({ directory: "", quotaBytes: 0, bytesInUse: 0 });
  try {
    await client.check(file, position);
  } catch (error) {
    throw new SnapshotFileError((error as Error).message);
  } finally {
    await client.end();
  }
}

class RebuildClient implements Rebuild {
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  #answer: { resolve: () => void; reject: (error: Error) => void } | null = null;
  #failure: Error | null = null;
  /** The new environment may have begun to take the other's place. */
  #replaces = false;

  constructor(workerData: RebuildInit) {
    this.#worker = new Worker(threadFile("storage/snap/rebuild.worker.js"), { workerData, name: "rebuild" });
    this.#worker.on("message", (message: FromRebuild) => this.#onMessage(message));
    this.#worker.on("error", (error: Error) => this.#fail(error));
    this.#exited = new Promise((resolve) => {
      this.#worker.on("exit", () => {
        this.#fail(new Error("the rebuild thread has ended"));
        resolve();
      });
    });
  }

  copy(): Promise<void> {
    return this.#ask({ type: "copy" });
  }

  finish(): Promise<void> {
    return this.#ask({ type: "finish" });
  }

  build(file: string): Promise<void> {
    return this.#ask({ type: "build", file });
  }

  check(file: string, position: SnapshotPosition): Promise<void> {
    return this.#ask({ type: "check", file, position });
  }

  replace(): Promise<void> {
    return this.#ask({ type: "replace" });
  }

  cancel(): void {
    this.#post({ type: "cancel" });
  }

  async end(): Promise<void> {
    this.#post({ type: "end" });
    await this.#exited;
  }

  #ask(message: ToRebuild): Promise<void> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    this.#replaces = message.type === "finish" || message.type === "replace";
    return new Promise((resolve, reject) => {
      this.#answer = { resolve, reject };
      this.#post(message);
    });
  }

  #post(message: ToRebuild): void {
    this.#worker.postMessage(message);
  }

  #onMessage(message: FromRebuild): void {
    const answer = this.#answer;
    this.#answer = null;
    if (message.type === "done") answer?.resolve();
    else answer?.reject(new RebuildError(message.message, message.isFatal));
  }

  /** The thread is gone, so whatever it was at may be half done: only a copy is of no consequence. */
  #fail(error: Error): void {
    this.#failure ??= new RebuildError(error.message, this.#replaces);
    this.#answer?.reject(this.#failure);
    this.#answer = null;
  }
}
