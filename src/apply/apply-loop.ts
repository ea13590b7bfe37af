/**
 * The apply thread's turns: receive messages, apply entries, answer reads, send the answers of the turn as one batch,
 * tell main how far it has come. Entries have priority; what reads may take of a turn is bounded (`reads.ts`).
 * Driven by its mailboxes and by `schedule`, so that tests run it without a thread.
 */
import { copyOf } from "../base/index.js";
import { InboxBuffer, mailboxPrefixBytes, type ReplyBatchWriter } from "../native/index.js";
import type { Backend } from "../storage/backend/index.js";
import type { MvccStore } from "../storage/mvcc/index.js";
import type { Applier } from "./applier.js";
import type { LeaseEvents } from "./lease-events.js";
import type { InstallMark } from "./control.js";
import {
  ApplyMessageKind,
  ApplyMessageReader,
  emptyProgress,
  progressMessageBytes,
  writeProgress,
  type ReadsHeader,
} from "./messages.js";
import type { Reads } from "./reads.js";
import type { SnapshotInstaller } from "./snapshot-installer.js";
import type { Watches } from "./watch/index.js";

/** Entries that wait behind a long write; beyond, nothing more is received. */
const heldBytesMax = 16 << 20;

/**
 * Main hears of progress after so many entries, and at each flush of the backend (within --backend-batch-interval):
 * no client waits for it, and a wake-up of main for every turn would cost as much as the turn.
 */
const progressEntries = 256;

/** The side of a mailbox that receives. */
export interface Inbox {
  receive(into: Uint8Array): number;
}
/** The side of a mailbox that sends. */
export interface Outbox {
  send(bytes: Uint8Array, length: number): boolean;
}

export interface ApplyLoopOptions {
  readonly applier: Applier;
  readonly reads: Reads;
  readonly watches: Watches;
  readonly store: MvccStore;
  readonly backend: Backend;
  readonly leaseEvents: LeaseEvents;
  readonly installer: Pick<SnapshotInstaller, "install">;
  readonly replies: ReplyBatchWriter;
  readonly fromMain: Inbox;
  readonly toMain: Outbox;
  /** Sends a reply batch to the edge. */
  readonly reply: (bytes: Uint8Array, length: number) => void;
  /** Runs a turn soon, after what else waits on this thread. */
  readonly schedule: (turn: () => void) => void;
  readonly fatal: (error: unknown) => void;
}

export class ApplyLoop {
  readonly #options: ApplyLoopOptions;
  #message = new ApplyMessageReader();
  readonly #readsHeader: ReadsHeader = { raftTerm: 0, minAppliedIndex: 0, commitIndex: 0, leaderId: 0n, startMs: 0 };
  readonly #progress = emptyProgress();
  readonly #progressView = new DataView(new ArrayBuffer(progressMessageBytes));
  readonly #progressBytes = new Uint8Array(this.#progressView.buffer);
  readonly #inbox = new InboxBuffer();
  /** The applier has not done with a message: a long delete or transaction goes on in slices. */
  #suspended = false;
  /** A snapshot is being installed: no entry is applied meanwhile. */
  #installing = false;
  /** ENTRIES and INSTALL messages that came meanwhile, copied. */
  readonly #held: Uint8Array[] = [];
  #heldBytes = 0;
  #scheduled = false;
  /** The backend must make room before more is applied. */
  #full = false;
  #progressDue = true;
  #ended = false;
  #drained: (() => void) | null = null;

  constructor(options: ApplyLoopOptions) {
    this.#options = options;
    options.reads.applied(options.applier.appliedIndex);
    options.reads.onCancel = (callId) => options.applier.cancel(callId);
  }

