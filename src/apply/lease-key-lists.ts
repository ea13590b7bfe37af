/**
 * The keys of a LeaseTimeToLive whose lease has very many: read in slices and handed over in parts, one call at a time.
 * Keys may be attached and detached meanwhile; whoever stays is listed once.
 */
import type { LeaseTable } from "../lease/index.js";
import { ReplyBatchWriter, ReplyKind } from "../native/index.js";
import { writeDelimited } from "./response.js";
import { responseBytesMax, tooLargeError } from "./response-bound.js";

/** Keys, and bytes, of a slice: about 1 ms. */
const sliceKeys = 2000;
const sliceBytes = 256 << 10;
/** Calls that wait. */
const callsMax = 1000;
const keysTag = 0x2a;

export interface LeaseKeyListsOptions {
  readonly leases: LeaseTable;
  /** Sends a batch of its own. */
  readonly send: (bytes: Uint8Array, length: number) => void;
  /** Awaited between slices. */
  readonly yield: () => Promise<void>;
  readonly fatal: (error: unknown) => void;
}

interface KeyList {
  readonly callId: number;
  readonly low: number;
  readonly high: number;
  /** The response before its keys. */
  readonly head: Uint8Array;
  isGone: boolean;
}

export class LeaseKeyLists {
  readonly #options: LeaseKeyListsOptions;
  readonly #writer = new ReplyBatchWriter();
  /** The first one is in the making. */
  readonly #lists: KeyList[] = [];

  constructor(options: LeaseKeyListsOptions) {
    this.#options = options;
  }

  /** Calls that are not answered yet. */
  get pending(): number {
    return this.#lists.length;
  }
  get isFull(): boolean {
    return this.pending >= callsMax;
  }

  /** Answers the call with `head`, which is kept, and the keys of that lease. */
  ask(callId: number, low: number, high: number, head: Uint8Array): void {
    this.#lists.push({ callId, low, high, head, isGone: false });
    if (this.#lists.length === 1) this.#run().catch((error: unknown) => this.#options.fatal(error));
  }

  /** The caller is gone. */
  cancel(callId: number): void {
    for (const list of this.#lists) if (list.callId === callId) list.isGone = true;
  }

  async #run(): Promise<void> {
    await this.#options.yield();
    for (; this.#lists.length > 0; this.#lists.shift()) await this.#answer(this.#lists[0]!);
  }

  async #answer(list: KeyList): Promise<void> {
    const { leases, yield: yieldNow } = this.#options;
    const { callId, low, high, head } = list;
    // It may have been revoked while the call has waited: then it has no keys.
    const walk = leases.has(low, high) ? leases.walkKeys(low, high) : null;
    let size = head.length;
    let isLast = false;
    for (let first = true; !isLast && !list.isGone; first = false) {
      const writer = this.#writer;
      const start = writer.begin(callId, ReplyKind.Part, head.length + sliceBytes);
      if (first) writer.bytes.set(head, start);
      let at = first ? start + head.length : start;
      for (let left = sliceKeys; left > 0 && at - start < sliceBytes && !isLast; left--) {
        const key = walk === null ? null : walk.keys.nextOf(walk);
        if (key === null) isLast = true;
        else at = writeDelimited(writer, at, keysTag, key, 0, key.length);
      }
      size += at - start;
      writer.finish(at);
      if (size > responseBytesMax) break;
      if (isLast) this.#end(callId);
      this.#flush();
      await yieldNow();
    }
    walk?.keys.endWalk(walk);
    if (size > responseBytesMax) this.#refuse(callId, size);
  }

  #end(callId: number): void {
    const at = this.#writer.begin(callId, ReplyKind.LastPart, 0);
    this.#writer.finish(at);
    this.#writer.status(callId, 0, "");
  }

  #refuse(callId: number, size: number): void {
    const { code, message } = tooLargeError(size);
    this.#writer.dropParts(callId);
    this.#writer.status(callId, code, message);
    this.#flush();
  }

  #flush(): void {
    this.#options.send(this.#writer.bytes, this.#writer.length);
    this.#writer.clear();
  }
}
