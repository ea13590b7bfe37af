/**
 * The snapshot thread: makes and sends snapshots, several at a time by turns. Answers the edge itself.
 *
 * A job pins the store from its start to its end, and what is pinned cannot be used anew: a client that takes nothing
 * for `stallMsMax`, or is not done within `jobMsMax`, is sent away.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { ReplyBatchWriter } from "../../native/index.js";
import type { BoltLayout } from "../../bolt/index.js";
import type { PinnedRead, PinnedReader } from "../backend/index.js";
import type { FromSnapshots, ToSnapshots } from "./messages.js";
import { SnapshotFileWriter } from "./snapshot-file-writer.js";
import { digestBytes, SnapshotWriter } from "./snapshot-writer.js";

/** Other jobs and messages get their turn after so long. */
const turnMs = 5;
/** gRPC: the client may try again. */
const unavailable = 14;

export interface SnapshotSurroundings {
  /** Opens the store on this thread; called when it is first needed. */
  readonly openReader: () => PinnedReader;
  /** Sends a reply batch to the edge. */
  readonly reply: (bytes: Uint8Array, length: number) => void;
  readonly post: (message: FromSnapshots) => void;
  readonly stallMsMax: number;
  readonly jobMsMax: number;
}

/** Why a job does not go on. */
class JobEnded extends Error {
  /** What the client is told; null: there is none any more. */
  readonly reason: string | null;

  constructor(reason: string | null) {
    super(reason ?? "the client is gone");
    this.reason = reason;
  }
}

/** An environment that is open on this thread. */
interface OpenReader {
  readonly reader: PinnedReader;
  /** Snapshots of it that are under way. */
  jobs: number;
  /** Another has taken its place. */
  retired: boolean;
}

class Job {
  readonly id: number;
  /** null: the file goes to main. */
  readonly callId: number | null;
  readonly began = performance.now();
  readonly replies = new ReplyBatchWriter();
  cancelled = false;
  /** What was sent has been taken. */
  writable = true;
  wake: () => void = () => {};

  constructor(id: number, callId: number | null) {
    this.id = id;
    this.callId = callId;
  }
}

export class SnapshotThread {
  readonly #surroundings: SnapshotSurroundings;
  readonly #jobs = new Map<number, Job>();
  readonly #running = new Set<Promise<void>>();
  #reader: OpenReader | null = null;

  constructor(surroundings: SnapshotSurroundings) {
    this.#surroundings = surroundings;
  }

  /** Handles a message of main's; true when the thread has ended. */
  async handle(message: ToSnapshots): Promise<boolean> {
    if (message.type === "stop") {
      await this.#stop();
      return true;
    }
    if (message.type === "start") this.#start(new Job(message.job, message.callId));
    else if (message.type === "file") this.#start(new Job(message.job, null));
    else this.#tell(message);
    return false;
  }

