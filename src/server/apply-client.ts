/**
 * Main's side of the apply worker: hands over committed entries and reads through a mailbox, and hears of
 * progress and of rare events. The worker answers clients itself.
 *
 * Invariant: messages reach apply in the order they were given. When its mailbox is full, further messages
 * are held here and `blocked` is true; whoever feeds this client stops feeding it then.
 * Thread: main.
 */
import { Worker } from "node:worker_threads";
import {
  ApplyMessageKind,
  ApplyMessageWriter,
  emptyProgress,
  readProgress,
  type ApplyInit,
  type ApplyProgress,
  type FromApply,
  type ReadsHeader,
} from "../apply/index.js";
import { copyOf, type EntryBatch, type Logger, threadFile } from "../base/index.js";
import { InboxBuffer, Mailbox, mailboxPrefixBytes } from "../native/index.js";
import type { KeyValueHash } from "../storage/mvcc/index.js";
import type { MemberHashes } from "./corruption-checks.js";
import type { PeerHash } from "./peers.js";

/** Bytes on their way to apply; with them full, main holds back. */
const toApplyBytesMax = 64 << 20;
const toMainBytesMax = 1 << 20;

/** What the worker says of its state when it is ready. */
export type ApplyReady = Extract<FromApply, { type: "ready" }>;
/** What the worker tells of what it has applied. */
export type ApplyEvent = Exclude<
  FromApply,
  { type: "ready" | "metrics" | "hashes" | "flushed" | "stopped" | "log" | "fatal" }
>;

type HashesMessage = Extract<FromApply, { type: "hashes" }>;

/** Called on main. */
export interface ApplyHooks {
  /** `client.progress` has moved. */
  progress(): void;
  /** The LEASES message that begins at `start`. */
  leases(view: DataView, start: number): void;
  event(event: ApplyEvent): void;
  /** The worker cannot go on, or has died: the process must end. */
  fatal(message: string, stack: string): void;
}

export class ApplyClient implements MemberHashes {
  readonly progress: ApplyProgress = emptyProgress();
  readonly #worker: Worker;
  readonly #toApply: Mailbox;
  readonly #toMain: Mailbox;
  readonly #hooks: ApplyHooks;
  readonly #logger: Logger;
  readonly #writer = new ApplyMessageWriter();
  readonly #inbox = new InboxBuffer();
  readonly #held: Uint8Array[] = [];
  readonly #metricsAsked = new Map<number, (text: string) => void>();
  readonly #flushes = new Map<number, () => void>();
  readonly #hashesAsked = new Map<number, (hashes: HashesMessage) => void>();
  #metricsId = 0;
  #flushId = 0;
  #hashesId = 0;
  #receiving = false;
  #stopped: (() => void) | null = null;
  #ready: ((ready: ApplyReady) => void) | null = null;

  private constructor(init: Omit<ApplyInit, "toApply" | "toMain">, hooks: ApplyHooks, logger: Logger) {
    this.#hooks = hooks;
    this.#logger = logger;
    this.#toApply = new Mailbox(toApplyBytesMax);
    this.#toMain = new Mailbox(toMainBytesMax);
    this.#toMain.onWake(() => this.#received());
    const workerData: ApplyInit = { ...init, toApply: this.#toApply.handle, toMain: this.#toMain.handle };
    this.#worker = new Worker(threadFile("apply/apply.worker.js"), { workerData, name: "apply" });
    this.#worker.on("message", (message: FromApply) => this.#onMessage(message));
    this.#worker.on("error", (error: Error) => hooks.fatal(error.message, error.stack ?? ""));
    this.#worker.on("exit", (code) => {
      if (this.#stopped === null) hooks.fatal(`the apply thread ended with code ${code}`, "");
    });
  }

  /** Starts the worker; resolves once the backend is open. */
  static start(
    init: Omit<ApplyInit, "toApply" | "toMain">,
    hooks: ApplyHooks,
    logger: Logger,
  ): Promise<{ client: ApplyClient; ready: ApplyReady }> {
    return new Promise((resolve, reject) => {
      const client: ApplyClient = new ApplyClient(
        init,
        {
          progress: () => hooks.progress(),
          leases: (view, start) => hooks.leases(view, start),
          event: (event) => hooks.event(event),
          fatal: (message, stack) => {
            if (client.#ready === null) hooks.fatal(message, stack);
            else reject(new Error(message));
          },
        },
        logger,
      );
      client.#ready = (ready) => {
        client.#ready = null;
        resolve({ client, ready });
      };
    });
  }

  /** Messages are held here because the mailbox is full. */
  get blocked(): boolean {
    return this.#held.length > 0;
  }

