/** Main's side of a simulated member's apply thread: what it hands over, and what it hears of progress and leases. */
import {
  ApplyMessageKind,
  ApplyMessageWriter,
  emptyProgress,
  leaseMessageBytesMax,
  readProgress,
  type ApplyProgress,
  type ReadsHeader,
} from "../../src/apply/index.js";
import { assert, copyOf, type EntryBatch } from "../../src/base/index.js";
import { mailboxPrefixBytes } from "../../src/native/index.js";
import type { MemberApply } from "../../src/server/index.js";
import type { SimulatedMailbox } from "./mailbox.js";

export interface ApplySideHooks {
  readonly handed: (batch: EntryBatch, callIds: Uint32Array) => void;
  readonly progress: () => void;
  readonly leases: (view: DataView, start: number) => void;
}

/** As ApplyClient in the server. */
export class ApplySide implements MemberApply {
  readonly progress: ApplyProgress = emptyProgress();
  readonly toApply: SimulatedMailbox;
  readonly #writer = new ApplyMessageWriter();
  readonly #held: Uint8Array[] = [];
  readonly #hooks: ApplySideHooks;
  readonly #inbox = new Uint8Array(4 * leaseMessageBytesMax);
  #receiving = false;
  toMain: SimulatedMailbox | null = null;

  constructor(toApply: SimulatedMailbox, hooks: ApplySideHooks) {
    this.toApply = toApply;
    this.#hooks = hooks;
  }

  get blocked(): boolean {
    return this.#held.length > 0;
  }

  entries(batch: EntryBatch, callIds: Uint32Array, raftTerm: number, startMs: number): void {
    this.#hooks.handed(batch, callIds);
    this.#writer.entries(batch, callIds, 0, raftTerm, startMs);
    this.#send();
  }

  install(index: number, term: number): void {
    this.#writer.install(index, term);
    this.#send();
  }

  reads(header: ReadsHeader, records: Uint8Array, length: number): void {
    this.#writer.beginReads(header);
    this.#writer.appendRead(records, 0, length);
    this.#writer.finishReads();
    this.#send();
  }

  #send(): void {
    const { bytes, length } = this.#writer;
    if (this.#held.length === 0 && this.toApply.send(bytes, length)) return;
    this.#held.push(copyOf(bytes, 0, length));
  }

  /** Something has come from apply. */
  readonly received = (): void => {
    if (this.#receive()) this.#progressed();
  };

  /** Takes what has come up to now; what it tells of progress is heard of a little later. */
  poll(): void {
    if (this.#receive()) queueMicrotask(() => this.#progressed());
  }

  #progressed(): void {
    while (this.#held.length > 0 && this.toApply.send(this.#held[0]!, this.#held[0]!.length)) this.#held.shift();
    this.#hooks.progress();
  }

  /** True: apply has told of its progress. */
  #receive(): boolean {
    if (this.#receiving) return false;
    this.#receiving = true;
    const view = new DataView(this.#inbox.buffer);
    let any = false;
    for (let length = this.toMain!.receive(this.#inbox); length !== 0; length = this.toMain!.receive(this.#inbox)) {
      assert(length > 0, "apply's messages to main are bounded");
      for (let at = 0; at < length; at += mailboxPrefixBytes + Math.ceil(view.getUint32(at, true) / 8) * 8) {
        const start = at + mailboxPrefixBytes;
        if (view.getUint32(start, true) === ApplyMessageKind.Leases) this.#hooks.leases(view, start);
        else {
          readProgress(view, start, this.progress);
          any = true;
        }
      }
    }
    this.#receiving = false;
    return any;
  }
}