  #tell(message: { readonly type: "writable" | "cancel"; readonly job: number }): void {
    const job = this.#jobs.get(message.job);
    if (job === undefined) return;
    if (message.type === "cancel") job.cancelled = true;
    else job.writable = true;
    job.wake();
  }

  #start(job: Job): void {
    this.#jobs.set(job.id, job);
    const running = this.#run(job).then((error) => {
      this.#running.delete(running);
      this.#jobs.delete(job.id);
      this.#surroundings.post({ type: "ended", job: job.id, error });
    });
    this.#running.add(running);
  }

  async #stop(): Promise<void> {
    for (const job of this.#jobs.values()) {
      job.cancelled = true;
      job.wake();
    }
    await Promise.all(this.#running);
    await this.#reader?.reader.close();
  }

  /** The environment that is in use now. One that was replaced stays open as long as a snapshot of it is under way. */
  #currentReader(): OpenReader {
    if (this.#reader?.reader.isReplaced === true) {
      this.#reader.retired = true;
      this.#letGo(this.#reader);
      this.#reader = null;
    }
    return (this.#reader ??= { reader: this.#surroundings.openReader(), jobs: 0, retired: false });
  }

  #letGo(open: OpenReader): void {
    if (open.retired && open.jobs === 0) void open.reader.close();
  }

  /** Resolves to what went wrong, if anybody is left to be told. */
  async #run(job: Job): Promise<string | null> {
    const open = this.#currentReader();
    open.jobs++;
    const read = open.reader.pin();
    try {
      if (job.callId === null) await this.#sendFile(job, read);
      else await this.#send(job, job.callId, read);
      return null;
    } catch (error) {
      if (!(error instanceof JobEnded)) throw error;
      if (error.reason === null) return null;
      this.#log("warn", "ended a database snapshot", { error: error.reason });
      if (job.callId === null) return error.reason;
      job.replies.clear();
      job.replies.status(job.callId, unavailable, `etcdserver: ${error.reason}`);
      this.#flush(job);
      return error.reason;
    } finally {
      read.release();
      open.jobs--;
      this.#letGo(open);
    }
  }

  async #send(job: Job, callId: number, read: PinnedRead): Promise<void> {
    const writer = new SnapshotWriter(read, callId);
    const layout = await this.#size(job, writer.size());
    const about = { "total-bytes": layout.fileBytes, size: humanSize(layout.fileBytes) };
    const version = { "storage-version": writer.version };
    this.#log("info", "sending database snapshot to client", { ...about, ...version });
    let turnEnds = performance.now() + turnMs;
    for (const isWindow of writer.write(layout, job.replies)) {
      if (isWindow) await this.#sendWindow(job);
      else if (performance.now() < turnEnds) continue;
      else await this.#pause(job);
      turnEnds = performance.now() + turnMs;
    }
    await this.#taken(job);
    this.#log("info", "sending database sha256 checksum to client", {
      "total-bytes": layout.fileBytes,
      "checksum-size": digestBytes,
    });
    this.#flush(job);
    const took = `${((performance.now() - job.began) / 1000).toFixed(6)}s`;
    this.#log("info", "successfully sent database snapshot to client", { ...about, took, ...version });
  }

  /** Hands the file to main in pieces, each once the one before has been taken. */
  async #sendFile(job: Job, read: PinnedRead): Promise<void> {
    const file = new SnapshotFileWriter(read);
    const layout = await this.#size(job, file.size());
    this.#surroundings.post({ type: "opened", job: job.id, state: file.stateOf(layout) });
    let turnEnds = performance.now() + turnMs;
    for (const piece of file.write(layout)) {
      if (piece === null && performance.now() < turnEnds) continue;
      if (piece === null) await this.#pause(job);
      else {
        await this.#taken(job);
        job.writable = false;
        this.#surroundings.post({ type: "piece", job: job.id, bytes: piece });
      }
      turnEnds = performance.now() + turnMs;
    }
    await this.#taken(job);
  }

  async #size(job: Job, steps: Generator<undefined, BoltLayout>): Promise<BoltLayout> {
    let turnEnds = performance.now() + turnMs;
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value;
      if (performance.now() < turnEnds) continue;
      await this.#pause(job);
      turnEnds = performance.now() + turnMs;
    }
  }

  async #pause(job: Job): Promise<void> {
    await nextTurn();
    if (job.cancelled) throw new JobEnded(null);
    if (performance.now() - job.began > this.#surroundings.jobMsMax) throw new JobEnded("snapshot took too long");
  }

  /** Sends the window that has been made, once the one before has been taken. */
  async #sendWindow(job: Job): Promise<void> {
    await this.#pause(job);
    await this.#taken(job);
    job.writable = false;
    this.#flush(job);
  }

  async #taken(job: Job): Promise<void> {
    if (job.writable || job.cancelled) return this.#pause(job);
    let timer: NodeJS.Timeout | undefined;
    const stalled = await new Promise<boolean>((resolve) => {
      job.wake = () => resolve(false);
      timer = setTimeout(() => resolve(true), this.#surroundings.stallMsMax);
    });
    clearTimeout(timer);
    job.wake = () => {};
    if (stalled) throw new JobEnded("snapshot is not being read");
    await this.#pause(job);
  }

  #flush(job: Job): void {
    this.#surroundings.reply(job.replies.bytes, job.replies.length);
    job.replies.clear();
  }

  #log(level: "info" | "warn", message: string, fields: Readonly<Record<string, unknown>>): void {
    this.#surroundings.post({ type: "log", level, message, fields });
  }
}

/** As etcd's logs have it: "20 kB". */
function humanSize(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (bytes >= 1000 && unit < units.length - 1) {
    bytes /= 1000;
    unit++;
  }
  return `${unit > 0 && bytes < 10 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}