  /** Hands over a committed batch: see `ApplyMessageWriter.entries`. */
  entries(batch: EntryBatch, callIds: Uint32Array, raftTerm: number, startMs: number): void {
    this.#writer.entries(batch, callIds, 0, raftTerm, startMs);
    this.#send();
  }

  /** The snapshot of that entry is to be installed. */
  install(index: number, term: number): void {
    this.#writer.install(index, term);
    this.#send();
  }

  /** Hands over reads: `records[0, length)` are call-batch records. */
  reads(header: ReadsHeader, records: Uint8Array, length: number): void {
    this.#writer.beginReads(header);
    this.#writer.appendRead(records, 0, length);
    this.#writer.finishReads();
    this.#send();
  }

  /** The worker's metrics as text. */
  metrics(): Promise<string> {
    const id = ++this.#metricsId;
    return new Promise((resolve) => {
      this.#metricsAsked.set(id, resolve);
      this.#worker.postMessage({ type: "metrics", id });
    });
  }

  /** HashKV up to the present revision. */
  async hashNow(): Promise<PeerHash & KeyValueHash> {
    const { currentRevision, hashes } = await this.#askHashes("hashNow");
    return { ...hashes[0]!, currentRevision };
  }

  /** The hashes that compactions have left, in order of revision. */
  async keptHashes(): Promise<readonly KeyValueHash[]> {
    return (await this.#askHashes("keptHashes")).hashes;
  }

  #askHashes(type: "hashNow" | "keptHashes"): Promise<HashesMessage> {
    const id = ++this.#hashesId;
    return new Promise((resolve) => {
      this.#hashesAsked.set(id, resolve);
      this.#worker.postMessage({ type, id });
    });
  }

  /** Resolves when what has been applied until now is in the backend's file; never once the worker has failed. */
  flush(): Promise<void> {
    const id = ++this.#flushId;
    return new Promise((resolve) => {
      this.#flushes.set(id, resolve);
      this.#worker.postMessage({ type: "flush", id });
    });
  }

  /** Lets the worker apply what it has, flush and end. */
  async stop(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#stopped = resolve;
      this.#worker.on("exit", () => resolve());
      this.#worker.postMessage({ type: "stop" });
    });
    this.#toApply.close();
    this.#toMain.close();
  }

  #send(): void {
    const { bytes, length } = this.#writer;
    const isSent = this.#held.length === 0 && this.#toApply.send(bytes, length);
    if (!isSent) this.#held.push(copyOf(bytes, 0, length));
    this.#writer.trim();
  }

  #sendHeld(): void {
    let sent = 0;
    while (sent < this.#held.length && this.#toApply.send(this.#held[sent]!, this.#held[sent]!.length)) sent++;
    if (sent > 0) this.#held.splice(0, sent);
  }

  /** Takes what the worker has told of leases up to now; what it tells of its progress is heard of a little later. */
  poll(): void {
    if (this.#receive()) queueMicrotask(() => this.#progressed());
  }

  #received(): void {
    if (this.#receive()) this.#progressed();
  }

  #progressed(): void {
    this.#sendHeld();
    this.#hooks.progress();
  }

  /** Drains the mailbox; of PROGRESS only the newest counts. True: there was one. */
  #receive(): boolean {
    // Whoever hears of leases may ask for more: it is on its way.
    if (this.#receiving) return false;
    this.#receiving = true;
    const inbox = this.#inbox;
    let any = false;
    for (;;) {
      const length = inbox.receive((into) => this.#toMain.receive(into));
      if (length === 0) {
        this.#receiving = false;
        return any;
      }
      const { view } = inbox;
      for (let at = 0; at < length; at += mailboxPrefixBytes + Math.ceil(view.getUint32(at, true) / 8) * 8) {
        if (view.getUint32(at + mailboxPrefixBytes, true) === ApplyMessageKind.Leases) {
          this.#hooks.leases(view, at + mailboxPrefixBytes);
        } else {
          readProgress(view, at + mailboxPrefixBytes, this.progress);
          any = true;
        }
      }
      inbox.done(length);
    }
  }

  #onMessage(message: FromApply): void {
    switch (message.type) {
      case "ready":
        this.#ready?.(message);
        return;
      case "metrics":
        this.#metricsAsked.get(message.id)?.(message.text);
        this.#metricsAsked.delete(message.id);
        return;
      case "hashes":
        this.#hashesAsked.get(message.id)?.(message);
        this.#hashesAsked.delete(message.id);
        return;
      case "flushed":
        this.#flushes.get(message.id)?.();
        this.#flushes.delete(message.id);
        return;
      case "log":
        this.#logger.named(message.logger)[message.level](message.message, message.fields);
        return;
      case "fatal":
        this.#hooks.fatal(message.message, message.stack);
        return;
      case "stopped":
        this.#stopped?.();
        return;
      default:
        this.#hooks.event(message);
    }
  }
}