  /** Something has come, or is to be sent: a turn will run. */
  readonly wake = (): void => {
    if (this.#scheduled || this.#ended) return;
    this.#scheduled = true;
    this.#options.schedule(this.#turn);
  };

  /** The backend has flushed: main should hear of it. */
  committed(): void {
    this.#progressDue = true;
    this.wake();
  }

  /** Resolves when everything received is applied; reads still waiting are left. */
  drain(): Promise<void> {
    return new Promise((resolve) => {
      this.#drained = resolve;
      this.wake();
    });
  }

  /** No turn follows. */
  end(): void {
    this.#ended = true;
  }

  readonly #turn = (): void => {
    this.#scheduled = false;
    if (this.#ended) return;
    try {
      this.#run();
    } catch (error) {
      this.#ended = true;
      this.#options.fatal(error);
    }
  };

  #run(): void {
    const { reads, watches, applier, backend, leaseEvents } = this.#options;
    leaseEvents.beginTurn(applier.appliedIndex);
    reads.beginTurn();
    watches.beginTurn();
    this.#resume();
    const received = this.#full || this.#heldBytes > heldBytesMax ? 0 : this.#receive();
    reads.applied(applier.appliedIndex);
    reads.work();
    watches.work();
    this.#sendLeaseEvents();
    this.#sendReplies();
    watches.flush();
    const isFarBehind = applier.appliedIndex - this.#progress.appliedIndex >= progressEntries;
    if (isFarBehind || this.#progressDue) this.tellProgress();
    if (backend.isFull && !this.#full) this.#waitForRoom();
    const mayApply = !this.#installing && (this.#suspended || this.#held.length > 0);
    if (received > 0 || mayApply || reads.hasWork || watches.hasWork) this.wake();
    else if (!this.#full || this.#installing) this.#drained?.();
  }

  /** Goes on with what a long write has suspended. */
  #resume(): void {
    if (this.#installing) return;
    if (this.#suspended) this.#suspended = !this.#options.applier.resume();
    let done = 0;
    while (!this.#suspended && !this.#installing && done < this.#held.length) {
      const held = this.#held[done++]!;
      this.#heldBytes -= held.length;
      this.#take(this.#message.reset(held, 0));
    }
    this.#held.splice(0, done);
  }

  /** Handles one buffer of messages; 0: there were none. */
  #receive(): number {
    const inbox = this.#inbox;
    const length = inbox.receive((into) => this.#options.fromMain.receive(into));
    const { bytes, view } = inbox;
    for (let at = 0; at < length;) {
      const messageBytes = view.getUint32(at, true);
      this.#handle(bytes, at + mailboxPrefixBytes, messageBytes);
      at += mailboxPrefixBytes + Math.ceil(messageBytes / 8) * 8;
    }
    if (bytes === inbox.bytes) inbox.done(length);
    if (bytes !== inbox.bytes) this.#message = new ApplyMessageReader();
    return length;
  }

  #handle(bytes: Uint8Array, start: number, messageBytes: number): void {
    const message = this.#message;
    const kind = message.reset(bytes, start);
    if (kind === ApplyMessageKind.Reads) {
      message.readsHeader(this.#readsHeader);
      this.#options.reads.accept(this.#readsHeader, bytes, message.recordsStart, message.recordsEnd);
    } else if (this.#suspended || this.#installing || this.#held.length > 0) {
      this.#held.push(copyOf(bytes, start, start + messageBytes));
      this.#heldBytes += messageBytes;
    } else {
      this.#take(kind);
      // The applier goes on reading this buffer.
      if (this.#suspended && bytes === this.#inbox.bytes) this.#inbox.renew();
    }
  }

  #take(kind: ApplyMessageKind): void {
    if (kind === ApplyMessageKind.Install) this.#install(this.#message.installMark);
    else this.#apply();
  }

  #install(mark: InstallMark): void {
    const { installer, applier, reads, fatal } = this.#options;
    this.#installing = true;
    installer.install(mark).then(
      () => {
        this.#installing = false;
        this.#progressDue = true;
        reads.applied(applier.appliedIndex);
        this.wake();
      },
      (error: unknown) => {
        if (!this.#ended) fatal(error);
      },
    );
  }

  /** Applies the ENTRIES message that `#message` stands on. */
  #apply(): void {
    const { applier, reads, watches } = this.#options;
    watches.raftTerm = this.#message.raftTerm;
    this.#suspended = !applier.apply(this.#message);
    if (this.#suspended) this.#message = new ApplyMessageReader();
    reads.applied(applier.appliedIndex);
  }

  /** Before the answers of this turn. Should main not keep up, the next turn tells it. */
  #sendLeaseEvents(): void {
    const { leaseEvents, toMain } = this.#options;
    if (!leaseEvents.isEmpty && !leaseEvents.send(toMain)) this.wake();
  }

  #sendReplies(): void {
    const { replies, reply } = this.#options;
    if (replies.length === 0) return;
    reply(replies.bytes, replies.length);
    replies.clear();
  }

  /** Tells main how far apply is, and the file's size. */
  tellProgress(): void {
    const { applier, backend, store, toMain } = this.#options;
    const progress = this.#progress;
    const sizes = backend.sizes();
    progress.appliedIndex = applier.appliedIndex;
    progress.flushedIndex = backend.flushedIndex;
    progress.revision = store.currentRevision;
    progress.compactRevision = store.compactRevision;
    progress.dbSize = sizes.total;
    progress.dbSizeInUse = sizes.inUse;
    writeProgress(this.#progressView, progress);
    // Should main not keep up, the next turn tells it.
    this.#progressDue = !toMain.send(this.#progressBytes, progressMessageBytes);
    if (this.#progressDue) this.wake();
  }

  #waitForRoom(): void {
    this.#full = true;
    this.#options.backend.room().then(
      () => {
        this.#full = false;
        this.wake();
      },
      (error: unknown) => this.#options.fatal(error),
    );
  }
}
